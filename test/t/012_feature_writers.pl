# Incremental refreshes while five sessions write, in transactions that are
# longer than a refresh, with savepoints taken back and late events, and while
# the tables are vacuumed: nothing is missed.
use strict;
use warnings;
use PipelineTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('feature_writers');
plan skip_all => 'needs pgbench' if system('pgbench --version >/dev/null 2>&1') != 0;
install($node, 'postgres');
alice($node, q{
	CREATE TABLE alice.spine (id bigint, k int, t timestamptz, pad text DEFAULT repeat('x', 300));
	CREATE TABLE alice.events (k int, t timestamptz, v int, pad text DEFAULT repeat('x', 300));
	INSERT INTO alice.spine SELECT n, n % 50, '2024-01-01'::timestamptz + n * interval '1 minute' FROM generate_series(1, 5000) n;
	INSERT INTO alice.events SELECT n % 50, '2024-01-01'::timestamptz + n * interval '30 seconds', n FROM generate_series(1, 10000) n;
	CREATE SEQUENCE alice.ids START 1000000;
	CREATE SEQUENCE alice.clock;
	SELECT pipeline.create_feature_set('written', 'alice.spine', '{k}', 't', target => 'alice.target', spine_key => '{id}');
	SELECT pipeline.add_feature('written', 'n', 'alice.events', 'count', '2 hours');
	SELECT pipeline.add_feature('written', 's', 'alice.events', 'sum', '5 hours', value => 'v', lookahead => '1 hour');
	SELECT FROM pipeline.refresh_features('written');
});
my $script = $node->basedir . '/writer.sql';
append_to_file($script, q{
\set late random(1, 100)
\set ms random(1, 300)
\set back random(1, 2)
\set whole random(1, 10)
BEGIN;
INSERT INTO alice.events SELECT (random() * 49)::int, '2024-01-04 12:00'::timestamptz + nextval('alice.clock') * interval '5 seconds' - (:late > 95)::int * random() * interval '3 days', 1 FROM generate_series(1, 3);
INSERT INTO alice.spine SELECT nextval('alice.ids'), (random() * 49)::int, '2024-01-04 12:00'::timestamptz + currval('alice.clock') * interval '5 seconds';
\sleep :ms ms
SAVEPOINT a;
INSERT INTO alice.events VALUES (3, '2024-01-02', 7);
\if :back = 1
ROLLBACK TO a;
\endif
\if :whole = 1
ROLLBACK;
\else
COMMIT;
\endif
});
my $out = '';
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '5', '-T', '6', '-U', 'alice', '-h', $node->host, '-p', $node->port, '-f', $script, 'postgres' ],
	'>', \$out, '2>', \$out);
my @incremental;
for my $i (1 .. 12)
{
	push @incremental, alice($node, q{SELECT incremental FROM pipeline.refresh_features('written')});
	$node->safe_psql('postgres', 'VACUUM alice.events, alice.spine') if $i % 4 == 0;
}
ok($writers->finish, 'the writers are through') or diag($out);
is(join('', @incremental), 't' x 12, 'every refresh was incremental');
alice($node, q{SELECT FROM pipeline.refresh_features('written'); SELECT FROM pipeline.materialize_features('written', 'alice.spine', 'alice.rebuilt')});
is(alice($node, q{
	SELECT count(*) FROM ((SELECT id, k, t, n, s FROM alice.rebuilt EXCEPT ALL SELECT id, k, t, n, s FROM alice.target)
		UNION ALL (SELECT id, k, t, n, s FROM alice.target EXCEPT ALL SELECT id, k, t, n, s FROM alice.rebuilt)) d}),
	'0', 'the target is what a full rebuild gives');
cmp_ok(alice($node, 'SELECT count(*) FROM alice.target'), '>', 5000, 'and has what was written');
$node->stop;
done_testing();
