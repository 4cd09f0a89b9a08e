# Notifications reach a peer over HTTP: what it gets, what its answers mean, and
# what is not done whoever asks for it.
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Digest::SHA qw(hmac_sha256);
use Encode;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{http_proxy} = $ENV{HTTPS_PROXY} = $ENV{ALL_PROXY} = 'http://127.0.0.1:9';
chomp(my $libraries = `pg_config --pkglibdir`);
my ($statements) = glob("$libraries/pg_stat_statements.*");
my $node = new_node('notify', "pipeline.notification_retry_delay = '50ms'",
	"pipeline.notification_timeout = '400ms'", "log_min_messages = debug1", 'log_parameter_max_length_on_error = -1',
	"shared_preload_libraries = 'pipeline" . ($statements ? ',pg_stat_statements' : '') . "'", $statements ? "pg_stat_statements.track = 'all'" : ());
install($node, 'postgres');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements') if $statements;
my $secrets = $node->basedir . '/secrets';
mkdir $secrets;
mkdir "$secrets/$_" for qw(alice mallory);

my $http = start_peer($node, 'http');
my $tls = start_peer($node, 'tls', tls => 1);
my $dead_port = free_port();
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'");

# Change settings, and wait until they count.
sub settings
{
	my ($hosts, $ca_file) = @_;
	$node->append_conf('postgresql.conf', "pipeline.allowed_hosts = '$hosts'\npipeline.ca_file = '$ca_file'");
	$node->reload;
	$node->poll_query_until('postgres', 'SHOW pipeline.allowed_hosts', $hosts) or die 'the settings do not count';
	return;
}

sub secret
{
	my ($owner, $name, $text, $mode) = @_;
	my $file = "$secrets/$owner/$name";
	append_to_file($file, $text);
	chmod $mode // 0600, $file;
	return;
}

# Make channels of alice's, have each tested, and compare what became of it: of
# each case its URL, what it is called, what is expected, and options.
my $n = 0;
sub outcomes
{
	my (@cases) = @_;
	my $sql = '';
	my $first = $n + 1;
	for my $case (@cases)
	{
		my ($url, $what, $expected, %more) = @$case;
		my $name = 'try ' . ++$n;
		my $config = encode_json({ url => $url, %{ $more{config} // {} } });
		my $secret = $more{secret} ? ", secret_ref => '$more{secret}'" : '';
		my $attempts = $more{attempts} // 2;
		$sql .= "SELECT pipeline.create_channel('$name', 'webhook', '$config', max_attempts => $attempts $secret);"
		  . "SELECT pipeline.test_channel('$name');";
	}
	alice($node, $sql);
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead')")
	  or diag('not all is sent');
	my @got = split /\n/, $node->safe_psql('postgres', "SELECT n.channel || '|' || state || '|' || attempts || '|' || coalesce((SELECT status::text FROM pipeline.deliveries d"
		. " WHERE d.notification_id = n.notification_id ORDER BY delivery_id DESC LIMIT 1), '-') || '|' || coalesce(last_error, '')"
		. " FROM pipeline.notifications n WHERE event = 'test' AND channel = ANY ('{" . join(',', map { "try $_" } $first .. $n) . "}') ORDER BY notification_id");
	for my $case (@cases)
	{
		my ($url, $what, $expected) = @$case;
		my $got = shift(@got) =~ s/^[^|]*\|//r;
		ref $expected ? like($got, $expected, $what) : is($got, $expected, $what);
	}
	return;
}
settings("http://127.0.0.1:$http->{port}, http://localhost:$http->{port}, 127.0.0.1:$tls->{port}, http://127.0.0.1:$dead_port",
	$node->basedir . '/peer.crt');
my $base = "http://127.0.0.1:$http->{port}";

# ---- what a peer gets -----------------------------------------------------------

secret('alice', 'signed', "# of the test\nsigning_secret = whsec_" . encode_base64('key of the hook', '')
	. " second-key\nbearer_token = planted-bearer-token\n");
outcomes([ "$base/status/200?x=1", 'a webhook is sent', 'sent|1|200|', secret => 'signed', config => { headers => { 'X-Team' => "payments \x{e9}" } } ]);
my ($got) = grep { $_->{path} eq '/status/200?x=1' } requests($http);
is($got->{method}, 'POST', 'it is posted');
is($got->{headers}{'content-type'}, 'application/cloudevents+json; charset=utf-8', 'as a CloudEvent');
is($got->{headers}{authorization}, 'Bearer planted-bearer-token', 'with the token');
is($got->{headers}{'x-team'}, 'payments ' . "\xc3\xa9", 'and the header of the config');
my $event = decode_json(Encode::encode_utf8($got->{body}));
is($event->{specversion}, '1.0', 'of version 1.0');
is($event->{type}, 'pipeline.alert.test', 'of its type');
is($event->{id}, $got->{headers}{'webhook-id'}, 'the id is that of the webhook');
is($event->{id}, $node->safe_psql('postgres', "SELECT idempotency_key FROM pipeline.notifications WHERE channel = 'try $n'"), 'and the idempotency key');
ok($event->{data}{test}, 'with the message in it');
my $signed = join('.', $got->{headers}{'webhook-id'}, $got->{headers}{'webhook-timestamp'}, Encode::encode_utf8($got->{body}));
is($got->{headers}{'webhook-signature'},
	join(' ', map { 'v1,' . encode_base64(hmac_sha256($signed, $_), '') } 'key of the hook', 'second-key'), 'signed by both secrets');
cmp_ok(abs($got->{headers}{'webhook-timestamp'} - time()), '<', 60, 'now');

# ---- what its answers mean -----------------------------------------------------

outcomes([ "$base/status/204", '204 is success', 'sent|1|204|' ],
	[ "$base/redirect", 'a redirect is not followed', 'dead|1|301|the peer answered 301: redirects are not followed' ],
	(map { [ "$base/status/$_", "$_ is final", "dead|1|$_|the peer answered $_" ] } 400, 404, 413),
	(map { [ "$base/status/$_", "$_ is tried again", "dead|2|$_|the peer answered $_ (given up after 2 attempts)" ] } 408, 500),
	[ "$base/never", 'no answer in time is a failure', qr/^dead\|1\|-\|.*timed out/i, attempts => 1 ],
	[ "$base/slow", 'so is one byte by byte', qr/^dead\|1\|-\|.*timed out/i, attempts => 1 ],
	[ "$base/slow-body", 'a status is an answer, however slow the rest is', 'sent|1|200|' ],
	[ "$base/large", 'no more of an answer is read than a little', 'sent|1|200|' ],
	[ "http://127.0.0.1:$dead_port/", 'nobody there', qr/^dead\|1\|-\|.*(connect|refused)/i, attempts => 1 ],
	[ "https://127.0.0.1:$tls->{port}/status/200", 'a peer with a certificate is spoken to over TLS', 'sent|1|200|' ],
	[ "$base/fail-first/2", 'what failed is tried again', 'sent|3|200|', attempts => 3 ]);
is($node->safe_psql('postgres', "SELECT string_agg(attempt || ' ' || outcome || ' ' || status, ', ' ORDER BY delivery_id) FROM pipeline.deliveries WHERE channel = 'try $n'"),
	'1 retry 500, 2 retry 500, 3 sent 200', 'each attempt has its row');
is(scalar(grep { $_->{path} eq '/fail-first/2' } requests($http)), 3, 'and its request');
is(scalar(keys %{ { map { $_->{headers}{'webhook-id'} => 1 } grep { $_->{path} eq '/fail-first/2' } requests($http) } }), 1, 'under one key');

# Retry-After, in seconds and as a date.
my $start = time();
alice($node, "SELECT pipeline.create_channel('patient', 'webhook', '{\"url\": \"$base/status/429?after=2\"}')");
my $id = alice($node, "SELECT pipeline.test_channel('patient')");
wait_for($node, "SELECT count(*) FROM pipeline.deliveries WHERE channel = 'patient' AND outcome = 'retry'", '1', '429 is tried again');
is($node->safe_psql('postgres', "SELECT next_attempt_at - started_at >= '2 s', next_attempt_at - started_at < '4 s' FROM pipeline.notifications JOIN pipeline.deliveries USING (notification_id) WHERE notification_id = $id"),
	't|t', 'when the peer asks for it');
wait_for($node, "SELECT paused_for FROM pipeline.channel_health WHERE channel = 'patient'", 'retry_after', 'and the channel is left alone until then');
# What is mended is tried at once.
alice($node, "SELECT pipeline.create_channel('patient', 'webhook', '{\"url\": \"$base/status/429?after=600\"}', or_replace => true)");
wait_for($node, "SELECT paused_until > now() + interval '1 minute' FROM pipeline.channel_health WHERE channel = 'patient'", 't', 'a peer may ask for a long pause');
alice($node, "SELECT pipeline.create_channel('patient', 'webhook', '{\"url\": \"$base/status/200?mended\"}', or_replace => true)");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sent', 'a channel that was replaced is another one');
alice($node, "SELECT pipeline.drop_channel('patient')");

# What cannot be recorded because somebody has locked it is recorded later, and
# says the same; looked at below.
alice($node, "SELECT pipeline.create_channel('held', 'webhook', '{\"url\": \"$base/never\"}', max_attempts => 1)");
my $held = alice($node, "SELECT pipeline.test_channel('held')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $held", 'sending', 'an attempt is under way');
my $holder = IPC::Run::start([ 'psql', '-qX', '-d', $node->connstr('postgres'), '-c', 'BEGIN', '-c', "SELECT FROM pipeline.notifications WHERE notification_id = $held FOR UPDATE", '-c', 'SELECT pg_sleep(0.8)', '-c', 'COMMIT' ], '>', '/dev/null');

# ---- what is refused ------------------------------------------------------------------

settings("http://localhost:$http->{port}, 127.0.0.1:$tls->{port}", '');
my $before = scalar(requests($http));
# Both address families: whichever is asked last is the one that is named.
outcomes([ "http://localhost:$http->{port}/status/200", 'a name that resolves to loopback is refused at the socket',
		qr/^dead\|1\|-\|address (127.0.0.1|::1) of host localhost is not public and not in pipeline.allowed_hosts$/ ],
	[ "https://127.0.0.1:$tls->{port}/status/200", 'a peer must be known to the authorities', qr/^dead\|1\|-\|.*certificate/i, attempts => 1 ]);
is(scalar(requests($http)), $before, 'nothing was sent');
settings("http://localhost:$http->{port}", '');
# The list counts when it is sent, not only when the channel is made.
$node->safe_psql('postgres', "UPDATE pipeline.channels SET config = '{\"url\": \"http://127.0.0.1:$http->{port}/later\"}' WHERE name = 'try 1'");
$id = alice($node, "SELECT pipeline.test_channel('try 1')");
wait_for($node, "SELECT state || ' ' || last_error FROM pipeline.notifications WHERE notification_id = $id",
	"dead http://127.0.0.1:$http->{port} is not in pipeline.allowed_hosts", 'a host that is no longer on the list is not spoken to');
settings("http://127.0.0.1:$http->{port}", '');

# No proxy of the environment's: the server was started with one.
outcomes([ "$base/status/200?proxy", 'a proxy in the environment is not used', 'sent|1|200|' ]);

# ---- secrets --------------------------------------------------------------------------

secret('mallory', 'hers', "bearer_token = of-mallory\n");
secret('alice', 'open', "bearer_token = x\n", 0644);
secret('alice', 'strange', "bearer_token: planted-in-a-bad-line\n");
secret('alice', 'crlf', "bearer_token = abc\rX-Injected: yes\n");
symlink "$secrets/mallory/hers", "$secrets/alice/link";
mkdir "$secrets/alice/folder";
outcomes(map { [ "$base/status/200", "secret $_->[0]", qr/^dead\|1\|-\|$_->[1]/, secret => $_->[0] ] }
	[ 'hers', 'could not open secret "hers": No such file' ], [ 'link', 'could not open secret "link"' ],
	[ 'open', 'could not read secret "open": its mode must be 0600' ], [ 'folder', 'could not read secret "folder": it is not a file' ],
	[ 'strange', 'line 1 of the secret is not of the form' ], [ 'crlf', 'line 1 of the secret has a control character' ]);
# A peer that shows what it got does not get it into a table.
secret('alice', 'shown', "bearer_token = planted-token-that-is-echoed\nurl = $base/echo/planted-path-of-the-url?sig=planted-signature\n");
outcomes([ "$base/x", 'the URL is that of the secret', qr/^dead\|1\|400\|/, secret => 'shown' ]);
my $answer = $node->safe_psql('postgres', "SELECT answer FROM pipeline.deliveries WHERE channel = 'try $n'");
like($answer, qr/Bearer \*\*\*/, 'the answer is kept without the token');
like($answer, qr/"\*\*\*"/, 'and without the path');
# Nor in the form that a URL, JSON or HTML has it in; the kept part begins elsewhere each time.
secret('alice', 'shown2', "bearer_token = pl&nted/t\"ken+=planted\nurl = $base/echo\n");
outcomes([ "$base/x", 'a token of all sorts of characters', qr/^dead\|1\|400\|/, secret => 'shown2', config => { headers => { 'A' => 'a' } } ]);
$answer = $node->safe_psql('postgres', "SELECT answer FROM pipeline.deliveries WHERE channel = 'try $n'");
unlike($answer, qr/nted|ken/, 'is not in the answer in any form') or diag($answer);
my $stars = () = $answer =~ /Bearer(%20| )\*\*\*/gi;
cmp_ok($stars, '>=', 4, 'but each of them was');
# A secret's URL is of no other protocol.
secret('alice', 'mailurl', "url = smtp://127.0.0.1:$http->{port}/\n");
settings("http://127.0.0.1:$http->{port}, smtp://127.0.0.1:$http->{port}", '');
outcomes([ "$base/x", 'a webhook speaks no SMTP', 'dead|1|-|its URL is of smtp', secret => 'mailurl' ]);
settings("http://127.0.0.1:$http->{port}", '');

# CRLF in every field that a peer might take for its own.
my $crlf = "x\\r\\nX-Injected: yes\\r\\n\\r\\nGET /injected HTTP/1.1\\r\\n";
alice($node, "SELECT pipeline.create_channel('crlf', 'webhook', '{\"url\": \"$base/status/200?crlf\"}')");
alice($node, "SELECT pipeline.raise_alert('Crlf', E'$crlf', source => E'$crlf', labels => jsonb_build_object('team', E'$crlf'), detail => jsonb_build_object('x', E'$crlf'))");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE channel = 'crlf' AND message -> 'alerts' -> 0 ->> 'alertname' = 'Crlf'", 'sent', 'an alert with CRLF in every field is sent');
my ($with_crlf) = grep { $_->{path} eq '/status/200?crlf' && $_->{body} =~ /"Crlf"/ } requests($http);
ok(!exists $with_crlf->{headers}{'x-injected'}, 'as no header');
is(decode_json(Encode::encode_utf8($with_crlf->{body}))->{data}{alerts}[0]{summary}, "x\r\nX-Injected: yes\r\n\r\nGET /injected HTTP/1.1\r\n", 'but as the text it is');
is(scalar(grep { $_->{path} eq '/injected' } requests($http)), 0, 'and no request');

# ---- two owners ------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; GRANT USAGE ON SCHEMA pipeline TO mallory');
my @as_mallory = (extra_params => [ '-U', 'mallory' ]);
$node->safe_psql('postgres', "SELECT pipeline.create_channel('of mallory', 'webhook', '{\"url\": \"$base/status/200?mallory\"}', secret_ref => 'shown')", @as_mallory);
$id = $node->safe_psql('postgres', "SELECT pipeline.test_channel('of mallory')", @as_mallory);
wait_for($node, "SELECT last_error ~ '^could not open secret' FROM pipeline.notifications WHERE notification_id = $id", 't', 'a secret of another owner cannot be named');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.notifications WHERE owner <> $$mallory$$::regrole', @as_mallory), '0', 'nor their notifications be seen');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pipeline.deliveries WHERE owner <> $$mallory$$::regrole', @as_mallory), '0', 'nor their deliveries');
is(scalar(grep { $_->{path} =~ /mallory/ } requests($http)), 0, 'and nothing was sent');

# A channel of another owner that has taken a name over is told nothing of the first's.
alice($node, "SELECT pipeline.create_channel('taken over', 'webhook', '{\"url\": \"$base/never\"}')");
$id = alice($node, "SELECT pipeline.test_channel('taken over')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sending', 'it is under way');
alice($node, "SELECT pipeline.drop_channel('taken over')");
$node->safe_psql('postgres', "SELECT pipeline.create_channel('taken over', 'webhook', '{\"url\": \"$base/status/200?mallory\"}')", @as_mallory);
wait_for($node, "SELECT state || ' ' || last_error FROM pipeline.notifications WHERE notification_id = $id", 'dead the channel was dropped', 'what was under way ends with its channel');
my ($rc, $out, $err) = $node->psql('postgres', "SELECT pipeline.redeliver($id)", extra_params => [ '-U', 'alice' ]);
like($err, qr/channel "taken over" is not for the owner of notification $id any more/, 'and is not redelivered to that of another');
is(scalar(grep { $_->{path} =~ /mallory/ } requests($http)), 0, 'nothing was sent there');
$node->safe_psql('postgres', "SELECT pipeline.drop_channel('taken over')", @as_mallory);

# ---- nothing of a secret anywhere ------------------------------------------------------------

# Each kind with a secret, spoken to by a peer that shows all it was sent, or that is not there.
my %shows = (
	alertmanager => [ { url => "$base/echo" }, "username = planted-user\npassword = planted:/&pass word\n" ],
	'alertmanager 2' => [ { url => "$base/echo" }, "bearer_token = planted-manager-token==\n" ],
	pagerduty => [ { url => "$base/echo-body" }, "routing_key = planted-routing-key\n" ],
	slack => [ {}, "url = $base/echo/services/T00000000/planted-slack-path\n" ],
	teams => [ {}, "url = $base/echo/workflows?api-version=2016-06-01&sig=planted-teams-signature\n" ],
	'slack 2' => [ {}, "url = http://127.0.0.1:$dead_port/services/planted-path-to-nobody\n" ],
	'slack 3' => [ {}, "url = http://127.0.0.1:1/planted-path-that-is-not-allowed\n" ],
	'slack 4' => [ {}, "url = https://127.0.0.1:$http->{port}/planted-path-over-TLS\n" ],
	'slack 5' => [ {}, "url = planted no URL at all\n" ],
	'ticket github' => [ { system => 'github', url => "$base/echo", repository => 'a/b' }, "token = planted-github-token\n" ],
	'ticket jira' => [ { system => 'jira', url => "$base/echo", project => 'X' }, "username = planted\@example.com\npassword = planted-jira-password\n" ],
	'ticket trello' => [ { system => 'trello', url => "$base/echo", board => 'a' x 24, list => 'b' x 24 }, "key = planted-trello-key\ntoken = planted-trello-token\n" ]);
settings("http://127.0.0.1:$http->{port}, http://127.0.0.1:$dead_port, 127.0.0.1:$http->{port}", '');
for my $name (sort keys %shows)
{
	my ($config, $secret) = @{ $shows{$name} };
	my $ref = $name =~ s/ /_/gr;
	secret('alice', $ref, $secret);
	alice($node, "SELECT pipeline.create_channel('shows $name', '" . $name =~ s/ .*//r . "', '" . encode_json($config) . "', secret_ref => '$ref', max_attempts => 1); SELECT pipeline.test_channel('shows $name')");
}
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel LIKE 'shows %' AND state = 'dead'", scalar(keys %shows), 'peers that show what they were sent, or are not there');
is($node->safe_psql('postgres', "SELECT string_agg(channel, ', ') FROM pipeline.deliveries WHERE channel LIKE 'shows %' AND channel !~ 'slack [2-5]' AND answer !~ '[*]{3}'"), '', 'what they show is kept without it');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.deliveries WHERE channel LIKE 'shows %' AND error IS NULL"), '0', 'and each error is kept');

my @planted = ('planted-', 'planted:', 'planted%3A', 'planted no', 'planted@', 'pass word', encode_base64('planted-user:planted:/&pass word', ''), encode_base64('key of the hook', ''), 'second-key');
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'the database is dumped');
my $tables = join ' UNION ALL ', map { "SELECT t::text FROM $_ t" } split /\n/,
  $node->safe_psql('postgres', "SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'pipeline'::regnamespace AND relkind IN ('r', 'v')");
my %where = ('the dump' => slurp_file($dump), 'the log' => slurp_file($node->logfile), 'tables and views' => $node->safe_psql('postgres', $tables),
	'pg_stat_activity' => $node->safe_psql('postgres', 'SELECT * FROM pg_stat_activity'),
	'pg_stat_statements' => $statements ? $node->safe_psql('postgres', 'SELECT query FROM pg_stat_statements') : '', 'the catalogue' => $node->safe_psql('postgres', 'SELECT * FROM pg_settings'));
for my $place (sort keys %where)
{
	# The tests' own statements are logged.
	my $text = join "\n", grep { !/LOG:  statement:|\.pl / } split /\n/, $where{$place};
	is(join(' ', grep { index($text, $_) >= 0 } @planted), '', "no secret in $place");
}

# ---- undeliverable is told on another channel ---------------------------------------------------

# From nothing, for what else is open would be told along with it, and in one
# transaction: an alert that a new route takes is told in the group of that anew.
sub nothing_left
{
	alice($node, "SELECT pipeline.drop_route(name) FROM pipeline.routes WHERE owner = 'alice'::regrole");
	alice($node, "SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE owner = 'alice'::regrole");
	# What is under way may still fail, which raises an alert.
	wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead')", '0', 'nothing is under way');
	alice($node, "SELECT pipeline.resolve_alert(alert_id) FROM pipeline.firing_alerts");
	wait_for($node, "SELECT (SELECT count(*) FROM pipeline.alert_events WHERE dispatched_at IS NULL) + (SELECT count(*) FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead'))", '0', 'nothing is left to tell');
	return;
}
# What the other channel was told of an alert of ours that a channel does not work.
sub told_of_broken
{
	my ($channel) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(event || ' ' || state || ' ' || attempts, ', ' ORDER BY notification_id) FROM pipeline.notifications"
		. " WHERE channel = '$channel' AND alert_ids && ARRAY(SELECT alert_id FROM pipeline.alerts WHERE alertname = 'NotificationUndeliverable' AND source = 'broken')");
}
sub gone
{
	$node->safe_psql('postgres', "DELETE FROM pipeline.notifications WHERE channel IN ('broken', 'works')");
	$node->safe_psql('postgres', "UPDATE pipeline.alerts SET source = 'gone' WHERE alertname = 'NotificationUndeliverable' AND source = 'broken' AND state = 'resolved'");
	return;
}
my $broken = "SELECT pipeline.create_channel('broken', 'webhook', '{\"url\": \"$base/status/404?broken\"}');";
my $works = "SELECT pipeline.create_channel('works', 'webhook', '{\"url\": \"$base/status/200?works\"}');";
my $undeliverable = "SELECT state FROM pipeline.firing_alerts WHERE alertname = 'NotificationUndeliverable' AND source = 'broken'";

# Both hear of it by themselves, each at its time.
nothing_left();
alice($node, "BEGIN; $broken $works
	SELECT pipeline.create_route('first', '{}', '{broken}', group_by => '{...}', group_wait => '0', continue_matching => true);
	SELECT pipeline.create_route('second', '{}', '{works}', priority => 1, group_by => '{...}', group_wait => '700 ms'); COMMIT");
alice($node, "SELECT pipeline.raise_alert('Trouble', 'something is wrong')");
wait_for($node, $undeliverable, 'firing', 'a dead notification is an alert');
wait_for($node, "SELECT last_error FROM pipeline.notifications WHERE channel = 'broken' AND message -> 'alerts' -> 0 ->> 'alertname' = 'NotificationUndeliverable'",
	'it tells that this channel does not work, and is told on channel "works"', 'it is not told on its own channel');
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'works' AND state = 'sent'", '2', 'the other hears of it by itself');
is(told_of_broken('works'), 'firing sent 1', 'once');

# Told along with another alert, which is tried where it belongs first.
nothing_left();
gone();
alice($node, "BEGIN; $broken SELECT pipeline.create_route('all in one', '{}', '{broken}', group_by => '{}', group_wait => '0', group_interval => '1 s'); COMMIT");
alice($node, "BEGIN; $works SELECT pipeline.create_route('nothing', '{alertname=Nothing}', '{works}'); COMMIT");
alice($node, "SELECT pipeline.raise_alert('Trouble', 'something is wrong')");
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'works' AND state = 'sent'", '1', 'one that tells of another alert as well');
is(told_of_broken('works'), 'firing sent 1', 'is told on the other channel');
is($node->safe_psql('postgres', "SELECT string_agg(jsonb_array_length(message -> 'alerts') || ' ' || last_error, ', ' ORDER BY notification_id) FROM pipeline.notifications WHERE channel = 'broken'"),
	'1 the peer answered 404, 2 the peer answered 404', 'after its own has been tried');

# Only the broken one hears of it by itself.
nothing_left();
gone();
alice($node, "BEGIN; $broken SELECT pipeline.create_route('trouble', '{alertname=~Trouble|NotificationUndeliverable}', '{broken}', group_by => '{...}', group_wait => '0', group_interval => '1 s', repeat_interval => '10 minutes'); COMMIT");
alice($node, "SELECT pipeline.raise_alert('Trouble', 'something is wrong')");
wait_for($node, "SELECT max(last_error) FROM pipeline.notifications WHERE channel = 'broken' AND message -> 'alerts' -> 0 ->> 'alertname' = 'NotificationUndeliverable'",
	'it tells that this channel does not work, and its owner has no other', 'there may be no other channel');
alice($node, "BEGIN; $works SELECT pipeline.create_route('nothing', '{alertname=Nothing}', '{works}'); COMMIT");
for my $repeat (1, 2)
{
	# As if it had been told long ago.
	$node->safe_psql('postgres', "UPDATE pipeline.notifications SET created_at = created_at - interval '1 hour' WHERE channel = 'works'; UPDATE pipeline.alert_group_channels SET at = at - interval '1 hour'; UPDATE pipeline.alert_groups SET next_flush_at = now(), flushed_at = flushed_at - interval '1 hour'");
	$node->safe_psql('postgres', "SELECT pipeline.create_channel('waker', 'log', or_replace => true); SELECT pipeline.drop_channel('waker')");
	wait_for($node, "SELECT count(*) >= $repeat FROM pipeline.notifications WHERE channel = 'works' AND event = 'repeat' AND state = 'sent'", 't', "a channel that hears nothing by itself is told, and with repeat $repeat");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.notifications w WHERE channel = 'works' AND event = 'repeat'"
	. " AND (SELECT count(*) FROM pipeline.notifications b WHERE channel = 'broken' AND event = 'repeat' AND group_key = w.group_key AND b.notification_id < w.notification_id)"
	. " < (SELECT count(*) FROM pipeline.notifications o WHERE channel = 'works' AND event = 'repeat' AND group_key = w.group_key AND o.notification_id <= w.notification_id)"),
	'0', 'never more often than the repeats');

# A route names both.
nothing_left();
gone();
alice($node, "BEGIN; $broken $works SELECT pipeline.create_route('trouble', '{alertname=~Trouble|NotificationUndeliverable,channel=~broken|}', '{broken,works}', group_by => '{...}', group_wait => '0', group_interval => '1 s'); COMMIT");
alice($node, "SELECT pipeline.raise_alert('Trouble', 'something is wrong')");
wait_for($node, $undeliverable, 'firing', 'a dead notification is an alert');
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'works' AND state = 'sent'", '2', 'it is told on the other channel');
wait_for($node, "SELECT string_agg(state, ' ') FROM pipeline.notifications WHERE channel = 'broken'", 'dead dead', 'and not on its own');
is(told_of_broken('works'), 'firing sent 1', 'once');
is(scalar(grep { $_->{path} eq '/status/200?works' && $_->{body} =~ /"NotificationUndeliverable"/ && decode_json(Encode::encode_utf8($_->{body}))->{id} eq
		$node->safe_psql('postgres', "SELECT idempotency_key FROM pipeline.notifications WHERE channel = 'works' AND message -> 'alerts' -> 0 ->> 'alertname' = 'NotificationUndeliverable'") } requests($http)),
	1, 'in one request');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.alerts WHERE alertname = 'NotificationUndeliverable' AND source = 'broken'"), '1', 'it is one alert');
is($node->safe_psql('postgres', "SELECT string_agg(alertname || ' ' || problem || ' ' || channel, ', ') FROM pipeline.undelivered WHERE channel IN ('broken', 'works')"), 'Trouble given up broken', 'and what was told on the other channel is not undelivered');
alice($node, "SELECT pipeline.create_channel('broken', 'webhook', '{\"url\": \"$base/status/200?mended\"}', or_replace => true)");
alice($node, "SELECT pipeline.redeliver(notification_id) FROM pipeline.notifications WHERE channel = 'broken' AND message ->> 'title' = 'something is wrong'");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE channel = 'broken' AND message ->> 'title' = 'something is wrong'", 'sent', 'mended, it is delivered again');
wait_for($node, "SELECT state FROM pipeline.alerts WHERE alertname = 'NotificationUndeliverable' AND source = 'broken'", 'resolved', 'and the alert is over');
is($node->safe_psql('postgres', "SELECT state FROM pipeline.channel_status WHERE name = 'broken'"), 'working', 'as the status says');

$holder->finish;
wait_for($node, "SELECT state || ' ' || (SELECT count(*) FROM pipeline.deliveries d WHERE d.notification_id = n.notification_id) FROM pipeline.notifications n WHERE notification_id = $held", 'dead 1', 'what was locked is recorded in the end');
like($node->safe_psql('postgres', "SELECT last_error FROM pipeline.notifications WHERE notification_id = $held"), qr/^[^(]* timed out [^(]*\(given up after 1 attempt\)$/i, 'as it was');
like(slurp_file($node->logfile), qr/could not record the delivery of notification $held: canceling statement due to lock timeout/, 'and the log says why not at once');

# ---- rate, circuit, heartbeat -------------------------------------------------------------------

alice($node, "SELECT pipeline.create_channel('slow lane', 'webhook', '{\"url\": \"$base/status/200?lane\"}', rate_per_minute => 3)");
alice($node, "SELECT pipeline.test_channel('slow lane') FROM generate_series(1, 6)");
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'slow lane' AND event = 'test' AND state = 'sent'", '3', 'a channel takes no more than its rate');
alice($node, "SELECT pipeline.test_channel('works')");
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'works' AND event = 'test' AND state = 'sent'", '1', 'others go on');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.notifications WHERE channel = 'slow lane' AND event = 'test' AND state = 'pending'"), '3', 'what is over waits');
alice($node, "SELECT pipeline.drop_channel('slow lane')");

append_to_file("$http->{log}.down", '');
alice($node, "SELECT pipeline.create_channel('down', 'webhook', '{\"url\": \"$base/down\"}', rate_per_minute => 0, max_attempts => 50)");
alice($node, "SELECT count(pipeline.test_channel('down')) FROM generate_series(1, 20)");
wait_for($node, "SELECT paused_for FROM pipeline.channel_health WHERE channel = 'down'", 'circuit', 'a channel that fails again and again is left alone');
like($node->safe_psql('postgres', "SELECT state FROM pipeline.channel_status WHERE name = 'down'"), qr/^paused: \d+ attempts in a row have failed$/, 'as the status says');
unlink "$http->{log}.down";
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'down' AND event = 'test' AND state = 'sent'", '20', 'and goes on when it works again');
wait_for($node, "SELECT failures || ' ' || coalesce(paused_for, 'not') FROM pipeline.channel_health WHERE channel = 'down'", '0 not', 'as if nothing had been');

alice($node, "SELECT pipeline.create_channel('beat', 'webhook', '{\"url\": \"$base/status/200?beat\", \"heartbeat\": \"1 second\"}')");
wait_for($node, "SELECT count(*) >= 2 FROM pipeline.notifications WHERE channel = 'beat' AND event = 'heartbeat' AND state = 'sent'", 't', 'a channel that asks for a heartbeat has one');
alice($node, "SELECT pipeline.raise_alert('NotForTheBeat', 'not for the beat', labels => '{\"pipeline\": \"beat\"}')");
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'down' AND state = 'sent' AND message -> 'alerts' -> 0 ->> 'alertname' = 'NotForTheBeat'", '1', 'an alert is told');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.notifications WHERE channel = 'beat' AND event <> 'heartbeat'"), '0', 'but not on the channel of the heartbeat');
alice($node, "SELECT pipeline.drop_channel('beat')");

# Channels of kinds notify and log that a route names are told by the notifier.
alice($node, q{SELECT pipeline.create_channel('wall', 'notify', '{"channel": "wall"}');
	SELECT pipeline.create_channel('lines', 'log', '{"level": "warning"}');
	SELECT pipeline.create_route('to the wall', ARRAY['alertname="Wall"'], ARRAY['wall', 'lines'], group_wait => '0 s')});
alice($node, "SELECT pipeline.raise_alert('Wall', 'told by a route')");
wait_for($node, "SELECT string_agg(channel || ' ' || state || ' ' || attempts, ', ' ORDER BY channel) FROM pipeline.notifications WHERE channel IN ('wall', 'lines')",
	'lines sent 1, wall sent 1', 'a route reaches channels of kinds notify and log');
like(slurp_file($node->logfile), qr/pipeline notifier WARNING:.*told by a route \[error\]/, 'by a line of the notifier');
is($node->safe_psql('postgres', "SELECT channels FROM pipeline.alert_events JOIN pipeline.alerts USING (alert_id) WHERE alertname = 'Wall'"), '{}', 'not in the transaction that raises');
alice($node, "SELECT pipeline.drop_route('to the wall')");

# ---- the process ----------------------------------------------------------------------------------

# One group is told in order, however often the first attempt fails.
append_to_file("$http->{log}.down", '');
alice($node, q{SELECT pipeline.create_route('order', '{alertname=Order}', '{down}', group_wait => '0', group_interval => '1 s')});
$id = alice($node, "SELECT pipeline.raise_alert('Order', 'first')");
wait_for($node, "SELECT count(*) > 0 FROM pipeline.deliveries WHERE channel = 'down' AND outcome = 'retry' AND notification_id IN (SELECT notification_id FROM pipeline.notifications WHERE alert_ids = '{$id}')", 't', 'an alert cannot be told');
alice($node, "SELECT pipeline.resolve_alert($id)");
unlink "$http->{log}.down";
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'down' AND alert_ids = '{$id}' AND state = 'sent'", '2', 'later it is, and that it is over');
my @events = map { decode_json(Encode::encode_utf8($_->{body})) } grep { $_->{path} eq '/down' } requests($http);
is(join(' ', map { $_->{type} } grep { ($_->{data}{alerts}[0]{alert_id} // 0) == $id } @events) =~ s/(\S+firing )+/firing /r, 'firing pipeline.alert.resolved', 'in that order');

# What is old is deleted, when a notifier begins and now and then.
$node->safe_psql('postgres', "UPDATE pipeline.notifications SET created_at = now() - interval '91 days' WHERE channel LIKE 'try %' AND state IN ('sent', 'dead')");
$node->safe_psql('postgres', "UPDATE pipeline.notifications SET created_at = now() - interval '2 days' WHERE event = 'heartbeat'");
my ($pid) = server_pids($node, 'notifier');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier' AND pid <> $pid", '1', 'a notifier that is ended is replaced');
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel LIKE 'try %' OR event = 'heartbeat'", '0', 'old notifications are deleted');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.notifications"), '>', 10, 'others are not');
is($node->safe_psql('postgres', "SELECT count(*) FROM pipeline.deliveries WHERE outcome = 'lost'"), '0', 'no attempt was lost so far');

# A copy of the database tells nobody.
alice($node, "SELECT pipeline.create_channel('original', 'webhook', '{\"url\": \"$base/status/200?original\"}')");
append_to_file("$http->{log}.down", '');
alice($node, "SELECT pipeline.test_channel('down')");
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'", '1', 'the notifier is back after its database was copied');
$before = scalar(requests($http));
$node->safe_psql('copy', "SELECT pipeline.raise_alert('OfCopy', 'of the copy'); SELECT pipeline.test_channel('original')");
$node->safe_psql('copy', "SELECT pg_sleep(0.5)");
is(scalar(grep { $_->{path} =~ /original/ } requests($http)), 0, 'a copy sends nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy' AND backend_type = 'pipeline notifier'"), '0', 'and has no notifier');
$node->safe_psql('copy', 'SELECT pipeline.resume_schedules()');
is($node->safe_psql('copy', "SELECT string_agg(DISTINCT state, ' ') FROM pipeline.notifications WHERE state <> 'sent'"), 'dead', 'made to act, it does not send what the original wrote');
$id = $node->safe_psql('copy', "SELECT pipeline.test_channel('original')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sent', 'but what is written from then on', 'copy');
$node->safe_psql('postgres', 'DROP DATABASE copy');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'", '1', 'a database with a notifier can be dropped');
unlink "$http->{log}.down";

# Without the extension there is none.
$node->safe_psql('postgres', 'DROP EXTENSION pipeline CASCADE');
$node->safe_psql('postgres', 'SELECT 1');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'", '0', 'DROP EXTENSION ends it');
$node->safe_psql('postgres', 'CREATE EXTENSION pipeline; GRANT USAGE ON SCHEMA pipeline TO alice');
alice($node, "SELECT pipeline.create_channel('again', 'webhook', '{\"url\": \"$base/status/200?again\"}')");
$id = alice($node, "SELECT pipeline.test_channel('again')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sent', 'and it comes with it again');

$node->stop;
stop_peer($_) for $http, $tls;
done_testing();
