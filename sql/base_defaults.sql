-- Default privileges of the installing role give nobody rights on our tables.
\set old :DBNAME
CREATE DATABASE pipeline_defaults;
\c pipeline_defaults
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO pipeline_bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO pipeline_bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO pipeline_bob;
CREATE EXTENSION pipeline;
SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind IN ('r', 'S') AND a.grantee <> c.relowner
  AND (a.grantee <> 0 OR a.privilege_type <> 'SELECT');
SELECT has_schema_privilege('pipeline_bob', 'pipeline', 'CREATE');
SET SESSION AUTHORIZATION pipeline_bob;
CREATE TRIGGER trap BEFORE INSERT ON pipeline.pipelines FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
RESET SESSION AUTHORIZATION;
DROP EXTENSION pipeline;
\c :old
DROP DATABASE pipeline_defaults;
