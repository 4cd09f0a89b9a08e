-- The conventions that every object of the extension keeps, asked of the
-- catalogue.
\unset ECHO
\pset format unaligned
\pset tuples_only true
\pset pager off
\set QUIET 1
SET search_path = public, pg_catalog;

CREATE TEMP VIEW members AS
SELECT classid, objid FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pipeline');
CREATE TEMP VIEW functions AS
SELECT p.*, p.oid::regprocedure::text AS signature FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
CREATE TEMP VIEW relations AS
SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;
CREATE TEMP VIEW types AS
SELECT t.* FROM pg_type t JOIN members m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid;

SELECT plan(18);
SELECT cmp_ok((SELECT count(*) FROM functions), '>', 40::bigint, 'the extension has functions');
SELECT is_empty('SELECT signature FROM functions WHERE obj_description(oid, ''pg_proc'') IS NULL',
  'every function has a COMMENT');
SELECT is_empty('SELECT name FROM relations WHERE relkind IN (''r'', ''v'', ''c'') AND obj_description(oid, ''pg_class'') IS NULL
    AND NOT (relkind = ''c'' AND obj_description(reltype, ''pg_type'') IS NOT NULL)',
  'every table and view has one');
SELECT is_empty('SELECT t.typname FROM types t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE obj_description(t.oid, ''pg_type'') IS NULL AND t.typtype IN (''c'', ''d'', ''e'') AND coalesce(c.relkind, ''c'') = ''c''',
  'every type has one');
SELECT is_empty('SELECT r.name, a.attname FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
    WHERE r.relkind IN (''r'', ''v'') AND a.attnum > 0 AND NOT a.attisdropped AND col_description(r.oid, a.attnum) IS NULL',
  'every column has one');
SELECT is_empty('SELECT r.typname, a.attname FROM types r JOIN pg_class c ON c.oid = r.typrelid AND c.relkind = ''c'' JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL',
  'and so has every column of a composite type');
-- C functions name nothing by search_path, or pin it around their own SQL, or
-- evaluate user text with the path of its definer; all others pin it.
SELECT is_empty('SELECT signature FROM functions f JOIN pg_language l ON l.oid = f.prolang
    WHERE l.lanname <> ''c'' AND f.prosqlbody IS NULL AND f.prokind IN (''f'', ''p'')
      AND NOT coalesce(f.proconfig @> ''{"search_path=pg_catalog, pg_temp"}'', false)',
  'every function that is not C pins search_path');
SELECT is_empty('SELECT signature FROM functions WHERE prosecdef', 'no function is SECURITY DEFINER');
-- The aggregates _check, _distribution, _sketch and _key_twice, and _unexpected, run in queries of
-- whoever reads the checked table; they believe nothing that their plan says.
SELECT is_empty('SELECT signature FROM functions WHERE left(proname, 1) = ''_'' AND prokind <> ''a'' AND proname <> ''_unexpected''
    AND has_function_privilege(''pipeline_alice'', oid, ''EXECUTE'')',
  'no internal function is granted to PUBLIC');
SELECT is_empty('SELECT name, privilege_type, grantee::regrole FROM relations r, aclexplode(r.relacl)
    WHERE grantee <> relowner AND (privilege_type <> ''SELECT'' OR grantee <> 0)',
  'nobody has more than SELECT on a table or view');
SELECT is_empty('SELECT name FROM relations WHERE relkind = ''r'' AND NOT relrowsecurity', 'every table has row security');
SELECT is_empty('SELECT name FROM relations WHERE relkind = ''v'' AND NOT coalesce(reloptions @> ''{security_invoker=true}'', false)',
  'every view is security_invoker');
SELECT is_empty('SELECT r.name FROM relations r WHERE r.relkind = ''r'' AND has_table_privilege(''pipeline_alice'', r.oid, ''SELECT'')
    AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = r.oid)',
  'every table that can be read has a policy');
SELECT is_empty('SELECT signature, a FROM functions f, unnest(proargnames) a JOIN pg_get_keywords() k ON k.word = a
    WHERE k.catcode <> ''U''',
  'no argument is named by a reserved or column-name keyword');
SELECT is_empty('SELECT signature FROM functions f WHERE prokind = ''f'' AND (proargnames IS NULL OR '''' = ANY (proargnames)) AND pronargs > 0
    AND left(proname, 1) <> ''_''',
  'every argument of a public function has a name');
SELECT is_empty('SELECT name FROM relations WHERE relkind IN (''r'', ''S'') AND name <> ''pipeline.identity''
    AND NOT oid = ANY (SELECT unnest(extconfig) FROM pg_extension WHERE extname = ''pipeline'')',
  'all user data is dumped');
SELECT is_empty('SELECT conname FROM pg_constraint c JOIN relations r ON r.oid = c.conrelid WHERE c.contype = ''f''
    AND NOT EXISTS (SELECT FROM relations x WHERE x.oid = c.confrelid)',
  'no foreign key leaves the extension');
-- The date dimension is a table that is made once; nothing is remembered of it.
SELECT is_empty('SELECT c.signature FROM functions c, (VALUES (''alter''), (''drop'')) v(verb) WHERE c.proname LIKE ''create\_%''
    AND c.proname <> ''create_date_dimension''
    AND NOT EXISTS (SELECT FROM functions o WHERE o.proname = v.verb || substr(c.proname, 7))',
  'what can be created can be altered and dropped');
SELECT * FROM finish();
