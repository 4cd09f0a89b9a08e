# Rules and incidents with the notifier that minds them; what they do when
# processes and servers go down; and what doctor() says of a server that is not
# as it should be.
use strict;
use warnings;
use PipelineTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('rules', 'wal_level = replica', 'max_wal_senders = 4', 'max_worker_processes = 14', 'pipeline.max_workers = 4');
install($node, 'postgres');

# More often than a rule may ask for, so that the test takes less time.
sub hurry
{
	my $db = shift // 'postgres';
	$node->safe_psql($db, "UPDATE pipeline.rules SET evaluation_interval = '100 ms'; UPDATE pipeline.rule_states SET next_at = least(next_at, clock_timestamp())");
}

# ---- by themselves -----------------------------------------------------------------
alice($node, q{
	CREATE TABLE alice.t (n int);
	SELECT pipeline.create_rule('rows', 'SELECT * FROM alice.t', evaluation_interval => '1 second', label_columns => '{n}',
	  annotations => '{"summary": "there is a {{n}}"}');
	INSERT INTO alice.t VALUES (1), (2);
});
hurry();
wait_for($node, "SELECT string_agg(summary, ', ' ORDER BY summary) FROM pipeline.firing_alerts", 'there is a 1, there is a 2', 'a rule is evaluated by itself');
alice($node, 'DELETE FROM alice.t WHERE n = 1');
wait_for($node, "SELECT string_agg(summary, ', ' ORDER BY summary) FROM pipeline.firing_alerts", 'there is a 2', 'and again, and what is over is resolved');

alice($node, q{
	SELECT pipeline.create_sla_target('critical', 'critical', acknowledge_within => '1400 ms', warn_at => 0.5);
	SELECT pipeline.open_incident('it burns', 'critical', alert_ids => (SELECT array_agg(alert_id) FROM pipeline.firing_alerts));
});
wait_for($node, "SELECT count(*) FROM pipeline.incident_events WHERE event = 'sla_near'", '1', 'that an incident is about to be late is said in time');
wait_for($node, "SELECT severity FROM pipeline.firing_alerts WHERE alertname = 'IncidentSlaMissed'", 'critical', 'and that it is late');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.firing_alerts WHERE alertname = 'IncidentSlaNear'"), '0', 'which is no longer about to be');
alice($node, q{
	SELECT pipeline.acknowledge(alert_id, 'mine') FROM pipeline.firing_alerts WHERE alertname = 'rows';
	DELETE FROM alice.t;
});
wait_for($node, 'SELECT state FROM pipeline.incidents', 'acknowledged', 'an incident hears that its alert was acknowledged');
wait_for($node, "SELECT count(*) FROM pipeline.firing_alerts WHERE alertname ~ 'IncidentSla'", '0', 'and is not late any more');
wait_for($node, 'SELECT alerts_resolved_at IS NOT NULL FROM pipeline.incidents', 't', 'and that all its alerts are over');

# ---- processes go down -----------------------------------------------------------------
alice($node, q{
	SELECT pipeline.create_rule('hangs', 'SELECT pg_sleep(600)', timeout => '10 minutes', evaluation_interval => '1 second');
});
hurry();
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs'", '1', 'a rule hangs');
my ($notifier) = server_pids($node, 'notifier');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($notifier)");
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier' AND pid <> $notifier", '1', 'there is another notifier');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs'", '1', 'the rule hangs again, once');
is($node->safe_psql('postgres', "SELECT unfinished > 1 FROM pipeline.rule_states WHERE rule = 'hangs'"), 't', 'what did not end is counted');
for my $i (1 .. 10)
{
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs'");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") if $pid;
	last if $node->safe_psql('postgres', "SELECT next_at = 'infinity' FROM pipeline.rule_states WHERE rule = 'hangs'") eq 't';
	$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs'"
		. " UNION ALL SELECT true FROM pipeline.rule_states WHERE rule = 'hangs' AND next_at = 'infinity' ORDER BY 1 DESC LIMIT 1");
}
wait_for($node, "SELECT summary ~ 'went down 5 times' FROM pipeline.firing_alerts WHERE alertname = 'RuleFailed'", 't', 'one that takes its worker down for ever is left alone, and says so');
wait_for($node, "SELECT count(*) > 0 FROM pipeline.rule_states WHERE rule = 'rows' AND evaluated_at > clock_timestamp() - interval '3 seconds'", 't', 'the other is evaluated all the same');

# The server, in the middle of an evaluation.
alice($node, q{SELECT pipeline.alter_rule('hangs', '{"timeout": "9 minutes", "evaluation_interval": "1 second"}'); INSERT INTO alice.t VALUES (7);});
hurry();
wait_for($node, "SELECT count(*) FROM pipeline.firing_alerts WHERE alertname = 'rows'", '1', 'a row fires');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs'", '1', 'a rule hangs');
$node->stop('immediate');
$node->start;
hurry();
alice($node, 'DELETE FROM alice.t');
wait_for($node, "SELECT count(*) FROM pipeline.firing_alerts WHERE alertname = 'rows'", '0', 'after a crash rules are evaluated again');

# A database with a rule that hangs can be dropped, and nothing runs in a copy.
$node->safe_psql('postgres', 'CREATE DATABASE dropped');
install($node, 'dropped');
alice($node, q{SELECT pipeline.create_rule('hangs there', 'SELECT pg_sleep(600)', timeout => '10 minutes', evaluation_interval => '1 second');}, 'dropped');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs there'", '1', 'a rule hangs in another database');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE dropped');
$node->safe_psql('postgres', 'DROP DATABASE dropped');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'dropped'"), '0', 'the database is dropped');
is($node->safe_psql('copy', "SELECT severity FROM pipeline.doctor() WHERE finding = 'copy_not_resumed'"), 'error', 'the copy is found to idle');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy'"), '0', 'and does');
$node->safe_psql('copy', 'SELECT pipeline.resume_schedules()');
is($node->safe_psql('copy', "SELECT count(*) FROM pipeline.doctor() WHERE finding = 'copy_not_resumed'"), '0', 'until it is resumed');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipeline rule: hangs there'", '1', 'then the rule is evaluated there');

# Dump and restore: what is defined, and what has happened.
my $dump = $node->basedir . '/rules.sql';
command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'the database is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-d', $node->connstr('restored'), '-f', $dump ], 'and restored');
for my $table (qw(rules rule_states sla_targets incidents incident_alerts incident_events))
{
	my $sum = "SELECT count(*), sum(hashtext((to_jsonb(t) - '{next_at,pid,started_at,evaluated_at,ms,unfinished}'::text[])::text)) FROM pipeline.$table t";
	is($node->safe_psql('restored', $sum), $node->safe_psql('postgres', $sum), "$table came along");
}

# ---- doctor() ------------------------------------------------------------------------------
sub finds
{
	my ($finding, $at, $db) = @_;
	return ($at // $node)->safe_psql($db // 'postgres', "SELECT severity FROM pipeline.doctor() WHERE finding = '$finding' GROUP BY 1");
}
is($node->safe_psql('postgres', "SELECT string_agg(split_part(detail, ' ', 1), ',' ORDER BY detail) FROM pipeline.doctor() WHERE finding = 'unsafe_setting'"),
	'autovacuum,fsync', 'unsafe settings are found');
alice($node, q{SELECT pipeline.create_pipeline('clock', schedule => '* * * * *'); SELECT pipeline.create_task('clock', 't', 'SELECT 1');});
is(finds('no_pg_cron'), 'warning', 'that there is no pg_cron is found');
is(finds('scheduler_not_running'), '', 'the scheduler runs');
$node->append_conf('postgresql.conf', "pipeline.admin_role = 'nobody_of_that_name'\npipeline.allowed_hosts = 'http://127.0.0.1:9, smtp://127.0.0.1:25'");
my $secrets = $node->basedir . '/secrets';
mkdir $secrets;
chmod 0755, $secrets;
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'");
$node->reload;
$node->poll_query_until('postgres', 'SHOW pipeline.admin_role', 'nobody_of_that_name');
is(finds('admin_role_missing'), 'warning', 'an admin role that does not exist is found');
is(finds('plain_text_host'), 'info', 'hosts in plain text are found');
is(finds('secrets_dir_unsafe'), 'error', 'a folder of secrets that others may look into is found');
chmod 0700, $secrets;
is(finds('secrets_dir_unsafe'), '', 'and not when they may not');
alice($node, q{SELECT pipeline.create_channel('hook', 'webhook', '{"url": "http://127.0.0.1:9/x"}', secret_ref => 'key')});
like($node->safe_psql('postgres', "SELECT detail FROM pipeline.doctor() WHERE finding = 'secret_unusable'"), qr/folder .*No such file/, 'a secret without a folder is found');
mkdir "$secrets/alice", 0700;
like($node->safe_psql('postgres', "SELECT detail FROM pipeline.doctor() WHERE finding = 'secret_unusable'"), qr/file .*No such file/, 'one without a file');
append_to_file("$secrets/alice/key", "signing_key = x\n");
chmod 0644, "$secrets/alice/key";
like($node->safe_psql('postgres', "SELECT detail FROM pipeline.doctor() WHERE finding = 'secret_unusable'"), qr/mode is 0644/, 'one that others may read');
chmod 0600, "$secrets/alice/key";
is(finds('secret_unusable'), '', 'and not one that is as it must be');
my $held = $node->background_psql('postgres');
$held->query_safe('BEGIN; SELECT 1');
is(finds('idle_in_transaction'), '', 'a transaction that is open for a moment is nothing');
$held->quit;

# A server without the library; one without room for it; a standby.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 40\nautovacuum = on");
$node->restart;
is(finds('too_few_worker_processes'), '', 'enough worker processes are no finding');
is(finds('not_preloaded'), 'critical', 'a library that is not preloaded is found');
is(finds('look_failed'), '', 'nothing of the look failed');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pipeline'\nmax_worker_processes = 2\nmax_parallel_workers = 0");
$node->restart;
wait_for($node, "SELECT count(*) FROM pipeline.doctor() WHERE finding = 'notifier_not_running'", '1', 'that there is no place for a notifier is found');
is(finds('too_few_worker_processes'), 'warning', 'and why');
$node->stop;
append_to_file($node->data_dir . '/standby.signal', '');
$node->append_conf('postgresql.conf', 'max_worker_processes = 40');
$node->start;
is(finds('standby'), 'info', 'a standby says that it is one');
is(finds('notifier_not_running'), '', 'and misses no process');
is(finds('look_failed'), '', 'and can be looked at');
$node->stop;
done_testing();
