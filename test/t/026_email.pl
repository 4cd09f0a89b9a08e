# Mails: over TLS from the beginning, by STARTTLS and in plain text, with AUTH and
# without; what answers of a server mean; and what is in a mail, as a mail
# program reads it.
use strict;
use warnings;
use utf8;
use Encode;
use JSON::PP;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('email', "pipeline.notification_retry_delay = '50ms'", "pipeline.notification_timeout = '1500ms'",
	'pipeline.notifier_connections = 64');
install($node, 'postgres');
my @certificate = PipelineTest::certificate($node->basedir);
sub smtp { my ($name, @args) = @_; return start_peer($node, $name, script => 'smtp_peer.py', args => \@args); }
my $plain = smtp('plain');
my $starttls = smtp('starttls', '--starttls', @certificate, '--auth', 'ann', 'planted-mail-password');
my $tls = smtp('smtps', '--tls', @certificate, '--auth', 'ann', 'planted-mail-password');
my $silent = smtp('silent', '--script', 'silent');
my $drop = smtp('drop', '--script', 'drop');
my $noquit = smtp('noquit', '--script', 'noquit');
my $greet = smtp('greet', '--script', 'greet554');
my $nobody = free_port();
my $secrets = $node->basedir . '/secrets';
mkdir $_, 0700 for $secrets, "$secrets/alice";
append_to_file("$secrets/alice/good", "username = ann\npassword = planted-mail-password\n");
append_to_file("$secrets/alice/bad", "username = ann\npassword = planted-wrong-password\n");
chmod 0600, glob("$secrets/alice/*");
my %port = (plain => $plain->{port}, starttls => $starttls->{port}, tls => $tls->{port}, silent => $silent->{port},
	drop => $drop->{port}, noquit => $noquit->{port}, greet => $greet->{port}, nobody => $nobody);
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'\npipeline.ca_file = '$certificate[0]'\npipeline.allowed_hosts = '127.0.0.1, localhost, 127.0.0.0/8, "
	. join(', ', map { "smtp://127.0.0.1:$port{$_}" } qw(plain silent drop noquit greet nobody)) . "'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;

# What becomes of the test of a channel: of each case a name, a config and what is expected.
my $n = 0;
sub outcomes
{
	my (@cases) = @_;
	for my $case (@cases)
	{
		my ($what, $expected, $url, $to, %more) = @$case;
		my $config = encode_json({ url => $url, from => 'Pipeline <alerts@example.com>', to => $to, %{ $more{config} // {} } });
		my $secret = $more{secret} ? ", secret_ref => '$more{secret}'" : '';
		$case->[5] = 'mail ' . ++$n;
		alice($node, "SELECT pipeline.create_channel('mail $n', 'email', '$config', max_attempts => " . ($more{attempts} // 2) . ", rate_per_minute => 0 $secret); SELECT pipeline.test_channel('mail $n')");
		$case->[6] = 'mail ' . $n;
	}
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead')") or diag('not all is sent');
	for my $i (0 .. $#cases)
	{
		my $name = 'mail ' . ($n - $#cases + $i);
		is($node->safe_psql('postgres', "SELECT state || ' ' || attempts || coalesce(': ' || last_error, '') FROM pipeline.notifications WHERE channel = '$name'"),
			$cases[$i][1], $cases[$i][0]);
	}
	return;
}
my $base = "smtp://127.0.0.1:$port{plain}";
my %none = (config => { starttls => JSON::PP::false });
outcomes(
	[ 'in plain text', 'sent 1', $base, 'bob@example.com', %none ],
	[ 'by STARTTLS, with a password', 'sent 1', "smtp://localhost:$port{starttls}", 'bob@example.com', secret => 'good' ],
	[ 'by TLS, with a password', 'sent 1', "smtps://localhost:$port{tls}", 'bob@example.com', secret => 'good' ],
	[ 'a wrong password, by STARTTLS', 'dead 1: the mail server answered 535', "smtp://localhost:$port{starttls}", 'bob@example.com', secret => 'bad' ],
	[ 'a wrong password, by TLS', 'dead 1: the mail server answered 535', "smtps://localhost:$port{tls}", [ 'bob@example.com', 'ann@example.com' ], secret => 'bad' ],
	[ 'no password where one is needed', 'dead 1: the mail server answered 530', "smtp://localhost:$port{starttls}", 'bob@example.com' ],
	[ 'a recipient that is unknown', 'dead 1: the mail server answered 550', $base, 'code550@example.com', %none ],
	[ 'one of several', 'dead 1: delivered to 2 of 3; code550@example.com: the mail server answered 550', $base, [ 'bob@example.com', 'code550@example.com', 'eve@example.com' ], %none ],
	[ 'one of several, for now', 'dead 2: delivered to 1 of 3; code550@example.com: the mail server answered 550, code451@example.com: the mail server answered 451 (given up after 2 attempts)', $base,
		[ 'code550@example.com', 'code451@example.com', 'eve@example.com' ], %none ],
	[ 'one of several, for now, and no other is in the way', 'dead 2: delivered to 2 of 3; code451@example.com: the mail server answered 451 (given up after 2 attempts)', $base,
		[ 'ada@example.com', 'code451@example.com', 'ida@example.com' ], %none ],
	[ 'greylisted', 'sent 2', $base, 'once451@example.com', %none ],
	[ 'refused for now for ever', 'dead 2: the mail server answered 451 (given up after 2 attempts)', $base, 'code451@example.com', %none ],
	[ 'a mail that is refused', 'dead 1: the mail server answered 554', $base, 'data554@example.com', %none ],
	[ 'no room for it now', 'dead 2: the mail server answered 452 (given up after 2 attempts)', $base, 'data452@example.com', %none ],
	[ 'a server that refuses everybody', 'dead 1: the mail server answered 554', "smtp://127.0.0.1:$port{greet}", 'bob@example.com', %none ],
);
# The same, with a pattern for what becomes of it: those of one call are tried together.
sub failing
{
	my (@cases) = @_;
	my $first = $n;
	for my $case (@cases)
	{
		my ($what, $pattern, $url, $to, %more) = @$case;
		my $config = encode_json({ url => $url, from => 'alerts@example.com', to => $to, starttls => JSON::PP::false, %{ $more{config} // {} } });
		$n++;
		alice($node, "SELECT pipeline.create_channel('mail $n', 'email', '$config', max_attempts => 2); SELECT pipeline.test_channel('mail $n')");
	}
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pipeline.notifications WHERE state NOT IN ('sent', 'dead')") or diag('not all is sent');
	like($node->safe_psql('postgres', "SELECT state || ' ' || attempts || ': ' || coalesce(last_error, '') FROM pipeline.notifications WHERE channel = 'mail " . ++$first . "'"), $_->[1], $_->[0]) for @cases;
	return;
}
failing([ 'a server that hangs', qr/^dead 2: .*imed? ?out/i, $base, 'hang@example.com' ],
	[ 'a server that says nothing', qr/^dead 2: .*imed? ?out/i, "smtp://127.0.0.1:$port{silent}", 'bob@example.com' ],
	[ 'one that goes away after the mail', qr/^dead 2: /, "smtp://127.0.0.1:$port{drop}", 'bob@example.com' ],
	[ 'one that does not say goodbye', qr/^sent 1: $/, "smtp://127.0.0.1:$port{noquit}", 'bob@example.com' ],
	[ 'nobody there', qr/^dead 2: .*connect/i, "smtp://127.0.0.1:$port{nobody}", 'bob@example.com' ],
	[ 'a mail in plain text', qr/^sent 1: $/, "smtp://127.0.0.1:$port{plain}", 'earlier@example.com' ]);
# Nor by a connection that an earlier mail has left open.
failing([ 'STARTTLS that is not offered is no reason to go on without', qr/^dead 2: .*(TLS|SSL)/i, "smtp://127.0.0.1:$port{plain}", 'starttls@example.com', config => { starttls => JSON::PP::true } ]);
is(scalar(grep { $_->{to}[0] eq 'starttls@example.com' } requests($plain)), 0, 'and nothing was said');

# What arrived where.
my @tls = requests($tls);
is(join(' ', map { "$_->{user} $_->{tls}" } @tls, requests($starttls)), 'ann 1 ann 1', 'over TLS and logged in');
is(join(' ', sort map { join('+', @{ $_->{to} }) =~ s/\@example.com//gr } grep { $_->{to}[0] =~ /^(bob|eve|ada|ida)/ } requests($plain)), 'ada bob bob eve eve ida',
	'those who are not refused are told, and only once');
for my $place ([ 'the log', slurp_file($node->logfile) ], [ 'the tables', $node->safe_psql('postgres', 'SELECT * FROM pipeline.deliveries; SELECT * FROM pipeline.notifications; SELECT * FROM pipeline.channels') ])
{
	unlike($place->[1], qr/planted-|cGxhbnRlZC/, "no password in $place->[0]");
}

# ---- what is in a mail -----------------------------------------------------------------
my $nasty = "Zürich \x{4e2d}\x{6587} \x{1f4a5} <b>bold</b> & \"quoted\" =?UTF-8?B?eA==?=\r\nBcc: victim\@example.com\r\n\r\n.\r\nQUIT\r\n";
sub told
{
	my ($event, $group, $message) = @_;
	my $json = encode_json($message);
	my $id = $node->safe_psql('postgres', qq{INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)
		VALUES ('alice', 'mails', '$event', '$group', '{}', \$json\$$json\$json\$) RETURNING notification_id});
	alice($node, "SELECT pipeline.create_channel('waker', 'log', or_replace => true)");
	$node->poll_query_until('postgres', "SELECT state IN ('sent', 'dead') FROM pipeline.notifications WHERE notification_id = $id");
	is($node->safe_psql('postgres', "SELECT state || coalesce(last_error, '') FROM pipeline.notifications WHERE notification_id = $id"), 'sent', "a mail of event $event is sent");
	return $node->safe_psql('postgres', "SELECT idempotency_key FROM pipeline.notifications WHERE notification_id = $id");
}
sub message
{
	my (%more) = @_;
	return { status => 'firing', title => "title $nasty", severity => 'critical', group_labels => { pipeline => "p $nasty" }, common_labels => {},
		alerts => [ map { { alert_id => $_, fingerprint => "f$_", alertname => "Name $nasty", severity => 'critical', state => $more{state} // 'firing', summary => "summary $_ $nasty",
			source => "source $nasty", labels => { team => "t $nasty" }, detail => { annotations => { runbook => "https://wiki.example.com/$_" } }, occurrences => 2, started_at => '2020-01-02T03:04:05+00:00',
			note => "note $nasty" } } 1 .. ($more{alerts} // 2) ], omitted => 0, %{ $more{message} // {} } };
}
my $config = encode_json({ url => $base, from => "Zoë \"Z\" \x{4e2d}\x{6587} <alerts\@example.com>", starttls => JSON::PP::false, reply_to => 'team@example.com', subject_prefix => "[dwh \x{2713}]",
	to => [ 'Bob, the builder <bob.mails@example.com>', "J\x{f6}rg <joerg\@example.com>" ] });
$node->safe_psql('postgres', "SET ROLE alice; SELECT pipeline.create_channel('mails', 'email', \$c\$$config\$c\$, rate_per_minute => 0)");
my $before = requests($plain);
my @keys = (told('firing', 'group one', message()), told('resolved', 'group one', message(state => 'resolved', message => { status => 'resolved' })),
	told('firing', "group two $nasty", message(alerts => 80)), told('test', 'group three', message(alerts => 0, message => { test => JSON::PP::true, title => 'plain =?UTF-8?B?eA==?= title' })));
my @mails = splice @{ [ requests($plain) ] }, scalar($before);

# Read as Python's email package reads it, which knows the standards.
my $file = $node->basedir . '/mails.json';
append_to_file($file, encode_json([ map { $_->{data} } @mails ]));
my $python = <<'PYTHON';
import email, email.policy, email.utils, json, sys
out = []
for data in json.load(open(sys.argv[1])):
    raw = data.encode('latin-1')
    m = email.message_from_bytes(raw, policy=email.policy.default)
    text, html = [p for p in m.iter_parts()]
    out.append(dict(defects=[str(d) for p in m.walk() for d in p.defects] + [str(d) for h in m.values() for d in h.defects],
        names=sorted(m.keys()), subject=m['Subject'], sender=[[a.display_name, a.addr_spec] for a in m['From'].addresses],
        to=[[a.display_name, a.addr_spec] for a in m['To'].addresses], reply_to=str(m['Reply-To']), id=m['Message-ID'], references=m['References'], answers=m['In-Reply-To'],
        importance=m['Importance'], auto=m['Auto-Submitted'], date=m['Date'].datetime.tzname(), type=m.get_content_type(),
        types=[text.get_content_type(), html.get_content_type()], text=text.get_content(), html=html.get_content(),
        longest=max(len(l) for l in raw.split(b'\r\n')), ascii=raw.isascii(), bare=b'\n' in raw.replace(b'\r\n', b'')))
json.dump(out, sys.stdout)
PYTHON
my ($stdout, $stderr);
append_to_file($node->basedir . '/read.py', $python);
IPC::Run::run([ 'python3', $node->basedir . '/read.py', $file ], '>', \$stdout, '2>', \$stderr) or diag($stderr);
my @read = @{ decode_json($stdout) };
is(scalar(@read), 4, 'all mails are there');
my $line = "title Zürich \x{4e2d}\x{6587} \x{1f4a5} <b>bold</b> & \"quoted\" =?UTF-8?B?eA==?=  Bcc: victim\@example.com    .  QUIT  ";
for my $m (@read)
{
	is_deeply($m->{defects}, [], 'it has no defects');
	is(join(' ', @{ $m->{names} }), join(' ', sort(qw(Date From To Reply-To Subject Message-ID In-Reply-To References Auto-Submitted X-Auto-Response-Suppress X-Pipeline-Event X-Pipeline-Severity
		MIME-Version Content-Type), $m->{importance} ? 'Importance' : ())), 'only the headers that are meant');
	ok($m->{ascii} && !$m->{bare} && $m->{longest} <= 400, 'plain ASCII in short lines that end as they must');
	is_deeply($m->{to}, [ [ 'Bob, the builder', 'bob.mails@example.com' ], [ "J\x{f6}rg", 'joerg@example.com' ] ], 'recipients with their names');
	is_deeply($m->{sender}, [ [ "Zoë \"Z\" \x{4e2d}\x{6587}", 'alerts@example.com' ] ], 'the sender, too');
	is("$m->{reply_to} $m->{auto} $m->{date} $m->{type} @{$m->{types}}", 'team@example.com auto-generated UTC multipart/alternative text/plain text/html', 'a mail of a machine, in two forms');
}
(my $subject = $read[0]{subject}) =~ s/\s+$//;
(my $expected = "[dwh \x{2713}] [FIRING:2] $line") =~ s/\s+$//;
is($subject, $expected, 'the subject');
is($read[3]{subject}, "[dwh \x{2713}] [TEST] plain =?UTF-8?B?eA==?= title", 'what looks encoded is not decoded');
is($read[0]{importance}, 'high', 'critical is important');
is($read[$_]{id}, "<$keys[$_]\@example.com>", 'the Message-ID is made of the idempotency key') for 0 .. 3;
is($read[0]{references}, $read[1]{references}, 'what is said of one group is one thread');
isnt($read[0]{references}, $read[2]{references}, 'of another, another');
is($read[0]{references}, $read[0]{answers}, 'as an answer');
like($read[0]{text}, qr/^\[critical, firing\] Name Zürich.*\nsummary 1 Zürich/m, 'the text names the alerts');
like($read[0]{text}, qr{runbook: https://wiki\.example\.com/2}, 'and what a rule says of them');
like($read[2]{text}, qr/and 30 more/, 'of many only some');
unlike($read[$_]{html}, qr/<b>bold|"quoted"/, 'no markup of users in the HTML') for 0 .. 2;
like($read[0]{html}, qr/&lt;b&gt;bold&lt;\/b&gt; &amp; &quot;quoted&quot;/, 'but what they wrote');

# ---- what is refused ---------------------------------------------------------------------
sub refused
{
	my ($config, $pattern, $what, $secret) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT pipeline.create_channel('refused', 'email', \$c\$" . encode_json($config) . "\$c\$" . ($secret ? ", secret_ref => 'good'" : '') . ')', extra_params => [ '-U', 'alice' ]);
	like(decode_utf8($err), $pattern, $what);
	return;
}
my %ok = (url => $base, from => 'a@example.com', to => 'b@example.com', starttls => JSON::PP::false);
refused({ %ok, $_->[0] => $_->[1] }, $_->[2], "refused: $_->[0] " . (defined $_->[1] && !ref $_->[1] ? $_->[1] =~ s/[^ -~]/?/gr : 'of another type'))
  for ([ url => 'https://127.0.0.1/', qr/is no smtp/ ], [ url => "smtp://user\@127.0.0.1", qr/user before the host/ ], [ url => 'smtp://mail.example.com', qr/not in pipeline.allowed_hosts/ ],
	[ url => "smtp://127.0.0.1\r\nX: y", qr/control character/ ], [ from => "a\@example.com\r\nBcc: c\@example.com", qr/control character/ ], [ from => 'nobody', qr/invalid address/ ],
	[ from => [ 'a@example.com', 'b@example.com' ], qr/needs key "from"/ ], [ to => [], qr/needs key "to"/ ], [ to => '<b@example.com> SIZE=1', qr/invalid address/ ], [ to => "J\x{f6}rg\@example.com", qr/in ASCII/ ],
	[ to => 'a@b@example.com', qr/invalid address/ ], [ to => '.a@example.com', qr/invalid address/ ], [ to => 'a@-example.com', qr/invalid address/ ], [ to => 'a b@example.com', qr/invalid address/ ],
	[ to => [ map { "a$_\@example.com" } 1 .. 51 ], qr/has 51 addresses/ ], [ to => [ 1 ], qr/array of strings/ ], [ reply_to => 'x', qr/invalid address/ ], [ starttls => 'maybe', qr/not true or false/ ], [ port => '25', qr/unknown key/ ]);
refused(\%ok, qr/a channel with a password/, 'refused: a password in plain text', 1);
refused({ %ok, starttls => JSON::PP::true, url => "smtp://10.9.9.9:25" }, qr/not in pipeline.allowed_hosts/, 'refused: a host that is not allowed');

# A server that hangs for long holds up neither another mail nor the end of the notifier.
$node->append_conf('postgresql.conf', "pipeline.notification_timeout = '60s'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.notification_timeout') = '1min'") or die;
alice($node, "SELECT pipeline.create_channel(c, 'email', jsonb_build_object('url', '$base', 'from', 'a\@example.com', 'to', c || '\@example.com', 'starttls', false)) FROM unnest('{hang,other}'::text[]) c");
my $id = alice($node, "SELECT pipeline.test_channel('hang')");
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $id", 'sending', 'a mail hangs');
wait_for($node, "SELECT count(*) FROM pipeline.notifications WHERE channel = 'other' AND state = 'sent'", '3', 'others are sent')
  if alice($node, "SELECT count(pipeline.test_channel('other')) FROM generate_series(1, 3)");
is($node->safe_psql('postgres', "SELECT state FROM pipeline.notifications WHERE notification_id = $id"), 'sending', 'while it hangs');
my $since = time();
my ($pid) = server_pids($node, 'notifier');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', 'the notifier ends');
cmp_ok(time() - $since, '<', 15, 'soon');
wait_for($node, "SELECT outcome FROM pipeline.deliveries WHERE notification_id = $id ORDER BY delivery_id LIMIT 1", 'lost', 'the attempt is lost');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'nothing crashes');
done_testing();
