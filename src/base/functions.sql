/* base: rights. */

CREATE OR REPLACE FUNCTION pipeline.is_owner(owner regrole) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_is_owner_sql';
COMMENT ON FUNCTION pipeline.is_owner(regrole) IS
'Does the current user have the rights of this owner: by membership in the role, or as a member of the role that pipeline.admin_role names? Every row security policy of the extension asks it. NULL for NULL.';

DROP POLICY IF EXISTS changes_read ON pipeline.changes;
CREATE POLICY changes_read ON pipeline.changes FOR SELECT
  USING (pipeline.is_owner(role));
GRANT SELECT ON pipeline.changes TO PUBLIC;
