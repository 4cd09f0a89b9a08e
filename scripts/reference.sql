-- The page docs/reference.md, from the catalogue; the temporary table rooms
-- says which room (n, room) defines an object (name).
SET search_path = pipeline, pg_catalog, pg_temp;
SET client_min_messages = error;
CREATE FUNCTION pg_temp.cell(t text) RETURNS text LANGUAGE sql AS
  $$SELECT replace(regexp_replace(coalesce(t, ''), '\s*\n\s*', ' ', 'g'), '|', '\|')$$;
CREATE TEMP TABLE page (room int, part int, name text, text text);
-- Functions, one heading for all of a name.
INSERT INTO page
SELECT r.n, 1, p.proname,
  format(E'#### %s\n\n%s\n\n%s\n', p.proname,
    string_agg(format('    %s%s(%s)%s', CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE '' END, p.proname,
      pg_get_function_arguments(p.oid),
      CASE p.prokind WHEN 'p' THEN '' ELSE ' -> ' || replace(pg_get_function_result(p.oid), 'pipeline.', '') END), E'\n' ORDER BY p.pronargs, p.oid),
    string_agg(DISTINCT obj_description(p.oid, 'pg_proc'), E'\n\n'))
FROM pg_proc p JOIN (SELECT DISTINCT n, name FROM rooms) r ON r.name = p.proname
WHERE p.pronamespace = 'pipeline'::regnamespace AND p.proname NOT LIKE '\_%' GROUP BY r.n, p.proname;
-- Tables and views with their columns.
INSERT INTO page
SELECT r.n, CASE c.relkind WHEN 'v' THEN 2 ELSE 3 END, c.relname,
  format(E'#### %s\n\n%s\n\n| column | type | |\n|---|---|---|\n%s\n', c.relname, obj_description(c.oid, 'pg_class'),
    string_agg(format('| %s | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), pg_temp.cell(col_description(c.oid, a.attnum))), E'\n' ORDER BY a.attnum))
FROM pg_class c JOIN rooms r ON r.name = c.relname JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'pipeline'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname NOT LIKE '\_%' GROUP BY r.n, c.oid, c.relkind, c.relname;
-- Types.
INSERT INTO page
SELECT r.n, 4, t.typname,
  format(E'#### %s\n\n%s\n%s', t.typname, obj_description(t.oid, 'pg_type'),
    CASE WHEN t.typtype = 'c' THEN E'\n| attribute | type | |\n|---|---|---|\n' ||
      (SELECT string_agg(format('| %s | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), pg_temp.cell(col_description(t.typrelid, a.attnum))), E'\n' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0) || E'\n' ELSE '' END)
FROM pg_type t JOIN rooms r ON r.name = t.typname LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typnamespace = 'pipeline'::regnamespace AND (t.typtype IN ('d', 'e') OR c.relkind = 'c') AND t.typname NOT LIKE '\_%';
-- Settings.
INSERT INTO page
SELECT 99, 1, 'settings', E'| setting | default | unit | set by | |\n|---|---|---|---|---|\n' ||
  string_agg(format('| %s | %s | %s | %s | %s |', name, boot_val, unit,
    CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload' WHEN 'superuser' THEN 'superuser' ELSE 'anybody' END,
    pg_temp.cell(short_desc || coalesce(' ' || extra_desc, ''))), E'\n' ORDER BY name) || E'\n'
FROM pg_settings WHERE name LIKE 'pipeline.%';

\echo '# Reference'
\echo
\echo 'Everything public, by room. Made by `make docs` from the comments in the database; in psql, `\\df+ pipeline.*` and `\\d+` show the same.'
SELECT text FROM (
  SELECT room, part, 0 AS n, '' AS name, CASE part WHEN min(part) OVER (PARTITION BY room)
      THEN E'\n## ' || (SELECT min(r.room) FROM rooms r WHERE r.n = p.room) || E'\n' ELSE '' END || E'\n### ' ||
    (ARRAY['Functions', 'Views', 'Tables', 'Types'])[part] || E'\n' AS text
  FROM (SELECT DISTINCT room, part FROM page WHERE room < 99) p
  UNION ALL SELECT 99, 0, 0, '', E'\n## Settings\n'
  UNION ALL SELECT room, part, 1, name, text FROM page) x
ORDER BY room, part, n, name COLLATE "C";
