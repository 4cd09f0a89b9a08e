# A merge that is cancelled, times out, crashes or finds the disk full in the
# middle of its writes leaves nothing behind, whichever way it takes.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('merge');
install($node, 'postgres');

# The default of a column waits while somebody holds the lock: the versions
# that are closed have been written by then.
alice($node, q{
	CREATE FUNCTION alice.gate() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN 1; END $$;
	CREATE TABLE alice.src AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 1000) g;
	SELECT pipeline.create_dimension('alice.dim', 'alice.src', '{id}', 'snapshot', hard_deletes => 'invalidate');
	ALTER TABLE alice.dim ADD COLUMN gate int DEFAULT alice.gate();
	SELECT FROM pipeline.merge_dimension('alice.dim');
	SELECT pipeline.create_dimension('alice.feed', 'SELECT id, v, now() AS at FROM alice.src', '{id}', 'cdc', effective_at => 'at');
	ALTER TABLE alice.feed ADD COLUMN gate int DEFAULT alice.gate();
	SELECT FROM pipeline.merge_dimension('alice.feed');
	UPDATE alice.src SET v = v || '!' WHERE id <= 500;
});

my %ways = (
	direct => [ '', 'alice.dim' ],
	executor => [ 'SET pipeline.direct_access = off;', 'alice.dim' ],
	events => [ '', 'alice.feed' ]);

# What a merge writes: versions, events, merges.
sub picture
{
	return $node->safe_psql('postgres', q{
		SELECT (SELECT md5(string_agg(d::text, ',' ORDER BY id, valid_from)) FROM alice.dim d),
			(SELECT md5(string_agg(d::text, ',' ORDER BY id, valid_from)) FROM alice.feed d),
			(SELECT count(*) FROM alice.feed_events), (SELECT count(*) FROM pipeline.merges)});
}

# Begin a merge that stops in the middle; return its session.
sub stopped_merge
{
	my ($way, $gate) = @_;
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $merge = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
	$merge->query($ways{$way}[0]) if $ways{$way}[0];
	$merge->query_until(qr/begin/, "\\echo begin\nSELECT * FROM pipeline.merge_dimension('$ways{$way}[1]');\n\\echo over\n");
	wait_for($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", '1', "$way: the merge is in the middle");
	return $merge;
}

my $before = picture();
for my $way (sort keys %ways)
{
	my $gate = $node->background_psql('postgres');
	my $merge = stopped_merge($way, $gate);
	# A reader sees the state of before, at once.
	is(picture(), $before, "$way: a reader sees nothing of it");
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
	$merge->query_until(qr/over/, '');
	like($merge->{stderr}, qr/canceling statement due to user request/, "$way: it is cancelled");
	$merge->quit;
	is(picture(), $before, "$way: a cancelled merge leaves nothing");

	my ($rc, $out, $err) = $node->psql('postgres', "SET statement_timeout = '200ms'; $ways{$way}[0]"
		. "SELECT * FROM pipeline.merge_dimension('$ways{$way}[1]')", extra_params => [ '-U', 'alice' ]);
	like($err, qr/canceling statement due to statement timeout/, "$way: it times out");
	is(picture(), $before, "$way: a merge that timed out leaves nothing");
	$gate->quit;
}

# A crash in the middle.
for my $way (sort keys %ways)
{
	my $gate = $node->background_psql('postgres');
	my $merge = stopped_merge($way, $gate);
	kill 'KILL', $node->safe_psql('postgres', q{SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
	eval { $merge->quit; };
	eval { $gate->quit; };
	wait_for($node, 'SELECT 1', '1', "$way: the server is back");
	is(picture(), $before, "$way: a crashed merge leaves nothing");
}

# Room for temporary files ends: a clear error, nothing left.
{
	my ($rc, $out, $err) = $node->psql('postgres', q{
		SET work_mem = '64kB'; SET temp_file_limit = '64kB';
		SELECT * FROM pipeline.merge_dimension('alice.dim', source => 'SELECT g AS id, repeat(md5(g::text), 3) AS v FROM generate_series(1, 20000) g', max_delete_fraction => 1)});
	like($err, qr/temporary file size exceeds temp_file_limit/, 'no room for temporary files: it says so');
	is(picture(), $before, 'no room for temporary files: nothing is left');
}

# The disk ends: a limit on the size of files stands in for it.
SKIP:
{
	$node->stop;
	my $limited = system('bash', '-c', 'ulimit -f 20480 && exec pg_ctl -w -s -D "$0" -l "$1" -o "--cluster-name=merge" start',
		$node->data_dir, $node->logfile) == 0;
	skip 'no limit on the size of files here', 6 unless $limited;
	for my $way (qw(direct executor events))
	{
		my ($rc, $out, $err) = $node->psql('postgres', "$ways{$way}[0] SET work_mem = '64MB'; SELECT * FROM pipeline.merge_dimension('$ways{$way}[1]', source => "
			. ($way eq 'events' ? '$$SELECT g AS id, repeat(md5(g::text), 20) AS v, now() AS at FROM generate_series(1, 40000) g$$'
				: '$$SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 40000) g$$, max_delete_fraction => 1') . ')');
		like($err, qr/could not (extend|write).*(File too large|No space)/s, "$way: no room on disk: it says so");
		is(picture(), $before, "$way: no room on disk: nothing is left");
	}
	system('pg_ctl', '-w', '-s', '-D', $node->data_dir, '-m', 'fast', 'stop');
	$node->start;
}

# And then it goes through.
for my $way (qw(direct events))
{
	is(alice($node, "SELECT versioned, closed FROM pipeline.merge_dimension('$ways{$way}[1]')"),
		$way eq 'events' ? '500|500' : '500|500', "$way: it goes through in the end");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_ls_tmpdir()"), '0', 'no temporary file is left');

# An access method of another library is left to the executor: this one calls
# heap's routines, but nobody can know that.
SKIP:
{
	my $c = PostgreSQL::Test::Utils::tempdir() . '/other_method';
	append_to_file("$c.c", <<'EOF');
#include "postgres.h"
#include "access/tableam.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(other_method);
/* Its index could not be built: that needs heap itself. */
static bool
no_toast(Relation rel)
{
	return false;
}
Datum
other_method(PG_FUNCTION_ARGS)
{
	static TableAmRoutine routine;

	routine = *GetHeapamTableAmRoutine();
	routine.relation_needs_toast_table = no_toast;
	PG_RETURN_POINTER(&routine);
}
EOF
	# scripts/test runs a copy of the server's programs, without the headers.
	chomp(my $include = `pg_config --includedir-server`);
	$include =~ s{^.*?/root(?=/)}{} unless -d $include;
	skip 'no compiler', 2
	  unless system('cc', '-shared', '-fPIC', '-I', $include, '-o', "$c.so", "$c.c") == 0;
	$node->safe_psql('postgres', qq{
		CREATE FUNCTION other_method(internal) RETURNS table_am_handler LANGUAGE c AS '$c.so';
		CREATE ACCESS METHOD other TYPE TABLE HANDLER other_method;
	});
	is(alice($node, q{
		SET client_min_messages = warning;
		CREATE TABLE alice.other (surrogate_key bigint GENERATED ALWAYS AS IDENTITY, id int, v text, valid_from timestamptz, valid_to timestamptz,
			is_current boolean, close_reason text, merge_id bigint) USING other;
		SELECT FROM pipeline.create_dimension('alice.other', 'alice.src', '{id}', 'snapshot', hard_deletes => 'invalidate');
		SELECT FROM pipeline.merge_dimension('alice.other', '2024-01-01');
		SELECT l FROM pipeline.explain_merge('alice.other') l WHERE l LIKE '%access method%';
		SELECT versioned, closed FROM pipeline.merge_dimension('alice.other', '2024-01-02', source => $$SELECT id, v || '?' AS v FROM alice.src WHERE id > 900$$, max_delete_fraction => 1);
	}), 'table read: by the executor, since its access method is not heap
table written: by the executor, since its access method is not heap
100|1000', 'a table of another access method: by the executor, which says why');
	is(alice($node, q{
		CREATE TABLE alice.other_src USING other AS TABLE alice.src;
		SELECT FROM pipeline.create_dimension('alice.of_other', 'alice.other_src', '{id}', 'snapshot');
		SELECT l FROM pipeline.explain_merge('alice.of_other') l WHERE l LIKE 'source%';
	}), 'source: by the executor, since its access method is not heap', 'a source of another access method: by the executor');
}
$node->stop;
done_testing();
