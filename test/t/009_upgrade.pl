# What a release makes: an older version, here one that is made up from the
# present scripts, is upgraded to the present one, and nothing tells the
# result from a fresh installation; its data is kept.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use File::Copy;
use FindBin;
use Test::More;

my $tree = "$FindBin::Bin/../../tree";
# The one of the server that is tested; it stands first in PATH.
my $pg_config = 'pg_config';
my $share = `$pg_config --sharedir`;
chomp $share;
plan skip_all => 'needs the sources beside it, and an extension directory that it may write'
  unless -e "$tree/Makefile" && -w "$share/extension";

my ($version) = slurp_file("$tree/pipeline.control") =~ /default_version = '(.*)'/;
my @make = ('make', '-s', '-C', $tree, "PG_CONFIG=$pg_config");
command_ok([ @make, "pipeline--$version.sql" ], 'the install script is made');
my $script = slurp_file("$tree/pipeline--$version.sql");
unlike($script, qr/CREATE OR REPLACE/, 'it replaces nothing');

# 0.0.1 lacked a function and a column, had another comment, and an object that
# is gone since.
my $old = $script;
my $changed = 0;
$changed += $old =~ s/,\n  created_at timestamptz NOT NULL DEFAULT pg_catalog\.now\(\),\n  PRIMARY KEY \(pipeline, task\)/,\n  PRIMARY KEY (pipeline, task)/;
$changed += $old =~ s/COMMENT ON COLUMN pipeline\.tasks\.created_at IS[^;]*;\n//;
$changed += $old =~ s/CREATE FUNCTION pipeline\.export\(.*?;\n//s;
$changed += $old =~ s/COMMENT ON FUNCTION pipeline\.export\(.*?';\n//s;
$changed += $old =~ s/(COMMENT ON FUNCTION pipeline\.apply\(jsonb, text\[\], boolean\) IS\n)'.*?';/$1'Another text.';/s;
is($changed, 5, 'the made up version differs in what is meant');
$old .= "CREATE FUNCTION pipeline.obsolete() RETURNS int LANGUAGE sql AS 'SELECT 1';\n";
my $upgrade = "$tree/src/upgrade";
mkdir $upgrade;
append_to_file("$upgrade/pipeline--0.0.1.sql", $old);
append_to_file("$upgrade/0.0.1--$version.sql", q{
ALTER TABLE pipeline.tasks ADD COLUMN created_at timestamptz NOT NULL DEFAULT pg_catalog.now();
COMMENT ON COLUMN pipeline.tasks.created_at IS 'When it was created.';
DROP FUNCTION pipeline.obsolete();
});
command_ok([ @make, 'RELEASED=0.0.1', "pipeline--0.0.1--$version.sql" ], 'the upgrade script is made');
my $install = `@make RELEASED=0.0.1 with_llvm=no -n install`;
like($install, qr{src/upgrade/pipeline--0\.0\.1\.sql}, 'the frozen script would be installed');
like($install, qr{pipeline--0\.0\.1--\Q$version\E\.sql}, 'and the upgrade script');
copy("$upgrade/pipeline--0.0.1.sql", "$share/extension/") or die $!;
copy("$tree/pipeline--0.0.1--$version.sql", "$share/extension/") or die $!;

my $node = new_node('upgrade');
$node->safe_psql('postgres', $_) for 'CREATE DATABASE fresh', 'CREATE DATABASE upgraded';
install($node, 'fresh');
$node->safe_psql('upgraded', q{CREATE EXTENSION pipeline VERSION '0.0.1'});
# Everything that a member of the extension is.
my $everything = q{
	WITH members AS (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pipeline')),
	rel AS (SELECT c.* FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid)
	SELECT line FROM (
	SELECT 'member ' || (i).type || ' ' || (i).identity || ' ' || coalesce(obj_description(m.objid, m.classid::regclass::name), '') AS line
		FROM (SELECT m.*, pg_identify_object(classid, objid, 0) AS i FROM members m) m
	UNION ALL SELECT 'function ' || p.oid::regprocedure || md5(CASE p.prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END) || coalesce(p.proacl::text, '') FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	UNION ALL SELECT format('column %s.%s %s %s %s %s %s %s', r.oid::regclass, a.attname, a.attnum - (SELECT count(*) FROM pg_attribute d WHERE d.attrelid = r.oid AND d.attisdropped AND d.attnum < a.attnum), format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
		FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	UNION ALL SELECT format('relation %s %s %s %s %s', r.oid::regclass, r.relkind, r.relacl, r.reloptions, r.relrowsecurity) FROM rel r
	UNION ALL SELECT format('view %s %s', r.oid::regclass, md5(pg_get_viewdef(r.oid))) FROM rel r WHERE r.relkind = 'v'
	UNION ALL SELECT format('constraint %s %s %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN rel r ON r.oid = c.conrelid
	UNION ALL SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN rel r ON r.oid = i.indrelid
	UNION ALL SELECT format('policy %s %s %s %s', p.polrelid::regclass, p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid)) FROM pg_policy p JOIN rel r ON r.oid = p.polrelid
	UNION ALL SELECT format('dumped %s %s', t::regclass, c) FROM pg_extension, unnest(extconfig, extcondition) u(t, c) WHERE extname = 'pipeline'
	UNION ALL SELECT format('version %s', extversion) FROM pg_extension WHERE extname = 'pipeline') x ORDER BY line COLLATE "C"};
isnt($node->safe_psql('upgraded', $everything), $node->safe_psql('fresh', $everything), 'the older version is another');

# Its data, and a run in the middle.
$node->safe_psql('upgraded', q{
	GRANT USAGE ON SCHEMA pipeline TO alice;
	CREATE SCHEMA alice AUTHORIZATION alice;
	CREATE TABLE alice.log (line text);
	ALTER TABLE alice.log OWNER TO alice;
});
alice($node, q{
	SELECT pipeline.create_pipeline('p', '@daily');
	SELECT pipeline.create_task('p', 'a', $$INSERT INTO alice.log VALUES ('a'); SELECT pg_advisory_xact_lock(1)$$);
	SELECT pipeline.create_task('p', 'b', $$INSERT INTO alice.log VALUES ('b')$$, '{a}');
}, 'upgraded');
my $gate = $node->background_psql('upgraded');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $run = run_pipeline($node, 'p', 'upgraded');
wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', 'a task of the older version is running');
$node->safe_psql('upgraded', "SET lock_timeout = '10s'; ALTER EXTENSION pipeline UPDATE");
pass('ALTER EXTENSION UPDATE meanwhile');
$gate->quit;
wait_run($node, $run, 'succeeded', 'the run goes on', 'upgraded');
is($node->safe_psql('upgraded', "SELECT string_agg(line, ' ') FROM alice.log"), 'a b', 'each task once');
like(alice($node, "SELECT pipeline.export('p')", 'upgraded'), qr/create_task.*create_task/s, 'what is new works, on what is old');

my @upgraded = split /\n/, $node->safe_psql('upgraded', $everything);
my @fresh = split /\n/, $node->safe_psql('fresh', $everything);
cmp_ok(scalar(@fresh), '>', 500, 'much is compared');
my %in_upgraded = map { $_ => 1 } @upgraded;
my %in_fresh = map { $_ => 1 } @fresh;
is(join("\n", grep { !$in_upgraded{$_} } @fresh), '', 'nothing of a fresh installation is missing');
is(join("\n", grep { !$in_fresh{$_} } @upgraded), '', 'and nothing is left over');
# The comparison would have seen it.
$node->safe_psql('upgraded', 'ALTER TABLE pipeline.tasks ALTER COLUMN created_at DROP NOT NULL');
isnt($node->safe_psql('upgraded', $everything), $node->safe_psql('fresh', $everything), 'a column that may be NULL would have been seen');
$node->stop;
unlink "$share/extension/pipeline--0.0.1.sql", "$share/extension/pipeline--0.0.1--$version.sql";
done_testing();
