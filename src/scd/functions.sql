/* scd: dimensions. */

CREATE OR REPLACE FUNCTION pipeline.create_dimension(
  dimension text, source text, business_key text[], feed text,
  type2 text[] = NULL, type1 text[] = '{}', type0 text[] = '{}',
  type3 text[] = '{}', type6 text[] = '{}', hard_deletes text = 'ignore',
  effective_at text = NULL, operation text = NULL, sequence_by text = NULL,
  on_tie text = 'error', scope text[] = '{}', unknown_member boolean = true,
  initial_valid_from timestamptz = NULL, on_new_column text = 'fail',
  open_end text = 'infinity', names jsonb = '{}',
  max_delete_fraction float8 = 0.1, max_rejected_fraction float8 = 0,
  exact boolean = false, current_index boolean = false,
  temporal_key boolean = false, labels jsonb = '{}',
  or_replace boolean = false, description text = NULL)
  RETURNS regclass
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_dimension';
COMMENT ON FUNCTION pipeline.create_dimension(text, text, text[], text, text[], text[], text[], text[], text[], text, text, text, text, text, text[], boolean, timestamptz, text, text, jsonb, float8, float8, boolean, boolean, boolean, jsonb, boolean, text) IS
'Register a dimension, making its table when it is missing and checking it when it exists. source: a table, a view or one read-only query, read with the privileges and search_path of the caller of this function. business_key: the columns that identify a member. feed: snapshot (the source has all members), scoped_snapshot (all members of the values of scope that it contains), delta (absence means nothing) or cdc (events). type2 (NULL: all other columns): a change makes a new version; type1: it overwrites the current version; type0: the first value stays; type3: it overwrites, and previous_NAME keeps the value before; type6: a new version, and current_NAME of every version has the last value. hard_deletes: what a key missing from a snapshot means: ignore, invalidate (its version is closed) or new_record (and one that says is_deleted is opened). effective_at: source column that says since when a row is true. operation: source column that says I, U or D, or {"column": ..., "delete": [...], "upsert": [...]}; feed cdc. sequence_by: source column that orders rows of one key and instant. on_tie: two different rows of one key, instant and sequence are an error, or keep (the first stays, a delete beats an upsert). unknown_member: add surrogate key -1. initial_valid_from: valid_from of the first load. on_new_column: fail, ignore or add. open_end: valid_to of current versions: infinity, NULL or a timestamp. names: other names for surrogate_key, valid_from, valid_to, is_current, close_reason, merge_id, is_deleted, scd_id, updated_at; null: no such column. max_delete_fraction, max_rejected_fraction: guards, 0 to 1. exact: compare values even where fingerprints agree. current_index: a unique index on the current version of each key. temporal_key: valid_period, a range of time that no two versions of a key share, by a constraint (needs btree_gist). or_replace: change the definition of a registered dimension. Returns the table. Errors: 42710 registered already; 22023 bad argument; 42703, 42804, 55000 a table that does not fit. The types are Kimball''s, hard_deletes dbt''s, on_tie''s keep Spark''s.';

CREATE OR REPLACE FUNCTION pipeline.merge_dimension(
  dimension regclass, effective timestamptz = NULL, batch_id text = NULL,
  source text = NULL, on_replay text = 'skip',
  max_delete_fraction float8 = NULL)
  RETURNS pipeline.merge_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_merge_dimension';
COMMENT ON FUNCTION pipeline.merge_dimension(regclass, timestamptz, text, text, text, float8) IS
'Merge the source of a registered dimension into it. effective: the one time of the changes (NULL: the clock, read once the lock is held). batch_id: a name for the batch; a batch seen before is skipped (on_replay skip), an error (error), or, where its content differs, merged again as of the same time in place of what it said before (replace). source: another source for this once, read with the caller''s search_path. max_delete_fraction: another limit for this once, 0 to 1. Returns merge_result. Errors: 21000 two different rows for one key; 22000 too many keys missing; 22023 an effective time not after stored history; 42703 and 42804 a source that does not fit; 42710 a batch seen before; 40001 another merge is not visible to this transaction.';

CREATE OR REPLACE FUNCTION pipeline.merge_scd2(
  target regclass, source text, business_key text[], feed text,
  type2 text[] = NULL, type1 text[] = '{}', type0 text[] = '{}',
  type3 text[] = '{}', type6 text[] = '{}', hard_deletes text = 'ignore',
  effective_at text = NULL, operation text = NULL, sequence_by text = NULL,
  on_tie text = 'error', scope text[] = '{}', unknown_member boolean = true,
  initial_valid_from timestamptz = NULL, on_new_column text = 'fail',
  open_end text = 'infinity', names jsonb = '{}',
  max_delete_fraction float8 = 0.1, max_rejected_fraction float8 = 0,
  exact boolean = false, current_index boolean = false,
  temporal_key boolean = false, effective timestamptz = NULL,
  batch_id text = NULL, on_replay text = 'skip')
  RETURNS pipeline.merge_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_merge_scd2';
COMMENT ON FUNCTION pipeline.merge_scd2(regclass, text, text[], text, text[], text[], text[], text[], text[], text, text, text, text, text, text[], boolean, timestamptz, text, text, jsonb, float8, float8, boolean, boolean, boolean, timestamptz, text, text) IS
'Merge a source into a table once, without registering it: reads and writes as the caller. The arguments mean what they mean in create_dimension() and merge_dimension(); the table must have the columns that create_dimension() makes, and unknown_member says that surrogate key -1 is to be left alone. Feed cdc keeps the table NAME_events beside it, made as the caller. Returns merge_result. Errors: as merge_dimension().';

CREATE OR REPLACE FUNCTION pipeline.drop_dimension(
  dimension regclass, drop_table boolean = false)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_dimension';
COMMENT ON FUNCTION pipeline.drop_dimension(regclass, boolean) IS
'Forget a registered dimension. drop_table: drop its table too (and the table of events of a cdc dimension), with the record of its merges and its rejects; otherwise all three stay. Errors: 42704 not registered; 42501 not the owner; 2BP01 other objects depend on the table.';

CREATE OR REPLACE FUNCTION pipeline.alter_dimension(
  dimension regclass, changes jsonb)
  RETURNS regclass
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_dimension';
COMMENT ON FUNCTION pipeline.alter_dimension(regclass, jsonb) IS
'Change the definition of a dimension. changes: an object whose keys are arguments of create_dimension(); null gives back the default, a column that is put into another list leaves type2. A source that stays keeps the search_path of its definition. Checks what create_dimension() checks. Returns the table. Errors: 42704 not registered; 42501 not the owner; 22023 an unknown key.';

CREATE OR REPLACE FUNCTION pipeline.rebuild_dimension(
  dimension regclass, events text)
  RETURNS pipeline.merge_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_rebuild_dimension';
COMMENT ON FUNCTION pipeline.rebuild_dimension(regclass, text) IS
'Make the history of a dimension that has effective_at what these events tell, and nothing else. events: a table, a view or one read-only query with the columns of the source, read with the caller''s search_path. Versions that stay keep their surrogate keys. Returns merge_result. Errors: 22023 no effective_at; 21000 two different events of one key and instant.';

CREATE OR REPLACE FUNCTION pipeline.explain_merge(dimension regclass)
  RETURNS SETOF text
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_explain_merge';
COMMENT ON FUNCTION pipeline.explain_merge(regclass) IS
'Which way a merge would take: direct, direct read, executor or events, how each side is read and written, why, and the memory for it. Reads catalogues only. Errors: 42704 not registered; 42501 not the owner.';

CREATE OR REPLACE FUNCTION pipeline.dimension_changes(
  dimension regclass, since timestamptz, until_time timestamptz = NULL,
  OUT key jsonb, OUT change text, OUT valid_from timestamptz,
  OUT valid_to timestamptz, OUT changed_columns text[], OUT old jsonb,
  OUT new jsonb)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_dimension_changes';
COMMENT ON FUNCTION pipeline.dimension_changes(regclass, timestamptz, timestamptz) IS
'What happened to the members of a registered dimension in [since, until_time): change is inserted, versioned, reopened or deleted; old and new are the attributes before and after, changed_columns those that differ. Reads the table as the caller. Errors: 42704 not registered; 42501 may not read it.';

CREATE OR REPLACE FUNCTION pipeline.create_fact(
  fact text, source text, lookups jsonb, fact_key text[] = NULL,
  mode text = 'append', event_time text = NULL, labels jsonb = '{}',
  or_replace boolean = false, description text = NULL)
  RETURNS regclass
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_fact';
COMMENT ON FUNCTION pipeline.create_fact(text, text, jsonb, text[], text, text, jsonb, boolean, text) IS
'Register a fact, making its table when it is missing: the columns of the source, a surrogate key for each lookup, load_id. lookups: {"customer_sk": {"dimension": "dim.customer", "key": {"customer_id": "cust_id"}, "at": "order_ts", "on_missing": "unknown" | "inferred" | "reject", "before_first": "unknown" | "first_version"}}: for each surrogate key the dimension (several may be the same: roles), its business key by columns of the source, and the column with the time at which the member is looked up (without it: the current version). fact_key: columns that identify a fact. mode: append (a key that is there is left alone), merge (it is brought up to date) or replace_interval (the facts from the first to the last event_time of the batch are replaced). Returns the table. Errors: 42710 registered already; 22023 bad argument; 42704 a dimension that is not registered; 42703 a missing column.';

CREATE OR REPLACE FUNCTION pipeline.load_fact(fact regclass, batch_id text = NULL)
  RETURNS pipeline.fact_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_load_fact';
COMMENT ON FUNCTION pipeline.load_fact(regclass, text) IS
'Load the source of a fact: look every member up, and write by the mode. batch_id: a name for the batch; a batch loaded before is skipped, with other content it is an error. Needed for mode append without a fact_key. Returns fact_result. Errors: 21000 two different rows for one key; 22023 neither fact_key nor batch_id; 42710 a batch with other content.';

CREATE OR REPLACE FUNCTION pipeline.repair_fact(fact regclass, since_merge bigint = NULL)
  RETURNS pipeline.fact_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_repair_fact';
COMMENT ON FUNCTION pipeline.repair_fact(regclass, bigint) IS
'Look the members of the facts up again and point right those that a late member or a late version left behind. since_merge: only facts of members that this merge or a later one wrote (NULL: all). Returns fact_result: updated were pointed right.';

CREATE OR REPLACE FUNCTION pipeline.alter_fact(fact regclass, changes jsonb)
  RETURNS regclass
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_fact';
COMMENT ON FUNCTION pipeline.alter_fact(regclass, jsonb) IS
'Change the definition of a fact. changes: an object whose keys are arguments of create_fact(); null gives back the default. Returns the table. Errors: 42704 not registered; 42501 not the owner; 22023 an unknown key.';

CREATE OR REPLACE FUNCTION pipeline.drop_fact(fact regclass, drop_table boolean = false)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_fact';
COMMENT ON FUNCTION pipeline.drop_fact(regclass, boolean) IS
'Forget a registered fact. drop_table: drop its table too, with the record of its loads; otherwise both stay. Errors: 42704 not registered; 42501 not the owner.';

CREATE OR REPLACE FUNCTION pipeline.create_date_dimension(
  target text, from_date date, to_date date, holidays text = NULL,
  language text = 'en', fiscal_year_start int = 1)
  RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_date_dimension';
COMMENT ON FUNCTION pipeline.create_date_dimension(text, date, date, text, text, int) IS
'Make a table with a row for each day from from_date to to_date, or bring one made before up to date. date_sk is the day as YYYYMMDD; 9999-12-31 is the unknown day. holidays: a table, a view or one read-only query that returns a date and a text (its name). language of the names: de, en, es, fr, it or pt. fiscal_year_start: the month in which the fiscal year begins; it is named by the calendar year in which it ends. iso_week is ISO 8601''s, calendar_week counts sevens from January 1. Returns the rows written. Errors: 22023 bad argument; 42703 holidays without a date and a text.';

CREATE OR REPLACE VIEW pipeline.bus_matrix WITH (security_invoker = true) AS
SELECT f.fact, (l.value->>'dimension') AS dimension, l.key AS "column", l.value->>'at' AS at,
       coalesce(l.value->>'on_missing', 'unknown') AS on_missing
FROM pipeline.facts f CROSS JOIN LATERAL jsonb_each(f.lookups) l;
COMMENT ON VIEW pipeline.bus_matrix IS
'Which fact uses which dimension, in which role (Kimball''s bus matrix). Each role sees the facts it owns.';
COMMENT ON COLUMN pipeline.bus_matrix.fact IS 'The fact.';
COMMENT ON COLUMN pipeline.bus_matrix.dimension IS 'The dimension, as the lookup names it.';
COMMENT ON COLUMN pipeline.bus_matrix."column" IS 'The surrogate key in the fact: the role.';
COMMENT ON COLUMN pipeline.bus_matrix.at IS 'Source column with the time of the lookup; NULL: the current version.';
COMMENT ON COLUMN pipeline.bus_matrix.on_missing IS 'What becomes of a fact whose member is missing.';

DROP POLICY IF EXISTS dimensions_read ON pipeline.dimensions;
CREATE POLICY dimensions_read ON pipeline.dimensions FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS merges_read ON pipeline.merges;
CREATE POLICY merges_read ON pipeline.merges FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS rejects_read ON pipeline.rejects;
CREATE POLICY rejects_read ON pipeline.rejects FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS facts_read ON pipeline.facts;
CREATE POLICY facts_read ON pipeline.facts FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.dimensions, pipeline.merges, pipeline.rejects, pipeline.facts,
  pipeline.bus_matrix TO PUBLIC;
