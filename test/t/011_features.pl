# A long refresh says how far it is, can be cancelled in every phase without a
# trace, and keeps to the memory that it may use.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('features', 'autovacuum = off', 'shared_buffers = 64MB');
install($node, 'postgres');
alice($node, q{
	CREATE TABLE alice.events AS SELECT n % 20000 AS k, '2024-01-01'::timestamptz + n * interval '1 second' AS t, n AS v FROM generate_series(1, 800000) n;
	CREATE TABLE alice.spine AS SELECT row_number() OVER () AS id, k, t FROM alice.events WHERE v % 13 = 0;
	SELECT pipeline.create_feature_set('long', 'alice.spine', '{k}', 't', target => 'alice.target', spine_key => '{id}');
	SELECT pipeline.add_feature('long', 'n', 'alice.events', 'count', '3 days');
	SELECT pipeline.add_feature('long', 'total', 'alice.events', 'sum', '3 days', value => 'v');
	SELECT pipeline.add_feature('long', 'most', 'alice.events', 'max', '3 days', value => 'v');
	SELECT pipeline.add_feature('long', 'slow', 'alice.events', 'percentile', '3 days', value => 'v', args => '{"fraction": 0.5}');
});

# ---- progress, and an end in every phase -------------------------------------------
my %seen;
my $set;
for my $wanted ('searching for changes', 'reading the spine', 'reading events', 'computing', 'writing')
{
	my $caught = 0;
	for my $attempt (1 .. 5)
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
		my $pid = $session->query('SELECT pg_backend_pid()');
		$session->query_until(qr/started/, "\\echo started\nSELECT pipeline.refresh_features('long');\n");
		my $row = '';
		# A loop in the server looks more often than sessions can.
		$row = $node->safe_psql('postgres', qq{
			CREATE TEMP TABLE found (phase text, feature_set text, done bigint, total bigint);
			DO \$\$ DECLARE p record;
			BEGIN
			  FOR i IN 1 .. 400000 LOOP
			    PERFORM pg_stat_clear_snapshot();
			    SELECT * INTO p FROM pipeline.feature_progress WHERE pid = $pid AND phase = '$wanted';
			    IF FOUND THEN
			      PERFORM pg_cancel_backend($pid);
			      INSERT INTO found VALUES (p.phase, p.feature_set, p.done, p.total);
			      EXIT;
			    END IF;
			    EXIT WHEN i > 1000 AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active');
			  END LOOP;
			END \$\$;
			SELECT phase || '|' || feature_set || '|' || (done BETWEEN 0 AND total + 1024) FROM found;
		});
		$session->quit;
		my $count = $node->safe_psql('postgres', q{SELECT count(*) FROM pipeline.feature_refreshes WHERE feature_set = 'long'});
		if ($count eq '0')
		{
			$caught = 1;
			is($row, "$wanted|long|true", "$wanted: seen");
			is($node->safe_psql('postgres', q{SELECT to_regclass('alice.target') IS NULL}), 't', "$wanted: cancelled, and nothing is left");
			last;
		}
		# It was faster than the cancel.
		alice($node, q{DROP TABLE alice.target});
		$node->safe_psql('postgres', q{DELETE FROM pipeline.feature_refreshes WHERE feature_set = 'long'});
	}
	ok($caught, "$wanted: cancelled in time");
}
is(alice($node, q{SELECT rows_computed || ' ' || rows_inserted FROM pipeline.refresh_features('long')}), '61538 61538', 'a refresh after them');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pipeline.feature_progress}), '0', 'and nothing is reported any more');

# A task reports it as its own progress.
alice($node, q{
	DROP TABLE alice.target;
	SELECT pipeline.create_pipeline('features');
	SELECT pipeline.create_task('features', 'refresh', $$SELECT pipeline.refresh_features('long')$$);
});
my $run = run_pipeline($node, 'features');
my $said = $node->safe_psql('postgres', qq{
	CREATE TEMP TABLE found (message text);
	DO \$\$ DECLARE m text;
	BEGIN
	  FOR i IN 1 .. 100000 LOOP
	    SELECT p.message INTO m FROM pipeline.attempts a, pipeline.progress(a.attempt_id) p WHERE a.run_id = $run AND p.message IS NOT NULL;
	    IF FOUND THEN INSERT INTO found VALUES (m); EXIT; END IF;
	    EXIT WHEN EXISTS (SELECT FROM pipeline.runs WHERE run_id = $run AND finished_at IS NOT NULL);
	    COMMIT;
	  END LOOP;
	END \$\$;
	SELECT message FROM found;
});
like($said, qr/^(starting|searching for changes|reading the spine|reading events|computing|writing)$/, "a task's progress is that of its refresh");
wait_run($node, $run, 'succeeded', 'the run');

# ---- memory -------------------------------------------------------------------------
# Peak memory of its own, in kB, of a session that runs one statement.
sub peak
{
	my ($settings, $sql) = @_;
	# Each process that helps has as much of its own.
	my $status = $node->safe_psql('postgres', qq{
		SET max_parallel_workers_per_gather = 0;
		$settings
		$sql;
		SELECT pg_read_file('/proc/self/status');
	});
	my ($peak) = $status =~ /VmHWM:\s+(\d+)/;
	my ($shared) = $status =~ /RssShmem:\s+(\d+)/;
	my ($file) = $status =~ /RssFile:\s+(\d+)/;
	return $peak - $shared - $file;
}
SKIP:
{
	skip 'needs /proc', 2 unless -r '/proc/self/status';
	my $columns = 'AS f (id bigint, k int, t timestamptz, n bigint, total bigint)';
	my $features = q{'[{"feature": "n", "source": "alice.events", "aggregate": "count", "lookback": "30 days"}, {"feature": "total", "source": "alice.events", "aggregate": "sum", "value": "v", "lookback": "30 days"}]'};
	my $compute = "SELECT count(*) FROM pipeline.features('alice.spine', '{k}', 't', $features) $columns";
	# Some 38 MB of records.
	my $nothing = peak("SET work_mem = '3500kB'; SET hash_mem_multiplier = 1;", "SELECT count(*) FROM pipeline.features('SELECT * FROM alice.spine LIMIT 1', '{k}', 't', $features) $columns");
	my $little = peak("SET work_mem = '3500kB'; SET hash_mem_multiplier = 1;", $compute);
	my $much = peak("SET work_mem = '256MB'; SET hash_mem_multiplier = 1;", $compute);
	# The records have work_mem x hash_mem_multiplier, the rows that come out work_mem; the entities are beside them.
	cmp_ok($little - $nothing, '<', 2 * 3500 + 2048, 'more than ten times the data in 3.5 MB');
	cmp_ok($much - $nothing, '>', 10 * 3500, 'which is more when it may be');
	diag("peak: $nothing, $little, $much kB");
}
$node->stop;
done_testing();
