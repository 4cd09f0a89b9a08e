-- Whose rights: the owner's for suites, the caller's for check_now.
\set VERBOSITY terse
SET client_min_messages = warning;
SET ROLE pipeline_alice;
CREATE TABLE alice.expect_secret (id int, pin text);
INSERT INTO alice.expect_secret VALUES (1, '1234');
SET search_path = alice, pg_catalog;
SELECT pipeline.create_suite('expect_rights a', 'expect_secret', row_key => '{pin}');
SELECT pipeline.expect('expect_rights a', 'expect_column_values_to_be_in_set', '{"column": "pin", "value_set": ["0000"]}') > 0 AS id;
SELECT success, failed, rows FROM pipeline.validate('expect_rights a');
RESET search_path;

SET ROLE pipeline_bob;
SELECT count(*) FROM pipeline.suites WHERE name = 'expect_rights a';
SELECT count(*) FROM pipeline.expectations WHERE suite = 'expect_rights a';
SELECT count(*) FROM pipeline.validations WHERE suite = 'expect_rights a';
SELECT count(*) FROM pipeline.expectation_results WHERE partial_unexpected_list @> '["1234"]';
SELECT count(*) FROM pipeline.expectation_history WHERE suite = 'expect_rights a';
SELECT count(*) FROM pipeline.suite_health WHERE suite = 'expect_rights a';
SELECT pipeline.validate('expect_rights a');
SELECT pipeline.validate('expect_rights a', 'bob.spy()');
SELECT pipeline.expect('expect_rights a', 'expect_table_row_count_to_equal', '{"value": 1}');
SELECT pipeline.drop_expectation('expect_rights a', 'expect_column_values_to_be_in_set(pin)');
SELECT pipeline.drop_suite('expect_rights a');
SELECT pipeline.create_suite('expect_rights a', 'pg_class', or_replace => true);
SELECT pipeline.create_suite('expect_rights a', 'pg_class');
INSERT INTO pipeline.suites SELECT * FROM pipeline.suites;
UPDATE pipeline.expectations SET kwargs = '{}';
DELETE FROM pipeline.validations;
TRUNCATE pipeline.expectation_results;
-- What Bob may not read, Bob's checks may not either.
SELECT success, element_count, error FROM pipeline.check_now('SELECT * FROM alice.expect_secret', '[{"type": "expect_column_values_to_be_null", "kwargs": {"column": "pin"}}]');
SELECT pipeline.check_now('alice.expect_secret', '[{"type": "expect_column_values_to_be_null", "kwargs": {"column": "pin"}}]');
-- Bob sets a trap: a function in a condition that tells who runs it.
SET search_path = bob, pg_catalog;
CREATE TABLE bob.expect_bait (id int);
INSERT INTO bob.expect_bait VALUES (1);
CREATE FUNCTION bob.expect_spy() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RAISE WARNING 'run as %, search_path %', current_user, current_setting('search_path');
  RETURN true;
END $$;
SELECT pipeline.create_suite('expect_rights b', 'expect_bait');
SELECT pipeline.expect('expect_rights b', 'expect_column_values_to_be_unique', '{"column": "id"}', row_condition => 'expect_spy()') > 0 AS id;
-- Operators and functions of Bob's, first in the path, are not ours.
CREATE FUNCTION bob.sum(int) RETURNS int LANGUAGE sql AS $$ SELECT 666 $$;
CREATE TYPE bob.jsonb AS (x int);
SELECT success, evaluated, rows FROM pipeline.validate('expect_rights b');
RESET search_path;
-- Even when a superuser validates it, it runs as Bob, with Bob's path.
RESET ROLE;
SELECT success, evaluated, rows FROM pipeline.validate('expect_rights b');
-- A superuser cannot be made to leave Bob's scope.
CREATE FUNCTION bob.expect_escape() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'RESET ROLE';
  RETURN true;
END $$;
SET ROLE pipeline_bob;
SELECT pipeline.expect('expect_rights b', 'expect_column_values_to_be_unique', '{"column": "id"}', row_condition => 'bob.expect_escape()') > 0 AS id;
RESET ROLE;
SELECT success, errored FROM pipeline.validate('expect_rights b');
SELECT error FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations WHERE suite = 'expect_rights b');
SELECT current_user = session_user AS myself, current_setting('search_path');
-- Whoever only administers validates and drops, but gives no SQL to run as the owner.
CREATE ROLE expect_rights_admin;
ALTER SYSTEM SET pipeline.admin_role = 'expect_rights_admin';
SELECT pg_reload_conf();
SELECT pg_sleep(1);
GRANT USAGE ON SCHEMA pipeline TO expect_rights_admin;
SET ROLE expect_rights_admin;
SELECT success, rows FROM pipeline.validate('expect_rights a');
SELECT pipeline.validate('expect_rights a', 'true');
SELECT pipeline.expect('expect_rights a', 'expect_table_row_count_to_equal', '{"value": 1}', row_condition => 'true');
SELECT pipeline.create_suite('expect_rights a', 'SELECT 1 AS pin', or_replace => true);
RESET ROLE;
ALTER SYSTEM RESET pipeline.admin_role;
SELECT pg_reload_conf();
REVOKE USAGE ON SCHEMA pipeline FROM expect_rights_admin;
DROP ROLE expect_rights_admin;
-- A suite on what its owner may not read holds no lock on it.
SET ROLE pipeline_alice;
GRANT USAGE ON SCHEMA alice TO pipeline_bob;
SET ROLE pipeline_bob;
BEGIN;
SELECT pipeline.create_suite('expect_rights lock', 'alice.expect_secret');
SELECT count(*) AS locks FROM pg_locks WHERE relation = 'alice.expect_secret'::regclass;
ROLLBACK;
SET ROLE pipeline_alice;
REVOKE USAGE ON SCHEMA alice FROM pipeline_bob;
-- The owner loses the right to read: the check errs, visibly.
SET ROLE pipeline_alice;
REVOKE SELECT ON alice.expect_secret FROM pipeline_alice;
SELECT success, evaluated, errored, rows FROM pipeline.validate('expect_rights a');
SELECT error FROM pipeline.expectation_results WHERE validation_id = (SELECT max(validation_id) FROM pipeline.validations WHERE suite = 'expect_rights a');
GRANT SELECT ON alice.expect_secret TO pipeline_alice;
-- Row security of the target holds.
ALTER TABLE alice.expect_secret ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON alice.expect_secret TO pipeline_bob;
GRANT USAGE ON SCHEMA alice TO pipeline_bob;
SET ROLE pipeline_bob;
SELECT success, observed_value FROM pipeline.check_now('alice.expect_secret', '[{"type": "expect_table_row_count_to_equal", "kwargs": {"value": 0}}]');
RESET ROLE;
SET ROLE pipeline_alice;
REVOKE USAGE ON SCHEMA alice FROM pipeline_bob;
SELECT pipeline.drop_suite('expect_rights a');
DROP TABLE alice.expect_secret;
RESET ROLE;
SELECT pipeline.drop_suite('expect_rights b');
SET client_min_messages = error;
DROP TABLE bob.expect_bait;
DROP FUNCTION bob.expect_spy(), bob.expect_escape(), bob.sum(int);
DROP TYPE bob.jsonb;
