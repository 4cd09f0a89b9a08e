# Each kind of channel as its peer wants it: payloads checked by the libraries
# of those who made the formats, limits by counting, and Alertmanager itself.
use strict;
use warnings;
use Encode;
use File::Basename;
use JSON::PP;
use MIME::Base64 ();
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

# One connection: each waits for the one before.
my $node = new_node('kinds', "pipeline.notification_retry_delay = '50ms'", 'pipeline.notifier_connections = 1');
install($node, 'postgres');
my $http = start_peer($node, 'http');
my $receiver = start_peer($node, 'receiver');
my $base = "http://127.0.0.1:$http->{port}";
my $manager_port = free_port();
my $secrets = $node->basedir . '/secrets';
mkdir $secrets;
mkdir "$secrets/alice";
for my $kind (qw(slack teams other))
{
	append_to_file("$secrets/alice/$kind", "url = $base/status/" . ($kind eq 'teams' ? 202 : 200) . "?$kind\n");
}
append_to_file("$secrets/alice/pagerduty", "routing_key = planted-routing-key\n");
append_to_file("$secrets/alice/connector", "url = $base/status/200?body=Webhook%20message%20delivery%20failed%20with%20error:%20Microsoft%20Teams%20endpoint%20returned%20HTTP%20error%20429\n");
chmod 0600, glob("$secrets/alice/*");
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'\n"
	. "pipeline.allowed_hosts = 'http://127.0.0.1:$http->{port}, http://127.0.0.1:$manager_port'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;

# Write a notification into the outbox as the dispatch would, and wait for it.
sub told
{
	my ($channel, $event, $group, $message) = @_;
	my $json = encode_json($message);
	my $id = $node->safe_psql('postgres', qq{INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)
		VALUES ('alice', '$channel', '$event', '$group', '{}', \$json\$$json\$json\$) RETURNING notification_id});
	# Whatever wakes the notifier.
	alice($node, "SELECT pipeline.create_channel('waker', 'log', or_replace => true)");
	$node->poll_query_until('postgres', "SELECT state IN ('sent', 'dead') FROM pipeline.notifications WHERE notification_id = $id")
	  or return 'nothing';
	return $node->safe_psql('postgres', "SELECT state || coalesce(' ' || last_error, '') FROM pipeline.notifications WHERE notification_id = $id");
}

sub got
{
	my ($what) = @_;
	return map { decode_json(Encode::encode_utf8($_->{body})) } grep { $_->{path} =~ /\?$what$/ } requests($http);
}

sub message
{
	my ($n, %more) = @_;
	my $nasty = "<!channel> & [link](http://evil.example) *bold* \x{4e2d}\x{6587} \x{1f4a5} \"quoted\" \\ ";
	return {
		status => 'firing', title => "title $nasty" . ($more{long} ? 'x' x 3000 : ''), severity => $more{severity} // 'critical',
		group_labels => { pipeline => 'sales' }, common_labels => { pipeline => 'sales', task => 'load', team => 'payments' },
		omitted => $more{omitted} // 0, alerts => [ map { {
			alert_id => $_, fingerprint => "f$_", alertname => "TaskFailed$nasty", severity => 'error', state => 'firing',
			summary => "summary $_ $nasty" . ($more{long} ? "&\x{4e2d}" x 2000 : ''), source => "sales/load$nasty" . ($more{long} ? 'y' x 2000 : ''),
			labels => { alertname => 'TaskFailed', severity => 'error', team => $nasty . ($more{long} ? 'z' x 2000 : '') . ($more{label} // '') },
			detail => { rows => [ ($more{detail} // 'x') ] }, occurrences => 2, started_at => '2026-11-25T10:00:00.5+00:00',
			resolved_at => undef, note => "note $nasty", owner => 'alice' } } 1 .. $n ],
		%{ $more{add} // {} } };
}

# ---- Slack ------------------------------------------------------------------------

alice($node, "SELECT pipeline.create_channel('slack', 'slack', secret_ref => 'slack', rate_per_minute => 0)");
is(told('slack', 'firing', 'g1', message(2)), 'sent', 'Slack is told');
is(told('slack', 'escalation', 'g1', message(100, long => 1, omitted => 7, add => { escalation => { step => 2, to => 'anna' } })), 'sent', 'of much, at length');
is(told('slack', 'resolved', 'g1', { %{ message(0) }, status => 'resolved', alerts => [] }), 'sent', 'and of nothing');
for my $sent (got('slack'))
{
	cmp_ok(scalar(@{ $sent->{blocks} }), '<=', 50, 'no more than 50 blocks');
	cmp_ok(length($sent->{blocks}[0]{text}{text}), '<=', 150, 'a header of no more than 150 characters');
	my @texts = map { $_->{type} eq 'context' ? map { $_->{text} } @{ $_->{elements} } : $_->{text}{text} } @{ $sent->{blocks} };
	is(scalar(grep { length($_) > 3000 || length($_) == 0 } @texts), 0, 'no text of more than 3000, and none empty');
	is(scalar(grep { /[<>]|&(?!amp;|lt;|gt;)/ } @texts, $sent->{text}), 0, 'no markup of an alert');
	is(scalar(grep { $_->{type} eq 'section' && !$_->{text}{verbatim} } @{ $sent->{blocks} }), 0, 'no mentions of its own making');
}
my @slack = got('slack');
like($slack[0]{text}, qr/^\[FIRING:2\] title &lt;!channel&gt; &amp; /, 'it says what it is');
like($slack[1]{text}, qr/^\[ESCALATION:107\] /, 'and how many');
like($slack[1]{blocks}[1]{elements}[0]{text}, qr/escalation step 2 to anna/, 'and why');
is($slack[1]{blocks}[-1]{elements}[0]{text}, 'and 87 more', 'and what it leaves out');
like($slack[2]{text}, qr/^\[RESOLVED\] /, 'and that it is over');

# ---- Teams ------------------------------------------------------------------------

alice($node, "SELECT pipeline.create_channel('teams', 'teams', secret_ref => 'teams', rate_per_minute => 0)");
is(told('teams', 'firing', 'g1', message(2)), 'sent', 'Teams is told');
is(told('teams', 'firing', 'g1', message(100, long => 1)), 'sent', 'at length');
is(told('teams', 'resolved', 'g1', { %{ message(0) }, status => 'resolved', alerts => [] }), 'sent', 'and that it is over');
my @bodies = grep { $_->{path} =~ /\?teams$/ } requests($http);
is(scalar(grep { length(Encode::encode_utf8($_->{body})) > 28 * 1024 } @bodies), 0, 'in no more than 28 KB');
like($bodies[1]{body}, qr/and 9\d more/, 'it says what it leaves out');
alice($node, "SELECT pipeline.create_channel('connector', 'teams', secret_ref => 'connector', max_attempts => 1)");
is(told('connector', 'firing', 'g1', message(1)), 'dead the peer answered 429 (given up after 1 attempt)', 'an error in the words of an answer 200 is one');
alice($node, "SELECT pipeline.drop_channel('connector')");

# ---- webhook ----------------------------------------------------------------------

alice($node, "SELECT pipeline.create_channel('hook', 'webhook', '{\"url\": \"$base/status/200?hook\"}', rate_per_minute => 0)");
is(told('hook', 'firing', 'g1', message(2)), 'sent', 'a webhook is told');
is(told('hook', 'firing', "g \x{22}", message(100, detail => 'd' x 5000)), 'sent', 'of much');
@bodies = grep { $_->{path} =~ /\?hook$/ } requests($http);
cmp_ok(length(Encode::encode_utf8($bodies[1]{body})), '<', 256 * 1024, 'of which the details are left out');
my $much = decode_json(Encode::encode_utf8($bodies[1]{body}));
is(scalar(@{ $much->{data}{alerts} }), 100, 'the alerts are not');
ok($much->{data}{truncated}, 'and it says so');
is(told('hook', 'firing', 'g endless', message(30, label => 'z' x 50_000, omitted => 5)), 'sent', 'of labels without end');
@bodies = grep { $_->{path} =~ /\?hook$/ } requests($http);
cmp_ok(length(Encode::encode_utf8($bodies[2]{body})), '<', 256 * 1024, 'of which the first are told, cut');
$much = decode_json(Encode::encode_utf8($bodies[2]{body}));
is(join(' ', scalar(@{ $much->{data}{alerts} }), $much->{data}{omitted}, $much->{data}{alerts}[9]{alert_id}, length($much->{data}{alerts}[0]{labels}{team})), '10 25 10 200', 'and how many are not');

# ---- PagerDuty ----------------------------------------------------------------------

alice($node, "SELECT pipeline.create_channel('pager', 'pagerduty', '{\"url\": \"$base/status/202?pager\"}', secret_ref => 'pagerduty', rate_per_minute => 0)");
my $long_key = 'k' x 300;
is(told('pager', $_->[0], $_->[1], { %{ message(2, long => $_->[2]) }, status => $_->[0] eq 'resolved' ? 'resolved' : 'firing', severity => $_->[3] }), 'sent', "PagerDuty is told: $_->[0]")
  for [ 'firing', 'g1', 0, 'critical' ], [ 'acknowledged', 'g1', 0, 'critical' ], [ 'resolved', 'g1', 0, 'critical' ], [ 'repeat', $long_key, 1, 'warning' ];
my @pager = got('pager');
is(join(' ', map { $_->{event_action} } @pager), 'trigger acknowledge resolve trigger', 'of all the alert goes through');
is(scalar(grep { $_->{routing_key} ne 'planted-routing-key' } @pager), 0, 'with the key');
is(join(' ', map { $_->{dedup_key} } @pager[0 .. 2]), 'g1 g1 g1', 'under one key');
like($pager[3]{dedup_key}, qr/^[0-9a-f]{64}$/, 'which is never too long');
is(length($pager[3]{payload}{summary}), 1024, 'nor is the summary');
is($pager[3]{payload}{severity}, 'warning', 'its severity is known to PagerDuty');
is($pager[0]{payload}{$_->[0]}, $_->[1], "$_->[0]") for [ 'component', 'load' ], [ 'group', 'sales' ], [ 'timestamp', '2026-11-25T10:00:00.5+00:00' ];
is(told('pager', 'firing', 'g2', message(100, detail => 'd' x 9000)), 'sent', 'of much');
cmp_ok(length(Encode::encode_utf8((grep { $_->{path} =~ /\?pager$/ } requests($http))[-1]{body})), '<', 512 * 1024, 'in no more than 512 KB');
is(told('pager', 'firing', 'g2', message(30, label => 'z' x 50_000)), 'sent', 'of labels without end');
cmp_ok(length(Encode::encode_utf8((grep { $_->{path} =~ /\?pager$/ } requests($http))[-1]{body})), '<', 512 * 1024, 'in no more than that');
my $test = alice($node, "SELECT pipeline.test_channel('pager')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $test", 'sent', 'a test');
is(join(' ', map { $_->{event_action} } (got('pager'))[-2, -1]), 'trigger resolve', 'is triggered and resolved');

# ---- the libraries of the formats -----------------------------------------------------

for my $case ([ 'cloudevents', 'hook' ], [ 'adaptivecards', 'teams' ])
{
	my ($format, $path) = @$case;
	my $file = $node->basedir . "/$format.json";
	append_to_file($file, encode_json($_) . "\n") for grep { $_->{path} =~ /\?$path$/ } requests($http);
	my $count = () = slurp_file($file) =~ /\n/g;
	my ($out, $err) = run_command([ 'node', dirname(__FILE__) . '/../peers/validate.js', "$ENV{PIPELINE_TEST_NPM}/node_modules", $format, $file ]);
	is($out, "$count checked", "the library $format finds nothing wrong") or diag($err);
}

# ---- who one is, shown by a peer ---------------------------------------------------

append_to_file("$secrets/alice/basic", "username = planted-name\npassword = planted-word\n");
chmod 0600, "$secrets/alice/basic";
alice($node, "SELECT pipeline.create_channel('basic', 'alertmanager', '{\"url\": \"$base/echo\"}', secret_ref => 'basic')");
like(told('basic', 'firing', 'g1', message(1)), qr/^dead/, 'a peer shows what it was sent');
my ($echo) = grep { $_->{path} =~ m{^/echo} } requests($http);
is($echo->{headers}{authorization}, 'Basic ' . MIME::Base64::encode_base64('planted-name:planted-word', ''), 'with the password');
like($node->safe_psql('postgres', "SELECT answer FROM pipeline.deliveries WHERE channel = 'basic'"), qr/"Authorization": "Basic \*\*\*"/, 'which is kept without it');
alice($node, "SELECT pipeline.drop_channel('basic')");

# ---- Alertmanager -------------------------------------------------------------------------

my $dir = $node->basedir . '/alertmanager';
mkdir $dir;
append_to_file("$dir/config.yml", <<"YML");
route:
  receiver: peer
  group_by: [team]
  group_wait: 0s
  group_interval: 1s
receivers:
- name: peer
  webhook_configs:
  - url: http://127.0.0.1:$receiver->{port}/
YML
my $manager = fork();
if ($manager == 0)
{
	open STDOUT, '>', "$dir/log";
	open STDERR, '>&', \*STDOUT;
	exec 'prometheus-alertmanager', "--config.file=$dir/config.yml", "--storage.path=$dir/data",
	  "--web.listen-address=127.0.0.1:$manager_port", '--cluster.listen-address=';
}
END { my $status = $?; kill 'KILL', $manager if $manager; $? = $status; }

alice($node, "SELECT pipeline.drop_channel(name) FROM pipeline.channels");
alice($node, "SELECT pipeline.create_channel('manager', 'alertmanager', '{\"url\": \"http://127.0.0.1:$manager_port/\"}', rate_per_minute => 0, max_attempts => 50)");
alice($node, q{SELECT pipeline.create_route('manager', '{}', '{manager}', group_by => '{team}', group_wait => '0', group_interval => '1 s')});
my $first = alice($node, q{SELECT pipeline.raise_alert('StockLow', 'few boxes', labels => '{"team": "payments"}', source => 'a')});
my $second = alice($node, q{SELECT pipeline.raise_alert('StockLow', 'few bags', labels => '{"team": "payments"}', source => 'b')});
sub received { return map { decode_json(Encode::encode_utf8($_->{body})) } requests($receiver); }

sub manager_said
{
	my ($what, $test) = @_;
	for (1 .. 200)
	{
		my @said = received();
		return pass($what) if grep { $test->($_) } @said;
		select(undef, undef, undef, 0.05);
	}
	fail($what);
	diag(encode_json([ received() ]));
	return;
}
sub alerts_of
{
	my ($group, $status) = @_;
	return join(' ', sort map { "$_->{labels}{source}:$_->{labels}{severity}" } grep { $_->{status} eq $status } @{ $group->{alerts} });
}
manager_said('Alertmanager takes alerts, and groups them', sub { alerts_of($_[0], 'firing') eq 'a:error b:error' });
my ($group) = grep { alerts_of($_, 'firing') eq 'a:error b:error' } received();
is($group->{groupLabels}{team}, 'payments', 'by their labels');
is($group->{alerts}[0]{annotations}{owner}, 'alice', 'with what is known of them');
alice($node, q{SELECT pipeline.raise_alert('StockLow', 'none at all', 'critical', labels => '{"team": "payments"}', source => 'a')});
manager_said('a severity that changes ends the alert of the other', sub { alerts_of($_[0], 'firing') eq 'a:critical b:error' && alerts_of($_[0], 'resolved') eq 'a:error' });
alice($node, "SELECT pipeline.resolve_alert($_)") for $first, $second;
manager_said('and resolves them', sub { $_[0]{status} eq 'resolved' && alerts_of($_[0], 'resolved') =~ /^a:critical .*b:error$/ });

$node->stop;
stop_peer($_) for $http, $receiver;
done_testing();
