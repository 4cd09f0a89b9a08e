-- Two owners who wish each other ill: what one has made, the other neither
-- sees nor moves.  Alice's things are named v, Bob tries.
\set VERBOSITY terse
SET client_min_messages = warning;
BEGIN;
SET LOCAL ROLE pipeline_alice;
SELECT pipeline.create_channel('v chat', 'log'), pipeline.create_channel('v pager', 'log'), pipeline.create_time_interval('v nights', '[{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]');
SELECT pipeline.create_on_call('v weekly', '{"people": [{"name": "Ann", "channels": ["v pager"]}], "start": "2026-01-05"}');
SELECT pipeline.create_escalation('v page', '[{"on_call": "v weekly", "wait": "5 minutes"}]');
SELECT pipeline.create_route('v all', '{}', '{v chat}', group_wait => '0', group_by => '{}', opens_incident => true, escalation => 'v page');
SELECT pipeline.create_inhibition('alertname=VDown', 'alertname=VLate', name => 'v down');
SELECT pipeline.create_sla_target('v target', 'critical', '1 minute');
SELECT pipeline.create_silence('alertname=VQuiet', ends_at => now() + interval '1 day') AS silence, pipeline.override_on_call('v weekly', 'Ann', now(), now() + interval '1 hour') AS override \gset
SELECT pipeline.raise_alert('VFire', 'Alice''s secret', 'critical', '{"pipeline": "vp", "task": "vt"}') AS a, pipeline.raise_alert('VLate', 'late', labels => '{"pipeline": "vp"}') AS late,
  pipeline.raise_alert('TaskFailed', 'failed', labels => '{"pipeline": "vp", "task": "vt"}') AS failed, pipeline.raise_alert('VQuiet', 'x') AS quiet \gset
RESET ROLE;
SELECT pipeline._dispatch_alerts(clock_timestamp()) > 0 AS dispatched;
SELECT incident_id AS i FROM pipeline.incidents WHERE owner = 'pipeline_alice'::regrole ORDER BY 1 DESC LIMIT 1 \gset
SELECT notification_id AS n FROM pipeline.notifications WHERE channel = 'v chat' \gset
-- Bob has an alert of the same labels and fingerprint, an incident, a route.
SET LOCAL ROLE pipeline_bob;
SELECT pipeline.raise_alert('VFire', 'of Bob', 'critical', '{"pipeline": "vp", "task": "vt"}') AS b \gset
SELECT pipeline.open_incident('of Bob', alert_ids => ARRAY[:b]::bigint[]) AS bi \gset
-- He sees nothing of hers in any table or view.
CREATE FUNCTION pg_temp.seen() RETURNS TABLE (relation text, seen bigint) LANGUAGE plpgsql AS $$
DECLARE
  r text;
BEGIN
  FOREACH r IN ARRAY '{alerts,alert_events,alert_groups,alert_group_members,alert_group_channels,channels,channel_grants,channel_health,channel_status,routes,route_tree,route_changes,silences,silence_status,
    inhibitions,suppressed_alerts,firing_alerts,time_intervals,on_calls,on_call_overrides,on_call_grants,escalations,escalation_grants,incidents,incident_alerts,incident_events,incident_timeline,incident_sla,
    mtta_mttr,sla_targets,notifications,deliveries,undelivered,rules,rule_states,rule_alerts,rule_status,changes}'::text[] LOOP
    RETURN QUERY EXECUTE format('SELECT %L, count(*) FROM pipeline.%I t WHERE to_jsonb(t)::text ~ ''pipeline_alice|Alice|"v |VQuiet|VLate''', trim(r), trim(r));
  END LOOP;
END $$;
SELECT * FROM pg_temp.seen() WHERE seen > 0;
-- Nor by asking.
SELECT regexp_replace(public.raises('SELECT pipeline.' || call), '"\d+"', '"N"') AS error FROM unnest(ARRAY[format('explain_alert(%s)', :a), format('acknowledge(%s)', :a), format('resolve_alert(%s)', :a),
  format('redeliver(%s)', :n), 'who_is_on_call(''v weekly'')', 'in_time_interval(''v nights'')',
  format('alter_silence(%s, ''{"comment": "x"}'')', :silence), format('expire_silence(%s)', :silence), format('drop_silence(%s)', :silence), format('drop_on_call_override(%s)', :override),
  'override_on_call(''v weekly'', ''Ann'', now(), now() + interval ''1 hour'')', 'drop_on_call(''v weekly'')', 'drop_escalation(''v page'')', 'drop_route(''v all'')', 'drop_inhibition(''v down'')',
  'drop_time_interval(''v nights'')', 'drop_channel(''v chat'')', 'drop_sla_target(''v target'')', 'test_channel(''v chat'')',
  'alter_route(''v all'', ''{"channels": []}'')', 'alter_inhibition(''v down'', ''{"description": "x"}'')', 'alter_time_interval(''v nights'', ''{"description": "x"}'')', 'alter_sla_target(''v target'', ''{"description": "x"}'')',
  'create_route(''v all'', ''{}'', or_replace => true)', 'create_route(''b'', ''{}'', parent => ''v all'')', 'create_route(''b'', ''{}'', ''{v chat}'')', 'create_route(''b'', ''{}'', escalation => ''v page'')',
  'create_route(''b'', ''{}'', mute_time_intervals => ''{v nights}'')', 'create_escalation(''b'', ''[{"on_call": "v weekly"}]'')', 'create_inhibition(''a=b'', ''c=d'', name => ''v down'', or_replace => true)',
  'create_inhibition(''a=b'', ''c=d'', name => ''failed task'', or_replace => true)', 'drop_inhibition(''failed task'')']) call;
SELECT regexp_replace(public.raises('SELECT pipeline.' || call), '"\d+"', '"N"') AS error FROM unnest(ARRAY[format('assign_incident(%s)', :i), format('note_incident(%s, ''x'')', :i), format('alter_incident(%s, ''x'')', :i), format('mitigate_incident(%s)', :i),
  format('resolve_incident(%s)', :i), format('reopen_incident(%s)', :i), format('review_incident(%s, ''x'')', :i), format('merge_incidents(%s, ''{%s}'')', :i, :bi), format('merge_incidents(%s, ''{%s}'')', :bi, :i),
  format('add_to_incident(%s, ''{%s}'')', :i, :b), format('add_to_incident(%s, ''{%s}'')', :bi, :a), format('open_incident(''x'', alert_ids => ''{%s}'')', :a)]) call;
-- What he makes moves nothing of hers: his silence, inhibition and alerts that would mute, his route that takes all, his rule of the same name.
SELECT pipeline.create_channel('b chat', 'log'), pipeline.create_route('b all', '{}', '{b chat}', group_wait => '0', group_by => '{}'), pipeline.create_silence('alertname=~".+"', ends_at => now() + interval '1 day') IS NOT NULL AS silent;
SELECT pipeline.create_inhibition('alertname=BMute', 'alertname=~"V.*|TaskFailed"', name => 'b mutes'), pipeline.raise_alert('BMute', 'x') IS NOT NULL AS mute, pipeline.raise_alert('VDown', 'x') IS NOT NULL AS down,
  pipeline.raise_alert('CheckFailed', 'x', labels => '{"pipeline": "vp", "task": "vt"}') IS NOT NULL AS predefined;
SELECT pipeline.resolve_alert((SELECT fingerprint FROM pipeline.alerts WHERE alert_id = :b));
RESET ROLE;
SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '6 minutes') > 0 AS dispatched;
SELECT channel, (SELECT string_agg(DISTINCT a.owner::text, ',') FROM unnest(n.alert_ids) i JOIN pipeline.alerts a ON a.alert_id = i) AS tells_of FROM pipeline.notifications n WHERE channel ~ '^[vb] ' GROUP BY 1, 2 ORDER BY 1;
SET LOCAL ROLE pipeline_alice;
SELECT a.alertname, s.kind FROM pipeline.firing_alerts a LEFT JOIN pipeline.suppressed_alerts s USING (alert_id) WHERE a.alert_id IN (:a, :late, :failed, :quiet) ORDER BY 1, 2;
SELECT state, opened_by, (SELECT count(*) FROM pipeline.incident_alerts m WHERE m.incident_id = i.incident_id) AS alerts FROM pipeline.incidents i WHERE incident_id = :i;
SELECT count(*) FROM pipeline.explain_alert(:a) WHERE to_jsonb(explain_alert)::text ~ '"b |bob';
ROLLBACK;

-- What was granted and is used can be taken back and dropped, whatever the other does.
SET ROLE pipeline_alice;
SELECT pipeline.create_channel('v chat', 'log'), pipeline.create_on_call('v weekly', '{"people": [{"name": "Ann", "channels": ["v chat"]}], "start": "2026-01-05"}');
SELECT pipeline.create_channel('v other', 'log'), pipeline.create_escalation('v page', '[{"channels": ["v other"]}]');
SELECT pipeline.grant_channel('v other', 'pipeline_bob'), pipeline.grant_on_call('v weekly', 'pipeline_bob'), pipeline.grant_escalation('v page', 'pipeline_bob');
SET ROLE pipeline_bob;
SELECT pipeline.create_escalation('b', '[{"on_call": "v weekly"}]'), pipeline.create_route('b secret', '{a=b}', '{v other}', escalation => 'v page');
SET ROLE pipeline_alice;
SELECT public.raises('SELECT pipeline.' || call) AS error FROM unnest('{drop_channel(''v chat''),drop_channel(''v other''),drop_on_call(''v weekly''),drop_escalation(''v page'')}'::text[]) call;
SELECT pipeline.revoke_channel('v other', 'pipeline_bob'), pipeline.revoke_on_call('v weekly', 'pipeline_bob'), pipeline.revoke_escalation('v page', 'pipeline_bob');
SELECT pipeline.drop_escalation('v page');
SELECT pipeline.drop_on_call('v weekly');
SELECT pipeline.drop_channel('v chat');
SELECT pipeline.drop_channel('v other');
-- Made again it is not his.
SELECT pipeline.create_channel('v other', 'log');
SET ROLE pipeline_bob;
SELECT severity, detail FROM pipeline.doctor() WHERE finding IN ('not_usable', 'channel_missing') ORDER BY 2;
BEGIN;
SELECT pipeline.raise_alert('Spam', 'x', labels => '{"a": "b"}') IS NOT NULL AS raised;
RESET ROLE;
SELECT pipeline._dispatch_alerts(clock_timestamp() + interval '1 minute') <> 0 AS dispatched;
SELECT count(*) FROM pipeline.notifications WHERE channel = 'v other';
ROLLBACK;
SET ROLE pipeline_bob;
SELECT pipeline.drop_route('b secret');
SELECT pipeline.drop_escalation('b');
SET ROLE pipeline_alice;
SELECT pipeline.drop_channel('v other');
RESET ROLE;
