#!/usr/bin/env bash
# features() against what PostgreSQL can do by itself, in CPU seconds of the
# backend (/proc/PID/stat), in one session without parallel workers.
#   test/bench/feature.sh PSQL-ARGUMENTS     e.g. -h /tmp/pipeline.x -U postgres dev
# ROWS=1000000 spine rows; three sources of 3, 1 and 0.5 times as many events;
# LATERAL runs on LATERAL_ROWS of the spine and is scaled up.
set -euo pipefail
ROWS=${ROWS:-1000000}
LATERAL_ROWS=${LATERAL_ROWS:-20000}
RUNS=${RUNS:-3}
WORK_MEM=${WORK_MEM:-512MB}

{
cat <<SQL
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET work_mem = '$WORK_MEM';
DROP SCHEMA IF EXISTS feature_bench CASCADE;
CREATE SCHEMA feature_bench;
SET search_path = feature_bench;
SELECT setseed(0.1);
CREATE TABLE prints AS
SELECT (random() * $ROWS / 20)::int AS user_id,
       'proposition_' || (n::bigint * 48271 % 7) AS value_prop,
       '2024-01-01'::timestamptz + n * interval '56 days' / (3 * $ROWS) + random() * interval '1 hour' AS ts
FROM generate_series(1, 3 * $ROWS) n;
CREATE TABLE taps AS SELECT user_id, value_prop, ts + interval '1 second' AS ts FROM prints WHERE random() < 1 / 3.0;
CREATE TABLE pays AS SELECT user_id, value_prop, ts + interval '1 minute' AS ts, (random() * 10000)::int AS cents,
  round((random() * 100)::numeric, 2) AS total FROM prints WHERE random() < 1 / 6.0;
CREATE TABLE spine AS SELECT * FROM prints ORDER BY ts DESC LIMIT $ROWS;
CREATE INDEX ON prints (user_id, value_prop, ts);
CREATE INDEX ON taps (user_id, value_prop, ts);
CREATE INDEX ON pays (user_id, value_prop, ts);
VACUUM ANALYZE;
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
SELECT count(*) FROM prints, LATERAL (SELECT user_id, value_prop, ts) x;
SQL

time_it() {                     # time_it NAME SQL
  for ((i = 0; i < RUNS; i++)); do
    cat <<SQL
\! awk '{printf "@ $1 %s ", (\$14+\$15)/100}' /proc/\$PID/stat
$2
\! awk '{printf "end %s\n", (\$14+\$15)/100}' /proc/\$PID/stat
SQL
  done
}

features() {                    # features NAME SPECS COLUMNS
  time_it "$1" "SELECT 'n', count(*) FROM pipeline.features('spine', '{user_id,value_prop}', 'ts', \$\$[$2]\$\$)
    AS f (user_id int, value_prop text, ts timestamptz, $3);"
}
views='{"feature": "views", "source": "prints", "aggregate": "count", "lookback": "21 days"}'
taps='{"feature": "taps", "source": "taps", "aggregate": "count", "lookback": "21 days"}'
pays='{"feature": "pays", "source": "pays", "aggregate": "count", "lookback": "21 days"}'
paid='{"feature": "paid", "source": "pays", "aggregate": "sum", "value": "cents", "lookback": "21 days"}'
features four "$views,$taps,$pays,$paid" 'views bigint, taps bigint, pays bigint, paid bigint'
echo "SET work_mem = '4MB';"
features four_spilled "$views,$taps,$pays,$paid" 'views bigint, taps bigint, pays bigint, paid bigint'
echo "SET work_mem = '$WORK_MEM';"
features eight "$views,$taps,$pays,$paid,$(echo "$views,$taps,$pays,$paid" | sed 's/"feature": "\([a-z]*\)"/"feature": "\1_7d"/g; s/21 days/7 days/g')" \
  'views bigint, taps bigint, pays bigint, paid bigint, v bigint, t bigint, p bigint, d bigint'
features minmax "$views,$taps,$(echo "$paid" | sed 's/sum/max/'),$(echo "$paid" | sed 's/sum/min/; s/"paid"/"paid2"/')" 'views bigint, taps bigint, paid int, paid2 int'
features numeric "$views,$taps,$pays,$(echo "$paid" | sed 's/cents/total/')" 'views bigint, taps bigint, pays bigint, paid numeric'
features distinct "$views,$taps,$pays,$(echo "$paid" | sed 's/"sum"/"count_distinct"/')" 'views bigint, taps bigint, pays bigint, paid bigint'
features last "$views,$taps,$pays,$(echo "$paid" | sed 's/"sum"/"last"/')" 'views bigint, taps bigint, pays bigint, paid int'
features stddev "$views,$taps,$pays,$(echo "$paid" | sed 's/"sum"/"stddev"/')" 'views bigint, taps bigint, pays bigint, paid numeric'
features labels "$(echo "$views,$taps,$pays,$paid" | sed 's/21 days"/0", "lookahead": "1 day"/g')" 'views bigint, taps bigint, pays bigint, paid bigint'
features weeks "$(echo "$views,$taps,$pays,$paid" | sed 's/21 days"/21 days", "align": "week"/g')" 'views bigint, taps bigint, pays bigint, paid bigint'

frame='PARTITION BY user_id, value_prop ORDER BY ts RANGE BETWEEN interval $$21 days$$ PRECEDING AND interval $$1 microsecond$$ PRECEDING'
time_it frames "SELECT 'n', count(*), sum(views + taps + pays + paid) FROM (SELECT kind, count(*) FILTER (WHERE kind = 1) OVER w AS views, count(*) FILTER (WHERE kind = 2) OVER w AS taps,
  count(*) FILTER (WHERE kind = 3) OVER w AS pays, sum(cents) OVER w AS paid
  FROM (SELECT user_id, value_prop, ts, 0 AS kind, NULL::int AS cents FROM spine
        UNION ALL SELECT user_id, value_prop, ts, 1, NULL FROM prints WHERE ts >= (SELECT min(ts) FROM spine) - interval '21 days'
        UNION ALL SELECT user_id, value_prop, ts, 2, NULL FROM taps WHERE ts >= (SELECT min(ts) FROM spine) - interval '21 days'
        UNION ALL SELECT user_id, value_prop, ts, 3, cents FROM pays WHERE ts >= (SELECT min(ts) FROM spine) - interval '21 days') e
  WINDOW w AS ($frame)) x WHERE kind = 0;"
time_it lateral "SELECT 'n', count(*), sum(a + b + c + d) FROM (SELECT * FROM spine LIMIT $LATERAL_ROWS) s,
  LATERAL (SELECT count(*) AS a FROM prints e WHERE e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - interval '21 days' AND e.ts < s.ts) v,
  LATERAL (SELECT count(*) AS b FROM taps e WHERE e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - interval '21 days' AND e.ts < s.ts) t,
  LATERAL (SELECT count(*) AS c, sum(cents) AS d FROM pays e WHERE e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - interval '21 days' AND e.ts < s.ts) p;"
time_it scan "SELECT 'n', (SELECT count(user_id) + count(value_prop) + count(ts) FROM spine), (SELECT count(user_id) + count(value_prop) + count(ts) FROM prints),
  (SELECT count(user_id) + count(value_prop) + count(ts) FROM taps), (SELECT count(user_id) + count(value_prop) + count(ts) + count(cents) FROM pays);"
echo "DROP SCHEMA feature_bench CASCADE;"
} | psql -XqAt "$@" | awk -v rows="$ROWS" -v lateral="$LATERAL_ROWS" '
  # The result of a statement stands between its two readings.
  $1 == "@" { name = $2; from = $3; next }
  $1 == "end" { t = $2 - from; if (!(name in best) || t < best[name]) best[name] = t; if (!(name in seen)) { seen[name] = 1; order[++n] = name } }
  END {
    best["lateral"] *= rows / lateral
    printf "%-14s %10s %22s\n", "form", "CPU s", "of RANGE frames"
    for (i = 1; i <= n; i++) printf "%-14s %10.2f %22.3f\n", order[i], best[order[i]], best[order[i]] / best["frames"]
    printf "four features: %.2f of frames, %.3f of LATERAL (scaled), %.2f bare scans; spilled %.2f; four more windows %+.0f %%; min/max %.2f, distinct %.2f, last %.2f, stddev %.2f of sums; labels %.2f, whole weeks %.2f\n",
      best["four"] / best["frames"], best["four"] / best["lateral"], best["four"] / best["scan"],
      best["four_spilled"] / best["four"], 100 * (best["eight"] / best["four"] - 1), best["minmax"] / best["four"],
      best["distinct"] / best["four"], best["last"] / best["four"], best["stddev"] / best["four"],
      best["labels"] / best["four"], best["weeks"] / best["four"]
  }'
