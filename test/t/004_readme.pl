# The tour in the README and the examples of the docs are run as they stand.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use FindBin;
use Test::More;

my $node = new_node('readme');
$node->safe_psql('postgres', q{
	CREATE EXTENSION pipeline;
	CREATE ROLE shopkeeper LOGIN;
	GRANT USAGE ON SCHEMA pipeline TO shopkeeper;
	CREATE SCHEMA shop AUTHORIZATION shopkeeper;
});
my ($tour) = slurp_file("$FindBin::Bin/../../README.md") =~ /```sql\n(.*?)```/s;
ok($tour, 'the README has a tour');
cmp_ok(scalar(() = $tour =~ /;$/mg), '>', 20, 'of some length');
my $out = $node->safe_psql('postgres', $tour, extra_params => [ '-U', 'shopkeeper' ], on_error_stop => 1);
like($out, qr/^failed\n.*^CheckFailed\|.*^succeeded\Z/ms, 'the bad order fails the run, fires an alert, and is repaired');
is($node->safe_psql('postgres', 'SELECT string_agg(state, \' \' ORDER BY run_id) FROM pipeline.runs'), 'succeeded succeeded', 'both runs end well');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.firing_alerts'), '0', 'no alert is left');
is($node->safe_psql('postgres', 'SELECT string_agg(orders_7d || \'/\' || coalesce(amount_7d::text, \'-\'), \' \' ORDER BY customer, at) FROM shop.recent'),
	'0/- 1/10 0/- 1/5', 'the features are right');

# So are the examples of the pages, each by a user of its own database; those of
# channels over the network begin with what a superuser does.
for my $page (qw(definitions runner scd feature expect alert alert_route alert_incident alert_rule doctor alert_channels))
{
	$node->safe_psql('postgres', "CREATE DATABASE $page OWNER shopkeeper");
	$node->safe_psql($page, 'CREATE EXTENSION pipeline; GRANT USAGE ON SCHEMA pipeline TO shopkeeper; GRANT CREATE ON SCHEMA public TO shopkeeper');
	my $examples = join "\n", slurp_file("$FindBin::Bin/../../docs/$page.md") =~ /```sql\n(.*?)```/sg;
	my ($rc, undef, $stderr) = $node->psql($page, $examples, extra_params => [ '-U', $page eq 'alert_channels' ? 'postgres' : 'shopkeeper' ], on_error_stop => 1);
	is($rc, 0, "docs/$page.md: its examples run");
	is($stderr =~ /ERROR.*/ ? $& : '', '', 'without an error');
}
$node->stop;
done_testing();
