# Tickets in Jira, GitHub and Trello: one for a group of alerts, found by its label,
# created, commented on and closed, once each, whatever answer is lost.
use strict;
use warnings;
use utf8;
use Encode;
use HTTP::Tiny;
use JSON::PP;
use PipelineTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('ticket', "pipeline.notification_retry_delay = '50ms'");
install($node, 'postgres');
my $peer = start_peer($node, 'tickets', script => 'ticket_peer.py');
my $base = "http://127.0.0.1:$peer->{port}";
my $secrets = $node->basedir . '/secrets';
mkdir $_, 0700 for $secrets, "$secrets/alice";
append_to_file("$secrets/alice/github", "token = planted-token\n");
append_to_file("$secrets/alice/jira", "username = ann\@example.com\npassword = planted-password\n");
append_to_file("$secrets/alice/trello", "key = planted-key\ntoken = planted-token\n");
append_to_file("$secrets/alice/wrong", "token = planted-wrong\n");
chmod 0600, glob("$secrets/alice/*");
$node->append_conf('postgresql.conf', "pipeline.secrets_dir = '$secrets'\npipeline.allowed_hosts = '$base, api.trello.com'");
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('pipeline.allowed_hosts') <> ''") or die;

my %config = (github => { system => 'github', url => "$base/", repository => 'acme/ops', labels => ['data'] },
	jira => { system => 'jira', url => $base, project => 'OPS', issue_type => 'Bug', labels => ['data'] },
	trello => { system => 'trello', url => $base, board => 'a' x 24, list => 'b' x 24 });
sub channel
{
	my ($name, $config, $secret, $more) = @_;
	$more //= '';
	my $json = encode_json($config);
	$node->safe_psql('postgres', "SET ROLE alice; SELECT pipeline.create_channel('$name', 'ticket', \$c\$$json\$c\$, secret_ref => '$secret', rate_per_minute => 0, max_attempts => 4$more)");
	return;
}
channel($_, $config{$_}, $_) for keys %config;
channel('cloud', { %{ $config{jira} }, cloud => JSON::PP::true, done => 'Finish', project => 'CLD' }, 'jira');

# Write a notification into the outbox as the dispatch would, and wait for it.
sub told
{
	my ($channel, $event, $group, %more) = @_;
	my $json = encode_json({ status => 'firing', title => $more{title} // 'orders are late', severity => 'error', group_labels => {}, common_labels => {}, omitted => 0,
		alerts => [ { alert_id => 1, fingerprint => 'f', alertname => 'Late', severity => 'error', state => 'firing', summary => $more{summary} // 'x', source => 's', labels => {}, detail => {}, occurrences => 1,
			started_at => '2020-01-02T03:04:05+00:00' } ], %{ $more{message} // {} } });
	my $id = $node->safe_psql('postgres', qq{INSERT INTO pipeline.notifications (owner, channel, event, group_key, alert_ids, message)
		VALUES ('alice', '$channel', '$event', '$group', '{}', \$json\$$json\$json\$) RETURNING notification_id});
	alice($node, "SELECT pipeline.create_channel('waker', 'log', or_replace => true)");
	$node->poll_query_until('postgres', "SELECT state IN ('sent', 'dead') FROM pipeline.notifications WHERE notification_id = $id");
	return $node->safe_psql('postgres', "SELECT state || ' ' || attempts || coalesce(': ' || last_error, '') FROM pipeline.notifications WHERE notification_id = $id");
}
my %over = (message => { status => 'resolved' });
sub state { return decode_json(HTTP::Tiny->new->get("$base/state")->{content}); }
sub tickets { my ($system, $prefix) = @_; return grep { $_->{system} eq $system && (!$prefix || $_->{id} =~ /^$prefix/) } @{ state()->{tickets} }; }
my $seen = 0;
sub new_requests { my @all = requests($peer); my @new = @all[$seen .. $#all]; $seen = @all; return join ' ', map { $_->{method} . ' ' . ($_->{path} =~ s/\?.*//r) } @new; }
sub lose { my ($what) = @_; append_to_file("$peer->{log}.lose", $what); return; }

for my $system (qw(github jira trello))
{
	new_requests();
	# Fires, says more, is over.
	is(told($system, 'firing', 'one'), 'sent 1', "$system: a group fires");
	my ($t) = tickets($system);
	like($t->{title}, qr/^\[FIRING\] orders are late/, "$system: a ticket is created");
	like($t->{labels}[0], $system eq 'trello' ? qr/^[0-9a-f]{24}$/ : qr/^pipeline-[0-9a-f]{16}$/, "$system: with its label");
	is($t->{labels}[1], 'data', "$system: and those of the config") unless $system eq 'trello';
	is(told($system, 'repeat', 'one'), 'sent 1', "$system: it still fires");
	($t) = tickets($system);
	is(scalar(@{ $t->{comments} }), 1, "$system: that is a comment");
	is(told($system, 'firing', 'two'), 'sent 1', "$system: another group");
	is(scalar(tickets($system)), 2, "$system: is another ticket");
	is(told($system, 'resolved', 'one', %over), 'sent 1', "$system: it is over");
	($t) = tickets($system);
	is(join(' ', scalar(@{ $t->{comments} }), $t->{open} ? 'open' : 'closed'), '2 closed', "$system: the ticket says so and is closed");
	like($t->{comments}[1], qr/\[RESOLVED\]/, "$system: in words");
	is(told($system, 'resolved', 'one', %over), 'sent 1', "$system: said again");
	is(scalar(@{ (tickets($system))[0]{comments} }), 2, "$system: that changes nothing");
	is(told($system, 'resolved', 'never heard of', %over), 'sent 1', "$system: over before it was told");
	is(scalar(tickets($system)), 2, "$system: makes no ticket");
	is(told($system, 'test', 'a test', message => { test => JSON::PP::true, alerts => [] }), 'sent 1', "$system: a test");
	ok(!(tickets($system))[2]{open}, "$system: is created and closed");

	# Whatever answer is lost, each thing is done once.
	my %lost = (github => [ 'POST /repos/acme/ops/issues', 'POST .*/comments', 'PATCH .*' ], jira => [ 'POST /rest/api/2/issue', 'POST .*/comment', 'POST .*/transitions' ],
		trello => [ 'POST /1/cards', 'POST .*/actions/comments', 'PUT .*', 'POST /1/labels', 'DELETE .*' ]);
	my $before = tickets($system);
	my ($create, $comment, $close, @more) = @{ $lost{$system} };
	lose($create);
	is(told($system, 'firing', 'lost'), 'sent 2', "$system: the answer to the creation is lost");
	my @new = splice @{ [ tickets($system) ] }, $before;
	is(join(' ', map { scalar @{ $_->{comments} } } @new), '0', "$system: there is one ticket, and no comment");
	lose($comment);
	is(told($system, 'repeat', 'lost'), 'sent 2', "$system: that to a comment");
	is(scalar(@{ (tickets($system))[$before]{comments} }), 1, "$system: there is one comment");
	lose($comment);
	is(told($system, 'resolved', 'lost', %over), 'sent 2', "$system: that to the last comment");
	is(join(' ', map { scalar(@{ $_->{comments} }) . ($_->{open} ? ' open' : ' closed') } (tickets($system))[$before]), '2 closed', "$system: there is one more, and it is closed");
	is(told($system, 'firing', 'lost again'), 'sent 1', "$system: another one");
	lose($close);
	is(told($system, 'resolved', 'lost again', %over), 'sent 2', "$system: the answer to the closing is lost");
	is(join(' ', map { scalar(@{ $_->{comments} }) . ($_->{open} ? ' open' : ' closed') } (tickets($system))[$before + 1]), '1 closed', "$system: it is closed once");
	for my $i (0 .. $#more)
	{
		lose($more[$i]);
		is(join(' ', map { told($system, @$_) } [ 'firing', "more $i" ], [ 'resolved', "more $i", %over ]), $i == 0 ? 'sent 2 sent 1' : 'sent 1 sent 2', "$system: the answer to $more[$i] is lost");
		my @all = tickets($system);
		is(join(' ', scalar(@all), $all[-1]{open} ? 'open' : 'closed'), ($before + 3 + $i) . ' closed', "$system: and nothing is done twice");
	}
}
is(join(' ', values %{ state()->{labels} }), (values %{ state()->{labels} })[0], 'in Trello the labels of closed cards are gone: one is left, of the open one');

# The cloud of Jira searches elsewhere, and a transition may be named.
new_requests();
is(told('cloud', 'firing', 'cloud'), 'sent 1', 'the cloud of Jira');
is(told('cloud', 'resolved', 'cloud', %over), 'sent 1', 'and its end');
like(new_requests(), qr{POST /rest/api/2/search/jql POST /rest/api/2/issue POST /rest/api/2/search/jql POST /rest/api/2/issue/CLD-\d+/comment GET /rest/api/2/issue/CLD-\d+/transitions POST /rest/api/2/issue/CLD-\d+/transitions}, 'by these requests');
channel('nodone', { %{ $config{jira} }, done => 'No such transition' }, 'jira');
is(told('nodone', 'firing', 'nodone'), 'sent 1', 'a transition that is not there');
is(told('nodone', 'resolved', 'nodone', %over), 'dead 1: the peer answered what cannot be understood: it has no transition to a status that is done', 'is said');

# A key with an underscore; an organization may have such projects.
channel('underscore', { %{ $config{jira} }, project => 'OPS_X' }, 'jira');
is(join(', ', map { told('underscore', @$_) } [ 'firing', 'underscore' ], [ 'resolved', 'underscore', %over ]), 'sent 1, sent 1', 'the key of a project may have an underscore');
# A board on which others have much.
append_to_file("$peer->{log}.many", '');
is(join(', ', map { told('trello', @$_) } [ 'firing', 'many' ], [ 'repeat', 'many' ], [ 'resolved', 'many', %over ]), 'sent 1, sent 1, sent 1', 'a board with many cards');
is(join(' ', map { scalar(@{ $_->{comments} }) . ($_->{open} ? ' open' : ' closed') } (tickets('trello'))[-1]), '2 closed', 'is read to the end');
unlink "$peer->{log}.many";

# People close a ticket while it fires.
my $client = HTTP::Tiny->new(default_headers => { Authorization => 'Bearer planted-token', 'X-GitHub-Api-Version' => '2022-11-28' });
is(told('github', 'firing', 'closed'), 'sent 1', 'a ticket');
my $number = (tickets('github'))[-1]{id};
$client->request('PATCH', "$base/repos/acme/ops/issues/$number", { content => '{"state": "closed"}' });
is(told('github', 'repeat', 'closed'), 'sent 1', 'that people have closed');
is(join(' ', map { scalar(@{ $_->{comments} }) . ($_->{open} ? ' open' : ' closed') } (tickets('github'))[-1]), '1 closed', 'is commented on and stays closed');
is(told('github', 'resolved', 'closed', %over), 'sent 1', 'and when it is over');
is(scalar(@{ (tickets('github'))[-1]{comments} }), 1, 'is left alone');

# What users write is no markup, and nobody is called by it.
my $nasty = "\@everyone #1 ```` ~~~ {noformat} {NOFORMAT} {code} <script> \"q\" \\ \x{1f4a5} Zürich";
for my $system (qw(github jira trello))
{
	is(told($system, 'firing', 'nasty', title => $nasty, summary => $nasty), 'sent 1', "$system: a text with everything");
	my $body = (tickets($system))[-1]{body};
	like($body, $system eq 'jira' ? qr/^\{noformat\}\n.*\@everyone.*\(noformat\} \(NOFORMAT\}.*\n\{noformat\}\n\nnotification [0-9a-f-]{36}$/s : qr/^`````\n.*\@everyone #1 ````.*\n`````\n\nnotification [0-9a-f-]{36}$/s, "$system: is shown as it is");
	like((tickets($system))[-1]{title}, qr/\x{1f4a5} Zürich/, "$system: in any script");
}

# What peers answer.
channel('wrong', $config{github}, 'wrong');
is(told('wrong', 'firing', 'w'), 'dead 1: the peer answered 401', 'a wrong token');
channel('readonly', { %{ $config{github} }, repository => 'acme/readonly' }, 'github');
is(told('readonly', 'firing', 'r'), 'dead 1: the peer answered what cannot be understood: the issue was created without its label: the token needs write access to the repository', 'a token that may not set labels');
channel('nolabels', { %{ $config{github} }, repository => 'acme/nolabels' }, 'github');
is(told('nolabels', 'firing', 'r'), 'dead 1: the peer answered 403', 'a token that may not make labels');
# Too much, in words.
append_to_file("$peer->{log}.fail", '403 API rate limit exceeded for user ID 1.');
my $limited = $node->safe_psql('postgres', "SELECT coalesce(max(notification_id), 0) + 1 FROM pipeline.notifications");
alice($node, "SELECT pipeline.test_channel('github')");
wait_for($node, "SELECT state || ' ' || (paused_until - now() BETWEEN '50 s' AND '60 s') || ' ' || paused_for FROM pipeline.notifications JOIN pipeline.channel_health USING (channel) WHERE notification_id = $limited",
	'pending true retry_after', 'too many requests are no final answer, whatever the status');
unlink "$peer->{log}.fail";
channel('github', $config{github}, 'github', ', or_replace => true');
wait_for($node, "SELECT state FROM pipeline.notifications WHERE notification_id = $limited", 'sent', 'and the next attempt is later');
for ([ '403', 'dead 1: the peer answered 403' ], [ '404', 'dead 1: the peer answered 404' ], [ '301 Location=http://169.254.169.254/', qr/^dead 1: the peer answered 301/ ], [ '500', qr/^dead 4: the peer answered 500/ ], [ '403 Retry-After=1', undef ])
{
	my ($answer, $expected) = @$_;
	append_to_file("$peer->{log}.fail", $answer);
	if (!defined $expected)
	{
		# Too many requests: forbidden for a while.
		my $id = $node->safe_psql('postgres', "SELECT max(notification_id) FROM pipeline.notifications");
		my $wait = IPC::Run::start([ 'sh', '-c', "sleep 0.6; rm $peer->{log}.fail" ]);
		is(told('github', 'firing', "answer $answer"), 'sent 2', "the peer answers $answer");
		$wait->finish;
		next;
	}
	my $got = told('jira', 'firing', "answer $answer");
	ref $expected ? like($got, $expected, "the peer answers $answer") : is($got, $expected, "the peer answers $answer");
	unlink "$peer->{log}.fail";
	alice($node, "SELECT pipeline.alter_channel('jira', '{\"description\": \"$answer\"}')");
}

# What cannot be.
sub refused
{
	my ($system, $more, $pattern) = @_;
	my $json = encode_json({ %{ $config{$system} }, %$more });
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT pipeline.create_channel('refused', 'ticket', \$c\$$json\$c\$, secret_ref => 'github')", extra_params => [ '-U', 'alice' ]);
	like($err, $pattern, "refused: $system " . join(' ', map { encode_json($_) } $more) =~ s/[^ -~]/?/gr);
	return;
}
refused(@$_) for ([ github => { system => 'bugzilla' }, qr/config.system/ ], [ github => { repository => 'acme' }, qr/owner\/name/ ], [ github => { repository => '../x/y' }, qr/owner\/name/ ], [ github => { repository => "a/b?x" }, qr/invalid value/ ],
	[ github => { project => 'X' }, qr/not for system "github"/ ], [ jira => { project => 'X" OR 1=1' }, qr/invalid value/ ], [ jira => { cloud => 'yes' }, qr/not true or false/ ], [ jira => { url => undef }, qr/needs key "url"/ ],
	[ trello => { list => '../x' }, qr/invalid value/ ], [ trello => { board => undef }, qr/needs key "board"/ ], [ trello => { labels => ['x'] }, qr/not for system "trello"/ ], [ github => { labels => ['a b'] }, qr/invalid label/ ],
	[ github => { url => 'https://api.github.example' }, qr/not in pipeline.allowed_hosts/ ], [ jira => { url => "$base\r\nX: y" }, qr/control character/ ], [ github => { token => 'x' }, qr/unknown key/ ]);
unlike($node->safe_psql('postgres', 'SELECT * FROM pipeline.deliveries') . slurp_file($node->logfile), qr/planted-/, 'no secret in a table or the log');
$node->stop;
done_testing();
