/* scd: dimensions, their merges, and the rows that could not be merged. */

CREATE TABLE pipeline.dimensions (
  dimension regclass PRIMARY KEY,
  owner regrole NOT NULL,
  search_path text NOT NULL,
  source text NOT NULL,
  business_key text[] NOT NULL,
  feed text NOT NULL,
  type2 text[] NOT NULL,
  type1 text[] NOT NULL,
  type0 text[] NOT NULL,
  type3 text[] NOT NULL,
  type6 text[] NOT NULL,
  hard_deletes text NOT NULL,
  effective_at text,
  operation text,
  sequence_by text,
  on_tie text NOT NULL,
  scope text[] NOT NULL,
  unknown_member boolean NOT NULL,
  initial_valid_from timestamptz,
  on_new_column text NOT NULL,
  open_end timestamptz,
  names jsonb NOT NULL,
  max_delete_fraction float8 NOT NULL,
  max_rejected_fraction float8 NOT NULL,
  exact boolean NOT NULL,
  current_index boolean NOT NULL,
  temporal_key boolean NOT NULL,
  events regclass,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pipeline.dimensions IS
'The registered dimensions: one row per table that create_dimension() made or adopted, with what merge_dimension() needs to know. Each role sees those it owns.';
COMMENT ON COLUMN pipeline.dimensions.dimension IS 'The dimension''s table.';
COMMENT ON COLUMN pipeline.dimensions.owner IS
'Role with whose privileges the source is read and the table is written.';
COMMENT ON COLUMN pipeline.dimensions.search_path IS
'search_path of whoever defined it; the source is read with it.';
COMMENT ON COLUMN pipeline.dimensions.source IS
'Name of a table or view, or one read-only query.';
COMMENT ON COLUMN pipeline.dimensions.business_key IS
'Columns that identify a member in the source (the natural key).';
COMMENT ON COLUMN pipeline.dimensions.feed IS
'What the source returns: snapshot (all members), scoped_snapshot (all members of the scopes that it contains), delta (those that may have changed) or cdc (events).';
COMMENT ON COLUMN pipeline.dimensions.type2 IS
'Columns whose change makes a new version (Kimball''s type 2).';
COMMENT ON COLUMN pipeline.dimensions.type1 IS
'Columns whose change overwrites the current version (Kimball''s type 1).';
COMMENT ON COLUMN pipeline.dimensions.type0 IS
'Columns that keep the first value that a member had (Kimball''s type 0).';
COMMENT ON COLUMN pipeline.dimensions.type3 IS
'Columns that are overwritten, with the value before in previous_NAME (Kimball''s type 3).';
COMMENT ON COLUMN pipeline.dimensions.type6 IS
'Columns whose change makes a new version, with the last value in current_NAME of every version (Kimball''s type 6).';
COMMENT ON COLUMN pipeline.dimensions.hard_deletes IS
'What a key missing from a snapshot means: ignore, invalidate (its version is closed), or new_record (and one that says deleted is opened); dbt''s words.';
COMMENT ON COLUMN pipeline.dimensions.effective_at IS
'Source column that says since when a row is true; NULL: the time of the merge.';
COMMENT ON COLUMN pipeline.dimensions.operation IS
'Source column that says insert, update or delete, or a JSON object with it and its values; feed cdc.';
COMMENT ON COLUMN pipeline.dimensions.sequence_by IS
'Source column that orders rows of one key and instant; the last one wins.';
COMMENT ON COLUMN pipeline.dimensions.on_tie IS
'What two different rows for one key, instant and sequence are: an error, or keep (the first stays, a delete beats an upsert).';
COMMENT ON COLUMN pipeline.dimensions.scope IS
'Columns whose values a scoped snapshot is complete for.';
COMMENT ON COLUMN pipeline.dimensions.current_index IS
'Is there a unique index on the current version of each key? It makes closes slower.';
COMMENT ON COLUMN pipeline.dimensions.temporal_key IS
'Is there a range of each version''s time with an exclusion constraint?';
COMMENT ON COLUMN pipeline.dimensions.events IS
'Table beside a cdc dimension of the events that its versions do not tell: deletes of nothing, repeats, values that were overwritten.';
COMMENT ON COLUMN pipeline.dimensions.unknown_member IS
'Is surrogate key -1 the unknown member, which merges never touch?';
COMMENT ON COLUMN pipeline.dimensions.initial_valid_from IS
'valid_from of the versions of the first load; NULL: the time of that merge.';
COMMENT ON COLUMN pipeline.dimensions.on_new_column IS
'What to do with a source column that the dimension does not have: fail, ignore it, or add it.';
COMMENT ON COLUMN pipeline.dimensions.open_end IS
'valid_to of a current version; NULL is NULL.';
COMMENT ON COLUMN pipeline.dimensions.names IS
'Names of the columns that pipeline writes: surrogate_key, valid_from, valid_to, is_current, close_reason, merge_id, is_deleted, scd_id, updated_at; null: there is no such column.';
COMMENT ON COLUMN pipeline.dimensions.max_delete_fraction IS
'Largest part of the current keys that one merge may close as missing, 0 to 1.';
COMMENT ON COLUMN pipeline.dimensions.max_rejected_fraction IS
'Largest part of the rows read that may be rejected before the merge fails, 0 to 1.';
COMMENT ON COLUMN pipeline.dimensions.exact IS
'Are values compared, beyond any fingerprint?';
COMMENT ON COLUMN pipeline.dimensions.labels IS 'Labels, a JSON object.';
COMMENT ON COLUMN pipeline.dimensions.description IS 'What it is, for people.';
COMMENT ON COLUMN pipeline.dimensions.created_at IS 'When it was registered.';
ALTER TABLE pipeline.dimensions ENABLE ROW LEVEL SECURITY;
/* What belongs to a dropped or temporary table stays out of dumps: there its
   OID would name another table, or nothing. */
SELECT pg_extension_config_dump('pipeline.dimensions',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = dimension AND c.relpersistence <> ''t'')');

CREATE TABLE pipeline.merges (
  merge_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  dimension regclass NOT NULL,
  owner regrole NOT NULL,
  source text NOT NULL,
  feed text NOT NULL,
  path text NOT NULL,
  effective timestamptz NOT NULL,
  batch_id text,
  content text,
  started_at timestamptz NOT NULL,
  success boolean NOT NULL,
  rows_read bigint NOT NULL,
  inserted bigint NOT NULL,
  versioned bigint NOT NULL,
  updated_type1 bigint NOT NULL,
  reopened bigint NOT NULL,
  late bigint NOT NULL,
  deleted bigint NOT NULL,
  unchanged bigint NOT NULL,
  duplicate bigint NOT NULL,
  rejected bigint NOT NULL,
  closed bigint NOT NULL,
  missing bigint NOT NULL,
  hot_updates bigint NOT NULL,
  read_ms float8 NOT NULL,
  write_ms float8 NOT NULL,
  total_ms float8 NOT NULL,
  pipeline text,
  task text,
  run_id bigint,
  CHECK (rows_read = inserted + versioned + updated_type1 + reopened + late
         + deleted + unchanged + duplicate + rejected)
);
COMMENT ON TABLE pipeline.merges IS
'One row per merge, of registered dimensions and one-shot: its counts, times and path. Each role sees those it owns.';
COMMENT ON COLUMN pipeline.merges.merge_id IS
'Number of the merge; the rows that it wrote carry it.';
COMMENT ON COLUMN pipeline.merges.dimension IS 'The table that was merged into; of a load, the fact.';
COMMENT ON COLUMN pipeline.merges.owner IS
'Role that owns the dimension; for a one-shot merge, the role that ran it.';
COMMENT ON COLUMN pipeline.merges.source IS 'The source that was read.';
COMMENT ON COLUMN pipeline.merges.feed IS 'snapshot, scoped_snapshot, delta or cdc; fact or repair for a load of a fact.';
COMMENT ON COLUMN pipeline.merges.path IS
'Engine that did it: direct (past the executor, by fingerprints), direct read (the same, but written by the executor), executor (one join of both sides) or events (the history of each key that the batch names is replayed).';
COMMENT ON COLUMN pipeline.merges.effective IS
'The one time of the merge: valid_from of the versions that it opened and valid_to of those that it closed.';
COMMENT ON COLUMN pipeline.merges.batch_id IS
'The caller''s name for the batch; one successful merge per dimension and batch.';
COMMENT ON COLUMN pipeline.merges.content IS
'Fingerprint of the batch, whatever the order of its rows; NULL without batch_id.';
COMMENT ON COLUMN pipeline.merges.started_at IS 'When it began.';
COMMENT ON COLUMN pipeline.merges.success IS
'False: too many rows were rejected, and nothing but they was kept.';
COMMENT ON COLUMN pipeline.merges.rows_read IS
'Rows of the source: the sum of the nine counts that follow.';
COMMENT ON COLUMN pipeline.merges.inserted IS 'Rows with a key never seen before.';
COMMENT ON COLUMN pipeline.merges.versioned IS
'Rows that differ in a type 2 column: the version was closed and a new one opened.';
COMMENT ON COLUMN pipeline.merges.updated_type1 IS
'Rows that differ in type 1 columns only: the current version was overwritten.';
COMMENT ON COLUMN pipeline.merges.reopened IS
'Rows whose key had only closed versions: a new version was opened.';
COMMENT ON COLUMN pipeline.merges.late IS
'Events that changed stored history; 0 for other feeds than cdc, unless a batch was replaced.';
COMMENT ON COLUMN pipeline.merges.deleted IS
'Events that deleted a member; 0 for other feeds than cdc.';
COMMENT ON COLUMN pipeline.merges.unchanged IS
'Rows that change nothing, or were left aside because the merge failed.';
COMMENT ON COLUMN pipeline.merges.duplicate IS
'Rows equal to an earlier row of the batch.';
COMMENT ON COLUMN pipeline.merges.rejected IS
'Rows that cannot be used; they are in rejects.';
COMMENT ON COLUMN pipeline.merges.closed IS
'Versions closed: one for each versioned row, and one for each missing key under hard_deletes invalidate.';
COMMENT ON COLUMN pipeline.merges.missing IS
'Current keys that the snapshot did not contain; 0 for a delta and for cdc.';
COMMENT ON COLUMN pipeline.merges.hot_updates IS
'How many of the updates touched no index (heap-only tuples).';
COMMENT ON COLUMN pipeline.merges.read_ms IS
'Milliseconds spent reading both sides and telling rows apart.';
COMMENT ON COLUMN pipeline.merges.write_ms IS
'Milliseconds spent writing the dimension.';
COMMENT ON COLUMN pipeline.merges.total_ms IS
'Milliseconds from the call to the end, waiting for the lock included.';
COMMENT ON COLUMN pipeline.merges.pipeline IS
'Pipeline whose task ran the merge, if any.';
COMMENT ON COLUMN pipeline.merges.task IS 'That task.';
COMMENT ON COLUMN pipeline.merges.run_id IS 'The run of that task.';
CREATE INDEX merges_dimension ON pipeline.merges (dimension, merge_id);
CREATE UNIQUE INDEX merges_batch ON pipeline.merges (dimension, batch_id)
  WHERE success AND batch_id IS NOT NULL;
ALTER TABLE pipeline.merges ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.merges',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = dimension AND c.relpersistence <> ''t'')');
SELECT pg_extension_config_dump('pipeline.merges_merge_id_seq', '');

CREATE TABLE pipeline.rejects (
  reject_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  merge_id bigint NOT NULL REFERENCES pipeline.merges ON DELETE CASCADE,
  dimension regclass NOT NULL,
  owner regrole NOT NULL,
  row jsonb NOT NULL,
  reason text NOT NULL
);
COMMENT ON TABLE pipeline.rejects IS
'Source rows that a merge could not use, kept with their reason. Each role sees those it owns.';
COMMENT ON COLUMN pipeline.rejects.reject_id IS 'Number of the reject.';
COMMENT ON COLUMN pipeline.rejects.merge_id IS 'The merge that rejected it.';
COMMENT ON COLUMN pipeline.rejects.dimension IS 'The table that was merged into.';
COMMENT ON COLUMN pipeline.rejects.owner IS 'Owner of that merge.';
COMMENT ON COLUMN pipeline.rejects.row IS
'The source row as a JSON object, by column name.';
COMMENT ON COLUMN pipeline.rejects.reason IS 'Why, in words.';
CREATE INDEX rejects_merge ON pipeline.rejects (merge_id);
ALTER TABLE pipeline.rejects ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.rejects',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = dimension AND c.relpersistence <> ''t'')');
SELECT pg_extension_config_dump('pipeline.rejects_reject_id_seq', '');

CREATE TABLE pipeline.inferred_members (
  dimension regclass NOT NULL,
  surrogate_key bigint NOT NULL,
  PRIMARY KEY (dimension, surrogate_key)
);
COMMENT ON TABLE pipeline.inferred_members IS
'Members that a fact named before their dimension knew them (Kimball''s inferred members); the merge that brings them fills them in.';
COMMENT ON COLUMN pipeline.inferred_members.dimension IS 'The dimension.';
COMMENT ON COLUMN pipeline.inferred_members.surrogate_key IS 'Surrogate key of the version that has a key and nothing else.';
ALTER TABLE pipeline.inferred_members ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.inferred_members',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = dimension AND c.relpersistence <> ''t'')');

CREATE TABLE pipeline.facts (
  fact regclass PRIMARY KEY,
  owner regrole NOT NULL,
  search_path text NOT NULL,
  source text NOT NULL,
  lookups jsonb NOT NULL,
  fact_key text[] NOT NULL,
  mode text NOT NULL,
  event_time text,
  labels jsonb NOT NULL,
  description text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pipeline.facts IS
'The registered facts: one row per table that create_fact() made or adopted. Each role sees those it owns.';
COMMENT ON COLUMN pipeline.facts.fact IS 'The fact''s table.';
COMMENT ON COLUMN pipeline.facts.owner IS
'Role with whose privileges the source and the dimensions are read and the table is written.';
COMMENT ON COLUMN pipeline.facts.search_path IS
'search_path of whoever defined it; the source is read with it.';
COMMENT ON COLUMN pipeline.facts.source IS 'Name of a table or view, or one read-only query.';
COMMENT ON COLUMN pipeline.facts.lookups IS
'For each surrogate key of the fact: dimension, key (dimension''s column: source''s column), at, on_missing, before_first.';
COMMENT ON COLUMN pipeline.facts.fact_key IS 'Columns that identify a fact in the source; may be empty.';
COMMENT ON COLUMN pipeline.facts.mode IS 'append, merge or replace_interval.';
COMMENT ON COLUMN pipeline.facts.event_time IS 'Column that says when a fact happened; for replace_interval.';
COMMENT ON COLUMN pipeline.facts.labels IS 'Labels, a JSON object.';
COMMENT ON COLUMN pipeline.facts.description IS 'What it is, for people.';
COMMENT ON COLUMN pipeline.facts.created_at IS 'When it was registered.';
ALTER TABLE pipeline.facts ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.facts',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = fact AND c.relpersistence <> ''t'')');

CREATE TYPE pipeline.fact_result AS (
  success boolean,
  load_id bigint,
  rows_read bigint,
  inserted bigint,
  updated bigint,
  unchanged bigint,
  duplicate bigint,
  rejected bigint,
  unknown bigint,
  inferred bigint,
  removed bigint,
  total_ms float8
);
COMMENT ON TYPE pipeline.fact_result IS
'What a load or a repair of a fact did. rows_read is the sum of the five counts from inserted to rejected.';
COMMENT ON COLUMN pipeline.fact_result.success IS 'True; rejected rows are kept and counted.';
COMMENT ON COLUMN pipeline.fact_result.load_id IS
'Number of the load in pipeline.merges; of the earlier load when the batch was skipped.';
COMMENT ON COLUMN pipeline.fact_result.rows_read IS 'Rows of the source; of a repair, rows of the fact that were looked at.';
COMMENT ON COLUMN pipeline.fact_result.inserted IS 'Rows that are new in the fact.';
COMMENT ON COLUMN pipeline.fact_result.updated IS 'Rows that were changed (merge) or pointed right (repair).';
COMMENT ON COLUMN pipeline.fact_result.unchanged IS 'Rows that the fact has as they are.';
COMMENT ON COLUMN pipeline.fact_result.duplicate IS
'Rows equal to another of the batch; in mode append, also those whose key the fact has; all rows of a batch that was skipped.';
COMMENT ON COLUMN pipeline.fact_result.rejected IS 'Rows that cannot be used; they are in pipeline.rejects.';
COMMENT ON COLUMN pipeline.fact_result.unknown IS 'Lookups that found no member; outside the sum.';
COMMENT ON COLUMN pipeline.fact_result.inferred IS 'Members that were made; outside the sum.';
COMMENT ON COLUMN pipeline.fact_result.removed IS 'Rows of the interval that were deleted first; outside the sum.';
COMMENT ON COLUMN pipeline.fact_result.total_ms IS 'Milliseconds from the call to the end.';

CREATE TYPE pipeline.merge_result AS (
  success boolean,
  merge_id bigint,
  rows_read bigint,
  inserted bigint,
  versioned bigint,
  updated_type1 bigint,
  reopened bigint,
  late bigint,
  deleted bigint,
  unchanged bigint,
  duplicate bigint,
  rejected bigint,
  closed bigint,
  missing bigint,
  hot_updates bigint,
  read_ms float8,
  write_ms float8,
  total_ms float8
);
COMMENT ON TYPE pipeline.merge_result IS
'What a merge did. rows_read is the sum of the nine counts from inserted to rejected: each row counts once, in the first class that fits.';
COMMENT ON COLUMN pipeline.merge_result.success IS
'False: too many rows were rejected, and nothing but they was kept.';
COMMENT ON COLUMN pipeline.merge_result.merge_id IS
'Number of the merge in pipeline.merges; of the earlier merge when the batch was skipped.';
COMMENT ON COLUMN pipeline.merge_result.rows_read IS 'Rows of the source.';
COMMENT ON COLUMN pipeline.merge_result.inserted IS
'Rows with a key never seen before.';
COMMENT ON COLUMN pipeline.merge_result.versioned IS
'Rows that differ in a type 2 column: the version was closed and a new one opened.';
COMMENT ON COLUMN pipeline.merge_result.updated_type1 IS
'Rows that differ in type 1 columns only: the current version was overwritten.';
COMMENT ON COLUMN pipeline.merge_result.reopened IS
'Rows whose key had only closed versions: a new version was opened.';
COMMENT ON COLUMN pipeline.merge_result.late IS
'Events that changed stored history; 0 for other feeds than cdc, unless a batch was replaced.';
COMMENT ON COLUMN pipeline.merge_result.deleted IS
'Events that deleted a member; 0 for other feeds than cdc.';
COMMENT ON COLUMN pipeline.merge_result.unchanged IS
'Rows that change nothing, or were left aside because the merge failed.';
COMMENT ON COLUMN pipeline.merge_result.duplicate IS
'Rows equal to an earlier row of the batch; all rows of a batch that was skipped.';
COMMENT ON COLUMN pipeline.merge_result.rejected IS
'Rows that cannot be used; they are in pipeline.rejects.';
COMMENT ON COLUMN pipeline.merge_result.closed IS
'Versions closed; outside the sum.';
COMMENT ON COLUMN pipeline.merge_result.missing IS
'Current keys that the snapshot did not contain; outside the sum.';
COMMENT ON COLUMN pipeline.merge_result.hot_updates IS
'How many of the updates touched no index; outside the sum.';
COMMENT ON COLUMN pipeline.merge_result.read_ms IS
'Milliseconds spent reading both sides and telling rows apart.';
COMMENT ON COLUMN pipeline.merge_result.write_ms IS
'Milliseconds spent writing the dimension.';
COMMENT ON COLUMN pipeline.merge_result.total_ms IS
'Milliseconds from the call to the end, waiting for the lock included.';
