# 2,000 notifications drain while the notifier and the whole server are killed,
# and while the peer is away: every one arrives, twice only what was under way,
# and then under the same key.  CHAOS_SEED repeats a run with another seed; with
# CHAOS_AWAY=60 the peer is away for a minute of the clock.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $count = 2000;
my $seed = $ENV{CHAOS_SEED} // 20261125;
srand($seed);
note("seed $seed");

my $node = new_node('notify_chaos', "pipeline.notification_retry_delay = '100ms'", "max_connections = 30");
install($node, 'postgres');
my $peer = start_peer($node, 'sink');
$node->append_conf('postgresql.conf', "pipeline.allowed_hosts = 'http://127.0.0.1:$peer->{port}'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;
alice($node, "SELECT pipeline.create_channel('sink', 'webhook', '{\"url\": \"http://127.0.0.1:$peer->{port}/down\"}', rate_per_minute => 0)");
alice($node, "SELECT count(pipeline.test_channel('sink')) FROM generate_series(1, $count)");

# Until the server lets somebody in.
sub ask { return persistent_answer($node, $_[0]); }

# How many lines has the peer's log?
sub arrived
{
	return 0 unless -e $peer->{log};
	my $lines = () = slurp_file($peer->{log}) =~ /\n/g;
	return $lines;
}

# The peer ends, is away for as long as CHAOS_AWAY says, and comes back on its port.
# With the settings of this test 0.6 s are what a minute is with those by default.
sub peer_away
{
	my $away = $ENV{CHAOS_AWAY} // 0.6;
	my $until = time() + $away;
	stop_peer($peer);
	# Until it is left alone, which is said by the log, too.
	my $limit = time() + 60;
	usleep(10_000) until ask("SELECT count(*) FROM pipeline.channel_health WHERE paused_for = 'circuit'") > 0 || time() > $limit;
	is(ask("SELECT count(*) FROM pipeline.channel_health WHERE paused_for = 'circuit'"), '1', 'a peer that is away is left alone');
	usleep(10_000) until time() > $until;
	my $tried = ask("SELECT count(*) || ' ' || max(attempts) FROM pipeline.notifications WHERE state = 'pending' AND attempts > 0");
	note("away for $away s: $tried attempts at most of so many");
	my $log = $peer->{log};
	$peer = start_peer($node, 'sink', port => $peer->{port});
	is($peer->{log}, $log, 'it is back');
	return;
}

my %killed;
my $kills = 0;
for my $round (1 .. 7)
{
	my $until = time() + 60;
	usleep(5_000) while arrived() < $round * 250 && time() < $until;
	note(sprintf('round %d: %d have arrived', $round, arrived()));
	usleep(int(rand(50_000)));
	if ($round == 4)
	{
		peer_away();
		$killed{peer}++;
	}
	elsif ($round % 3 == 0)
	{
		kill_server($node) or die 'no server is running';
		$killed{server}++;
	}
	else
	{
		my ($pid) = split /\n/, ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'");
		next unless $pid;
		my $signal = $round % 3 == 1 ? 'KILL' : 'TERM';
		kill $signal, $pid;
		$killed{"notifier $signal"}++;
	}
	$kills++;
}
note(join(', ', map { "$_: $killed{$_}" } sort keys %killed));
cmp_ok($kills, '>=', 5, 'enough was killed');
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE state <> 'sent'", '0', 'all are sent in the end');

my %times;
$times{ $_->{headers}{'webhook-id'} }++ for requests($peer);
my @keys = split /\n/, ask('SELECT idempotency_key FROM pipeline.notifications');
is(scalar(@keys), $count, 'none is missing in the table');
is(scalar(grep { !$times{$_} } @keys), 0, 'every one has arrived');
is(scalar(keys %times), $count, 'and nothing else');
my %tried = map { split /\|/ } split /\n/, ask('SELECT idempotency_key, count(*) FROM pipeline.deliveries JOIN pipeline.notifications USING (notification_id) GROUP BY 1');
is(scalar(grep { $times{$_} > $tried{$_} } @keys), 0, 'none more often than there were attempts');
my $twice = 0;
$twice += $_ - 1 for values %times;
cmp_ok($twice, '<=', $kills * 8, "no more twice ($twice) than were under way");
# What arrived twice was under way when something was killed: its attempt is lost, or had no answer.
is(scalar(grep { $times{$_} > 1 } @keys), ask("SELECT count(DISTINCT notification_id) FROM pipeline.deliveries WHERE notification_id IN"
	. " (SELECT notification_id FROM pipeline.notifications WHERE idempotency_key = ANY ('{" . join(',', grep { $times{$_} > 1 } @keys) . "}'))"
	. " AND (outcome = 'lost' OR (outcome = 'retry' AND status IS NULL))"), 'and only those');
is(ask("SELECT count(*) FROM pipeline.deliveries d WHERE outcome = 'lost' AND NOT EXISTS (SELECT FROM pipeline.deliveries l WHERE l.notification_id = d.notification_id AND l.outcome = 'sent')"),
	'0', 'what was lost was sent again');
cmp_ok(ask("SELECT max(attempts) FROM pipeline.notifications"), '<=', 8, 'in no more attempts than there are by default');
is(ask("SELECT count(*) FROM pipeline.alerts"), '0', 'and nothing was given up');
$node->stop;
stop_peer($peer);
done_testing();
