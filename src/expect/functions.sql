/* expect: define checks, validate, look at the history. */

DROP POLICY IF EXISTS suites_read ON pipeline.suites;
CREATE POLICY suites_read ON pipeline.suites FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS expectations_read ON pipeline.expectations;
CREATE POLICY expectations_read ON pipeline.expectations FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS validations_read ON pipeline.validations;
CREATE POLICY validations_read ON pipeline.validations FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS expectation_results_read ON pipeline.expectation_results;
CREATE POLICY expectation_results_read ON pipeline.expectation_results FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS quarantined_rows_read ON pipeline.quarantined_rows;
CREATE POLICY quarantined_rows_read ON pipeline.quarantined_rows FOR SELECT
  USING (pipeline.is_owner(owner));
DROP POLICY IF EXISTS validation_states_read ON pipeline.validation_states;
CREATE POLICY validation_states_read ON pipeline.validation_states FOR SELECT
  USING (pipeline.is_owner(owner));
GRANT SELECT ON pipeline.validation_states TO PUBLIC;
GRANT SELECT ON pipeline.suites, pipeline.expectations, pipeline.validations,
  pipeline.expectation_results, pipeline.quarantined_rows TO PUBLIC;

/* The shared scan. */

CREATE OR REPLACE FUNCTION pipeline._check_step(internal, jsonb, VARIADIC "any") RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_check_step';
CREATE OR REPLACE FUNCTION pipeline._check_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_check_combine';
CREATE OR REPLACE FUNCTION pipeline._check_serialize(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_check_serialize';
CREATE OR REPLACE FUNCTION pipeline._check_deserialize(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_check_deserialize';
CREATE OR REPLACE FUNCTION pipeline._check_final(internal) RETURNS jsonb
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_check_final';
COMMENT ON FUNCTION pipeline._check_step(internal, jsonb, VARIADIC "any") IS 'Transition of the aggregate _check: one row against every check of the plan.';
COMMENT ON FUNCTION pipeline._check_combine(internal, internal) IS 'Combines two partial states of _check.';
COMMENT ON FUNCTION pipeline._check_serialize(internal) IS 'A partial state of _check, as a parallel worker sends it.';
COMMENT ON FUNCTION pipeline._check_deserialize(bytea, internal) IS 'The reverse of _check_serialize.';
COMMENT ON FUNCTION pipeline._check_final(internal) IS 'The counts and samples of _check, as JSON.';
REVOKE ALL ON FUNCTION pipeline._check_step(internal, jsonb, VARIADIC "any"),
  pipeline._check_combine(internal, internal), pipeline._check_serialize(internal),
  pipeline._check_deserialize(bytea, internal), pipeline._check_final(internal) FROM PUBLIC;

/* Granted to all: it runs with the rights of whoever reads the target. */
CREATE OR REPLACE AGGREGATE pipeline._check(jsonb, VARIADIC "any") (
  SFUNC = pipeline._check_step,
  STYPE = internal,
  SSPACE = 16384,
  COMBINEFUNC = pipeline._check_combine,
  SERIALFUNC = pipeline._check_serialize,
  DESERIALFUNC = pipeline._check_deserialize,
  FINALFUNC = pipeline._check_final,
  FINALFUNC_MODIFY = READ_ONLY,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE pipeline._check(jsonb, VARIADIC "any") IS
'Internal: evaluates many checks in one scan, for validate() and check_now().';

CREATE OR REPLACE FUNCTION pipeline._unexpected(integer, jsonb, VARIADIC "any") RETURNS integer[]
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_unexpected';
COMMENT ON FUNCTION pipeline._unexpected(integer, jsonb, VARIADIC "any") IS
'Internal: the numbers of the checks that a row fails, for the quarantine. The plan is that of _check.';

CREATE OR REPLACE FUNCTION pipeline._distribution_step(internal, jsonb, "any", boolean) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_distribution_step';
CREATE OR REPLACE FUNCTION pipeline._distribution_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_distribution_combine';
CREATE OR REPLACE FUNCTION pipeline._distribution_serialize(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_distribution_serialize';
CREATE OR REPLACE FUNCTION pipeline._distribution_deserialize(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_distribution_deserialize';
CREATE OR REPLACE FUNCTION pipeline._distribution_final(internal) RETURNS jsonb
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_distribution_final';
COMMENT ON FUNCTION pipeline._distribution_step(internal, jsonb, "any", boolean) IS 'Transition of the aggregate _distribution: one value.';
COMMENT ON FUNCTION pipeline._distribution_combine(internal, internal) IS 'Combines two partial states of _distribution.';
COMMENT ON FUNCTION pipeline._distribution_serialize(internal) IS 'A partial state of _distribution, as a parallel worker sends it.';
COMMENT ON FUNCTION pipeline._distribution_deserialize(bytea, internal) IS 'The reverse of _distribution_serialize.';
COMMENT ON FUNCTION pipeline._distribution_final(internal) IS 'What the checks of _distribution want to know, as JSON.';
REVOKE ALL ON FUNCTION pipeline._distribution_step(internal, jsonb, "any", boolean),
  pipeline._distribution_combine(internal, internal), pipeline._distribution_serialize(internal),
  pipeline._distribution_deserialize(bytea, internal), pipeline._distribution_final(internal) FROM PUBLIC;
/* Granted to all, as _check is. */
CREATE OR REPLACE AGGREGATE pipeline._distribution(jsonb, "any", boolean) (
  SFUNC = pipeline._distribution_step,
  STYPE = internal,
  SSPACE = 65536,
  COMBINEFUNC = pipeline._distribution_combine,
  SERIALFUNC = pipeline._distribution_serialize,
  DESERIALFUNC = pipeline._distribution_deserialize,
  FINALFUNC = pipeline._distribution_final,
  FINALFUNC_MODIFY = READ_WRITE,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE pipeline._distribution(jsonb, "any", boolean) IS
'Internal: evaluates the checks of a column''s distinct or ordered values with one hash and one sort, for validate() and check_now().';

CREATE OR REPLACE FUNCTION pipeline._sketch_step(internal, jsonb, "any", boolean) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_step';
CREATE OR REPLACE FUNCTION pipeline._sketch_unique_step(internal, jsonb, "any", boolean) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_unique_step';
CREATE OR REPLACE FUNCTION pipeline._sketch_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_combine';
CREATE OR REPLACE FUNCTION pipeline._sketch_serialize(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_serialize';
CREATE OR REPLACE FUNCTION pipeline._sketch_deserialize(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_deserialize';
CREATE OR REPLACE FUNCTION pipeline._sketch_final(internal) RETURNS jsonb
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_sketch_final';
COMMENT ON FUNCTION pipeline._sketch_step(internal, jsonb, "any", boolean) IS 'Transition of the aggregate _sketch: one value.';
COMMENT ON FUNCTION pipeline._sketch_unique_step(internal, jsonb, "any", boolean) IS 'Transition of the aggregate _sketch_unique: one value.';
COMMENT ON FUNCTION pipeline._sketch_combine(internal, internal) IS 'Combines two partial states of _sketch.';
COMMENT ON FUNCTION pipeline._sketch_serialize(internal) IS 'A partial state of _sketch, as a parallel worker sends it.';
COMMENT ON FUNCTION pipeline._sketch_deserialize(bytea, internal) IS 'The reverse of _sketch_serialize.';
COMMENT ON FUNCTION pipeline._sketch_final(internal) IS 'What _sketch has found, as JSON.';
REVOKE ALL ON FUNCTION pipeline._sketch_step(internal, jsonb, "any", boolean),
  pipeline._sketch_unique_step(internal, jsonb, "any", boolean),
  pipeline._sketch_combine(internal, internal), pipeline._sketch_serialize(internal),
  pipeline._sketch_deserialize(bytea, internal), pipeline._sketch_final(internal) FROM PUBLIC;
/* Granted to all, as _check is. */
CREATE OR REPLACE AGGREGATE pipeline._sketch(jsonb, "any", boolean) (
  SFUNC = pipeline._sketch_step,
  STYPE = internal,
  SSPACE = 262144,
  COMBINEFUNC = pipeline._sketch_combine,
  SERIALFUNC = pipeline._sketch_serialize,
  DESERIALFUNC = pipeline._sketch_deserialize,
  FINALFUNC = pipeline._sketch_final,
  FINALFUNC_MODIFY = READ_WRITE,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE pipeline._sketch(jsonb, "any", boolean) IS
'Internal: distinct values, quantiles, common values and the profile of a column in bounded memory, for profile(), validate() and check_now().';
CREATE OR REPLACE AGGREGATE pipeline._sketch_unique(jsonb, "any", boolean) (
  SFUNC = pipeline._sketch_unique_step,
  STYPE = internal,
  SSPACE = 262144,
  FINALFUNC = pipeline._sketch_final,
  FINALFUNC_MODIFY = READ_WRITE,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE pipeline._sketch_unique(jsonb, "any", boolean) IS
'Internal: the same, which tells for certain whether all values differ, for suggest().';

CREATE OR REPLACE FUNCTION pipeline._key_twice_step(internal, integer, boolean, VARIADIC "any") RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_key_twice_step';
CREATE OR REPLACE FUNCTION pipeline._key_twice_final(internal) RETURNS jsonb
  LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_key_twice_final';
COMMENT ON FUNCTION pipeline._key_twice_step(internal, integer, boolean, VARIADIC "any") IS 'Transition of the aggregate _key_twice: the key of one row.';
COMMENT ON FUNCTION pipeline._key_twice_final(internal) IS 'What _key_twice has found, as JSON.';
REVOKE ALL ON FUNCTION pipeline._key_twice_step(internal, integer, boolean, VARIADIC "any"),
  pipeline._key_twice_final(internal) FROM PUBLIC;
/* Granted to all, as _check is. */
CREATE OR REPLACE AGGREGATE pipeline._key_twice(integer, boolean, VARIADIC "any") (
  SFUNC = pipeline._key_twice_step,
  STYPE = internal,
  SSPACE = 65536,
  FINALFUNC = pipeline._key_twice_final,
  FINALFUNC_MODIFY = READ_WRITE,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE pipeline._key_twice(integer, boolean, VARIADIC "any") IS
'Internal: whether a key of several columns is there twice, for validate() and check_now().';

/* Definitions. */

CREATE OR REPLACE FUNCTION pipeline.create_suite(
  name text, target text, sample_limit integer DEFAULT 20,
  row_key text[] DEFAULT NULL, quarantine text DEFAULT 'none',
  labels jsonb DEFAULT '{}', or_replace boolean DEFAULT false,
  description text DEFAULT NULL, watermark text DEFAULT NULL,
  parameters jsonb DEFAULT '{}') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_create_suite';
COMMENT ON FUNCTION pipeline.create_suite(text, text, integer, text[], text, jsonb, boolean, text, text, jsonb) IS
'Create a suite of expectations; its name has no slash. target: the name of a table or view, or one read-only query, read with the rights and the search_path of the caller. sample_limit: how many unexpected values to keep per check (0 to 10000); row_key: columns whose values are kept with them; quarantine: none, copy (rows that fail a check of severity error or critical are kept with their reasons) or move (and deleted from the target, a table); labels: for the alerts of its checks; watermark: column that grows from row to row, for incremental validation; parameters: an object of values that kwargs of its expectations refer to by {"$PARAMETER": "name"}. or_replace keeps the expectations. A suite that exists: 42710.';

CREATE OR REPLACE FUNCTION pipeline.drop_suite(name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_suite';
COMMENT ON FUNCTION pipeline.drop_suite(text) IS
'Drop a suite and its expectations, and resolve their alerts. Its validations stay. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.expect(
  suite text, type text, kwargs jsonb DEFAULT '{}',
  severity text DEFAULT 'error', name text DEFAULT NULL,
  row_condition text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_expect';
COMMENT ON FUNCTION pipeline.expect(text, text, jsonb, text, text, text) IS
'Add an expectation to a suite, or replace the one of that name, and return its expectation_id. type and kwargs: by Great Expectations'' names; severity: info, warning, error, critical, of which the last two fail a validation; name: by default the type, with the column in parentheses; row_condition: SQL boolean expression, only rows for which it is true are looked at. In place of a kwarg may stand {"$PARAMETER": "..."}: the name of a parameter, whose value create_suite() or validate() gives, or an expression of + - * / ^, PI, E, sin, cos, tan, exp, abs, trunc, round, sgn, now(), datetime() and timedelta(), evaluated at each validation. Wrong kwargs: 22023; a bad pattern: 2201B. Whether the column exists is seen at validation.';

CREATE OR REPLACE FUNCTION pipeline.drop_expectation(suite text, name text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_drop_expectation';
COMMENT ON FUNCTION pipeline.drop_expectation(text, text) IS
'Drop an expectation of a suite and resolve its alert. Its results stay. Unknown: 42704; someone else''s: 42501.';

/* Validation. */

CREATE OR REPLACE FUNCTION pipeline.validate(
  suite text, where_clause text DEFAULT NULL,
  raise_on_failure boolean DEFAULT false, incremental boolean DEFAULT false,
  slice text DEFAULT NULL, parameters jsonb DEFAULT NULL) RETURNS pipeline.validation_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_validate';
COMMENT ON FUNCTION pipeline.validate(text, text, boolean, boolean, text, jsonb) IS
'Evaluate every expectation of a suite on its target, in one scan where they can share it, and store the results. where_clause: SQL boolean expression that confines it to some rows. A check that fails raises the alert CheckFailed, one that passes resolves it. success is false if a check of severity error or critical fails or any check cannot be evaluated. raise_on_failure: raise 23514 instead, with the failing checks in DETAIL, and store nothing. incremental: look only at rows whose watermark (see create_suite) is beyond that of the last time, and judge by them and all before. slice: a name for the rows that where_clause tells, such as a partition; what is found in them replaces what was found under that name before, and all slices are judged together. In both, checks whose findings cannot be merged look at all rows. parameters: an object of values for the parameters in kwargs, over those of the suite; a check whose parameter has no value is that check''s error, a value that none asks for one of the call (22023).';

CREATE OR REPLACE FUNCTION pipeline.check_now(target text, expectations jsonb)
  RETURNS SETOF pipeline.expectation_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
  AS 'MODULE_PATHNAME', 'pipeline_check_now';
COMMENT ON FUNCTION pipeline.check_now(text, jsonb) IS
'Evaluate expectations on a table, view or query now, with the rights of the caller, and store nothing. expectations: an array of objects with the keys type, kwargs, severity, row_condition, as expect() has them. One row per expectation, in order.';

/* What a table holds. */

CREATE OR REPLACE FUNCTION pipeline.profile(target text, exact boolean DEFAULT false) RETURNS SETOF pipeline.column_profile
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
  AS 'MODULE_PATHNAME', 'pipeline_profile';
COMMENT ON FUNCTION pipeline.profile(text, boolean) IS
'Statistics of each column of a table, view or query, in one scan and with the rights of the caller: type, rows, percentage of NULLs, distinct values, least and greatest, mean and sample deviation of numbers, quantiles (0.05, 0.25, 0.5, 0.75, 0.95), lengths in characters, the ten most common values with their counts, the commonest patterns of texts (a and A for letters, 9 for digits, + for a run of four or more letters). Of a column with more than some 3,000 distinct values the count of these (within 2.5 percent, 99 times of 100), the quantiles (whose rank is within one percent of the rows) and the counts of common values (too low by at most a thousandth of the rows) are estimated, and the column exact is false; exact => true computes them by sorting, in several times the time. What a type has no operators for is NULL.';

CREATE OR REPLACE FUNCTION pipeline.describe(
  target text, exact boolean DEFAULT false, OUT name text, OUT type text,
  OUT nulls text, OUT distinct_values text, OUT least_value text,
  OUT median text, OUT greatest_value text, OUT common text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 20
  AS 'MODULE_PATHNAME', 'pipeline_describe';
COMMENT ON FUNCTION pipeline.describe(text, boolean) IS
'The profile of a table, view or query for the eye: a line per column with its name, type, share of NULLs, number of distinct values (~ where it is estimated), least value, median, greatest value, and the commonest values with their shares, or what texts look like. Long values are cut. Arguments, rights and errors are those of profile().';

CREATE OR REPLACE FUNCTION pipeline.suggest(target text, exact boolean DEFAULT false) RETURNS jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_suggest';
COMMENT ON FUNCTION pipeline.suggest(text, boolean) IS
'A suite for a table, view or query, learned from its profile: every expectation in it holds today. exact: that of profile(); it changes hardly anything here, since limits, lengths, patterns, sets of values and uniqueness are known exactly anyway. It is the JSON of a Great Expectations suite, for import_suite(): edit what must not be a rule.';

/* Great Expectations' JSON. */

CREATE OR REPLACE FUNCTION pipeline.import_suite(
  name text, target text, suite jsonb, or_replace boolean DEFAULT false) RETURNS integer
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_import_suite';
COMMENT ON FUNCTION pipeline.import_suite(text, text, jsonb, boolean) IS
'Make a suite of the JSON of a Great Expectations suite, of 0.18 or 1.x, and return how many expectations it has. name and target are those of create_suite(). Severity, name and row condition that export_suite() wrote come back; parameters ({"$PARAMETER": ...}) stay what they are, and the values that the JSON has for them become those of the suite. or_replace: the suite is replaced with all its expectations. Errors: those of create_suite() and expect(), with the place in the JSON.';

CREATE OR REPLACE FUNCTION pipeline.export_suite(name text, version text DEFAULT '1.0') RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s pipeline.suites;
  is_old boolean := version LIKE '0.%';
BEGIN
  SELECT * INTO s FROM pipeline.suites WHERE suites.name = export_suite.name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'suite "%" does not exist', export_suite.name USING ERRCODE = 'undefined_object',
      HINT = 'The table pipeline.suites lists yours; create_suite() makes one.';
  END IF;
  IF version !~ '^(0\.18|1\.)' OR version IS NULL THEN
    RAISE EXCEPTION 'argument "version" must be 0.18 or 1.x' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN jsonb_build_object(
    CASE WHEN is_old THEN 'expectation_suite_name' ELSE 'name' END, s.name,
    CASE WHEN is_old THEN 'evaluation_parameters' ELSE 'suite_parameters' END, s.parameters,
    'meta', jsonb_build_object('great_expectations_version', CASE WHEN is_old THEN '0.18.21' ELSE '1.2.0' END),
    'expectations', coalesce((
      SELECT jsonb_agg(jsonb_build_object(
          CASE WHEN is_old THEN 'expectation_type' ELSE 'type' END, e.type,
          'kwargs', e.kwargs || CASE WHEN e.row_condition IS NULL THEN '{}'
            ELSE jsonb_build_object('row_condition', e.row_condition, 'condition_parser', 'spark') END,
          'meta', jsonb_build_object('pipeline', jsonb_build_object('name', e.name, 'severity', e.severity)
            || CASE WHEN e.row_condition IS NULL THEN '{}' ELSE jsonb_build_object('row_condition', e.row_condition) END))
        ORDER BY e.expectation_id)
      FROM pipeline.expectations e WHERE e.suite = s.name), '[]'));
END $$;
COMMENT ON FUNCTION pipeline.export_suite(text, text) IS
'The JSON of a suite as Great Expectations has it. version: 0.18 or 1.x, whose keys differ. Name, severity and row condition of each expectation are in its meta, for import_suite(); types that only we have are exported with the others. Unknown: 42704.';

CREATE OR REPLACE FUNCTION pipeline._result_json(r pipeline.expectation_results) RETURNS jsonb
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN f.level = 'BOOLEAN_ONLY' OR r.error IS NOT NULL THEN '{}'::jsonb ELSE
    jsonb_strip_nulls(jsonb_build_object('observed_value', r.observed_value, 'element_count', r.element_count,
      'missing_count', r.missing_count,
      'missing_percent', 100.0 * r.missing_count / nullif(r.element_count, 0),
      'unexpected_count', r.unexpected_count, 'unexpected_percent', r.unexpected_percent,
      'unexpected_percent_total', r.unexpected_percent_total,
      'unexpected_percent_nonmissing', r.unexpected_percent))
    || CASE WHEN r.details IS NULL THEN '{}' ELSE jsonb_build_object('details', r.details) END
    || CASE WHEN r.partial_unexpected_list IS NULL THEN '{}' ELSE
         jsonb_build_object('partial_unexpected_list', jsonb_path_query_array(r.partial_unexpected_list, '$[0 to 19]')) END
    || CASE WHEN r.partial_unexpected_list IS NULL OR f.level = 'BASIC' THEN '{}' ELSE
         jsonb_build_object('partial_unexpected_counts', (
           SELECT coalesce(jsonb_agg(jsonb_build_object('value', c.v, 'count', c.n) ORDER BY c.n DESC, c.v), '[]')
           FROM (SELECT v, count(*) AS n FROM jsonb_array_elements(r.partial_unexpected_list) AS v GROUP BY v ORDER BY 2 DESC, 1 LIMIT 20) AS c)) END
    || CASE WHEN r.partial_unexpected_keys IS NULL OR f.level = 'BASIC' THEN '{}' ELSE
         jsonb_build_object('partial_unexpected_index_list', jsonb_path_query_array(r.partial_unexpected_keys, '$[0 to 19]')) END
    || CASE WHEN f.level <> 'COMPLETE' OR r.partial_unexpected_list IS NULL THEN '{}' ELSE
         jsonb_build_object('unexpected_list', r.partial_unexpected_list) END
    || CASE WHEN f.level <> 'COMPLETE' OR r.partial_unexpected_keys IS NULL THEN '{}' ELSE
         jsonb_build_object('unexpected_index_list', r.partial_unexpected_keys) END
  END
  FROM (SELECT upper(coalesce(CASE jsonb_typeof(r.kwargs -> 'result_format') WHEN 'object' THEN r.kwargs -> 'result_format' ->> 'result_format'
    ELSE r.kwargs ->> 'result_format' END, 'SUMMARY')) AS level) AS f;
END;
COMMENT ON FUNCTION pipeline._result_json(pipeline.expectation_results) IS
'Internal: a result in the form of its result_format, for validation_report().';
REVOKE ALL ON FUNCTION pipeline._result_json(pipeline.expectation_results) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.validation_report(validation_id bigint, version text DEFAULT '1.0') RETURNS jsonb
  LANGUAGE c STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_validation_report';
COMMENT ON FUNCTION pipeline.validation_report(bigint, text) IS
'A validation as Great Expectations'' validation result (ExpectationSuiteValidationResult). version: 0.18 or 1.x, whose keys differ. Each result is as detailed as its kwarg result_format asks. Unknown: 42704; someone else''s: 42501.';

/* Quarantine. */

CREATE OR REPLACE FUNCTION pipeline.release_quarantine(
  validation_id bigint, into_table regclass DEFAULT NULL,
  recheck boolean DEFAULT true) RETURNS pipeline.release_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_release_quarantine';
COMMENT ON FUNCTION pipeline.release_quarantine(bigint, regclass, boolean) IS
'Release the rows that a validation put into quarantine. Rows that were moved are inserted into the target again; into_table: all of them are inserted there. recheck: only rows that pass the suite''s row-level checks of severity error and critical now; a key must be free in the table they go to (there once, for rows that were copied), a dependency must hold with its rows, a value in order must fit between its neighbours, deviations are from the target as it is now. A check of the order in which rows lie, without order_by, refuses the release of rows that go into a table: 55000, as does one that cannot be evaluated. Returns how many were released, how many are held, how many were inserted. Unknown: 42704; someone else''s: 42501.';

CREATE OR REPLACE FUNCTION pipeline.repair_quarantined(quarantine_id bigint, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_repair_quarantined';
COMMENT ON FUNCTION pipeline.repair_quarantined(bigint, jsonb) IS
'Change values of a row that is held in the quarantine. changes: an object of columns and values; they are checked when the row is released. Not held: 42704; no such column: 42703; someone else''s: 42501.';

/* History. */

CREATE OR REPLACE VIEW pipeline.expectation_history WITH (security_invoker = true) AS
SELECT v.validation_id, v.started_at, v.suite, r.name, r.type, r."column",
       r.severity, r.success, r.observed_value, r.element_count,
       r.missing_count, r.unexpected_count, r.unexpected_percent,
       r.partial_unexpected_list, r.error, v.where_clause, v.run_id,
       v.pipeline, v.task, v.owner
FROM pipeline.validations v JOIN pipeline.expectation_results r USING (validation_id);
GRANT SELECT ON pipeline.expectation_history TO PUBLIC;
COMMENT ON VIEW pipeline.expectation_history IS 'One row per check and validation.';
COMMENT ON COLUMN pipeline.expectation_history.validation_id IS 'The validation.';
COMMENT ON COLUMN pipeline.expectation_history.started_at IS 'When it started.';
COMMENT ON COLUMN pipeline.expectation_history.suite IS 'Name of the suite.';
COMMENT ON COLUMN pipeline.expectation_history.name IS 'Name of the expectation.';
COMMENT ON COLUMN pipeline.expectation_history.type IS 'Its type.';
COMMENT ON COLUMN pipeline.expectation_history."column" IS 'Its column, if it has one.';
COMMENT ON COLUMN pipeline.expectation_history.severity IS 'Its severity.';
COMMENT ON COLUMN pipeline.expectation_history.success IS 'The verdict; NULL if it could not be evaluated.';
COMMENT ON COLUMN pipeline.expectation_history.observed_value IS 'What was observed.';
COMMENT ON COLUMN pipeline.expectation_history.element_count IS 'Rows looked at.';
COMMENT ON COLUMN pipeline.expectation_history.missing_count IS 'NULLs among them.';
COMMENT ON COLUMN pipeline.expectation_history.unexpected_count IS 'Values that are not as expected.';
COMMENT ON COLUMN pipeline.expectation_history.unexpected_percent IS 'Percentage of the values that are not missing.';
COMMENT ON COLUMN pipeline.expectation_history.partial_unexpected_list IS 'The first unexpected values.';
COMMENT ON COLUMN pipeline.expectation_history.error IS 'Why it could not be evaluated.';
COMMENT ON COLUMN pipeline.expectation_history.where_clause IS 'The rows the validation was confined to; NULL: all.';
COMMENT ON COLUMN pipeline.expectation_history.run_id IS 'The run in which it was called.';
COMMENT ON COLUMN pipeline.expectation_history.pipeline IS 'The pipeline of the run.';
COMMENT ON COLUMN pipeline.expectation_history.task IS 'The task that called it.';
COMMENT ON COLUMN pipeline.expectation_history.owner IS 'Owner of the suite.';

CREATE OR REPLACE VIEW pipeline.suite_health WITH (security_invoker = true) AS
SELECT s.name AS suite, s.target,
       (SELECT count(*) FROM pipeline.expectations e WHERE e.suite = s.name) AS expectations,
       v.validation_id AS last_validation_id, v.started_at AS last_validated_at,
       v.success, v.evaluated, v.failed, v.warned, v.errored, v.rows,
       (SELECT max(p.started_at) FROM pipeline.validations p
        WHERE p.suite = s.name AND p.owner = s.owner AND p.success) AS last_success_at,
       h.validations, h.pass_rate,
       CASE WHEN h.validations < 10 THEN NULL
            WHEN h.late_rate > h.early_rate + 0.1 THEN 'better'
            WHEN h.late_rate < h.early_rate - 0.1 THEN 'worse'
            ELSE 'steady' END AS trend,
       h.changes,
       h.changes >= 4 AS flapping,
       (SELECT count(*) FROM pipeline.quarantined_rows q
        WHERE q.suite = s.name AND q.owner = s.owner AND q.released_at IS NULL) AS held_rows,
       s.owner
FROM pipeline.suites s
LEFT JOIN LATERAL (
  SELECT * FROM pipeline.validations l
  WHERE l.suite = s.name AND l.owner = s.owner
  ORDER BY l.validation_id DESC LIMIT 1) v ON true
LEFT JOIN LATERAL (
  SELECT count(*) AS validations, avg(r.success::int)::double precision AS pass_rate,
         avg(r.success::int) FILTER (WHERE r.n * 2 <= r.total) AS late_rate,
         avg(r.success::int) FILTER (WHERE r.n * 2 > r.total) AS early_rate,
         count(*) FILTER (WHERE r.success <> r.before) AS changes
  FROM (SELECT l.success, row_number() OVER w AS n, lead(l.success) OVER w AS before, count(*) OVER () AS total
        FROM (SELECT p.validation_id, p.success FROM pipeline.validations p
              WHERE p.suite = s.name AND p.owner = s.owner
              ORDER BY p.validation_id DESC LIMIT 20) l
        WINDOW w AS (ORDER BY l.validation_id DESC)) r) h ON true;
GRANT SELECT ON pipeline.suite_health TO PUBLIC;
COMMENT ON VIEW pipeline.suite_health IS 'One row per suite: how its last validation went, and its last 20.';
COMMENT ON COLUMN pipeline.suite_health.suite IS 'Name of the suite.';
COMMENT ON COLUMN pipeline.suite_health.target IS 'What it checks.';
COMMENT ON COLUMN pipeline.suite_health.expectations IS 'How many expectations it has now.';
COMMENT ON COLUMN pipeline.suite_health.last_validation_id IS 'Its last validation; NULL: never validated.';
COMMENT ON COLUMN pipeline.suite_health.last_validated_at IS 'When that started.';
COMMENT ON COLUMN pipeline.suite_health.success IS 'Whether it succeeded.';
COMMENT ON COLUMN pipeline.suite_health.evaluated IS 'Its checks that have a verdict.';
COMMENT ON COLUMN pipeline.suite_health.failed IS 'Its checks of severity error or critical that failed.';
COMMENT ON COLUMN pipeline.suite_health.warned IS 'Its checks of severity info or warning that failed.';
COMMENT ON COLUMN pipeline.suite_health.errored IS 'Its checks that could not be evaluated.';
COMMENT ON COLUMN pipeline.suite_health.rows IS 'Rows of the target then.';
COMMENT ON COLUMN pipeline.suite_health.last_success_at IS 'When the last successful validation started.';
COMMENT ON COLUMN pipeline.suite_health.validations IS 'How many of its last 20 validations there are; what follows is of those.';
COMMENT ON COLUMN pipeline.suite_health.pass_rate IS 'Part of them that succeeded, 0 to 1.';
COMMENT ON COLUMN pipeline.suite_health.trend IS 'Does the later half succeed more often than the earlier: better, worse or steady; NULL below ten.';
COMMENT ON COLUMN pipeline.suite_health.changes IS 'How often success turned into failure or failure into success.';
COMMENT ON COLUMN pipeline.suite_health.flapping IS 'Did it turn four times or more?';
COMMENT ON COLUMN pipeline.suite_health.held_rows IS 'Rows that are held in its quarantine.';
COMMENT ON COLUMN pipeline.suite_health.owner IS 'Owner of the suite.';

CREATE OR REPLACE FUNCTION pipeline.alter_suite(name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_suite(text, jsonb) IS
'Change some of the definition of a suite. changes: a JSON object whose keys are arguments of create_suite(); null sets one back to its default, what is not named stays. Its expectations and its search_path stay. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of create_suite().';

CREATE OR REPLACE FUNCTION pipeline.alter_expectation(suite text, name text, changes jsonb) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_alter_object';
COMMENT ON FUNCTION pipeline.alter_expectation(text, text, jsonb) IS
'Change some of the definition of a expectation. changes: a JSON object whose keys are arguments of expect(); null sets one back to its default, what is not named stays. Errors: 42704 when there is none, 22023 for unknown keys, 0A000 for what cannot be altered, and those of expect().';
