# A member of the role that pipeline.admin_role names sees and operates
# everything, and has nothing of his own run as another role.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('admin', "pipeline.admin_role = 'ops'");
install($node, 'postgres');
$node->safe_psql('postgres', q{
	CREATE ROLE ops;
	CREATE ROLE olga LOGIN IN ROLE ops;
	GRANT USAGE ON SCHEMA pipeline TO ops;
	CREATE TABLE public.events (k int, t timestamptz);
	CREATE TABLE public.keys (k int, v text);
	SELECT pipeline.create_feature_set('super', 'public.events', '{k}', 't', 'public.super_features');
	SELECT pipeline.create_dimension('public.super_dim', 'public.keys', '{k}', 'snapshot');
	SELECT pipeline.create_suite('super', 'public.events');
});
alice($node, q{
	SELECT pipeline.create_pipeline('p');
	SELECT pipeline.create_task('p', 'a', 'SELECT pg_sleep(600)');
});
my @olga = (extra_params => [ '-U', 'olga' ]);

# What she may.
is($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.pipelines', @olga), '1', 'an administrator sees the pipelines of others');
my $run = $node->safe_psql('postgres', "SELECT pipeline.run('p')", @olga);
wait_for($node, "SELECT count(*) FROM pipeline.attempts WHERE state = 'running'", '1', 'and runs them');
is($node->safe_psql('postgres', "SELECT pipeline.cancel($run)", @olga), 't', 'and cancels them');
wait_run($node, $run, 'cancelled', 'so that they end');
is($node->safe_psql('postgres', "SELECT pipeline.pause('p', 'by ops')", @olga), '', 'and pauses them');
is($node->safe_psql('postgres', q{SELECT pipeline.alter_task('p', 'a', '{"retries": 2, "timeout": "1 hour"}')}, @olga), '', 'and changes how a task runs');
is($node->safe_psql('postgres', "SELECT retries, command FROM pipeline.tasks WHERE pipeline = 'p'"), '2|SELECT pg_sleep(600)', 'but not what');
is($node->safe_psql('postgres', "SELECT role FROM pipeline.changes WHERE action = 'pause'", @olga), 'olga', 'under her own name');

# What she may not: each of these would run her text as the owner.
for my $case (
	[ q{SELECT pipeline.create_task('p', 'b', 'SELECT 1')}, 'command' ],
	[ q{SELECT pipeline.alter_task('p', 'a', '{"command": "SELECT 1"}')}, 'command' ],
	[ q{SELECT pipeline.alter_task('p', 'a', '{"condition": "true"}')}, 'command' ],
	[ q{SELECT pipeline.alter_task('p', 'a', '{"foreach": "SELECT 1 AS k", "map_key": "k"}')}, 'command' ],
	[ q{SELECT pipeline.create_task('p', 'a', 'SELECT 1', or_replace => true)}, 'command' ],
	[ q{SELECT pipeline.add_feature('super', 'f', 'SELECT 1 AS k, now() AS t', 'count', '1 day')}, 'source' ],
	[ q{SELECT pipeline.create_feature_set('super', 'SELECT 1 AS k, now() AS t', '{k}', 't', or_replace => true)}, 'spine' ],
	[ q{SELECT pipeline.merge_dimension('public.super_dim', source => 'SELECT 1 AS k, ''x'' AS v')}, 'source' ],
	[ q{SELECT pipeline.validate('super', where_clause => 'true')}, 'where_clause' ],
	[ q{SELECT pipeline.expect('super', 'expect_column_values_to_not_be_null', '{"column": "k"}', row_condition => 'true')}, 'row_condition' ])
{
	my ($sql, $argument) = @$case;
	my ($rc, $out, $err) = $node->psql('postgres', $sql, @olga);
	like($err, qr/must be a member of the role that owns .* to give argument "$argument"/, $sql);
}
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT pipeline.create_pipeline('mine', run_as => 'alice')}, @olga);
like($err, qr/must be able to SET ROLE "alice"/, 'nor make a pipeline that runs as another');
$node->stop;
done_testing();
