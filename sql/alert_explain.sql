-- explain_alert(): who was told, who was not, and why; undelivered.
\set VERBOSITY terse
CREATE FUNCTION pg_temp.raise(t interval, alertname text, labels jsonb, role text DEFAULT 'pipeline_alice', severity text DEFAULT 'error') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  id bigint;
BEGIN
  EXECUTE format('SET LOCAL ROLE %I', role);
  id := pipeline.raise_alert(alertname, alertname || ' is bad', severity, labels);
  RESET ROLE;
  UPDATE pipeline.alerts SET started_at = now() + t WHERE alert_id = id AND occurrences = 1;
  RETURN id;
END $$;
-- Without the times and numbers that vary; of our own channels and routes.
CREATE FUNCTION pg_temp.explain(id bigint) RETURNS TABLE (route text, channel text, step int, event text, told boolean, at boolean, reason text) LANGUAGE sql AS $$
  SELECT x.route, x.channel, x.step, x.event, x.told, x.at_time IS NOT NULL,
    regexp_replace(regexp_replace(x.reason, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?([+-]\d+|\s?[A-Z]+)?|[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d .*? \d{4} [A-Z]+', 'T', 'g'), '(alert|silence) \d+', '\1 N', 'g')
  FROM pipeline.explain_alert(id) x $$;

-- Taken by a route of a tree: what was asked and not, what waits, what was told.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT count(pipeline.create_channel('x ' || c, 'log')) FROM unnest('{chat,pager,feed}'::text[]) c;
SELECT pipeline.create_route('x a', ARRAY['severity=~"warning|info"'], '{x chat}');
SELECT pipeline.create_route('x b', '{}', '{x chat}', priority => 1);
SELECT pipeline.create_route('x b1', ARRAY['pipeline="p"', 'task="t\"\\"'], '{x pager}', 'x b');
SELECT pipeline.create_route('x b2', ARRAY['pipeline="p"'], '{x pager,x chat}', 'x b', 1);
SELECT pipeline.create_route('x b3', '{}', '{x pager}', 'x b', 2);
SELECT pipeline.create_route('x c', '{}', '{x pager}', priority => 2);
SELECT pg_temp.raise('0', 'A', '{"pipeline": "p"}') AS a \gset
SET LOCAL ROLE pipeline_alice;
SELECT * FROM pg_temp.explain(:a);
RESET ROLE;
SELECT pipeline._dispatch_alerts(now() + interval '1 s') > 0 AS more;
SET LOCAL ROLE pipeline_alice;
SELECT * FROM pg_temp.explain(:a) WHERE route = 'x b2' OR event = 'fired';
RESET ROLE;
SELECT pipeline._dispatch_alerts(now() + interval '31 s') > 0 AS more;
UPDATE pipeline.notifications SET state = 'sent', sent_at = now() WHERE route = 'x b2' AND channel = 'x chat';
UPDATE pipeline.notifications SET state = 'dead', attempts = 8, last_error = 'connection refused' WHERE route = 'x b2' AND channel = 'x pager';
SET LOCAL ROLE pipeline_alice;
SELECT * FROM pg_temp.explain(:a) WHERE route = 'x b2';
SELECT alert_id = :a AS a, alertname, channel, route, problem, error FROM pipeline.undelivered WHERE owner = 'pipeline_alice'::regrole;
-- Over: who is told, and who is not.
SELECT pipeline.alter_route('x b2', '{"send_resolved": false}');
SELECT pipeline.resolve_alert(:a);
SELECT * FROM pg_temp.explain(:a) WHERE event = 'resolved';
ROLLBACK;

-- Silenced, inhibited, muted, no right, no channel, escalated, acknowledged, nobody.
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT count(pipeline.create_channel('x ' || c, 'log')) FROM unnest('{chat,pager,boss}'::text[]) c;
SELECT pipeline.create_time_interval('x always', '{"years": "2000:9999"}');
SELECT pipeline.create_escalation('x esc', '[{"channels": ["x pager"]}, {"channels": ["x boss"]}]');
SELECT pipeline.create_route('x silent', '{alertname=Silent}', '{x chat}', group_wait => '0');
SELECT pipeline.create_route('x muted', '{alertname=Muted}', '{x chat}', mute_time_intervals => '{x always}', group_wait => '0');
SELECT pipeline.create_route('x right', '{alertname=Right}', '{x boss}', group_wait => '0');
SELECT pipeline.create_route('x none', '{alertname=None}', group_wait => '0');
SELECT pipeline.create_route('x esc', '{alertname=Esc}', escalation => 'x esc', group_wait => '0');
SELECT pipeline.create_inhibition('alertname=Esc', 'alertname=Silent', name => 'x esc');
RESET ROLE;
UPDATE pipeline.channels SET owner = 'pipeline_bob' WHERE name = 'x boss';
SELECT pg_temp.raise('0', 'Silent', '{}') AS silent, pg_temp.raise('0', 'Muted', '{}') AS muted, pg_temp.raise('0', 'Right', '{}') AS right,
  pg_temp.raise('0', 'None', '{}') AS none, pg_temp.raise('0', 'Esc', '{}') AS esc, pg_temp.raise('0', 'Nobody', '{}') AS nobody, pg_temp.raise('0', 'OfBob', '{}', 'pipeline_bob') AS bob \gset
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_silence('{alertname="Silent"}', ends_at => now() + interval '1 hour', comment => 'x') > 0 AS silenced;
RESET ROLE;
SELECT pipeline._dispatch_alerts(now() + interval '1 s') > 0 AS more;
SET LOCAL ROLE pipeline_alice;
SELECT route, channel, told, reason FROM pg_temp.explain(:silent) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT route, channel, told, reason FROM pg_temp.explain(:muted) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT route, channel, told, reason FROM pg_temp.explain(:right) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT route, channel, told, reason FROM pg_temp.explain(:none) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT route, channel, step, event, told, reason FROM pg_temp.explain(:esc) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT route, channel, told, reason FROM pg_temp.explain(:nobody) WHERE route IS NULL OR reason !~ '^not (asked|true)';
SELECT pipeline.acknowledge(:esc, 'mine');
SELECT route, channel, step, told, reason FROM pg_temp.explain(:esc) WHERE reason LIKE '%acknowledged%' OR step IS NOT NULL;
-- Who reached nobody: those that are held back by purpose are not among them.
SELECT alertname, problem FROM pipeline.undelivered WHERE owner = 'pipeline_alice'::regrole ORDER BY 1;
RESET ROLE;
UPDATE pipeline.alert_group_members SET joined_at = now() - interval '10 min';
SET LOCAL ROLE pipeline_alice;
SELECT alertname, problem FROM pipeline.undelivered WHERE owner = 'pipeline_alice'::regrole ORDER BY 1;
-- Of Bob's alert Alice is told nothing.
SELECT public.raises(format('SELECT * FROM pipeline.explain_alert(%s)', :bob)) LIKE '42501%' AS refused;
SELECT count(*) FROM pipeline.undelivered WHERE owner <> 'pipeline_alice'::regrole;
SELECT public.raises('SELECT * FROM pipeline.explain_alert(-1)');
SELECT public.raises('SELECT * FROM pipeline.explain_alert(NULL)');
ROLLBACK;

-- An administrator's routes: their owner sees all of them, others those that take the alert, without the errors.
BEGIN;
SELECT pipeline.create_channel('x root', 'log');
SELECT pipeline.create_route('x no', '{severity=critical}', '{x root}', priority => -1), pipeline.create_route('x root', '{}', '{x root}', group_wait => '0');
SELECT pg_temp.raise('0', 'A', '{}') AS a \gset
SELECT pipeline._dispatch_alerts(now() + interval '1 s') > 0 AS more;
UPDATE pipeline.notifications SET state = 'dead', attempts = 8, last_error = 'connection refused' WHERE route = 'x root';
SELECT route, channel, told, reason FROM pg_temp.explain(:a) WHERE route LIKE 'x %' OR channel LIKE 'x %';
SET LOCAL ROLE pipeline_alice;
SELECT route, channel, told, reason FROM pg_temp.explain(:a) WHERE route LIKE 'x %' OR channel LIKE 'x %';
SELECT count(*) FROM pipeline.undelivered WHERE alert_id = :a;
ROLLBACK;
