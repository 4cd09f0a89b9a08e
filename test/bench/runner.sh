#!/usr/bin/env bash
# The runner against the commits that it cannot do without.
#   test/bench/runner.sh PSQL-ARGUMENTS
# Wall-clock milliseconds; each figure the median of RUNS runs.
set -euo pipefail
RUNS=${RUNS:-5}
connection=("$@")
sql() { psql -qXtA -v ON_ERROR_STOP=1 "${connection[@]}" "$@"; }
owner() { sql -c 'SET SESSION AUTHORIZATION runner_bench' "$@"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
run() {  # run PIPELINE: run it to its end
  local id
  id=$(owner -c "SELECT pipeline.run('$1')")
  owner -c "SELECT pipeline.wait_for_run($id)" >/dev/null
  echo "$id"
}

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
SQL
run 'bench fan' >/dev/null

echo 'chain of 100 no-op tasks, ms'
chain=$(for _ in $(seq "$RUNS"); do
  id=$(run 'bench chain')
  sql -c "SELECT round(1000 * extract(epoch FROM finished_at - queued_at)) FROM pipeline.runs WHERE run_id = $id"
done | median)
echo "$chain"
echo '100 commits of one row in one session, ms'
commits=$(for _ in $(seq "$RUNS"); do
  (for i in $(seq 100); do echo "UPDATE runner_bench SET n = n + 1 WHERE id = $i;"; done) >/tmp/runner_bench.$$
  sql -c '\timing off' -c 'SELECT 1' >/dev/null
  start=$(date +%s%N); sql -f /tmp/runner_bench.$$; end=$(date +%s%N)
  empty_start=$(date +%s%N); sql -c 'SELECT 1' >/dev/null; empty_end=$(date +%s%N)
  echo $(((end - start - empty_end + empty_start) / 1000000))
done | median)
rm -f /tmp/runner_bench.$$
echo "$commits"
awk -v a="$chain" -v b="$commits" 'BEGIN {printf "ratio %.1f (target <= 5)\n", a / b}'

echo "step latency, predecessor's end to successor's start, p50 and p99, ms (target p50 <= 3)"
sql -c "SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY d))::numeric, 2), round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY d))::numeric, 2)
  FROM (SELECT extract(epoch FROM a.started_at - lag(a.finished_at) OVER (PARTITION BY run_id ORDER BY a.started_at)) AS d
        FROM pipeline.attempts a JOIN pipeline.runs USING (run_id) WHERE pipeline = 'bench chain') x"

echo '8-way fan-out of pg_sleep(1) on 8 workers, ms (target <= 1300)'
for _ in 1 2 3; do
  id=$(run 'bench fan')
  sql -c "SELECT round(1000 * extract(epoch FROM r.finished_at - r.queued_at)) FROM pipeline.runs r WHERE run_id = $id"
done | median

echo 'no-op throughput, tasks per second'
tasks=$(for _ in 1 2 3; do
  sql -c 'VACUUM pipeline.task_runs, pipeline.runs, pipeline.attempts'
  ids=$(owner -c "SELECT pipeline.run('bench wide') FROM generate_series(1, 20)")
  for id in $ids; do owner -c "SELECT pipeline.wait_for_run($id)" >/dev/null; done
  sql -c "SELECT round(2000 / extract(epoch FROM max(finished_at) - min(queued_at))) FROM pipeline.runs WHERE run_id IN ($(echo $ids | tr ' ' ','))"
done | median)
echo "$tasks"
echo 'commits per second of pgbench, 4 clients, one update of three rows each'
pgbench_rate=$(for _ in 1 2 3; do
  echo '\set a random(1, 9998)
UPDATE runner_bench SET n = n + 1 WHERE id BETWEEN :a AND :a + 2;' >/tmp/runner_bench.$$
  pgbench -n -c 4 -j 2 -T 3 -f /tmp/runner_bench.$$ "${connection[@]}" 2>/dev/null | sed -n 's/^tps = \([0-9]*\).*/\1/p'
done | median)
rm -f /tmp/runner_bench.$$
echo "$pgbench_rate"
awk -v a="$tasks" -v b="$pgbench_rate" 'BEGIN {printf "ratio %.2f (target >= 0.5, with 4 workers)\n", a / b}'

owner -c "SELECT count(pipeline.drop_pipeline(pipeline)) FROM pipeline.pipelines WHERE pipeline LIKE 'bench %'" >/dev/null
