/* feature: registered definitions and what was computed. */

CREATE TABLE pipeline.feature_sets (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  spine text NOT NULL,
  entity text[] NOT NULL,
  event_time text NOT NULL,
  knowledge_time text,
  target text NOT NULL,
  spine_key text[],
  timezone text NOT NULL,
  search_path text NOT NULL,
  labels jsonb NOT NULL DEFAULT '{}',
  description text,
  created_at timestamptz NOT NULL DEFAULT now(),
  refreshed_at timestamptz
);
COMMENT ON TABLE pipeline.feature_sets IS
'Registered feature sets: a spine, and a target table that refresh_features() keeps. The features are in pipeline.features.';
COMMENT ON COLUMN pipeline.feature_sets.name IS 'Name of the set.';
COMMENT ON COLUMN pipeline.feature_sets.owner IS
'Role that defined it: sources are read and the target is written with its privileges.';
COMMENT ON COLUMN pipeline.feature_sets.spine IS
'Source of the rows for which features are computed: a table, a view or a query.';
COMMENT ON COLUMN pipeline.feature_sets.entity IS
'Columns of the spine that say whose features they are.';
COMMENT ON COLUMN pipeline.feature_sets.event_time IS
'Column of the spine with the time at which they are computed.';
COMMENT ON COLUMN pipeline.feature_sets.knowledge_time IS
'Column of every source with the time at which the event became known; NULL: events are known when they happen.';
COMMENT ON COLUMN pipeline.feature_sets.target IS
'Table that holds the result, qualified and quoted.';
COMMENT ON COLUMN pipeline.feature_sets.spine_key IS
'Columns that identify a row of the spine: with them refreshes are incremental; NULL: a refresh writes all rows anew.';
COMMENT ON COLUMN pipeline.feature_sets.timezone IS
'Time zone of days and months in lookbacks, and of event times without one.';
COMMENT ON COLUMN pipeline.feature_sets.search_path IS
'The definer''s search_path, with which names in sources and expressions are looked up.';
COMMENT ON COLUMN pipeline.feature_sets.labels IS 'Labels, a JSON object.';
COMMENT ON COLUMN pipeline.feature_sets.description IS 'What the set is, in words.';
COMMENT ON COLUMN pipeline.feature_sets.created_at IS 'When it was created.';
COMMENT ON COLUMN pipeline.feature_sets.refreshed_at IS
'When its last refresh started; NULL before the first.';
CREATE INDEX feature_sets_owner ON pipeline.feature_sets (owner);
ALTER TABLE pipeline.feature_sets ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.feature_sets', '');

CREATE TABLE pipeline.features (
  feature_set text NOT NULL REFERENCES pipeline.feature_sets ON DELETE CASCADE,
  feature text NOT NULL,
  position int NOT NULL,
  owner regrole NOT NULL,
  source text NOT NULL,
  aggregate text NOT NULL,
  lookback interval NOT NULL,
  lookahead interval NOT NULL,
  align text,
  value text,
  closed text NOT NULL,
  filter text,
  entity text[],
  event_time text,
  default_value text,
  by text,
  args jsonb NOT NULL DEFAULT '{}',
  result_type text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (feature_set, feature)
);
COMMENT ON TABLE pipeline.features IS
'The features of registered sets: one aggregate over one window of one source.';
COMMENT ON COLUMN pipeline.features.feature_set IS 'Set that it belongs to.';
COMMENT ON COLUMN pipeline.features.feature IS
'Name of the feature, and of its column in the target.';
COMMENT ON COLUMN pipeline.features.position IS
'Order of the features of a set, rising; gaps are left by dropped ones.';
COMMENT ON COLUMN pipeline.features.owner IS 'Owner of the set.';
COMMENT ON COLUMN pipeline.features.source IS
'Source of the events: a table, a view or a query.';
COMMENT ON COLUMN pipeline.features.aggregate IS
'count, exists, sum, avg, min, max, stddev, variance, count_distinct, approx_count_distinct, first, last, last_k, top_k, time_since_first, time_since_last, rate, percentile, decayed_sum, or the name of an aggregate function.';
COMMENT ON COLUMN pipeline.features.lookback IS
'How far before the row''s time the window starts.';
COMMENT ON COLUMN pipeline.features.lookahead IS
'How far after the row''s time the window ends; negative: before it.';
COMMENT ON COLUMN pipeline.features.align IS
'Unit to whose start the row''s time is set back first: second, minute, hour, day, week, month, quarter or year; NULL: none.';
COMMENT ON COLUMN pipeline.features.value IS
'Expression over the source''s columns that is aggregated; NULL: rows are.';
COMMENT ON COLUMN pipeline.features.closed IS
'Which ends of the window count: left, right, both or none.';
COMMENT ON COLUMN pipeline.features.filter IS
'Condition over the source''s columns; NULL: every event counts.';
COMMENT ON COLUMN pipeline.features.entity IS
'Columns of the source that match the set''s entity, in its order; NULL: of the same names.';
COMMENT ON COLUMN pipeline.features.event_time IS
'Column of the source with the time of the event; NULL: of the same name as the set''s.';
COMMENT ON COLUMN pipeline.features.default_value IS
'Value for an empty window, as text; NULL: 0 for counts and rates, false for exists, {} for maps, NULL for the rest.';
COMMENT ON COLUMN pipeline.features.by IS
'Expression over the source''s columns over whose values the feature is spread; NULL: it is not.';
COMMENT ON COLUMN pipeline.features.args IS
'Options of the aggregate, and the values of "by" that become columns, a JSON object.';
COMMENT ON COLUMN pipeline.features.result_type IS 'Type of the column.';
COMMENT ON COLUMN pipeline.features.created_at IS 'When it was added.';
CREATE INDEX features_owner ON pipeline.features (owner);
ALTER TABLE pipeline.features ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.features', '');

CREATE TABLE pipeline.feature_refreshes (
  refresh_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  feature_set text NOT NULL,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  from_time timestamptz,
  to_time timestamptz,
  as_of timestamptz,
  features int NOT NULL,
  rows_read bigint NOT NULL,
  rows_computed bigint NOT NULL,
  rows_rejected bigint NOT NULL,
  rows_beyond_as_of bigint NOT NULL,
  rows_deleted bigint NOT NULL,
  events_read bigint NOT NULL,
  events_used bigint NOT NULL,
  events_rejected bigint NOT NULL,
  events_unknown bigint NOT NULL,
  events_unreached bigint NOT NULL,
  events_filtered bigint NOT NULL,
  spilled_bytes bigint NOT NULL,
  read_ms float8 NOT NULL,
  compute_ms float8 NOT NULL,
  write_ms float8 NOT NULL,
  total_ms float8 NOT NULL,
  target text NOT NULL,
  incremental boolean NOT NULL,
  rows_unchanged bigint NOT NULL,
  rows_inserted bigint NOT NULL,
  rows_updated bigint NOT NULL,
  watermark jsonb,
  blocks jsonb
);
COMMENT ON TABLE pipeline.feature_refreshes IS
'One row per refresh that succeeded, kept when the set is dropped. rows_read = rows_computed + rows_rejected + rows_beyond_as_of + rows_unchanged; events_read = events_used + events_rejected + events_unknown + events_unreached + events_filtered.';
COMMENT ON COLUMN pipeline.feature_refreshes.refresh_id IS 'Number of the refresh.';
COMMENT ON COLUMN pipeline.feature_refreshes.feature_set IS 'Name of the set.';
COMMENT ON COLUMN pipeline.feature_refreshes.owner IS 'Owner of the set.';
COMMENT ON COLUMN pipeline.feature_refreshes.role IS 'The session''s role: who refreshed it.';
COMMENT ON COLUMN pipeline.feature_refreshes.started_at IS 'When it started.';
COMMENT ON COLUMN pipeline.feature_refreshes.finished_at IS 'When it was done; its transaction commits later.';
COMMENT ON COLUMN pipeline.feature_refreshes.from_time IS 'First time refreshed; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_refreshes.to_time IS 'Time before which it ended; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_refreshes.as_of IS 'Rows and events at or after it did not exist; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_refreshes.features IS 'How many features were computed for each row.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_read IS 'Rows of the spine read.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_computed IS 'Of these: computed and written to the target.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_rejected IS 'Of these: left out for NULL in the entity or the event time.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_beyond_as_of IS 'Of these: left out because at or after as_of.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_deleted IS 'Rows of the target that the refresh replaced or removed.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_read IS 'Events read from all sources, within the time that any window can reach.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_used IS 'Of these: kept to be aggregated.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_rejected IS 'Of these: dropped for NULL in the entity, the event time or the knowledge time.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_unknown IS 'Of these: dropped because the spine has no row of their entity.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_unreached IS 'Of these: dropped because no row of their entity reaches them.';
COMMENT ON COLUMN pipeline.feature_refreshes.events_filtered IS 'Of these: dropped because no feature''s filter and value want them.';
COMMENT ON COLUMN pipeline.feature_refreshes.spilled_bytes IS 'Bytes written to temporary files because work_mem times hash_mem_multiplier was not enough; written again, counted again.';
COMMENT ON COLUMN pipeline.feature_refreshes.read_ms IS 'Milliseconds spent reading the spine and the sources.';
COMMENT ON COLUMN pipeline.feature_refreshes.compute_ms IS 'Milliseconds spent grouping, sliding and aggregating.';
COMMENT ON COLUMN pipeline.feature_refreshes.write_ms IS 'Milliseconds spent on the target.';
COMMENT ON COLUMN pipeline.feature_refreshes.total_ms IS 'Milliseconds in all.';
COMMENT ON COLUMN pipeline.feature_refreshes.target IS 'Table that was written: the set''s, or that of materialize_features().';
COMMENT ON COLUMN pipeline.feature_refreshes.incremental IS 'Whether only rows that can have changed were computed.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_unchanged IS 'Rows of the spine read that cannot have changed since the last refresh.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_inserted IS 'Rows of the target that were written.';
COMMENT ON COLUMN pipeline.feature_refreshes.rows_updated IS 'Rows of the target that got new values for changed features only.';
COMMENT ON COLUMN pipeline.feature_refreshes.watermark IS 'What the next refresh compares with to be incremental: the oldest transaction then running, digests of the definitions, and the number of older rows of each table; NULL: nothing to compare with.';
COMMENT ON COLUMN pipeline.feature_refreshes.blocks IS 'What the next refresh need not read again: for each table, by ranges of blocks, how many rows there are and between which times, and the place in the write-ahead log up to which that holds. Only the last refresh of a set and target has it.';
CREATE INDEX feature_refreshes_set ON pipeline.feature_refreshes (feature_set, refresh_id);
ALTER TABLE pipeline.feature_refreshes ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.feature_refreshes', '');
SELECT pg_extension_config_dump('pipeline.feature_refreshes_refresh_id_seq', '');

CREATE TABLE pipeline.feature_statistics (
  refresh_id bigint NOT NULL REFERENCES pipeline.feature_refreshes ON DELETE CASCADE,
  feature_set text NOT NULL,
  owner regrole NOT NULL,
  feature text NOT NULL,
  column_name text NOT NULL,
  rows bigint NOT NULL,
  nulls bigint NOT NULL,
  mean float8,
  stddev float8,
  PRIMARY KEY (refresh_id, column_name)
);
COMMENT ON TABLE pipeline.feature_statistics IS
'What the values of each feature were like in each refresh, of the rows that it computed.';
COMMENT ON COLUMN pipeline.feature_statistics.refresh_id IS 'The refresh.';
COMMENT ON COLUMN pipeline.feature_statistics.feature_set IS 'Name of the set.';
COMMENT ON COLUMN pipeline.feature_statistics.owner IS 'Owner of the set.';
COMMENT ON COLUMN pipeline.feature_statistics.feature IS 'Name of the feature.';
COMMENT ON COLUMN pipeline.feature_statistics.column_name IS 'Name of its column: another one where it is spread over columns.';
COMMENT ON COLUMN pipeline.feature_statistics.rows IS 'Rows computed.';
COMMENT ON COLUMN pipeline.feature_statistics.nulls IS 'Of these: without a value.';
COMMENT ON COLUMN pipeline.feature_statistics.mean IS 'Mean of the finite numbers; false counts 0 and true 1; NULL: there are none.';
COMMENT ON COLUMN pipeline.feature_statistics.stddev IS 'Standard deviation of the sample of these.';
CREATE INDEX feature_statistics_feature ON pipeline.feature_statistics (feature_set, feature, refresh_id);
ALTER TABLE pipeline.feature_statistics ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.feature_statistics', '');

CREATE TYPE pipeline.feature_result AS (
  refresh_id bigint,
  feature_set text,
  target text,
  features int,
  incremental boolean,
  rows_read bigint,
  rows_computed bigint,
  rows_rejected bigint,
  rows_beyond_as_of bigint,
  rows_unchanged bigint,
  rows_deleted bigint,
  rows_inserted bigint,
  rows_updated bigint,
  events_read bigint,
  events_used bigint,
  events_rejected bigint,
  events_unknown bigint,
  events_unreached bigint,
  events_filtered bigint,
  spilled_bytes bigint,
  from_time timestamptz,
  to_time timestamptz,
  as_of timestamptz,
  read_ms float8,
  compute_ms float8,
  write_ms float8,
  total_ms float8
);
COMMENT ON TYPE pipeline.feature_result IS
'What a refresh did. rows_read = rows_computed + rows_rejected + rows_beyond_as_of + rows_unchanged; events_read = events_used + events_rejected + events_unknown + events_unreached + events_filtered.';
COMMENT ON COLUMN pipeline.feature_result.refresh_id IS 'Number of the refresh, as in pipeline.feature_refreshes.';
COMMENT ON COLUMN pipeline.feature_result.feature_set IS 'Name of the set.';
COMMENT ON COLUMN pipeline.feature_result.target IS 'Table that was written.';
COMMENT ON COLUMN pipeline.feature_result.features IS 'How many features were computed for each row.';
COMMENT ON COLUMN pipeline.feature_result.incremental IS 'Whether only rows that can have changed were computed.';
COMMENT ON COLUMN pipeline.feature_result.rows_unchanged IS 'Rows of the spine read that cannot have changed since the last refresh.';
COMMENT ON COLUMN pipeline.feature_result.rows_inserted IS 'Rows of the target that were written.';
COMMENT ON COLUMN pipeline.feature_result.rows_updated IS 'Rows of the target that got new values for changed features only.';
COMMENT ON COLUMN pipeline.feature_result.rows_read IS 'Rows of the spine read.';
COMMENT ON COLUMN pipeline.feature_result.rows_computed IS 'Of these: computed and written to the target.';
COMMENT ON COLUMN pipeline.feature_result.rows_rejected IS 'Of these: left out for NULL in the entity or the event time.';
COMMENT ON COLUMN pipeline.feature_result.rows_beyond_as_of IS 'Of these: left out because at or after as_of.';
COMMENT ON COLUMN pipeline.feature_result.rows_deleted IS 'Rows of the target that the refresh replaced or removed.';
COMMENT ON COLUMN pipeline.feature_result.events_read IS 'Events read from all sources, within the time that any window can reach.';
COMMENT ON COLUMN pipeline.feature_result.events_used IS 'Of these: kept to be aggregated.';
COMMENT ON COLUMN pipeline.feature_result.events_rejected IS 'Of these: dropped for NULL in the entity, the event time or the knowledge time.';
COMMENT ON COLUMN pipeline.feature_result.events_unknown IS 'Of these: dropped because the spine has no row of their entity.';
COMMENT ON COLUMN pipeline.feature_result.events_unreached IS 'Of these: dropped because no row of their entity reaches them.';
COMMENT ON COLUMN pipeline.feature_result.events_filtered IS 'Of these: dropped because no feature''s filter and value want them.';
COMMENT ON COLUMN pipeline.feature_result.spilled_bytes IS 'Bytes written to temporary files because work_mem times hash_mem_multiplier was not enough.';
COMMENT ON COLUMN pipeline.feature_result.from_time IS 'First time refreshed; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_result.to_time IS 'Time before which it ended; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_result.as_of IS 'Rows and events at or after it did not exist; NULL: no limit.';
COMMENT ON COLUMN pipeline.feature_result.read_ms IS 'Milliseconds spent reading the spine and the sources.';
COMMENT ON COLUMN pipeline.feature_result.compute_ms IS 'Milliseconds spent grouping, sliding and aggregating.';
COMMENT ON COLUMN pipeline.feature_result.write_ms IS 'Milliseconds spent on the target.';
COMMENT ON COLUMN pipeline.feature_result.total_ms IS 'Milliseconds in all.';

CREATE TABLE pipeline.rollups (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  source text NOT NULL,
  event_time text NOT NULL,
  kind text NOT NULL,
  aggregates jsonb NOT NULL,
  width interval,
  slide interval,
  gap interval,
  group_by text[] NOT NULL,
  allowed_lateness interval NOT NULL,
  target text NOT NULL,
  timezone text NOT NULL,
  search_path text NOT NULL,
  labels jsonb NOT NULL DEFAULT '{}',
  description text,
  created_at timestamptz NOT NULL DEFAULT now(),
  refreshed_at timestamptz,
  watermark timestamptz,
  closed_before timestamptz,
  snapshot text
);
COMMENT ON TABLE pipeline.rollups IS
'Aggregates over windows of time that refresh_rollup() keeps in tables.';
COMMENT ON COLUMN pipeline.rollups.name IS 'Name of the rollup.';
COMMENT ON COLUMN pipeline.rollups.owner IS 'Role that defined it: the source is read and the target written with its privileges.';
COMMENT ON COLUMN pipeline.rollups.source IS 'Source of the events: a table, a view or a query.';
COMMENT ON COLUMN pipeline.rollups.event_time IS 'Column of the source with the time of the event.';
COMMENT ON COLUMN pipeline.rollups.kind IS 'tumbling, hopping or session, as Apache Flink names them.';
COMMENT ON COLUMN pipeline.rollups.aggregates IS 'Columns of the target and the aggregate expressions that they hold.';
COMMENT ON COLUMN pipeline.rollups.width IS 'How long a tumbling or hopping window is.';
COMMENT ON COLUMN pipeline.rollups.slide IS 'How far apart hopping windows start.';
COMMENT ON COLUMN pipeline.rollups.gap IS 'How long without an event ends a session.';
COMMENT ON COLUMN pipeline.rollups.group_by IS 'Expressions by which events are grouped, with AS where they are more than a column.';
COMMENT ON COLUMN pipeline.rollups.allowed_lateness IS 'How long after the watermark has passed its end a window still takes events.';
COMMENT ON COLUMN pipeline.rollups.target IS 'Table that holds the windows, qualified and quoted.';
COMMENT ON COLUMN pipeline.rollups.timezone IS 'Time zone of windows of days and months, and of event times without one.';
COMMENT ON COLUMN pipeline.rollups.search_path IS 'The definer''s search_path, with which names are looked up.';
COMMENT ON COLUMN pipeline.rollups.labels IS 'Labels, a JSON object.';
COMMENT ON COLUMN pipeline.rollups.description IS 'What the rollup is, in words.';
COMMENT ON COLUMN pipeline.rollups.created_at IS 'When it was created.';
COMMENT ON COLUMN pipeline.rollups.refreshed_at IS 'When its last refresh started; NULL before the first.';
COMMENT ON COLUMN pipeline.rollups.watermark IS 'The latest event time seen: windows that ended by it are complete.';
COMMENT ON COLUMN pipeline.rollups.closed_before IS 'The watermark less the allowed lateness: windows that ended by it are closed.';
COMMENT ON COLUMN pipeline.rollups.snapshot IS 'What the last refresh saw, by which the next tells late rows.';
CREATE INDEX rollups_owner ON pipeline.rollups (owner);
ALTER TABLE pipeline.rollups ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.rollups', '');

CREATE TABLE pipeline.late_rows (
  late_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rollup text NOT NULL,
  owner regrole NOT NULL,
  noticed_at timestamptz NOT NULL DEFAULT now(),
  event_time timestamptz NOT NULL,
  row jsonb NOT NULL
);
COMMENT ON TABLE pipeline.late_rows IS
'Events that came after all of their windows were closed; no window has them. Kept when the rollup is dropped.';
COMMENT ON COLUMN pipeline.late_rows.late_row_id IS 'Number of the row.';
COMMENT ON COLUMN pipeline.late_rows.rollup IS 'Rollup that they came too late for.';
COMMENT ON COLUMN pipeline.late_rows.owner IS 'Owner of the rollup.';
COMMENT ON COLUMN pipeline.late_rows.noticed_at IS 'When the refresh that noticed it began its transaction.';
COMMENT ON COLUMN pipeline.late_rows.event_time IS 'Time of the event.';
COMMENT ON COLUMN pipeline.late_rows.row IS 'The row of the source.';
CREATE INDEX late_rows_rollup ON pipeline.late_rows (rollup, late_row_id);
ALTER TABLE pipeline.late_rows ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.late_rows', '');
SELECT pg_extension_config_dump('pipeline.late_rows_late_row_id_seq', '');

CREATE TYPE pipeline.rollup_result AS (
  rollup text,
  target text,
  rows_read bigint,
  rows_rejected bigint,
  late_rows bigint,
  windows bigint,
  windows_deleted bigint,
  windows_inserted bigint,
  watermark timestamptz,
  closed_before timestamptz,
  total_ms float8
);
COMMENT ON TYPE pipeline.rollup_result IS 'What a refresh of a rollup did.';
COMMENT ON COLUMN pipeline.rollup_result.rollup IS 'Name of the rollup.';
COMMENT ON COLUMN pipeline.rollup_result.target IS 'Table that was written.';
COMMENT ON COLUMN pipeline.rollup_result.rows_read IS 'Rows of the source.';
COMMENT ON COLUMN pipeline.rollup_result.rows_rejected IS 'Of these: without a time, or with an infinite one; no window has them.';
COMMENT ON COLUMN pipeline.rollup_result.late_rows IS 'Rows that came since the last refresh, after all of their windows were closed: kept in pipeline.late_rows. NULL: the source is no table, or too many transactions were running, so they cannot be told.';
COMMENT ON COLUMN pipeline.rollup_result.windows IS 'Windows that were computed: those that are not closed.';
COMMENT ON COLUMN pipeline.rollup_result.windows_deleted IS 'Rows of the target that were other, or are no more.';
COMMENT ON COLUMN pipeline.rollup_result.windows_inserted IS 'Rows of the target that were written.';
COMMENT ON COLUMN pipeline.rollup_result.watermark IS 'The latest event time seen.';
COMMENT ON COLUMN pipeline.rollup_result.closed_before IS 'Windows that ended by it are closed.';
COMMENT ON COLUMN pipeline.rollup_result.total_ms IS 'Milliseconds in all.';
