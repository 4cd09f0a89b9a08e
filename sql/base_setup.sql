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
-- What a statement raises, without the numbers of runs.
CREATE FUNCTION public.raises(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
  EXECUTE query;
  RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
  RETURN sqlstate || ' | ' || regexp_replace(concat_ws(' | ', sqlerrm, nullif(d, ''), nullif(h, '')), '\d+(?=[ ).:]|$)', 'N', 'g');
END $$;
-- Wait until a query says true.
CREATE PROCEDURE public.wait_until(query text) LANGUAGE plpgsql AS $$
DECLARE good boolean;
BEGIN
  FOR i IN 1..3000 LOOP
    EXECUTE query INTO good;
    EXIT WHEN good;
    COMMIT;
    PERFORM pg_sleep(0.01);
  END LOOP;
  IF NOT good THEN RAISE 'waited in vain: %', query; END IF;
END $$;
