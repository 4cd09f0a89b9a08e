/* feature: windowed features. */

DROP POLICY IF EXISTS feature_sets_read ON pipeline.feature_sets;
CREATE POLICY feature_sets_read ON pipeline.feature_sets FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.feature_sets TO PUBLIC;

DROP POLICY IF EXISTS features_read ON pipeline.features;
CREATE POLICY features_read ON pipeline.features FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.features TO PUBLIC;

DROP POLICY IF EXISTS feature_refreshes_read ON pipeline.feature_refreshes;
CREATE POLICY feature_refreshes_read ON pipeline.feature_refreshes FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.feature_refreshes TO PUBLIC;

DROP POLICY IF EXISTS feature_statistics_read ON pipeline.feature_statistics;
CREATE POLICY feature_statistics_read ON pipeline.feature_statistics FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.feature_statistics TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.features(spine text, entity text[],
    event_time text, features jsonb, as_of timestamptz DEFAULT NULL)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100000
  AS 'MODULE_PATHNAME', 'pipeline_features';
COMMENT ON FUNCTION pipeline.features(text, text[], text, jsonb, timestamptz) IS
'For every row of the spine (a table, view or query), its columns and then one column per feature: an aggregate over the events of the same entity in a window around the row''s event time. Nothing is stored. entity: columns that name the entity; event_time: timestamp with or without time zone, date, or bigint in seconds since 1970; features: a JSON array of objects with the keys of add_feature()''s arguments; as_of: rows and events at or after it do not exist (NULL: no limit). Each source is read once, with the caller''s privileges, search_path and TimeZone. Rows of one entity come together, in order of time. The column definition list to follow AS is given by features_columns() with the same arguments. Rows with NULL in the entity or the event time are left out, with a NOTICE that counts them. Errors: 42703, 42P01 unknown names; 42804 types that do not fit, or another column definition list; 22023 unknown keys or values; 0A000 options not available yet.';

CREATE OR REPLACE FUNCTION pipeline.features_columns(spine text, entity text[],
    event_time text, features jsonb, as_of timestamptz DEFAULT NULL)
  RETURNS text
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_features_columns';
COMMENT ON FUNCTION pipeline.features_columns(text, text[], text, jsonb, timestamptz) IS
'The column definition list to paste after AS for a call of features() with the same arguments. Reads no row. Errors: as features().';

CREATE OR REPLACE FUNCTION pipeline.create_feature_set(name text, spine text,
    entity text[], event_time text, target text DEFAULT NULL,
    spine_key text[] DEFAULT NULL, knowledge_time text DEFAULT NULL,
    timezone text DEFAULT 'UTC', labels jsonb DEFAULT '{}',
    or_replace boolean DEFAULT false, description text DEFAULT NULL)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_feature_set';
COMMENT ON FUNCTION pipeline.create_feature_set(text, text, text[], text, text, text[], text, text, jsonb, boolean, text) IS
'Register a feature set. spine: the table, view or query whose rows get features; entity: its columns that name the entity; event_time: its column with the time; target: the table to keep, made by the first refresh when missing (NULL: named like the set, in the first schema of the search_path); timezone: that of days and months in lookbacks (dates in the definition are read as year, month, day); or_replace: replace a set of that name whole, its features included, and keep its target and history. The caller becomes the owner; its search_path is kept for later refreshes. knowledge_time: a column of every source, with the time at which the event became known: where the window does not look ahead, an event counts for a row only if it was known by the rows time (before it where the right end is open), and with as_of only if known before that (NULL: events are known when they happen). spine_key: columns that identify a row of the spine; with them a refresh writes only rows that differ, and computes only rows that can have changed where it can tell (NULL: a refresh writes its interval anew). Errors: 42710 duplicate; 42501 not the owner of the replaced; 42703, 42P01, 42804 as features(); 42701 a column named as_of; 55006 a target that another set keeps; 22023 bad time zone.';

CREATE OR REPLACE FUNCTION pipeline.add_feature(set text, feature text,
    source text, aggregate text, lookback interval,
    lookahead interval DEFAULT '0', value text DEFAULT NULL,
    closed text DEFAULT 'left', filter text DEFAULT NULL,
    entity text[] DEFAULT NULL, event_time text DEFAULT NULL,
    align text DEFAULT NULL, by text DEFAULT NULL, args jsonb DEFAULT '{}',
    default_value text DEFAULT NULL)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_add_feature';
COMMENT ON FUNCTION pipeline.add_feature(text, text, text, text, interval, interval, text, text, text, text[], text, text, text, jsonb, text) IS
'Add a feature to a set: an aggregate over the events of a source with the same entity in [t - lookback, t + lookahead), where t is the row''s event time: a lookback of 0 and a lookahead of 1 day are the day after it, a negative lookahead leaves a gap before it. aggregate: count, exists, rate, sum, avg, min, max, stddev, variance, percentile, count_distinct, approx_count_distinct, first, last, last_k, top_k, time_since_first, time_since_last, decayed_sum, or the name of an aggregate function that has a combine or an inverse transition function. align: second, minute, hour, day, week, month, quarter or year: t is first set back to the start of that unit, as by date_trunc(), and lookback and lookahead must be whole units (NULL: it is not). value: expression over the source''s columns (needed but for count, exists, rate and the times since; there, only rows in which it is not NULL count); closed: which ends of the window count, left, right, both or none; filter: condition over the source''s columns; entity, event_time: the source''s columns, where they are named otherwise than the spine''s; default_value: result of an empty window (else 0 for counts and rates, false for exists, {} for maps, NULL). by: expression over whose values the feature is spread: a jsonb object with a key for each value that the window has; or, with args {"values": ["a", "b"]}, a column feature_a and a column feature_b. args: last_k and top_k: {"k": number}; rate: {"per": "1 hour"}, events per that time, 1 second by default; percentile: {"fraction": 0.5}, and {"method": "disc"} for a value that is there instead of one between two; decayed_sum: {"half_life": "7 days"}, the time before t at which a value counts half; approx_count_distinct: {"precision": 10}, two to that power registers of HyperLogLog, 4 to 16; an aggregate function by name: {"arguments": ["x"]}, the expressions that follow the value in a call, so that value y and aggregate corr are corr(y, x). Types: counts bigint; sum, avg, stddev and variance (of the sample) as PostgreSQL''s; min, max, first and last the value''s; exists boolean; times since interval; rate and decayed_sum double precision, as is the interpolated percentile but of intervals; last_k (latest first) and top_k (most frequent first, then least) arrays of the value''s. Of events of one time, first is the one with the least value and last the one with the greatest. Errors: 42704 no such set; 42501 not its owner; 42710 duplicate; 42703, 42P01, 42804 as features(); 22023 bad value; 0A000 an aggregate function that cannot slide.';

CREATE OR REPLACE FUNCTION pipeline.drop_feature(set text, feature text)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_feature';
COMMENT ON FUNCTION pipeline.drop_feature(text, text) IS
'Drop a feature from a set. Its column stays in the target, and is NULL in rows refreshed from then on. Errors: 42704 no such set or feature; 42501 not the owner.';

CREATE OR REPLACE FUNCTION pipeline.drop_feature_set(set text,
    drop_target boolean DEFAULT false)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_feature_set';
COMMENT ON FUNCTION pipeline.drop_feature_set(text, boolean) IS
'Drop a feature set and its features; the history of its refreshes stays. drop_target: drop the target table too, if it exists, with the owner''s privileges. Errors: 42704 no such set; 42501 not the owner; 2BP01 other objects depend on the target.';

CREATE OR REPLACE FUNCTION pipeline.refresh_features(set text,
    from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL,
    as_of timestamptz DEFAULT NULL)
  RETURNS pipeline.feature_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_refresh_features';
COMMENT ON FUNCTION pipeline.refresh_features(text, timestamptz, timestamptz, timestamptz) IS
'Compute a set''s features for the spine''s rows in [from_time, to_time) (NULL: no limit), and replace the target''s rows of that interval by them. as_of: rows and events at or after it, and events known at or after it, do not exist; it is kept in each row. The target is made when missing; a full refresh adds the columns of features that it lacks. Refreshing again leaves the same rows. Refreshes of one set wait for each other. Runs with the privileges and search_path of the set''s owner, in the set''s time zone. Errors: 42704 no such set; 42501 not its owner, or the owner lacks a privilege; 22023 to_time not after from_time, or a set without features; 42804 a column of the target of another type; 42703 a column that a partial refresh does not add; 40001 a concurrent refresh under REPEATABLE READ.';

CREATE OR REPLACE FUNCTION pipeline.materialize_features(set text, spine text,
    target text, as_of timestamptz DEFAULT NULL)
  RETURNS pipeline.feature_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_materialize_features';
COMMENT ON FUNCTION pipeline.materialize_features(text, text, text, timestamptz) IS
'Compute a set''s features over another spine, with the same columns for entity and event time, and put the rows into a table: what a model is trained on is made by the definitions that serve it. spine: a table, view or query; target: a table that no set keeps, made when missing, whose rows are replaced. Names are looked up with the search_path of the set, and read and written with the privileges of its owner. as_of: as refresh_features(). Errors: as refresh_features(); 42501 not a member of the set''s owner; 55006 a target that a set keeps.';

CREATE OR REPLACE FUNCTION pipeline.latest_features(set text, entity jsonb)
  RETURNS jsonb
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_latest_features';
COMMENT ON FUNCTION pipeline.latest_features(text, jsonb) IS
'The last row of an entity in a set''s target, all its columns, as jsonb; NULL if there is none. entity: an object with the set''s entity columns. Reads the target only, by its index. Runs with the privileges of the set''s owner. Errors: 42704 no such set; 42501 not its owner; 42P01 the target was not made yet; 22023 keys that are not the entity.';

CREATE OR REPLACE FUNCTION pipeline.current_features(set text, entity jsonb,
    at_time timestamptz DEFAULT now())
  RETURNS jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_current_features';
COMMENT ON FUNCTION pipeline.current_features(text, jsonb, timestamptz) IS
'The features of a set, computed for one entity as if the spine had a row of it at that time: an object with a key for each feature. entity: an object with the set''s entity columns. The sources are asked for that entity only, so indexes on it and the event time serve. Runs with the privileges, search_path and time zone of the set. Errors: 42704 no such set; 42501 not its owner; 22023 keys that are not the entity, or a set without features.';

CREATE OR REPLACE FUNCTION pipeline.explain_features(set text)
  RETURNS TABLE (step text, source text, way text, rows_read bigint, rows_kept bigint, ms float8)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_explain_features';
COMMENT ON FUNCTION pipeline.explain_features(text) IS
'Compute a set over its whole spine, write nothing, and say how it went: a row for the spine, one for each stream of events (a source is read once for each distinct entity and event time) and one for the computation. way: direct scan, or what the executor did; for the computation, its features, windows, entities, groups of events that were not in order of time, and bytes spilled. rows_kept: rows and events that were kept in memory or files; ms: milliseconds. Errors: 42704 no such set; 42501 not its owner.';

CREATE OR REPLACE FUNCTION pipeline.verify_features(set text, sample int DEFAULT 100)
  RETURNS TABLE (feature text, column_name text, rows_checked bigint, rows_wrong bigint, example jsonb)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_verify_features';
COMMENT ON FUNCTION pipeline.verify_features(text, int) IS
'Compute rows of a set''s target again in plain SQL, one correlated subquery for each feature, and compare. sample: how many rows, taken at random for each column. rows_wrong: those that differ, because an event came after the refresh or the target was written by somebody else; example: one of them, and the value that it should have. Numbers in double precision may differ by a millionth, approximate counts by five standard errors. rows_checked is NULL where there is no way to compare: floats, approximate counts and top_k spread in a map. An index on entity and event time of the sources helps. Errors: 42704 no such set; 42501 not its owner; 42P01 no target yet; 22023 bad sample.';

CREATE OR REPLACE FUNCTION pipeline.last_complete(unit text,
    before timestamptz DEFAULT now(), timezone text DEFAULT 'UTC')
  RETURNS tstzrange
  LANGUAGE sql STABLE STRICT PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
  AS $$ SELECT tstzrange((date_trunc(unit, before AT TIME ZONE timezone) - CASE unit WHEN 'quarter' THEN interval '3 months' ELSE ('1 ' || unit)::interval END) AT TIME ZONE timezone,
                         date_trunc(unit, before AT TIME ZONE timezone) AT TIME ZONE timezone) $$;
COMMENT ON FUNCTION pipeline.last_complete(text, timestamptz, text) IS
'The last whole unit (hour, day, week, month, quarter, year, ...) that ended at or before a time, in a time zone: with its lower and upper bound a refresh covers the last complete week. Errors: 22023 unknown unit or time zone.';

CREATE OR REPLACE FUNCTION pipeline.feature_backends(OUT pid int, OUT role regrole, OUT set_hash bigint, OUT phase text, OUT done bigint, OUT total bigint)
RETURNS SETOF record LANGUAGE c STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'pipeline_feature_backends';
COMMENT ON FUNCTION pipeline.feature_backends() IS
'How far the computations of features of this database are that you may see: those of roles whose privileges you have, or all with pg_read_all_stats. Behind the view feature_progress.';

CREATE OR REPLACE FUNCTION pipeline.feature_name_hash(name text)
RETURNS bigint LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'pipeline_feature_name_hash';
COMMENT ON FUNCTION pipeline.feature_name_hash(text) IS
'The hash of the name of a feature set as feature_backends() gives it.';

CREATE OR REPLACE VIEW pipeline.feature_progress
  WITH (security_invoker = true) AS
SELECT b.pid, s.name AS feature_set, b.role, b.phase, b.done, b.total
FROM pipeline.feature_backends() b
LEFT JOIN pipeline.feature_sets s ON pipeline.feature_name_hash(s.name) OPERATOR(pg_catalog.=) b.set_hash;
GRANT SELECT ON pipeline.feature_progress TO PUBLIC;
COMMENT ON VIEW pipeline.feature_progress IS
'Computations of features that run now: refreshes, materialize_features() and features(). A task that runs one reports the same as its progress.';
COMMENT ON COLUMN pipeline.feature_progress.pid IS 'Process that computes.';
COMMENT ON COLUMN pipeline.feature_progress.feature_set IS 'Set that is refreshed; NULL: features(), or a set that you may not see.';
COMMENT ON COLUMN pipeline.feature_progress.role IS 'Role of its session.';
COMMENT ON COLUMN pipeline.feature_progress.phase IS 'starting; searching for changes, reading the spine, reading events (counted in blocks of tables, or in rows kept of views and queries; once for every source); computing (in entities); writing (in rows). Then an index may be built: see pg_stat_progress_create_index.';
COMMENT ON COLUMN pipeline.feature_progress.done IS 'How many of these are done.';
COMMENT ON COLUMN pipeline.feature_progress.total IS 'How many there are; NULL: not known.';

CREATE OR REPLACE VIEW pipeline.feature_catalog
  WITH (security_invoker = true) AS
SELECT f.feature_set, f.feature, f.position, s.owner, f.aggregate, f.value,
  f.source, f.lookback, f.lookahead, f.align, f.closed, f.filter,
  coalesce(f.entity, s.entity) AS entity,
  coalesce(f.event_time, s.event_time) AS event_time, f.default_value,
  f.by, f.args, f.result_type, s.knowledge_time, s.spine, s.target, s.timezone, s.labels, s.description,
  r.refresh_id AS last_refresh_id, r.finished_at AS last_refreshed_at,
  r.as_of AS last_as_of, r.rows_computed AS last_rows,
  clock_timestamp() - r.finished_at AS freshness,
  r.null_rate, r.drift
FROM pipeline.features f
JOIN pipeline.feature_sets s ON s.name OPERATOR(pg_catalog.=) f.feature_set
LEFT JOIN LATERAL (
  SELECT r.refresh_id, r.finished_at, r.as_of, r.rows_computed, x.null_rate, x.drift
  FROM pipeline.feature_refreshes r
  LEFT JOIN LATERAL (
    SELECT sum(t.nulls)::float8 / nullif(sum(t.rows), 0)::float8 AS null_rate,
      max(abs(t.mean - p.mean) / nullif(p.stddev, 0)) AS drift
    FROM pipeline.feature_statistics t
    LEFT JOIN LATERAL (
      SELECT p.mean, p.stddev FROM pipeline.feature_statistics p
      JOIN pipeline.feature_refreshes q ON q.refresh_id = p.refresh_id AND q.target = s.target
      WHERE p.feature_set = t.feature_set AND p.feature = t.feature AND p.column_name = t.column_name
        AND p.refresh_id < t.refresh_id
      ORDER BY p.refresh_id DESC LIMIT 1) p ON true
    WHERE t.refresh_id = r.refresh_id AND t.feature = f.feature) x ON true
  WHERE r.feature_set = f.feature_set AND r.target = s.target
    AND r.finished_at >= f.created_at
  ORDER BY r.refresh_id DESC LIMIT 1) r ON true;
GRANT SELECT ON pipeline.feature_catalog TO PUBLIC;
COMMENT ON VIEW pipeline.feature_catalog IS
'Every feature that you may see: its definition, its owner, and the last refresh since it was added.';
COMMENT ON COLUMN pipeline.feature_catalog.feature_set IS 'Set that it belongs to.';
COMMENT ON COLUMN pipeline.feature_catalog.feature IS 'Name of the feature, and of its column.';
COMMENT ON COLUMN pipeline.feature_catalog.position IS 'Order of the features of a set.';
COMMENT ON COLUMN pipeline.feature_catalog.owner IS 'Owner of the set.';
COMMENT ON COLUMN pipeline.feature_catalog.aggregate IS 'What is made of the events: see add_feature().';
COMMENT ON COLUMN pipeline.feature_catalog.value IS 'Expression that is aggregated; NULL: rows are.';
COMMENT ON COLUMN pipeline.feature_catalog.source IS 'Source of the events.';
COMMENT ON COLUMN pipeline.feature_catalog.lookback IS 'How far before the row''s time the window starts.';
COMMENT ON COLUMN pipeline.feature_catalog.lookahead IS 'How far after the row''s time the window ends; negative: before it.';
COMMENT ON COLUMN pipeline.feature_catalog.align IS 'Unit to whose start the row''s time is set back first; NULL: none.';
COMMENT ON COLUMN pipeline.feature_catalog.closed IS 'Which ends of the window count.';
COMMENT ON COLUMN pipeline.feature_catalog.filter IS 'Condition on the events; NULL: every event counts.';
COMMENT ON COLUMN pipeline.feature_catalog.entity IS 'Columns of the source that name the entity.';
COMMENT ON COLUMN pipeline.feature_catalog.event_time IS 'Column of the source with the event''s time.';
COMMENT ON COLUMN pipeline.feature_catalog.default_value IS 'Value for an empty window; NULL: the aggregate''s own.';
COMMENT ON COLUMN pipeline.feature_catalog.by IS 'Expression over whose values the feature is spread; NULL: it is not.';
COMMENT ON COLUMN pipeline.feature_catalog.args IS 'Options of the aggregate.';
COMMENT ON COLUMN pipeline.feature_catalog.result_type IS 'Type of the column.';
COMMENT ON COLUMN pipeline.feature_catalog.knowledge_time IS 'Column of the source with the time at which the event became known; NULL: when it happened.';
COMMENT ON COLUMN pipeline.feature_catalog.spine IS 'Source of the rows that get the feature.';
COMMENT ON COLUMN pipeline.feature_catalog.target IS 'Table that holds the result.';
COMMENT ON COLUMN pipeline.feature_catalog.timezone IS 'Time zone of days and months.';
COMMENT ON COLUMN pipeline.feature_catalog.labels IS 'Labels of the set.';
COMMENT ON COLUMN pipeline.feature_catalog.description IS 'Description of the set.';
COMMENT ON COLUMN pipeline.feature_catalog.last_refresh_id IS 'Last refresh since the feature was added; NULL: none.';
COMMENT ON COLUMN pipeline.feature_catalog.last_refreshed_at IS 'When that was done.';
COMMENT ON COLUMN pipeline.feature_catalog.last_as_of IS 'Its as_of.';
COMMENT ON COLUMN pipeline.feature_catalog.freshness IS 'How long ago that was.';
COMMENT ON COLUMN pipeline.feature_catalog.null_rate IS 'Which part of its rows has no value.';
COMMENT ON COLUMN pipeline.feature_catalog.drift IS 'How far its mean is from that of the refresh before, in standard deviations of that; of several columns, the farthest.';
COMMENT ON COLUMN pipeline.feature_catalog.last_rows IS 'How many rows it computed.';

CREATE OR REPLACE FUNCTION pipeline.alter_feature_set(set text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_feature_set(text, jsonb) IS
'Change some of the definition of a feature set. changes: a JSON object whose keys are arguments of create_feature_set(); null sets one back to its default, what is not named stays. Its features and its search_path stay. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_feature_set().';

CREATE OR REPLACE FUNCTION pipeline.alter_feature(set text, feature text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_feature(text, text, jsonb) IS
'Change some of the definition of a feature. changes: a JSON object whose keys are arguments of add_feature(); null sets one back to its default, what is not named stays. It moves to the end of the sets features; its column stays where it is. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of add_feature().';

/* ---- rollups ---- */

DROP POLICY IF EXISTS rollups_read ON pipeline.rollups;
CREATE POLICY rollups_read ON pipeline.rollups FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.rollups TO PUBLIC;

DROP POLICY IF EXISTS late_rows_read ON pipeline.late_rows;
CREATE POLICY late_rows_read ON pipeline.late_rows FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.late_rows TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.not_seen_by(xmin xid, cmin cid, snapshot text)
  RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_not_seen_by';
COMMENT ON FUNCTION pipeline.not_seen_by(xid, cid, text) IS
'Was a row version, given by its system columns xmin and cmin, not visible to a refresh yet? snapshot: as pipeline.rollups keeps it. A snapshot older than a thousand million transactions has seen everything. Errors: 22023 not such a snapshot.';

CREATE OR REPLACE FUNCTION pipeline.create_rollup(name text, source text,
    event_time text, kind text, aggregates jsonb, width interval DEFAULT NULL,
    slide interval DEFAULT NULL, gap interval DEFAULT NULL,
    group_by text[] DEFAULT '{}', allowed_lateness interval DEFAULT '0',
    target text DEFAULT NULL, timezone text DEFAULT 'UTC',
    labels jsonb DEFAULT '{}', or_replace boolean DEFAULT false,
    description text DEFAULT NULL)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_rollup';
COMMENT ON FUNCTION pipeline.create_rollup(text, text, text, text, jsonb, interval, interval, interval, text[], interval, text, text, jsonb, boolean, text) IS
'Define a rollup: aggregates over windows of time, which refresh_rollup() keeps in a table. source: a table, view or query; event_time: its column with the time, as of feature sets; kind: tumbling (width), hopping (width and slide: windows overlap) or session (gap: events of a group that follow one another by no more than it); aggregates: an object of column names and aggregate expressions, such as {"players": "count(DISTINCT player_id)"}; group_by: expressions over the source''s columns, with AS where they are more than a column; allowed_lateness: how long after the latest event a window that has ended still takes events; target: the table to keep, made by the first refresh when missing (NULL: named like the rollup); timezone: that of windows of days and months, which start on the calendar, weeks on Monday; those of hours and less start at multiples since a midnight in UTC. The caller becomes the owner; its search_path is kept. or_replace: replace a rollup of that name; the next refresh computes everything. Errors: 42710 duplicate; 42501 not the owner of the replaced; 42703, 42P01, 42803 and the like as in SQL; 22023 arguments that do not fit the kind; 42701 a column twice; 55006 a target that is kept by another.';

CREATE OR REPLACE FUNCTION pipeline.alter_rollup(name text, changes jsonb)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_rollup(text, jsonb) IS
'Change some of the definition of a rollup. changes: a JSON object whose keys are arguments of create_rollup(); null sets one back to its default, what is not named stays. Its search_path stays. The next refresh computes everything by the new definition. Errors: 42704 when there is none that you may see, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_rollup().';

CREATE OR REPLACE FUNCTION pipeline.drop_rollup(name text, drop_target boolean DEFAULT false)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_rollup';
COMMENT ON FUNCTION pipeline.drop_rollup(text, boolean) IS
'Drop a rollup; its late rows stay. drop_target: drop the target table too, if it exists, with the owner''s privileges. Errors: 42704 no such rollup; 42501 not its owner; 2BP01 other objects depend on the target.';

CREATE OR REPLACE FUNCTION pipeline.refresh_rollup(name text)
  RETURNS pipeline.rollup_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_refresh_rollup';
COMMENT ON FUNCTION pipeline.refresh_rollup(text) IS
'Compute the windows of a rollup that are not closed and write those that differ into its target: window_start, window_end, complete (the watermark has passed its end), the groups, the aggregates. Then windows that ended allowed_lateness before the latest event are closed: rows that come for them afterwards are counted and kept in pipeline.late_rows. Refreshing again changes nothing. Refreshes of one rollup wait for each other. Runs with the privileges, search_path and time zone of the rollup. Errors: 42704 no such rollup; 42501 not its owner; 42703, 42804 a target that does not fit; 40001 a concurrent refresh under REPEATABLE READ.';
