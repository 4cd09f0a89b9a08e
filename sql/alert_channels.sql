-- Channels: create, replace, drop, test.
SET ROLE pipeline_alice;
SELECT pipeline.create_channel('alert "ch" 1', 'notify', '{"channel": "alert_ch"}', description => 'for the wall');
SELECT pipeline.create_channel('alert ch 2', 'notify');
SELECT pipeline.create_channel('alert ch 3', 'log', labels => '{"team": "payments"}');
SELECT pipeline.create_channel('alert ch 4', 'log', '{"level": "warning"}');
SELECT name, owner, kind, config, labels, description FROM pipeline.channels WHERE name LIKE 'alert %ch%' ORDER BY name;
SELECT pipeline.create_channel('alert ch 2', 'log');
SELECT pipeline.create_channel('alert ch 2', 'log', or_replace => true);
SELECT pipeline.create_channel('alert ch 5', 'log', or_replace => true);
SELECT name, kind, config FROM pipeline.channels WHERE name LIKE 'alert ch%' ORDER BY name;
RESET ROLE;
SELECT action, kind, name, before -> 'config' AS before, after -> 'config' AS after FROM pipeline.changes
WHERE name LIKE 'alert %ch%' ORDER BY change_id;
SET ROLE pipeline_alice;

-- Errors.
SELECT pipeline.create_channel(NULL, 'log');
SELECT pipeline.create_channel('x', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'log', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('', 'log');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'pigeon');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'ticket');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'email');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'log', secret_ref => 's');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'log', rate_per_minute => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', max_attempts => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', '{"chanel": "y"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', '{"channel": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', '{"channel": ""}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', jsonb_build_object('channel', repeat('x', 64)));
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'notify', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'log', '{"level": "debug"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.create_channel('x', 'log', labels => '{"a-b": "c"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.drop_channel('no such channel');
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.drop_channel(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pipeline.test_channel('no such channel');
\echo :LAST_ERROR_SQLSTATE

-- The log is written at commit, and only for what committed.
\set VERBOSITY terse
SET client_min_messages = log;
SELECT pipeline.test_channel('alert ch 3');
SELECT pipeline.test_channel('alert ch 4');
BEGIN;
SELECT pipeline.test_channel('alert ch 3');
SELECT 'before the line' AS here;
COMMIT;
BEGIN;
SELECT pipeline.test_channel('alert ch 3');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT pipeline.test_channel('alert ch 3');
SAVEPOINT b;
SELECT pipeline.test_channel('alert ch 4');
RELEASE b;
ROLLBACK TO a;
SAVEPOINT c;
SELECT pipeline.test_channel('alert ch 5');
SAVEPOINT d;
SELECT pipeline.test_channel('alert ch 2');
RELEASE d;
RELEASE c;
COMMIT;
BEGIN;
SELECT pipeline.test_channel('alert ch 3');
PREPARE TRANSACTION 'alert_channels';
RESET client_min_messages;
SELECT pipeline.drop_channel(name) FROM pipeline.channels WHERE name LIKE 'alert %ch%' ORDER BY name;
SELECT count(*) FROM pipeline.channels WHERE name LIKE 'alert %ch%';
RESET ROLE;
SELECT count(*) FROM pipeline.changes WHERE name LIKE 'alert %ch%' AND action = 'drop_channel' AND after IS NULL;
