/* expect: suites, their expectations, and what validations found. */

CREATE TABLE pipeline.suites (
  name text PRIMARY KEY,
  owner regrole NOT NULL,
  target text NOT NULL,
  search_path text NOT NULL,
  sample_limit integer NOT NULL,
  row_key text[],
  quarantine text NOT NULL CHECK (quarantine IN ('none', 'copy', 'move')),
  labels jsonb NOT NULL,
  description text,
  watermark text,
  parameters jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pipeline.suites IS
'Expectation suites (Great Expectations'' term): named lists of checks on one table, view or query.';
COMMENT ON COLUMN pipeline.suites.name IS 'Name of the suite, unique in the database.';
COMMENT ON COLUMN pipeline.suites.owner IS 'Role that made it: the target is read with its rights.';
COMMENT ON COLUMN pipeline.suites.target IS 'What is checked: the name of a table or view, or a query.';
COMMENT ON COLUMN pipeline.suites.search_path IS 'search_path of whoever made it, with which target and conditions are read.';
COMMENT ON COLUMN pipeline.suites.sample_limit IS 'How many unexpected values a result keeps per check.';
COMMENT ON COLUMN pipeline.suites.row_key IS 'Columns that identify a row, kept with each unexpected value; NULL: none.';
COMMENT ON COLUMN pipeline.suites.quarantine IS 'What is done with rows that fail: none, copy (kept, with the reasons), move (and deleted from the target).';
COMMENT ON COLUMN pipeline.suites.labels IS 'Labels for the alerts of its checks, strings by name.';
COMMENT ON COLUMN pipeline.suites.description IS 'What it is for, in words.';
COMMENT ON COLUMN pipeline.suites.watermark IS 'Column that grows from row to row, for incremental validation; NULL: none.';
COMMENT ON COLUMN pipeline.suites.parameters IS 'Values, by name, of the parameters that stand in kwargs of its expectations.';
COMMENT ON COLUMN pipeline.suites.created_at IS 'When it was made.';

CREATE TABLE pipeline.expectations (
  expectation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  suite text NOT NULL REFERENCES pipeline.suites ON DELETE CASCADE,
  name text NOT NULL,
  owner regrole NOT NULL,
  type text NOT NULL,
  kwargs jsonb NOT NULL,
  severity pipeline.severity NOT NULL,
  row_condition text,
  created_at timestamptz NOT NULL DEFAULT now(),
  defined_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (suite, name)
);
COMMENT ON TABLE pipeline.expectations IS 'The checks of the suites.';
COMMENT ON COLUMN pipeline.expectations.expectation_id IS 'Number of the expectation.';
COMMENT ON COLUMN pipeline.expectations.suite IS 'Its suite.';
COMMENT ON COLUMN pipeline.expectations.name IS 'Its name, unique in the suite.';
COMMENT ON COLUMN pipeline.expectations.owner IS 'Owner of the suite.';
COMMENT ON COLUMN pipeline.expectations.type IS 'Its type, by Great Expectations'' name.';
COMMENT ON COLUMN pipeline.expectations.kwargs IS 'Its arguments, by Great Expectations'' names.';
COMMENT ON COLUMN pipeline.expectations.severity IS 'How bad a failure is; only error and critical fail a validation.';
COMMENT ON COLUMN pipeline.expectations.row_condition IS 'SQL boolean expression: only rows for which it is true are looked at. NULL: all.';
COMMENT ON COLUMN pipeline.expectations.created_at IS 'When it was first defined.';
COMMENT ON COLUMN pipeline.expectations.defined_at IS 'When it was last defined: earlier validations are no history for it.';

CREATE TABLE pipeline.validations (
  validation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  suite text NOT NULL,
  owner regrole NOT NULL,
  role regrole NOT NULL,
  started_at timestamptz NOT NULL,
  where_clause text,
  success boolean NOT NULL,
  evaluated integer NOT NULL,
  failed integer NOT NULL,
  warned integer NOT NULL,
  errored integer NOT NULL,
  rows bigint,
  quarantined bigint NOT NULL,
  total_ms double precision NOT NULL,
  run_id bigint,
  pipeline text,
  task text,
  attempt integer,
  parameters jsonb
);
CREATE INDEX validations_suite ON pipeline.validations (suite, validation_id);
COMMENT ON TABLE pipeline.validations IS
'One row per call of validate() that did not raise. It outlives its suite.';
COMMENT ON COLUMN pipeline.validations.validation_id IS 'Number of the validation.';
COMMENT ON COLUMN pipeline.validations.suite IS 'Name of the suite.';
COMMENT ON COLUMN pipeline.validations.owner IS 'Owner of the suite.';
COMMENT ON COLUMN pipeline.validations.role IS 'The session''s role: who validated.';
COMMENT ON COLUMN pipeline.validations.started_at IS 'When it started.';
COMMENT ON COLUMN pipeline.validations.where_clause IS 'The rows it was confined to; NULL: all.';
COMMENT ON COLUMN pipeline.validations.success IS 'No check of severity error or critical failed, and none could not be evaluated.';
COMMENT ON COLUMN pipeline.validations.evaluated IS 'Checks that have a verdict.';
COMMENT ON COLUMN pipeline.validations.failed IS 'Of those, checks of severity error or critical that failed.';
COMMENT ON COLUMN pipeline.validations.warned IS 'Of those, checks of severity info or warning that failed.';
COMMENT ON COLUMN pipeline.validations.errored IS 'Checks that could not be evaluated.';
COMMENT ON COLUMN pipeline.validations.rows IS 'Rows of the target; NULL if it could not be read.';
COMMENT ON COLUMN pipeline.validations.quarantined IS 'Rows put into quarantine.';
COMMENT ON COLUMN pipeline.validations.total_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN pipeline.validations.run_id IS 'The run in which it was called; NULL outside a task.';
COMMENT ON COLUMN pipeline.validations.pipeline IS 'The pipeline of the run.';
COMMENT ON COLUMN pipeline.validations.task IS 'The task that called it.';
COMMENT ON COLUMN pipeline.validations.attempt IS 'The task''s attempt.';
COMMENT ON COLUMN pipeline.validations.parameters IS 'Values of the parameters that were given to it, over those of the suite; NULL: none.';

CREATE TABLE pipeline.expectation_results (
  validation_id bigint NOT NULL REFERENCES pipeline.validations ON DELETE CASCADE,
  ordinal integer NOT NULL,
  owner regrole NOT NULL,
  name text NOT NULL,
  type text NOT NULL,
  kwargs jsonb NOT NULL,
  row_condition text,
  "column" text,
  severity pipeline.severity NOT NULL,
  success boolean,
  observed_value jsonb,
  element_count bigint,
  missing_count bigint,
  unexpected_count bigint,
  unexpected_percent double precision,
  unexpected_percent_total double precision,
  partial_unexpected_list jsonb,
  partial_unexpected_keys jsonb,
  details jsonb,
  proved boolean NOT NULL,
  error text,
  PRIMARY KEY (validation_id, ordinal)
);
COMMENT ON TABLE pipeline.expectation_results IS 'What each check of a validation found.';
COMMENT ON COLUMN pipeline.expectation_results.validation_id IS 'The validation.';
COMMENT ON COLUMN pipeline.expectation_results.ordinal IS 'Place of the check in the validation, from 1, by name.';
COMMENT ON COLUMN pipeline.expectation_results.owner IS 'Owner of the suite.';
COMMENT ON COLUMN pipeline.expectation_results.name IS 'Name of the expectation.';
COMMENT ON COLUMN pipeline.expectation_results.type IS 'Its type.';
COMMENT ON COLUMN pipeline.expectation_results.kwargs IS 'Its arguments then.';
COMMENT ON COLUMN pipeline.expectation_results.row_condition IS 'Its row condition then, in SQL.';
COMMENT ON COLUMN pipeline.expectation_results."column" IS 'Its column, if it has one.';
COMMENT ON COLUMN pipeline.expectation_results.severity IS 'Its severity.';
COMMENT ON COLUMN pipeline.expectation_results.success IS 'The verdict; NULL if it could not be evaluated.';
COMMENT ON COLUMN pipeline.expectation_results.observed_value IS 'What was observed: the row count, the type, the position of the column. NULL for checks of values.';
COMMENT ON COLUMN pipeline.expectation_results.element_count IS 'Rows looked at, NULLs among them.';
COMMENT ON COLUMN pipeline.expectation_results.missing_count IS 'NULLs among them; NULL for the checks that are about NULL.';
COMMENT ON COLUMN pipeline.expectation_results.unexpected_count IS 'Values that are not as expected.';
COMMENT ON COLUMN pipeline.expectation_results.unexpected_percent IS 'Percentage of the values that are not missing; NULL if there are none.';
COMMENT ON COLUMN pipeline.expectation_results.unexpected_percent_total IS 'Percentage of all rows looked at; NULL if there are none.';
COMMENT ON COLUMN pipeline.expectation_results.partial_unexpected_list IS 'The first unexpected values, at most sample_limit.';
COMMENT ON COLUMN pipeline.expectation_results.partial_unexpected_keys IS 'The keys of their rows, in the same order; NULL without a row_key.';
COMMENT ON COLUMN pipeline.expectation_results.details IS 'More, by type of check.';
COMMENT ON COLUMN pipeline.expectation_results.proved IS 'Was the verdict proved from constraints, without looking at rows?';
COMMENT ON COLUMN pipeline.expectation_results.error IS 'Why it could not be evaluated, with the SQLSTATE.';

CREATE TABLE pipeline.validation_states (
  suite text NOT NULL REFERENCES pipeline.suites ON DELETE CASCADE,
  slice text NOT NULL,
  owner regrole NOT NULL,
  high text,
  rows bigint NOT NULL,
  states jsonb NOT NULL,
  validated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (suite, slice)
);
COMMENT ON TABLE pipeline.validation_states IS
'What the checks of a suite found in the slices of its target, so that a verdict on all of them needs the rows of one.';
COMMENT ON COLUMN pipeline.validation_states.suite IS 'The suite.';
COMMENT ON COLUMN pipeline.validation_states.slice IS 'Name of the slice; empty: the rows up to the watermark.';
COMMENT ON COLUMN pipeline.validation_states.owner IS 'Owner of the suite.';
COMMENT ON COLUMN pipeline.validation_states.high IS 'How far the watermark has come, as text; NULL for other slices.';
COMMENT ON COLUMN pipeline.validation_states.rows IS 'Rows of the slice.';
COMMENT ON COLUMN pipeline.validation_states.states IS 'What each check found, by name: counts, and what aggregates need to go on.';
COMMENT ON COLUMN pipeline.validation_states.validated_at IS 'When it was last validated.';

CREATE TABLE pipeline.quarantined_rows (
  quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  validation_id bigint NOT NULL REFERENCES pipeline.validations,
  suite text NOT NULL,
  owner regrole NOT NULL,
  run_id bigint,
  row_key jsonb,
  "row" jsonb NOT NULL,
  reasons text[] NOT NULL,
  moved boolean NOT NULL,
  quarantined_at timestamptz NOT NULL DEFAULT now(),
  repaired_at timestamptz,
  released_at timestamptz,
  released_into text
);
CREATE INDEX quarantined_rows_validation ON pipeline.quarantined_rows (validation_id);
CREATE INDEX quarantined_rows_run ON pipeline.quarantined_rows (run_id, suite) WHERE run_id IS NOT NULL AND released_at IS NULL;
COMMENT ON TABLE pipeline.quarantined_rows IS
'Rows that failed a check of severity error or critical of a suite with a quarantine: what they held, and every reason.';
COMMENT ON COLUMN pipeline.quarantined_rows.quarantine_id IS 'Number of the row, for repair_quarantined().';
COMMENT ON COLUMN pipeline.quarantined_rows.validation_id IS 'The validation that found it.';
COMMENT ON COLUMN pipeline.quarantined_rows.suite IS 'Its suite.';
COMMENT ON COLUMN pipeline.quarantined_rows.owner IS 'Owner of the suite.';
COMMENT ON COLUMN pipeline.quarantined_rows.run_id IS 'The run in which it was found; NULL outside a task.';
COMMENT ON COLUMN pipeline.quarantined_rows.row_key IS 'Values of the columns of the suite''s row_key; NULL without one.';
COMMENT ON COLUMN pipeline.quarantined_rows."row" IS 'The row, a value per column; repairs change it.';
COMMENT ON COLUMN pipeline.quarantined_rows.reasons IS 'Names of all the expectations that it failed.';
COMMENT ON COLUMN pipeline.quarantined_rows.moved IS 'Was it deleted from the target?';
COMMENT ON COLUMN pipeline.quarantined_rows.quarantined_at IS 'When it was found.';
COMMENT ON COLUMN pipeline.quarantined_rows.repaired_at IS 'When it was last repaired; NULL: never.';
COMMENT ON COLUMN pipeline.quarantined_rows.released_at IS 'When it was released; NULL: it is held.';
COMMENT ON COLUMN pipeline.quarantined_rows.released_into IS 'The table into which it was released; NULL: none.';

CREATE TYPE pipeline.column_profile AS (
  ordinal integer,
  "column" text,
  type text,
  rows bigint,
  null_percent double precision,
  distinct_count bigint,
  min text,
  max text,
  mean double precision,
  stddev double precision,
  quantiles jsonb,
  min_length bigint,
  max_length bigint,
  top_values jsonb,
  patterns jsonb,
  exact boolean
);
COMMENT ON TYPE pipeline.column_profile IS 'What profile() returns, a row per column.';
COMMENT ON COLUMN pipeline.column_profile.ordinal IS 'Position of the column, from 1.';
COMMENT ON COLUMN pipeline.column_profile."column" IS 'Its name.';
COMMENT ON COLUMN pipeline.column_profile.type IS 'Its type.';
COMMENT ON COLUMN pipeline.column_profile.rows IS 'Rows of the target.';
COMMENT ON COLUMN pipeline.column_profile.null_percent IS 'Percentage of the rows that are NULL; NULL for no rows.';
COMMENT ON COLUMN pipeline.column_profile.distinct_count IS 'Distinct values that are not NULL.';
COMMENT ON COLUMN pipeline.column_profile.min IS 'Least value.';
COMMENT ON COLUMN pipeline.column_profile.max IS 'Greatest value; NaN is the greatest number.';
COMMENT ON COLUMN pipeline.column_profile.mean IS 'Mean of the finite numbers.';
COMMENT ON COLUMN pipeline.column_profile.stddev IS 'Their sample standard deviation.';
COMMENT ON COLUMN pipeline.column_profile.quantiles IS 'Quantiles 0.05, 0.25, 0.5, 0.75 and 0.95, values of the column.';
COMMENT ON COLUMN pipeline.column_profile.min_length IS 'Characters of the shortest text.';
COMMENT ON COLUMN pipeline.column_profile.max_length IS 'Characters of the longest text.';
COMMENT ON COLUMN pipeline.column_profile.top_values IS 'The ten most common values, each with its count.';
COMMENT ON COLUMN pipeline.column_profile.patterns IS 'The commonest patterns of texts with their counts: a and A for letters, 9 for digits, + for a run of four or more letters. Empty where texts have no pattern in common.';
COMMENT ON COLUMN pipeline.column_profile.exact IS 'Are distinct_count, quantiles and top_values exact? The other columns always are.';

CREATE TYPE pipeline.release_result AS (
  released bigint,
  held bigint,
  inserted bigint,
  total_ms double precision
);
COMMENT ON TYPE pipeline.release_result IS 'What release_quarantine() returns.';
COMMENT ON COLUMN pipeline.release_result.released IS 'Rows released by this call.';
COMMENT ON COLUMN pipeline.release_result.held IS 'Rows of the validation that still fail, and are held.';
COMMENT ON COLUMN pipeline.release_result.inserted IS 'Of those released, rows that were inserted into a table.';
COMMENT ON COLUMN pipeline.release_result.total_ms IS 'How long it took, in milliseconds.';

CREATE TYPE pipeline.validation_result AS (
  success boolean,
  evaluated integer,
  failed integer,
  warned integer,
  errored integer,
  rows bigint,
  quarantined bigint,
  validation_id bigint,
  total_ms double precision
);
COMMENT ON TYPE pipeline.validation_result IS 'What validate() returns.';
COMMENT ON COLUMN pipeline.validation_result.success IS 'No check of severity error or critical failed, and none could not be evaluated.';
COMMENT ON COLUMN pipeline.validation_result.evaluated IS 'Checks that have a verdict.';
COMMENT ON COLUMN pipeline.validation_result.failed IS 'Of those, checks of severity error or critical that failed.';
COMMENT ON COLUMN pipeline.validation_result.warned IS 'Of those, checks of severity info or warning that failed.';
COMMENT ON COLUMN pipeline.validation_result.errored IS 'Checks that could not be evaluated.';
COMMENT ON COLUMN pipeline.validation_result.rows IS 'Rows of the target; NULL if it could not be read.';
COMMENT ON COLUMN pipeline.validation_result.quarantined IS 'Rows put into quarantine.';
COMMENT ON COLUMN pipeline.validation_result.validation_id IS 'Number of the validation.';
COMMENT ON COLUMN pipeline.validation_result.total_ms IS 'How long it took, in milliseconds.';

CREATE TYPE pipeline.expectation_result AS (
  type text,
  "column" text,
  severity pipeline.severity,
  success boolean,
  observed_value jsonb,
  element_count bigint,
  missing_count bigint,
  unexpected_count bigint,
  unexpected_percent double precision,
  unexpected_percent_total double precision,
  partial_unexpected_list jsonb,
  partial_unexpected_keys jsonb,
  details jsonb,
  proved boolean,
  error text
);
COMMENT ON TYPE pipeline.expectation_result IS 'What check_now() returns, a row per check: the terms are Great Expectations''.';
COMMENT ON COLUMN pipeline.expectation_result.type IS 'Type of the expectation.';
COMMENT ON COLUMN pipeline.expectation_result."column" IS 'Its column, if it has one.';
COMMENT ON COLUMN pipeline.expectation_result.severity IS 'Its severity.';
COMMENT ON COLUMN pipeline.expectation_result.success IS 'The verdict; NULL if it could not be evaluated.';
COMMENT ON COLUMN pipeline.expectation_result.observed_value IS 'What was observed: the row count, the type, the position of the column. NULL for checks of values.';
COMMENT ON COLUMN pipeline.expectation_result.element_count IS 'Rows looked at, NULLs among them.';
COMMENT ON COLUMN pipeline.expectation_result.missing_count IS 'NULLs among them; NULL for the checks that are about NULL.';
COMMENT ON COLUMN pipeline.expectation_result.unexpected_count IS 'Values that are not as expected.';
COMMENT ON COLUMN pipeline.expectation_result.unexpected_percent IS 'Percentage of the values that are not missing; NULL if there are none.';
COMMENT ON COLUMN pipeline.expectation_result.unexpected_percent_total IS 'Percentage of all rows looked at; NULL if there are none.';
COMMENT ON COLUMN pipeline.expectation_result.partial_unexpected_list IS 'The first unexpected values, at most 20.';
COMMENT ON COLUMN pipeline.expectation_result.partial_unexpected_keys IS 'NULL: check_now() takes no row_key.';
COMMENT ON COLUMN pipeline.expectation_result.details IS 'More, by type of check.';
COMMENT ON COLUMN pipeline.expectation_result.proved IS 'Was the verdict proved from constraints, without looking at rows?';
COMMENT ON COLUMN pipeline.expectation_result.error IS 'Why it could not be evaluated, with the SQLSTATE.';

ALTER TABLE pipeline.suites ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.expectations ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.validations ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.expectation_results ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.quarantined_rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.validation_states ENABLE ROW LEVEL SECURITY;
SELECT pg_extension_config_dump('pipeline.suites', '');
SELECT pg_extension_config_dump('pipeline.expectations', '');
SELECT pg_extension_config_dump('pipeline.expectations_expectation_id_seq', '');
SELECT pg_extension_config_dump('pipeline.validations', '');
SELECT pg_extension_config_dump('pipeline.validations_validation_id_seq', '');
SELECT pg_extension_config_dump('pipeline.expectation_results', '');
SELECT pg_extension_config_dump('pipeline.quarantined_rows', '');
SELECT pg_extension_config_dump('pipeline.quarantined_rows_quarantine_id_seq', '');
SELECT pg_extension_config_dump('pipeline.validation_states', '');
