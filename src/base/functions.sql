/* base: rights; definitions as one document. */

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

CREATE OR REPLACE FUNCTION pipeline.is_administrator(role regrole) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_is_administrator_sql';
COMMENT ON FUNCTION pipeline.is_administrator(regrole) IS
'Does a role administer all of pipeline: is it a superuser, or a member of the role that pipeline.admin_role names? NULL for NULL.';

DROP POLICY IF EXISTS changes_read ON pipeline.changes;
CREATE POLICY changes_read ON pipeline.changes FOR SELECT
  USING (pipeline.is_owner(role) OR pipeline.is_owner(owner));
GRANT SELECT ON pipeline.changes TO PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.apply(
  spec jsonb,
  prune text[] DEFAULT '{}',
  dry_run boolean DEFAULT false,
  OUT object text, OUT name text, OUT action text, OUT before jsonb, OUT after jsonb) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
  AS 'MODULE_PATHNAME', 'pipeline_apply';
COMMENT ON FUNCTION pipeline.apply(jsonb, text[], boolean) IS
'Make what is defined equal to one document, in this transaction. spec: a JSON object with a list for each kind: channels, dimensions, facts, feature_sets (each with features), suites (with expectations), pipelines (with tasks), ...; the keys of an object are the arguments of the function that creates it, without or_replace; one that is missing has its default, but run_as and paused of a pipeline that exists stay. Kinds that store a search_path take that key too (else: the caller''s). Timestamps and dates are read as ISO, in UTC where they have no zone. prune: kinds of which objects that the document does not have are dropped, if the caller has the rights of their owner; of children only where the document has the parent. dry_run: do everything, then take it back. Returns a row for each object of the document and each one dropped: its kind, name, action (create, update, unchanged, drop) and its arguments before and after, those that differ from their defaults. Applied again it changes nothing. Errors: 22023 for unknown or missing keys, and whatever the creating and dropping functions raise, with the object as context; nothing is changed then.';

CREATE OR REPLACE FUNCTION pipeline.export(pipeline text DEFAULT NULL, format text DEFAULT 'sql') RETURNS text
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_export';
COMMENT ON FUNCTION pipeline.export(text, text) IS
'All definitions of which the caller has the rights of the owner, or one pipeline that he may see, with its tasks, as text: format sql gives calls of the creating functions, each with or_replace, one argument a line, only those that differ from their defaults; jsonb gives the document that apply() takes. Applied where it was made, either changes nothing. run_as is given for pipelines that do not belong to the caller; objects of other kinds belong to whoever runs the calls. Errors: 42704 for an unknown pipeline, 22023 for an unknown format.';

CREATE OR REPLACE FUNCTION pipeline._direct_obstacles(
  relation regclass, columns text[], OUT reading text, OUT writing text)
  LANGUAGE c STABLE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'pipeline_direct_obstacles';
COMMENT ON FUNCTION pipeline._direct_obstacles(regclass, text[]) IS
'Internal: why the current user''s reading and writing of these columns goes through the executor; NULL where the table''s access method is used directly.';
REVOKE ALL ON FUNCTION pipeline._direct_obstacles(regclass, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION pipeline.doctor(OUT finding text, OUT severity text, OUT detail text, OUT fix text) RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'pipeline_doctor';
COMMENT ON FUNCTION pipeline.doctor() IS
'What is missing or unwise in this server: one row per finding, the worst first; none: all is well. finding: a word for it; severity: critical, error, warning or info; detail: the particulars; fix: what to do. It changes nothing and speaks to nobody. Of others'' objects it tells only superusers and members of pipeline.admin_role.';
