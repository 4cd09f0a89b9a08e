# Mails: what arrives, what the answers of a mail server mean, and that nobody
# can write headers of his own.
use strict;
use warnings;
use utf8;
use JSON::PP;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('email', "pipeline.notification_retry_delay = '50ms'", "pipeline.notification_timeout = '700ms'");
install($node, 'postgres');
my $secrets = $node->basedir . '/secrets';
mkdir $secrets;
mkdir "$secrets/alice";
for (['good', 'right'], ['bad', 'planted-wrong-password'])
{
	append_to_file("$secrets/alice/$_->[0]", "username = user\npassword = $_->[1]\n");
	chmod 0600, "$secrets/alice/$_->[0]";
}
my $plain = start_peer($node, 'plain', script => 'smtp_peer.py');
my $start = start_peer($node, 'start', script => 'smtp_peer.py', tls => 1);
my $smtps = start_peer($node, 'smtps', script => 'smtp_peer.py', tls => 1, args => ['--implicit']);
my $hosts = "smtp://127.0.0.1:$plain->{port}, localhost:$start->{port}, localhost:$smtps->{port}, 127.0.0.0/8, ::1";
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'\npipeline.allowed_hosts = '$hosts'\npipeline.ca_file = '" . $node->basedir . "/peer.crt'");
$node->reload;
$node->poll_query_until('postgres', 'SHOW pipeline.allowed_hosts', $hosts) or die 'the settings do not count';

my $n = 0;
sub outcome
{
	my ($what, $expected, $config, $secret) = @_;
	my $name = 'try ' . ++$n;
	$config = encode_json({ from => 'pipeline@example.org', to => ['ops@example.org'], %$config });
	alice($node, "SELECT pipeline.create_channel('$name', 'email', '$config', max_attempts => 2" . ($secret ? ", secret_ref => '$secret'" : '') . "); SELECT pipeline.test_channel('$name')");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead')") or diag('not all is sent');
	my $got = $node->safe_psql('postgres', "SELECT state || '|' || attempts || '|' || coalesce((SELECT status::text FROM pipeline.deliveries d WHERE d.notification_id = n.notification_id ORDER BY delivery_id DESC LIMIT 1), '-')"
		. " FROM pipeline.notifications n WHERE event = 'test' AND channel = '$name'");
	ref $expected ? like($got, $expected, $what) : is($got, $expected, $what);
	return;
}

my $at_plain = "smtp://127.0.0.1:$plain->{port}";
outcome('a mail in plain text, where that is allowed', 'sent|1|250', { url => $at_plain, starttls => JSON::PP::false });
outcome('over STARTTLS, with AUTH', 'sent|1|250', { url => "smtp://localhost:$start->{port}" }, 'good');
outcome('over TLS from the start', 'sent|1|250', { url => "smtps://localhost:$smtps->{port}" }, 'good');
outcome('a wrong password is final', 'dead|1|535', { url => "smtps://localhost:$smtps->{port}" }, 'bad');
outcome('a recipient that does not exist is final', 'dead|1|550', { url => $at_plain, starttls => JSON::PP::false, to => 'say550@example.org' });
outcome('one that is busy is tried again', 'dead|2|451', { url => $at_plain, starttls => JSON::PP::false, to => 'say451@example.org' });
outcome('so is a mail that is refused for now', 'dead|2|451', { url => $at_plain, starttls => JSON::PP::false, to => 'data451@example.org' });
outcome('a server that hangs', qr/^dead\|2\|/, { url => $at_plain, starttls => JSON::PP::false, to => 'hang@example.org' });
my ($first, $second, $third) = ((requests($plain))[0], (requests($start))[0], (requests($smtps))[0]);
ok(!$first->{tls} && !defined $first->{user}, 'nothing of TLS in the first');
ok($second->{tls} && $second->{user} eq 'user', 'TLS before AUTH in the second');
ok($third->{tls} && $third->{user} eq 'user', 'and in the third');
ok(index(slurp_file($node->logfile) . $node->safe_psql('postgres', 'SELECT string_agg(d::text, $$ $$) FROM pipeline.deliveries d'), 'planted-wrong-password') < 0, 'no password in a table or the log');
for (['a name beside the address', { to => 'Ops <ops@example.org>' }], ['a line of its own', { from => "a\@example.org\r\nBcc: x\@example.org" }],
	['nobody', { to => [] }], ['another protocol', { url => 'https://localhost:1' }], ['plain text where TLS is meant', { url => "smtp://localhost:$start->{port}", starttls => JSON::PP::false }])
{
	my $config = encode_json({ url => $at_plain, starttls => JSON::PP::false, from => 'a@example.org', to => 'b@example.org', %{ $_->[1] } });
	my ($rc, $out, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION alice; SELECT pipeline.create_channel('no', 'email', \$c\$$config\$c\$)");
	like($err, qr/ERROR/, "refused: $_->[0]");
}

# ---- what a mail says ------------------------------------------------------------------------

alice($node, "SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE owner = 'alice'::regrole");
my $config = encode_json({ url => $at_plain, starttls => JSON::PP::false, from => 'pipeline@example.org', to => ['a@example.org', 'b@example.org'], subject_prefix => '[dwh]' });
alice($node, "SELECT pipeline.create_channel('mails', 'email', '$config')");
alice($node, q{SELECT pipeline.create_route('all', '{}', '{mails}', group_wait => '0', group_interval => '1 s')});
my $before = () = requests($plain);
my $summary = 'Größe ≠ 3 <b>&amp;</b> ' . ('länger ' x 40);
alice($node, "SELECT pipeline.raise_alert('Odd', E'$summary\\r\\nBcc: victim\@example.org\\r\\n.\\r\\nQUIT', severity => 'critical', labels => '{\"team\": \"Zürich\"}', source => 'x')");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pipeline.notifications WHERE event = 'firing' AND state = 'sent'") or diag('no mail of the alert');
alice($node, "SELECT pipeline.resolve_alert(alert_id) FROM pipeline.firing_alerts WHERE alertname = 'Odd'");
$node->poll_query_until('postgres', "SELECT count(*) >= 1 FROM pipeline.notifications WHERE event = 'resolved' AND state = 'sent'") or diag('no mail of its end');
my @mails = (requests($plain))[$before .. $before + 1];
my $mail = $mails[0];
is_deeply($mail->{to}, ['a@example.org', 'b@example.org'], 'it goes to all');
like($mail->{headers}{subject}, qr/^\[dwh\] .*Größe ≠ 3/, 'the subject, as it was written');
ok(!exists $mail->{headers}{bcc} && $mail->{text} =~ /Bcc: victim/, 'a header in a text stays text');
is_deeply($mail->{defects}, [], 'a mail without defects');
cmp_ok($mail->{longest}, '<=', 200, 'and without long lines');
like($mail->{text}, qr/summary: Größe ≠ 3 <b>&amp;<\/b>/, 'the text');
like($mail->{html}, qr/Größe ≠ 3 &lt;b&gt;&amp;amp;&lt;\/b&gt;/, 'the page, escaped');
like($mail->{text}, qr/team=Zürich/, 'labels');
like($mail->{headers}{'message-id'}, qr/^<[0-9a-f-]{36}\@example\.org>$/, 'an id of the notification');
is($mail->{headers}{'auto-submitted'}, 'auto-generated', 'it says that nobody wrote it');
is($mails[1]{headers}{references}, $mail->{headers}{references}, 'the end is in the same thread');
isnt($mails[1]{headers}{'message-id'}, $mail->{headers}{'message-id'}, 'as a mail of its own');
like($mails[1]{headers}{subject}, qr/RESOLVED/, 'and says so');

$node->stop;
done_testing();
