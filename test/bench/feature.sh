#!/usr/bin/env bash
# features() and refresh_features() against what PostgreSQL can do by itself,
# and against DuckDB and Polars on their own tables in memory: CPU seconds of
# the backend or process, medians, answers compared for equality.
#   test/bench/feature.sh PSQL-ARGUMENTS     e.g. -h /tmp/pipeline.x -U postgres dev
# ROWS=1000000 rows of the spine, over 14 times as many events (prints 9, taps
# 3, pays 2) in 56 days, windows of 21; RUNS=5, SLOW_RUNS=1 of forms of PostgreSQL
# that take long.  Range join and LATERAL cannot finish at that size: they run
# over the entities of one user in SAMPLE=50, and are scaled up.
# WORK_MEM=512MB; ENGINES= leaves out the two from npm.
# With REPORT set, a table of the figures is written there.
set -euo pipefail
ROWS=${ROWS:-1000000}
RUNS=${RUNS:-5}
SLOW_RUNS=${SLOW_RUNS:-1}
SAMPLE=${SAMPLE:-50}
WORK_MEM=${WORK_MEM:-512MB}
ENGINES=${ENGINES-duckdb polars}
connection=("$@")
here=$(cd "$(dirname "$0")" && pwd)
sql() { psql -qXtA -v ON_ERROR_STOP=1 "${connection[@]}" "$@"; }
figures=""
figure() {  # figure WHAT MEASURED TARGET
  printf '%-84s %18s   (target %s)\n' "$1" "$2" "$3"
  figures+="| $1 | $2 | $3 |"$'\n'
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sql <<SQL >/dev/null
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS feature_bench CASCADE;
CREATE SCHEMA feature_bench;
SET search_path = feature_bench;
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
\$\$ SELECT (s[12]::float8 + s[13]::float8) / 100 FROM string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''), ' ') s \$\$;
CREATE TABLE results (form text, cpu float8, sum numeric);
SELECT setseed(0.1);
CREATE TABLE prints AS
SELECT (random() * $ROWS / 20)::int AS user_id, 'proposition_' || (n::bigint * 48271 % 7) AS value_prop,
       '2024-01-01'::timestamptz + n * interval '56 days' / (9 * $ROWS) + random() * interval '1 hour' AS ts
FROM generate_series(1, 9 * $ROWS) n;
CREATE TABLE taps AS SELECT user_id, value_prop, ts + interval '1 second' AS ts FROM prints WHERE random() < 1 / 3.0;
CREATE TABLE pays AS SELECT user_id, value_prop, ts + interval '1 minute' AS ts, (random() * 10000)::int AS cents,
  (random() * 100)::float8 AS total, 'method_' || (random() * 4)::int AS method FROM prints WHERE random() < 2 / 9.0;
CREATE TABLE spine AS SELECT row_number() OVER (ORDER BY ts) AS id, user_id, value_prop, ts FROM (SELECT * FROM prints ORDER BY ts DESC LIMIT $ROWS) p;
-- Half of what there is, of one user in a hundred.
CREATE TABLE skewed_prints AS SELECT CASE WHEN n % 2 = 0 THEN user_id ELSE user_id % greatest($ROWS / 2000, 1) END AS user_id, value_prop, ts
  FROM (SELECT *, row_number() OVER () AS n FROM prints) p;
CREATE TABLE skewed_spine AS SELECT id, CASE WHEN id % 2 = 0 THEN user_id ELSE user_id % greatest($ROWS / 2000, 1) END AS user_id, value_prop, ts FROM spine;
CREATE INDEX ON prints (user_id, value_prop, ts);
CREATE INDEX ON taps (user_id, value_prop, ts);
CREATE INDEX ON pays (user_id, value_prop, ts);
SQL
sql -c 'VACUUM ANALYZE'

# One statement, RUNS times, in one session; it gives one number.
measure() {                     # measure FORM STATEMENT [RUNS]
  {
    echo "SET client_min_messages = warning; SET search_path = feature_bench; SET max_parallel_workers_per_gather = 0; SET jit = off; SET work_mem = '${MEMORY:-$WORK_MEM}';"
    for ((i = 0; i < ${3:-$RUNS}; i++)); do
      echo "SELECT cpu() AS before \\gset"
      echo "$2 \\gset"
      echo "INSERT INTO results SELECT '$1', cpu() - :before, :sum;"
    done
  } | sql
}
# The time that passes, alone and with the help of one other process, by turns.
measure_wall() {                # measure_wall STATEMENT
  for ((i = 0; i < RUNS; i++)); do
    for helpers in 0 1; do
      {
        echo "SET client_min_messages = warning; SET search_path = feature_bench; SET max_parallel_workers_per_gather = $helpers; SET jit = off; SET work_mem = '$WORK_MEM';"
        echo "SELECT clock_timestamp() AS before \\gset"
        echo "$1 \\gset"
        echo "INSERT INTO results SELECT 'wall $helpers', extract(epoch FROM clock_timestamp() - :'before'::timestamptz), :sum;"
      } | sql
    done
  done
}
cpu() { sql -c "SELECT round(percentile_disc(0.5) WITHIN GROUP (ORDER BY cpu)::numeric, 3) FROM feature_bench.results WHERE form = '$1'"; }
ratio() { awk -v a="$1" -v b="$2" -v n="${3:-2}" 'BEGIN {printf "%." n "f", (b > 0 ? a / b : 0)}'; }
same() {                        # same FORM OTHER: the same answers?
  [ "$(sql -c "SELECT count(DISTINCT sum) FROM feature_bench.results WHERE form IN ('$1', '$2')")" = 1 ] ||
    { echo "$1 and $2 differ: $(sql -c "SELECT DISTINCT form, sum FROM feature_bench.results WHERE form IN ('$1', '$2')")"; exit 1; }
}

views='{"feature": "views", "source": "prints", "aggregate": "count", "lookback": "21 days"}'
taps='{"feature": "taps", "source": "taps", "aggregate": "count", "lookback": "21 days"}'
pays='{"feature": "pays", "source": "pays", "aggregate": "count", "lookback": "21 days"}'
paid='{"feature": "paid", "source": "pays", "aggregate": "sum", "value": "cents", "lookback": "21 days"}'
four="$views,$taps,$pays,$paid"
columns='id bigint, user_id int, value_prop text, ts timestamptz'
over='sum((views * 7 + taps * 11 + pays * 13 + coalesce(paid, 0)) * (id % 1009)) AS sum'
features() {                    # features FORM SPECS COLUMNS SUM [SPINE]
  measure "$1" "SELECT $4 FROM pipeline.features('${5:-spine}', '{user_id,value_prop}', 'ts', \$\$[$2]\$\$) AS f ($columns, $3)"
}
other() { echo "$paid" | sed "s/\"sum\"/\"$1\"/; s/cents/${2:-cents}/"; }

features four "$four" 'views bigint, taps bigint, pays bigint, paid bigint' "$over"
windows=$four names='views bigint, taps bigint, pays bigint, paid bigint'
for d in 1 3 7 14; do
  windows+=",$(echo "$four" | sed 's/"feature": "\([a-z]*\)"/"feature": "\1_'$d'"/g; s/21 days/'$d' days/g')"
  names+=", views_$d bigint, taps_$d bigint, pays_$d bigint, paid_$d bigint"
done
features windows "$windows" "$names" "$over"
features max "$views,$taps,$pays,$(other max)" 'views bigint, taps bigint, pays bigint, paid int' "$over"
features float "$views,$taps,$pays,$(other sum total)" 'views bigint, taps bigint, pays bigint, paid float8' 'count(paid) AS sum'
features distinct "$views,$taps,$pays,$(other count_distinct)" 'views bigint, taps bigint, pays bigint, paid bigint' "$over"
features by "$views,$taps,$pays,$(echo "$paid" | sed 's/}/, "by": "method"}/')" 'views bigint, taps bigint, pays bigint, paid jsonb' 'count(paid) AS sum'
features skewed "$(echo "$views" | sed 's/prints/skewed_prints/'),$taps,$pays,$paid" 'views bigint, taps bigint, pays bigint, paid bigint' 'count(*) AS sum' skewed_spine
MEMORY=4MB features spilled "$four" 'views bigint, taps bigint, pays bigint, paid bigint' "$over"
measure_wall "SELECT $over FROM pipeline.features('spine', '{user_id,value_prop}', 'ts', \$\$[$four]\$\$) AS f ($columns, views bigint, taps bigint, pays bigint, paid bigint)"
same 'wall 0' 'wall 1'
measure scan "SELECT (SELECT count(user_id) + count(value_prop) + count(ts) FROM spine) + (SELECT count(user_id) + count(value_prop) + count(ts) FROM prints)
  + (SELECT count(user_id) + count(value_prop) + count(ts) FROM taps) + (SELECT count(user_id) + count(value_prop) + count(ts) + count(cents) FROM pays) AS sum"

since="ts >= (SELECT min(ts) FROM spine) - interval '21 days'"
key='user_id, value_prop'
events="SELECT $key, ts, 1 AS kind, 1 AS v, 0 AS t, 0 AS p, 0 AS c, 0 AS id, 0 AS sign FROM prints WHERE $since
  UNION ALL SELECT $key, ts, 1, 0, 1, 0, 0, 0, 0 FROM taps WHERE $since UNION ALL SELECT $key, ts, 1, 0, 0, 1, cents, 0, 0 FROM pays WHERE $since"
marks="UNION ALL SELECT $key, ts, 0, 0, 0, 0, 0, id, 1 FROM spine"
frame() { echo "PARTITION BY $key ORDER BY ts RANGE BETWEEN interval '$1 days' PRECEDING AND interval '1 microsecond' PRECEDING"; }
measure frames "SELECT $over FROM (SELECT id, sum(v) OVER w AS views, sum(t) OVER w AS taps, sum(p) OVER w AS pays, sum(c) OVER w AS paid, sign
  FROM ($events $marks) e WINDOW w AS ($(frame 21))) x WHERE sign = 1" "$SLOW_RUNS"
all="" names="" used=0
for d in 1 3 7 14; do
  all+=", sum(v) OVER w$d AS v$d, sum(t) OVER w$d AS t$d, sum(p) OVER w$d AS p$d, sum(c) OVER w$d AS c$d"
  names+=", w$d AS ($(frame $d))"
  used+=" + coalesce(v$d + t$d + p$d + c$d, 0)"
done
# What is not used is not computed.
measure frames_windows "SELECT ${over/(views/(0 * ($used) + views} FROM (SELECT id, sum(v) OVER w AS views, sum(t) OVER w AS taps, sum(p) OVER w AS pays, sum(c) OVER w AS paid, sign $all
  FROM ($events $marks) e WINDOW w AS ($(frame 21)) $names OFFSET 0) x WHERE sign = 1" "$SLOW_RUNS"
measure sums "SELECT $over FROM (SELECT id, sum(sign * v) AS views, sum(sign * t) AS taps, sum(sign * p) AS pays, sum(sign * c) AS paid
  FROM (SELECT id, sign, sum(v) OVER w AS v, sum(t) OVER w AS t, sum(p) OVER w AS p, sum(c) OVER w AS c
    FROM ($events $marks UNION ALL SELECT $key, ts - interval '21 days', 0, 0, 0, 0, 0, id, -1 FROM spine) e
    WINDOW w AS (PARTITION BY $key ORDER BY ts, kind ROWS UNBOUNDED PRECEDING)) r WHERE sign <> 0 GROUP BY id) x" "$SLOW_RUNS"
same four frames
same four frames_windows
same four windows
same four sums
same four spilled

# ---- what needs a sample -----------------------------------------------------------
part="user_id % $SAMPLE = 0"
within="e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - interval '21 days' AND e.ts < s.ts"
measure part "SELECT $over FROM pipeline.features('SELECT * FROM spine WHERE $part', '{user_id,value_prop}', 'ts', \$\$[$four]\$\$) AS f ($columns, views bigint, taps bigint, pays bigint, paid bigint)" 1
measure lateral "SELECT $over FROM (SELECT * FROM spine WHERE $part) s,
  LATERAL (SELECT count(*) AS views FROM prints e WHERE $within) v, LATERAL (SELECT count(*) AS taps FROM taps e WHERE $within) t,
  LATERAL (SELECT count(*) AS pays, sum(cents) AS paid FROM pays e WHERE $within) p"
joined() { echo "SELECT s.id, count(e.ts) AS $2 ${3:-} FROM (SELECT * FROM spine WHERE $part) s LEFT JOIN (SELECT * FROM $1 WHERE $part) e ON $within GROUP BY s.id"; }
measure join "SELECT $over FROM ($(joined prints views)) v JOIN ($(joined taps taps)) t USING (id) JOIN ($(joined pays pays ', sum(cents) AS paid')) p USING (id)" "$SLOW_RUNS"
same part lateral
same part join

# ---- a refresh, then one per cent more -------------------------------------------------
for ((i = 0; i < RUNS; i++)); do
  sql <<SQL >/dev/null
SET client_min_messages = warning;
SET search_path = feature_bench;
SET max_parallel_workers_per_gather = 0;
SET work_mem = '$WORK_MEM';
SELECT pipeline.drop_feature_set('feature bench', drop_target => true) FROM pipeline.feature_sets WHERE name = 'feature bench';
DELETE FROM spine WHERE id > $ROWS;
VACUUM ANALYZE spine;
SELECT pipeline.create_feature_set('feature bench', 'spine', '{user_id,value_prop}', 'ts', target => 'feature_target', spine_key => '{id}');
SELECT pipeline.add_feature('feature bench', name, source, aggregate, '21 days', value => value)
  FROM (VALUES ('views', 'prints', 'count', NULL), ('taps', 'taps', 'count', NULL), ('pays', 'pays', 'count', NULL), ('paid', 'pays', 'sum', 'cents')) f (name, source, aggregate, value);
SELECT cpu() AS before \gset
SELECT pipeline.refresh_features('feature bench');
INSERT INTO results SELECT 'full', cpu() - :before;
VACUUM ANALYZE feature_target;
INSERT INTO spine SELECT id + $ROWS, user_id, value_prop, ts + interval '10 seconds' FROM spine ORDER BY id DESC LIMIT greatest($ROWS / 100, 1);
SELECT cpu() AS before \gset
SELECT 1 / incremental::int FROM pipeline.refresh_features('feature bench');
INSERT INTO results SELECT 'incremental', cpu() - :before;
SQL
done
sql -c "SET search_path = feature_bench" -c "DELETE FROM spine WHERE id > $ROWS"

# ---- the columnar engines ------------------------------------------------------------------
best_of() { awk -v e="$1" -v t="$2" '$1 == e && $3 == t {if (!n++ || $4 < best) {best = $4; form = $2}} END {if (n) print best, form}' "$work/engines"; }
: >"$work/engines"
if [ -n "$ENGINES" ] && command -v npm >/dev/null &&
  (cd "$work" && npm install --no-audit --no-fund --silent @duckdb/node-api nodejs-polars nodejs-polars-linux-x64-gnu) >"$work/npm.log" 2>&1; then
  for table in spine prints taps pays; do
    more=$(case $table in spine) echo ', id' ;; pays) echo ', cents' ;; esac)
    sql -c "\\copy (SELECT user_id, value_prop, (extract(epoch FROM ts) * 1000000)::bigint$more FROM feature_bench.$table) TO '$work/$table.csv' CSV"
  done
  cp "$here/feature_engines.mjs" "$work/"
  for engine in $ENGINES; do
    for threads in 1 0; do
      (cd "$work" && [ $threads = 0 ] || export POLARS_MAX_THREADS=$threads; node feature_engines.mjs "$engine" "$work" "$RUNS" $threads) 2>/dev/null >>"$work/engines"
    done
  done
  while read -r engine form threads cpu sum; do
    sql -c "INSERT INTO feature_bench.results VALUES ('$engine $form', $cpu, $sum)"
    same four "$engine $form"
  done <"$work/engines"
else
  echo "DuckDB and Polars are not measured: npm cannot install them, or ENGINES is empty."
  tail -n 2 "$work/npm.log" 2>/dev/null || true
fi

# ---- the figures --------------------------------------------------------------------------------
four=$(cpu four)
seconds() { echo "$1 s, $(ratio "$four" "$1") of it"; }
scaled() { awk -v a="$(cpu "$1")" -v n="$SAMPLE" 'BEGIN {printf "%.1f", a * n}'; }
figure "four features over $((14 * ROWS)) events for $ROWS rows" "$four s" ''
figure 'to the bare scan of the columns' "$(ratio "$four" "$(cpu scan)")" '<= 2.5'
figure 'to RANGE frames' "$(seconds "$(cpu frames)")" '<= 0.15'
figure 'to running sums' "$(seconds "$(cpu sums)")" ''
figure "to LATERAL with an index (1 user in $SAMPLE, scaled)" "$(seconds "$(scaled lateral)")" ''
figure "to the range join (1 user in $SAMPLE, scaled)" "$(seconds "$(scaled join)")" ''
for engine in $ENGINES; do
  for threads in 1 0; do
    read -r best form <<<"$(best_of "$engine" $threads)" || true
    [ -z "$best" ] || figure "to $engine's best form ($form), $([ $threads = 1 ] && echo 'one thread' || echo 'default threads')" \
      "$(seconds "$best")" "$([ "$engine" = duckdb ] && echo '<= 0.30' || echo '<= 0.40')"
  done
done
figure 'each of four more windows' "$(awk -v a="$(cpu windows)" -v b="$four" 'BEGIN {printf "%+.1f %%", 25 * (a / b - 1)}')" '<= +5 %'
figure 'the same of RANGE frames' "$(awk -v a="$(cpu frames_windows)" -v b="$(cpu frames)" 'BEGIN {printf "%+.0f %%", 25 * (a / b - 1)}')" ''
for form in max float distinct by; do
  figure "with $(case $form in max) echo a maximum ;; float) echo a sum of floats ;; distinct) echo a distinct count ;; by) echo 'a sum spread over 5 values' ;; esac), to counts and sums" \
    "$(ratio "$(cpu $form)" "$four")" "$(case $form in max | float) echo '<= 1.2' ;; esac)"
done
figure 'time that passes with one process that helps, to alone' "$(ratio "$(cpu 'wall 1')" "$(cpu 'wall 0')") ($(cpu 'wall 1') s of $(cpu 'wall 0') s)" '<= 0.65'
figure 'skewed: half of it of 1 user in 100' "$(ratio "$(cpu skewed)" "$four")" ''
figure 'work_mem of 4 MB, spilled' "$(ratio "$(cpu spilled)" "$four")" ''
figure 'refresh of 1 % new rows, to the full refresh' "$(ratio "$(cpu incremental)" "$(cpu full)" 3) ($(cpu incremental) s of $(cpu full) s)" '<= 0.1'
sql -c "SET client_min_messages = warning" -c "SELECT pipeline.drop_feature_set('feature bench')" -c "DROP SCHEMA feature_bench CASCADE" >/dev/null

if [ -n "${REPORT:-}" ]; then
  {
    echo "| feature | measured | target |"
    echo "|---|---|---|"
    printf '%s' "$figures"
  } >"$REPORT"
fi
