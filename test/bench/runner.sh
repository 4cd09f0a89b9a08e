#!/usr/bin/env bash
# The runner against the commits that it cannot do without.
#   test/bench/runner.sh PSQL-ARGUMENTS
# Each figure is the median of RUNS runs; its yardstick is measured beside it.
# With REPORT set, a table of the figures is written there.
set -euo pipefail
RUNS=${RUNS:-5}
connection=("$@")
sql() { psql -qXtA -v ON_ERROR_STOP=1 "${connection[@]}" "$@"; }
owner() { sql -c 'SET SESSION AUTHORIZATION runner_bench' "$@"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}'; }
figures=""
figure() {  # figure WHAT MEASURED TARGET
  printf '%-78s %14s   (target %s)\n' "$1" "$2" "$3"
  figures+="| $1 | $2 | $3 |"$'\n'
}
run() {  # run PIPELINE: run it to its end
  local id
  id=$(owner -c "SELECT pipeline.run('$1')")
  owner -c "SELECT pipeline.wait_for_run($id)" >/dev/null
  echo "$id"
}
script=$(mktemp)
trap 'rm -f "$script"' EXIT

sql <<'SQL' >/dev/null
SET client_min_messages = warning;
CREATE ROLE runner_bench LOGIN;
GRANT USAGE ON SCHEMA pipeline TO runner_bench;
CREATE TABLE runner_bench (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
INSERT INTO runner_bench SELECT g, 0 FROM generate_series(1, 10000) g;
SET SESSION AUTHORIZATION runner_bench;
SELECT pipeline.create_pipeline('bench chain');
SELECT pipeline.create_task('bench chain', 't1', 'SELECT 1');
SELECT pipeline.create_task('bench chain', 't' || n, 'SELECT 1', ARRAY['t' || n - 1]) FROM generate_series(2, 100) n;
SELECT pipeline.create_pipeline('bench fan');
SELECT pipeline.create_task('bench fan', 't' || n, 'SELECT pg_sleep(1)') FROM generate_series(1, 8) n;
SELECT pipeline.create_pipeline('bench wide', max_active_runs => 50);
SELECT pipeline.create_task('bench wide', 't' || n, 'SELECT 1') FROM generate_series(1, 100) n;
SELECT pipeline.create_pipeline('bench crash');
SELECT pipeline.create_task('bench crash', 't', 'SELECT pg_sleep(600)');
SQL
run 'bench fan' >/dev/null

# ---- a chain, against the same commits in one session ---------------------------
chains="" commits=""
for _ in $(seq "$RUNS"); do
  id=$(run 'bench chain')
  chains+=$(sql -c "SELECT round(1000 * extract(epoch FROM finished_at - queued_at)) FROM pipeline.runs WHERE run_id = $id")$'\n'
  for i in $(seq 100); do echo "UPDATE runner_bench SET n = n + 1 WHERE id = $i;"; done >"$script"
  commits+=$(sql -c 'CREATE TEMP TABLE t AS SELECT clock_timestamp() AS t' -f "$script" \
    -c 'SELECT round(1000 * extract(epoch FROM clock_timestamp() - t)) FROM t')$'\n'
done
chain=$(median <<<"${chains%$'\n'}") commit=$(median <<<"${commits%$'\n'}")
figure 'chain of 100 no-op tasks, to 100 one-row commits of one session' "$(ratio "$chain" "$commit") ($chain ms)" '<= 5'
latency=$(sql -c "SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY d))::numeric, 2) || ' ms, p99 ' || round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY d))::numeric, 2) || ' ms'
  FROM (SELECT extract(epoch FROM a.started_at - lag(a.finished_at) OVER (PARTITION BY run_id ORDER BY a.started_at)) AS d
        FROM pipeline.attempts a JOIN pipeline.runs USING (run_id) WHERE pipeline = 'bench chain') x")
figure "predecessor's end to successor's start, p50" "$latency" '<= 3 ms'

# ---- fan-out -----------------------------------------------------------------------
fan=$(for _ in 1 2 3; do
  id=$(run 'bench fan')
  sql -c "SELECT round(1000 * extract(epoch FROM r.finished_at - r.queued_at)) FROM pipeline.runs r WHERE run_id = $id"
done | median)
figure '8 x pg_sleep(1) side by side on 8 workers' "$fan ms" '<= 1300 ms'

# ---- throughput of 4 workers, against pgbench with 4 clients ------------------------
sql -c 'ALTER SYSTEM SET pipeline.max_active_workers_per_role = 4' -c 'SELECT pg_reload_conf()' \
  -c "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'pipeline worker'" >/dev/null
printf '%s\n' '\set a random(1, 9998)' 'UPDATE runner_bench SET n = n + 1 WHERE id BETWEEN :a AND :a + 2;' >"$script"
tasks="" rates=""
for _ in $(seq "$RUNS"); do
  sql -c 'VACUUM pipeline.task_runs, pipeline.runs, pipeline.attempts'
  ids=$(owner -c "SELECT pipeline.run('bench wide') FROM generate_series(1, 50)")
  # Its snapshot holds back the removal of what the claims leave behind, as a long report does.
  owner -c "SELECT count(pipeline.wait_for_run(run_id)) FROM pipeline.runs WHERE run_id IN ($(echo $ids | tr ' ' ','))" >/dev/null
  tasks+=$(sql -c "SELECT round(5000 / extract(epoch FROM max(finished_at) - min(queued_at))) FROM pipeline.runs WHERE run_id IN ($(echo $ids | tr ' ' ','))")$'\n'
  rates+=$(pgbench -n -c 4 -j 2 -T 2 -f "$script" "${connection[@]}" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p')$'\n'
done
task_rate=$(median <<<"${tasks%$'\n'}") rate=$(median <<<"${rates%$'\n'}")
figure 'no-op tasks per second with 4 workers, to commits of 3 rows per second of pgbench with 4 clients' \
  "$(ratio "$task_rate" "$rate") ($task_rate/s)" '>= 0.5'
sql -c 'ALTER SYSTEM RESET pipeline.max_active_workers_per_role' -c 'SELECT pg_reload_conf()' >/dev/null

# ---- recovery ---------------------------------------------------------------------
recovery=$(for _ in 1 2 3; do
  id=$(owner -c "SELECT pipeline.run('bench crash')")
  until pid=$(sql -c "SELECT pid FROM pipeline.attempts WHERE run_id = $id AND state = 'running'") && [ -n "$pid" ]; do :; done
  kill -9 "$pid"
  sleep 0.2
  until sql -c 'SELECT 1' >/dev/null 2>&1; do :; done
  back=$(date +%s%N)
  # The claim was an asynchronous commit: the killed attempt may be forgotten.
  until [ "$(sql -c "SELECT count(*) FROM pipeline.attempts WHERE run_id = $id AND state = 'running' AND pid <> $pid")" = 1 ]; do :; done
  echo $((($(date +%s%N) - back) / 1000000))
  owner -c "SELECT pipeline.cancel($id)" -c "SELECT pipeline.wait_for_run($id)" >/dev/null
done 2>/dev/null | median)
figure "a killed worker's task running again, after the server is back" "$recovery ms" '<= 1000 ms'

# ---- 1,000 pipelines of 20 tasks ------------------------------------------------------
owner -c "SELECT count(pipeline.create_pipeline('bench idle ' || n, schedule => '* * * * *')) FROM generate_series(1, 1000) n" \
  -c "SELECT count(pipeline.create_task('bench idle ' || n, 't' || t, 'SELECT 1', CASE WHEN t > 1 THEN ARRAY['t' || t - 1] ELSE '{}' END))
      FROM generate_series(1, 1000) n, generate_series(1, 20) t" >/dev/null
ticks() { sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pipeline %'" | while read -r pid; do
  awk '{print $14 + $15}' "/proc/$pid/stat" 2>/dev/null || true; done | awk '{n += $1} END {print n + 0}'; }
sleep 2
before=$(ticks); sleep 10; after=$(ticks)
idle=$(awk -v a="$before" -v b="$after" 'BEGIN {printf "%.1f %%", (b - a) / 10}')
figure '1,000 pipelines of 20 tasks, defined and idle, of one core' "$idle" '< 1 %'
sql -c "UPDATE pipeline.pipelines SET scheduled_since = now() - interval '2 minutes', paused = false" \
  -c "UPDATE pipeline.pipelines SET max_active_runs = 1"
due=$(owner -c 'CREATE TEMP TABLE t AS SELECT clock_timestamp() AS t' \
  -c 'CREATE TEMP TABLE due AS SELECT pipeline.run_due() AS run_id' \
  -c 'SELECT count(*) FROM due' -c 'SELECT round(1000 * extract(epoch FROM clock_timestamp() - t)) FROM t')
figure "run_due() on all of them: $(head -n 1 <<<"$due") runs of 20 tasks made" "$(tail -n 1 <<<"$due") ms" '< 1000 ms'
drain=$(sql -c "SELECT clock_timestamp()")
until [ "$(sql -c "SELECT count(*) FROM pipeline.runs WHERE state IN ('queued', 'running')")" = 0 ]; do sleep 0.1; done
figure 'and their 20,000 tasks run on 8 workers' "$(sql -c "SELECT round(20000 / extract(epoch FROM clock_timestamp() - '$drain'))") tasks/s" ''

if [ -n "${REPORT:-}" ]; then
  {
    echo "| runner | measured | target |"
    echo "|---|---|---|"
    printf '%s' "$figures"
  } >"$REPORT"
fi
