# 200 runs of ten tasks while workers, schedulers and the whole server are killed
# at random: each task's row is there once, every run ends, no slot leaks.
# CHAOS_SEED repeats a round with another seed.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $runs = 200;
my $seed = $ENV{CHAOS_SEED} // 20261125;
srand($seed);
note("seed $seed");

my $node = new_node('chaos', 'pipeline.max_lost_attempts = 1000',
	"pipeline.worker_idle_timeout = 300ms", "max_connections = 40");
install($node, 'postgres');

# Three levels, a diamond, a pool of two slots, a retry that is used.
alice($node, q{
	CREATE TABLE alice.chaos (run_id bigint, task text, attempt int);
	CREATE SEQUENCE alice.tries;
	SELECT pipeline.create_pool('narrow', 2);
	SELECT pipeline.create_pipeline('chaos', max_active_runs => 30);
	SELECT pipeline.create_task('chaos', 't' || n,
		$$INSERT INTO alice.chaos VALUES (pipeline.run_id(), pipeline.task_name(), pipeline.attempt());
		SELECT pg_sleep(random() * 0.02)$$ ||
		-- Every third try of one task fails, and is tried again.
		CASE n WHEN 5 THEN $$; SELECT 1 / (nextval('alice.tries') % 3)$$ ELSE '' END,
		CASE WHEN n <= 3 THEN '{}' WHEN n <= 7 THEN ARRAY['t' || 1 + n % 3, 't' || 1 + (n + 1) % 3]
			ELSE ARRAY['t' || n - 3, 't' || n - 4] END,
		retries => CASE n WHEN 5 THEN 1000 ELSE 0 END, retry_delay => '0 s',
		pool => CASE WHEN n IN (4, 8) THEN 'narrow' ELSE 'default' END)
	FROM generate_series(1, 10) n;
});
alice($node, "SELECT count(pipeline.run('chaos')) FROM generate_series(1, $runs)");

# Until the server lets somebody in.
sub ask { return persistent_answer($node, $_[0]); }

my %killed;
my $kills = 0;
my $until = time() + 60;
while ($kills < 40 && time() < $until)
{
	usleep(int(rand(80_000)));
	my $dice = rand();
	my $type = $dice < 0.85 ? 'worker' : $dice < 0.95 ? 'scheduler' : 'launcher';
	last if ask("SELECT count(*) FROM pipeline.runs WHERE state IN ('queued', 'running')") eq '0';
	if ($dice < 0.06)
	{
		next unless kill_server($node);
		$killed{server}++;
	}
	else
	{
		my @pids = split /\n/, ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pipeline $type' ORDER BY pid");
		next unless @pids;
		my $signal = rand() < 0.5 ? 'KILL' : 'TERM';
		kill $signal, $pids[int(rand(@pids))];
		$killed{"$type $signal"}++;
	}
	$kills++;
}
note(join(', ', map { "$_: $killed{$_}" } sort keys %killed));
cmp_ok($kills, '>=', 5, 'enough was killed');

ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pipeline.runs WHERE state IN ('queued', 'running'))"),
	'every run ends');
is(ask('SELECT state, count(*) FROM pipeline.runs GROUP BY 1'), "succeeded|$runs", 'and succeeds');
is(ask('SELECT count(*), count(DISTINCT (run_id, task)) FROM alice.chaos'), ($runs * 10) . '|' . ($runs * 10),
	"each task's row is there once");
is(ask('SELECT count(*) FROM alice.chaos c JOIN pipeline.attempts a USING (run_id, task, attempt) WHERE a.state = $$succeeded$$'), $runs * 10,
	'each from the attempt that succeeded');
is(ask("SELECT count(*) FROM pipeline.attempts WHERE state = 'running'"), '0', 'no attempt is left running');
is(ask("SELECT count(*) FROM pipeline.task_runs WHERE pending <> 0 OR state <> 'succeeded'"), '0', 'no counter is off');
cmp_ok(ask("SELECT count(*) FROM pipeline.attempts WHERE state = 'lost'"), '>', 0, 'attempts were lost');
cmp_ok(ask("SELECT count(*) FROM pipeline.attempts WHERE state = 'failed'"), '>', 0, 'attempts failed');
wait_for($node, 'SELECT busy, starting FROM pipeline.worker_status()', '0|0', 'no worker slot leaked');
is(ask("SELECT used FROM pipeline.pool_status('narrow')"), '0', 'no slot of the pool leaked');
my $run = run_pipeline($node, 'chaos');
wait_run($node, $run, 'succeeded', 'and it runs on');
$node->stop;
done_testing();
