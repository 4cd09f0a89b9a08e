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
'Register a dimension, making its table when it is missing and checking it when it exists. source: a table, a view or one read-only query, read with the privileges and search_path of the caller of this function. business_key: the columns that identify a member. feed: snapshot (the source has all members) or delta (absence means nothing). type2 (NULL: all other columns): a change makes a new version; type1: a change overwrites the current version. hard_deletes: ignore, or invalidate (a key missing from a snapshot has its version closed). unknown_member: add surrogate key -1. initial_valid_from: valid_from of the first load. open_end: valid_to of current versions: infinity, NULL or a timestamp. names: other names for surrogate_key, valid_from, valid_to, is_current, close_reason, merge_id. max_delete_fraction, max_rejected_fraction: guards, 0 to 1. exact: compare values (this engine always does). or_replace: change the definition of a registered dimension. The other arguments accept only their defaults. Returns the table. Errors: 42710 registered already; 22023 bad argument; 0A000 not available; 42703, 42804, 55000 a table that does not fit. The types are Kimball''s.';

CREATE OR REPLACE FUNCTION pipeline.merge_dimension(
  dimension regclass, effective timestamptz = NULL, batch_id text = NULL,
  source text = NULL, on_replay text = 'skip',
  max_delete_fraction float8 = NULL)
  RETURNS pipeline.merge_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_merge_dimension';
COMMENT ON FUNCTION pipeline.merge_dimension(regclass, timestamptz, text, text, text, float8) IS
'Merge the source of a registered dimension into it. effective: the one time of the changes (NULL: the clock, read once the lock is held). batch_id: a name for the batch; a batch seen before is skipped (on_replay skip) or an error (on_replay error). source: another source for this once, read with the caller''s search_path. max_delete_fraction: another limit for this once, 0 to 1. Returns merge_result. Errors: 21000 two different rows for one key; 22000 too many keys missing; 22023 an effective time not after stored history; 42703 and 42804 a source that does not fit; 42710 a batch seen before; 40001 another merge is not visible to this transaction.';

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
'Merge a source into a table once, without registering it: reads and writes as the caller. The arguments mean what they mean in create_dimension() and merge_dimension(); the table must have the columns that create_dimension() makes, and unknown_member says that surrogate key -1 is to be left alone. Returns merge_result. Errors: as merge_dimension().';

CREATE OR REPLACE FUNCTION pipeline.drop_dimension(
  dimension regclass, drop_table boolean = false)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_drop_dimension';
COMMENT ON FUNCTION pipeline.drop_dimension(regclass, boolean) IS
'Forget a registered dimension. drop_table: drop its table too, with the record of its merges and its rejects; otherwise all three stay. Errors: 42704 not registered; 42501 not the owner; 2BP01 other objects depend on the table.';

DROP POLICY IF EXISTS dimensions_read ON pipeline.dimensions;
CREATE POLICY dimensions_read ON pipeline.dimensions FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS merges_read ON pipeline.merges;
CREATE POLICY merges_read ON pipeline.merges FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS rejects_read ON pipeline.rejects;
CREATE POLICY rejects_read ON pipeline.rejects FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.dimensions, pipeline.merges, pipeline.rejects TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.alter_dimension(dimension regclass, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_dimension(regclass, jsonb) IS
'Change some of the definition of a dimension. changes: a JSON object whose keys are arguments of create_dimension(); null sets one back to its default, what is not named stays. Its search_path stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_dimension().';
