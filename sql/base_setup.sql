-- The extension is installed by the test driver; here are the roles that the
-- tests of every room share: two ordinary roles that do not know each other,
-- and one that administers.
\set VERBOSITY terse
CREATE ROLE pipeline_alice LOGIN;
CREATE ROLE pipeline_bob LOGIN;
GRANT USAGE ON SCHEMA pipeline TO pipeline_alice, pipeline_bob;
CREATE SCHEMA alice AUTHORIZATION pipeline_alice;
CREATE SCHEMA bob AUTHORIZATION pipeline_bob;
SELECT extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'pipeline') AS current
FROM pg_extension WHERE extname = 'pipeline';
