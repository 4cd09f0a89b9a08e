#!/usr/bin/env bash
# Alerts: from the raise to the bytes at a peer, how fast the outbox drains, and
# what raising costs.
#   test/bench/alert.sh PSQL-ARGUMENTS
# The peer is test/peers/http_peer.py on loopback.  With REPORT set, a table of
# the figures is written there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
connection=("$@")
sql() { psql -qXtA -v ON_ERROR_STOP=1 "${connection[@]}" "$@"; }
owner() { sql -c 'SET SESSION AUTHORIZATION alert_bench' "$@"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
figures=""
figure() {  # figure WHAT MEASURED TARGET
  printf '%-78s %14s   (target %s)\n' "$1" "$2" "$3"
  figures+="| $1 | $2 | $3 |"$'\n'
}
work=$(mktemp -d)
python3 "$here/../peers/http_peer.py" "$work/port" "$work/log" &
peer=$!
trap 'kill $peer 2>/dev/null; rm -rf "$work"' EXIT
until [ -s "$work/port" ]; do sleep 0.05; done
url=http://127.0.0.1:$(cat "$work/port")

sql -c "ALTER SYSTEM SET pipeline.allowed_hosts = '$url'" -c 'SELECT pg_reload_conf()' >/dev/null
until [ "$(sql -c 'SHOW pipeline.allowed_hosts')" = "$url" ]; do sleep 0.05; done
sql >/dev/null <<SQL
SET client_min_messages = warning;
CREATE ROLE alert_bench LOGIN;
GRANT USAGE ON SCHEMA pipeline TO alert_bench;
SET SESSION AUTHORIZATION alert_bench;
SELECT pipeline.create_channel('bench', 'webhook', '{"url": "$url/alert"}', rate_per_minute => 0);
SELECT pipeline.test_channel('bench');
SQL
arrived() { wc -l <"$work/log"; }
wait_for() { for _ in $(seq 6000); do [ "$(arrived)" -ge "$1" ] && return; sleep 0.02; done; echo "only $(arrived) of $1 arrived" >&2; exit 1; }
wait_for 1

# ---- from the raise to the peer ------------------------------------------------------
# The clock is read before the alert is raised: raising and its commit are in it.
n=${RAISES:-300}
for i in $(seq "$n"); do
  echo "SELECT pipeline.raise_alert('BenchLatency', 'late', labels => '{\"pipeline\": \"p$i\"}', detail => jsonb_build_object('at', extract(epoch FROM clock_timestamp())));"
  echo 'SELECT pg_sleep(0.02);'
done >"$work/raise.sql"
owner -f "$work/raise.sql" >/dev/null
wait_for $((n + 1))
read -r p50 p99 < <(python3 - "$work/log" <<'PY'
import json, sys
late = []
for line in open(sys.argv[1]):
    request = json.loads(line)
    for alert in json.loads(request["body"])["data"]["alerts"]:
        if alert["alertname"] == "BenchLatency":
            late.append(1000 * (request["at"] - float(alert["detail"]["at"])))
late.sort()
print(round(late[len(late) // 2], 1), round(late[int(len(late) * 0.99)], 1))
PY
)
figure "raise_alert() to the request at a peer on loopback, $n alerts, p50" "$p50 ms" '<= 50 ms'
figure 'the same, p99' "$p99 ms" ''

# ---- the drain --------------------------------------------------------------------------
n=${NOTIFICATIONS:-10000}
: >"$work/log"
start=$(owner -c "SELECT count(pipeline.test_channel('bench')) FROM generate_series(1, $n)" -c 'SELECT extract(epoch FROM clock_timestamp())' | tail -n 1)
wait_for "$n"
rate=$(python3 - "$work/log" "$start" "$n" <<'PY'
import json, sys
last = max(json.loads(line)["at"] for line in open(sys.argv[1]))
print(round(int(sys.argv[3]) / (last - float(sys.argv[2]))))
PY
)
figure "notifications a second from the outbox to one peer, $n of them" "$rate /s" '>= 500 /s'
for _ in $(seq 200); do
  [ "$(sql -c "SELECT count(*) FROM pipeline.notifications WHERE state <> 'sent'")" = 0 ] && break
  sleep 0.05
done
pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pipeline notifier'")
figure 'CPU of the notifier for each of all that it has sent' \
  "$(awk -v hz="$(getconf CLK_TCK)" -v n="$(sql -c "SELECT count(*) FROM pipeline.deliveries")" '{printf "%.2f ms", 1000 * ($14 + $15) / hz / n}' "/proc/$pid/stat")" ''

# ---- what raising costs -------------------------------------------------------------------
# A run of one task that fails raises two alerts: TaskFailed and RunFailed.
sql >/dev/null <<'SQL'
SET SESSION AUTHORIZATION alert_bench;
SELECT pipeline.create_pipeline('bench fails');
SELECT pipeline.create_task('bench fails', 't', 'SELECT 1 / 0');
SQL
raise() {  # raise SOURCE: milliseconds that one of 500 takes
  owner -c "DO \$\$
    DECLARE t timestamptz;
    BEGIN
      PERFORM pipeline.raise_alert('BenchWarm', 'x');
      t := clock_timestamp();
      FOR i IN 1..500 LOOP
        PERFORM pipeline.raise_alert('BenchRaise', 'x', source => $1);
      END LOOP;
      RAISE EXCEPTION USING MESSAGE = extract(epoch FROM clock_timestamp() - t) * 1000 / 500;
    END \$\$" 2>&1 | sed -n 's/^.*ERROR:  //p' || true
}
fails="" new="" again=""
for _ in 1 2 3 4 5; do
  id=$(owner -c "SELECT pipeline.run('bench fails')")
  owner -c "SELECT pipeline.wait_for_run($id)" >/dev/null
  fails+=$(sql -c "SELECT round(1000 * extract(epoch FROM finished_at - queued_at), 2) FROM pipeline.runs WHERE run_id = $id")$'\n'
  new+=$(raise "'new ' || i")$'\n'
  again+=$(raise "'again'")$'\n'
done
fail=$(median <<<"${fails%$'\n'}") new=$(median <<<"${new%$'\n'}") again=$(median <<<"${again%$'\n'}")
figure 'raise_alert() of a new alert' "$(awk -v a="$new" 'BEGIN {printf "%.2f ms", a}')" ''
figure 'of one that is open' "$(awk -v a="$again" 'BEGIN {printf "%.2f ms", a}')" ''
figure 'a run of one task that fails, with its two alerts' "$fail ms" ''
figure 'part of that which is raising' "$(awk -v a="$new" -v f="$fail" 'BEGIN {printf "%.0f %%", 100 * 2 * a / f}')" ''

# ---- what routing costs ---------------------------------------------------------------------
# Open alerts and routes as of a large house, made and dispatched in a transaction
# that is rolled back: 1,000 routes, 2,000 groups.
alerts=${ALERTS:-10000}
routing() {
  sql <<SQL
SET client_min_messages = error;
BEGIN;
ANALYZE pipeline.alerts, pipeline.alert_events, pipeline.alert_groups, pipeline.alert_group_members, pipeline.routes;
DO \$\$
DECLARE t timestamptz; filled float; one float[] := '{}'; nothing float[] := '{}';
BEGIN
  PERFORM pipeline.create_channel('bench ' || i, 'log') FROM generate_series(0, 9) i;
  PERFORM pipeline.create_route('bench ' || i, ARRAY[format('team="t%s"', i)], ARRAY['bench ' || i % 10], group_wait => '0') FROM generate_series(0, 999) i;
  PERFORM pipeline.raise_alert('Bench' || i, 'x', labels => jsonb_build_object('team', 't' || i % 1000, 'pipeline', 'p' || i % 2000)) FROM generate_series(1, $alerts) i;
  t := clock_timestamp();
  WHILE pipeline._dispatch_alerts(clock_timestamp()) = 0 LOOP END LOOP;
  filled := extract(epoch FROM clock_timestamp() - t) * 1000;
  FOR i IN 1..5 LOOP
    PERFORM pipeline.raise_alert('BenchOne' || i, 'x', labels => jsonb_build_object('team', 't' || i, 'pipeline', 'new'));
    t := clock_timestamp();
    PERFORM pipeline._dispatch_alerts(clock_timestamp());
    one := one || extract(epoch FROM clock_timestamp() - t)::float * 1000;
    t := clock_timestamp();
    PERFORM pipeline._dispatch_alerts(clock_timestamp());
    nothing := nothing || extract(epoch FROM clock_timestamp() - t)::float * 1000;
  END LOOP;
  RAISE EXCEPTION USING MESSAGE = format('%s %s %s', round(filled::numeric), round((SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FROM unnest(one) x)::numeric, 1),
    round((SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FROM unnest(nothing) x)::numeric, 1));
END \$\$;
SQL
}
read -r filled one nothing < <(for _ in 1 2 3; do routing 2>&1 | sed -n 's/^.*ERROR:  //p' || true; done | sort -n | sed -n 2p)
figure "to route $alerts new alerts by 1,000 routes into 2,000 groups, and write what is told" "$filled ms" ''
figure 'with them open, to route one more and tell of it' "$one ms" ''
figure 'and to find that there is nothing to do' "$nothing ms" ''

sql -c 'ALTER SYSTEM RESET pipeline.allowed_hosts' -c 'SELECT pg_reload_conf()' >/dev/null
if [ -n "${REPORT:-}" ]; then
  { echo '| alert | measured | target |'; echo '|---|---|---|'; printf '%s' "$figures"; } >"$REPORT"
fi
