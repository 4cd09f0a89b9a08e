/* base: rights. */

/*
 * ALTER DEFAULT PRIVILEGES of whoever installs us may have given others rights
 * on our tables: a trigger on one would run as the owner of the extension.
 * Later statements of this script grant what is meant.
 */
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN
    SELECT DISTINCT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass AS name,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind IN ('r', 'S') AND a.grantee <> c.relowner
  LOOP
    EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', given.kind, given.name, given.grantee);
  END LOOP;
  FOR given IN
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
    FROM pg_namespace n, aclexplode(n.nspacl) a
    WHERE n.nspname = 'pipeline' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
  LOOP
    EXECUTE format('REVOKE CREATE ON SCHEMA pipeline FROM %s CASCADE', given.grantee);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION pipeline.is_owner(owner regrole) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_is_owner_sql';
COMMENT ON FUNCTION pipeline.is_owner(regrole) IS
'Does the current user have the rights of this owner: by membership in the role, or as a member of the role that pipeline.admin_role names? Every row security policy of the extension asks it. NULL for NULL.';

DROP POLICY IF EXISTS changes_read ON pipeline.changes;
CREATE POLICY changes_read ON pipeline.changes FOR SELECT
  USING (pipeline.is_owner(role));
GRANT SELECT ON pipeline.changes TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline._direct_obstacles(
  relation regclass, columns text[], OUT reading text, OUT writing text)
  LANGUAGE c STABLE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_direct_obstacles';
COMMENT ON FUNCTION pipeline._direct_obstacles(regclass, text[]) IS
'Internal: why the current user''s reading and writing of these columns goes through the executor; NULL where the table''s access method is used directly.';
REVOKE ALL ON FUNCTION pipeline._direct_obstacles(regclass, text[]) FROM PUBLIC;
