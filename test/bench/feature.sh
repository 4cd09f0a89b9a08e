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
CREATE INDEX ON skewed_prints (user_id, value_prop, ts);
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

# ---- the cases ---------------------------------------------------------------------
# Each counts prints, taps and pays of an entity before each row of the spine, and
# sums what was paid; what differs:
#   four      one window of 21 days
#   windows   five windows, of 1 to 21 days
#   max, distinct     the greatest payment, or how many different ones
#   by        payments spread over their five methods
#   skewed    half of the spine and the prints is of one user in a hundred
CASES='four windows max distinct by skewed'
days() { if [ "$1" = windows ]; then echo 21 1 3 7 14; else echo 21; fi; }
paid() { if [ "$1" = by ]; then echo 0 1 2 3 4; else echo only; fi; }
table() { if [ "$1" = skewed ] && [ "$2" != taps ] && [ "$2" != pays ]; then echo "skewed_$2"; else echo "$2"; fi; }
joined() { local IFS=$1; shift; echo "$*"; }    # joined , A B: "A,B"

# Every column of the result counts, lest one is not computed.
over() {                        # over CASE
  local d m i terms=()
  for d in $(days "$1"); do
    terms+=("coalesce(views_$d, 0) * 7" "coalesce(taps_$d, 0) * 11" "coalesce(pays_$d, 0) * 13")
    i=0
    for m in $(paid "$1"); do terms+=("$((i += 1)) * coalesce(paid${m/only/}_$d, 0)"); done
  done
  echo "sum(($(joined + "${terms[@]}")) * (id % 1009)) AS sum"
}
spec() { echo "{\"feature\": \"$1\", \"source\": \"$2\", \"aggregate\": \"$3\", \"lookback\": \"$4 days\"${5:-}}"; }
aggregate() { case $1 in max) echo max ;; distinct) echo count_distinct ;; *) echo sum ;; esac; }
specs() {                       # specs CASE
  local d all=() by=''
  [ "$1" != by ] || by=', "by": "substr(method, 8)", "args": {"values": ["0", "1", "2", "3", "4"]}'
  for d in $(days "$1"); do
    all+=("$(spec "views_$d" "$(table "$1" prints)" count "$d")" "$(spec "taps_$d" taps count "$d")" "$(spec "pays_$d" pays count "$d")"
      "$(spec "paid_$d" pays "$(aggregate "$1")" "$d" ", \"value\": \"cents\"$by")")
  done
  joined , "${all[@]}"
}
columns() {                     # columns CASE: of the result, renamed where it is spread
  local d m all=(id user_id value_prop ts)
  for d in $(days "$1"); do
    all+=("views_$d" "taps_$d" "pays_$d")
    for m in $(paid "$1"); do all+=("paid${m/only/}_$d"); done
  done
  joined , "${all[@]}"
}
types() { columns "$1" | sed "s/,/ bigint,/g; s/\$/ bigint/; s/user_id bigint/user_id int/; s/value_prop bigint/value_prop text/; s/ts bigint/ts timestamptz/; $([ "$1" = max ] && echo 's/paid_21 bigint/paid_21 int/')"; }
plain="id bigint, user_id int, value_prop text, ts timestamptz"
ours() {                        # ours CASE [SPINE-CONDITION]
  echo "SELECT $(over "$1") FROM pipeline.features('$([ -z "${2:-}" ] && table "$1" spine || echo "SELECT * FROM $(table "$1" spine) WHERE $2")', '{user_id,value_prop}', 'ts', \$\$[$(specs "$1")]\$\$) AS f ($(types "$1"))"
}
for case in $CASES; do
  measure "$case ours" "$(ours "$case")"
done
# What has no rival to compare with.
less() {                        # less FORM VALUE AGGREGATE TYPE MORE
  measure "$1" "SELECT count(paid) AS sum FROM pipeline.features('spine', '{user_id,value_prop}', 'ts',
    \$\$[$(spec views prints count 21),$(spec taps taps count 21),$(spec pays pays count 21),$(spec paid pays "$3" 21 ", \"value\": \"$2\"${5:-}")]\$\$) AS f ($plain, views bigint, taps bigint, pays bigint, paid $4)"
}
less float total sum float8
less map cents sum jsonb ', "by": "method"'
MEMORY=4MB measure spilled "$(ours four)"
measure_wall "$(ours four)"
same 'wall 0' 'wall 1'
same 'four ours' spilled
measure scan "SELECT (SELECT count(user_id) + count(value_prop) + count(ts) FROM spine) + (SELECT count(user_id) + count(value_prop) + count(ts) FROM prints)
  + (SELECT count(user_id) + count(value_prop) + count(ts) FROM taps) + (SELECT count(user_id) + count(value_prop) + count(ts) + count(cents) FROM pays) AS sum"

# ---- what PostgreSQL does by itself --------------------------------------------------
key='user_id, value_prop'
events() {                      # events CASE
  local since="ts >= (SELECT min(ts) FROM $(table "$1" spine)) - interval '21 days'"
  echo "SELECT $key, ts, 1 AS kind, 1 AS v, 0 AS t, 0 AS p, NULL::int AS c, NULL::text AS m, 0 AS id, 0 AS sign FROM $(table "$1" prints) WHERE $since
    UNION ALL SELECT $key, ts, 1, 0, 1, 0, NULL, NULL, 0, 0 FROM taps WHERE $since UNION ALL SELECT $key, ts, 1, 0, 0, 1, cents, method, 0, 0 FROM pays WHERE $since"
}
marks() { echo "UNION ALL SELECT $key, ts, 0, 0, 0, 0, NULL, NULL, id, 1 FROM $(table "$1" spine)"; }
frames() {                      # frames CASE
  local d m all=() windows=()
  for d in $(days "$1"); do
    all+=("sum(v) OVER w$d AS views_$d" "sum(t) OVER w$d AS taps_$d" "sum(p) OVER w$d AS pays_$d")
    for m in $(paid "$1"); do
      all+=("$([ "$1" = max ] && echo max || echo sum)($([ "$m" = only ] && echo c || echo "CASE WHEN m = 'method_$m' THEN c END")) OVER w$d AS paid${m/only/}_$d")
    done
    windows+=("w$d AS (PARTITION BY $key ORDER BY ts RANGE BETWEEN interval '$d days' PRECEDING AND interval '1 microsecond' PRECEDING)")
  done
  echo "SELECT $(over "$1") FROM (SELECT id, sign, $(joined , "${all[@]}") FROM ($(events "$1") $(marks "$1")) e WINDOW $(joined , "${windows[@]}")) x WHERE sign = 1"
}
for case in $CASES; do
  [ "$case" != distinct ] || continue		# no DISTINCT over a frame
  measure "$case frames" "$(frames "$case")" "$SLOW_RUNS"
  same "$case ours" "$case frames"
done
measure 'four sums' "SELECT $(over four) FROM (SELECT id, sum(sign * v) AS views_21, sum(sign * t) AS taps_21, sum(sign * p) AS pays_21, sum(sign * c) AS paid_21
  FROM (SELECT id, sign, sum(v) OVER w AS v, sum(t) OVER w AS t, sum(p) OVER w AS p, sum(c) OVER w AS c
    FROM ($(events four) $(marks four) UNION ALL SELECT $key, ts - interval '21 days', 0, 0, 0, 0, NULL, NULL, id, -1 FROM spine) e
    WINDOW w AS (PARTITION BY $key ORDER BY ts, kind ROWS UNBOUNDED PRECEDING)) r WHERE sign <> 0 GROUP BY id) x" "$SLOW_RUNS"
same 'four ours' 'four sums'

# What needs a sample.
part="user_id % $SAMPLE = 0"
within="e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - interval '21 days' AND e.ts < s.ts"
counted() {                     # counted CASE TABLE: what is counted of a row's events
  local d m all=() inside
  for d in $(days "$1"); do
    inside="e.ts >= s.ts - interval '$d days'"
    all+=("count(e.ts) FILTER (WHERE $inside) AS ${2/prints/views}_$d")
    [ "$2" = pays ] || continue
    for m in $(paid "$1"); do
      all+=("$(case $1 in max) echo 'max(' ;; distinct) echo 'count(DISTINCT ' ;; *) echo 'sum(' ;; esac)cents) FILTER (WHERE $inside$([ "$m" = only ] || echo " AND method = 'method_$m'")) AS paid${m/only/}_$d")
    done
  done
  joined , "${all[@]}"
}
lateral() {                     # lateral CASE
  local t all=""
  for t in prints taps pays; do all+=", LATERAL (SELECT $(counted "$1" $t) FROM $(table "$1" $t) e WHERE $within) ${t}_of"; done
  echo "SELECT $(over "$1") FROM (SELECT * FROM $(table "$1" spine) WHERE $part) s$all"
}
range_join() {                  # range_join CASE
  local t all=()
  for t in prints taps pays; do
    all+=("(SELECT s.id, $(counted "$1" $t) FROM (SELECT * FROM $(table "$1" spine) WHERE $part) s LEFT JOIN (SELECT * FROM $(table "$1" $t) WHERE $part) e ON $within GROUP BY s.id) ${t}_of")
  done
  echo "SELECT $(over "$1") FROM ${all[0]} JOIN ${all[1]} USING (id) JOIN ${all[2]} USING (id)"
}
for case in $CASES; do
  measure "$case part" "$(ours "$case" "$part")" 1
  measure "$case lateral" "$(lateral "$case")" "$SLOW_RUNS"
  same "$case part" "$case lateral"
  # Of a user with thousands of events it makes thousands of times as many rows.
  [ "$case" != skewed ] || continue
  measure "$case join" "$(range_join "$case")" "$SLOW_RUNS"
  same "$case part" "$case join"
done

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

# ---- few rows -------------------------------------------------------------------------
# Milliseconds that pass for each of so many calls, in one session.
calls() {                       # calls FORM NUMBER STATEMENT
  sql <<SQL >/dev/null
SET client_min_messages = warning;
SET search_path = feature_bench;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
$3;
SELECT clock_timestamp() AS before \gset
DO \$\$ BEGIN FOR i IN 1 .. $2 LOOP PERFORM set_config('bench.i', i::text, false); EXECUTE \$q\$$3\$q\$; END LOOP; END \$\$;
INSERT INTO results SELECT '$1', extract(epoch FROM clock_timestamp() - :'before'::timestamptz) * 1000 / $2;
SQL
}
sql <<SQL >/dev/null
SET search_path = feature_bench;
CREATE TABLE few AS SELECT * FROM spine WHERE id % greatest($ROWS / 100, 1) = 0;
CREATE TABLE asked AS SELECT row_number() OVER () AS i, jsonb_build_object('user_id', user_id, 'value_prop', value_prop) AS entity FROM (SELECT DISTINCT user_id, value_prop FROM spine WHERE id % greatest($ROWS / 5000, 1) = 0) s;
CREATE INDEX ON asked (i);
ANALYZE few, asked;
SQL
entity="(SELECT entity FROM asked WHERE i = coalesce(nullif(current_setting('bench.i', true), ''), '1')::int)"
calls latest 1000 "SELECT pipeline.latest_features('feature bench', $entity)"
calls current 200 "SELECT pipeline.current_features('feature bench', $entity, (SELECT max(ts) FROM few))"
calls few 20 "SELECT $(over four) FROM pipeline.features('few', '{user_id,value_prop}', 'ts', '[$(specs four)]') AS f ($(types four))"

# ---- the columnar engines ------------------------------------------------------------------
best_of() { awk -v c="$1" -v e="$2" -v t="$3" '$1 == c && $2 == e && $4 == t {if (!n++ || $5 < best) {best = $5; form = $3}} END {if (n) print best, form}' "$work/engines"; }
: >"$work/engines"
if [ -n "$ENGINES" ] && command -v npm >/dev/null &&
  (cd "$work" && npm install --no-audit --no-fund --silent @duckdb/node-api nodejs-polars nodejs-polars-linux-x64-gnu) >"$work/npm.log" 2>&1; then
  for table in spine prints taps pays skewed_spine skewed_prints; do
    more=$(case $table in *spine) echo ', id' ;; pays) echo ', cents, substr(method, 8)' ;; esac)
    sql -c "\\copy (SELECT user_id, value_prop, (extract(epoch FROM ts) * 1000000)::bigint$more FROM feature_bench.$table) TO '$work/$table.csv' CSV"
  done
  cp "$here/feature_engines.mjs" "$work/"
  for engine in $ENGINES; do
    for threads in 1 0; do
      # The first case thoroughly; of the others, what one thread takes.
      for cases in four "${CASES#four }"; do
        [ "$cases $threads" != "${CASES#four } 0" ] || continue
        (cd "$work" && [ $threads = 0 ] || export POLARS_MAX_THREADS=$threads
         node feature_engines.mjs "$engine" "$work" "$([ "$cases" = four ] && echo "$RUNS" || echo "$SLOW_RUNS")" $threads $cases) 2>"$work/$engine.log" >>"$work/engines" ||
          { cat "$work/$engine.log"; exit 1; }
      done
    done
  done
  while read -r case engine form threads cpu sum; do
    sql -c "INSERT INTO feature_bench.results VALUES ('$case $engine $form', $cpu, $sum)"
    same "$case ours" "$case $engine $form"
  done <"$work/engines"
else
  echo "DuckDB and Polars are not measured: npm cannot install them, or ENGINES is empty."
  tail -n 2 "$work/npm.log" 2>/dev/null || true
fi

# ---- the figures --------------------------------------------------------------------------------
four=$(cpu 'four ours')
scaled() { awk -v a="$(cpu "$1")" -v n="$SAMPLE" 'BEGIN {printf "%.1f", a * n}'; }
limit() { case $1 in duckdb) echo '<= 0.30' ;; polars) echo '<= 0.40' ;; esac; }
name() {
  case $1 in
    four) echo "four features over $((14 * ROWS)) events for $ROWS rows" ;;
    windows) echo 'the same over five windows' ;;
    max) echo 'with a maximum instead of the sum' ;;
    distinct) echo 'with a distinct count' ;;
    by) echo 'with the sum spread over 5 columns' ;;
    skewed) echo 'half of it of 1 user in 100' ;;
  esac
}
for case in $CASES; do
  own=$(cpu "$case ours")
  figure "$(name "$case")" "$own s" ''
  seconds() { echo "$1 s, $(ratio "$own" "$1") of it"; }
  [ "$case" != four ] || figure '- to the bare scan of the columns' "$(ratio "$four" "$(cpu scan)")" '<= 2.5'
  [ "$case" = distinct ] || figure '- to RANGE frames' "$(seconds "$(cpu "$case frames")")" '<= 0.15'
  [ "$case" != four ] || figure '- to running sums' "$(seconds "$(cpu 'four sums')")" ''
  figure "- to LATERAL with an index (1 user in $SAMPLE, scaled)" "$(seconds "$(scaled "$case lateral")")" ''
  [ "$case" = skewed ] || figure "- to the range join (1 user in $SAMPLE, scaled)" "$(seconds "$(scaled "$case join")")" ''
  for engine in $ENGINES; do
    for threads in 1 0; do
      read -r best form <<<"$(best_of "$case" "$engine" $threads)" || true
      [ -z "$best" ] || figure "- to $engine's best form ($form), $([ $threads = 1 ] && echo 'one thread' || echo 'default threads')" "$(seconds "$best")" "$(limit "$engine")"
    done
  done
done
figure 'each of four more windows' "$(awk -v a="$(cpu 'windows ours')" -v b="$four" 'BEGIN {printf "%+.1f %%", 25 * (a / b - 1)}')" '<= +5 %'
figure '- the same of RANGE frames' "$(awk -v a="$(cpu 'windows frames')" -v b="$(cpu 'four frames')" 'BEGIN {printf "%+.0f %%", 25 * (a / b - 1)}')" ''
figure 'a maximum, to counts and sums' "$(ratio "$(cpu 'max ours')" "$four")" '<= 1.2'
figure 'a sum of floats, to counts and sums' "$(ratio "$(cpu float)" "$four")" '<= 1.2'
figure 'a distinct count, to counts and sums' "$(ratio "$(cpu 'distinct ours')" "$four")" ''
figure 'a sum spread over 5 values as a map, to counts and sums' "$(ratio "$(cpu map)" "$four")" ''
figure 'time that passes with one process that helps, to alone' "$(ratio "$(cpu 'wall 1')" "$(cpu 'wall 0')") ($(cpu 'wall 1') s of $(cpu 'wall 0') s)" '<= 0.65'
figure 'work_mem of 4 MB, spilled' "$(ratio "$(cpu spilled)" "$four")" ''
figure 'features of 100 rows of the spine, each looked up by an index' "$(cpu few) ms" ''
figure 'latest_features() of one entity' "$(cpu latest) ms" '< 1 ms'
figure 'current_features() of one entity' "$(cpu current) ms" ''
figure 'refresh of 1 % new rows, to the full refresh' "$(ratio "$(cpu incremental)" "$(cpu full)" 3) ($(cpu incremental) s of $(cpu full) s)" '<= 0.1'
sql -c "SET client_min_messages = warning" -c "SELECT pipeline.drop_feature_set('feature bench')" -c "DROP SCHEMA feature_bench CASCADE" >/dev/null

if [ -n "${REPORT:-}" ]; then
  {
    echo "| feature | measured | target |"
    echo "|---|---|---|"
    printf '%s' "$figures"
  } >"$REPORT"
fi
