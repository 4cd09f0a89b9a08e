#!/usr/bin/env bash
# merge_dimension() against what PostgreSQL can do by itself: CPU seconds of
# the backend (/proc/self/stat), peak memory of its own, WAL, each run in a
# session of its own and rolled back; medians.
#   test/bench/scd.sh PSQL-ARGUMENTS     e.g. -h /tmp/pipeline.x -U postgres dev
# ROWS=5000000 live versions beside a fifth as many closed ones; RUNS=5, of the main and the unchanged case;
# OTHER_RUNS=3.
# VARIANTS="main none new all text wide events scoped type6 effective parts small big" chooses; small has ROWS / 5,
# big 4 x ROWS, parts a table of eight partitions.
# All write the same rows, the number of the merge among them.
# Prints a table; with REPORT set, it is written there.
set -euo pipefail
ROWS=${ROWS:-5000000}
RUNS=${RUNS:-5}
OTHER_RUNS=${OTHER_RUNS:-3}
VARIANTS=${VARIANTS:-main none new all text wide events scoped type6 effective parts small big}
PSQL=(psql -qXAt -v ON_ERROR_STOP=1 "$@")

sql() { "${PSQL[@]}" -c 'SET client_min_messages = warning' -c 'SET search_path = scd_bench, public' -c "$1"; }

"${PSQL[@]}" <<'SQL'
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS scd_bench CASCADE;
CREATE SCHEMA scd_bench;
SET search_path = scd_bench;
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT (s[12]::float8 + s[13]::float8) / 100 FROM string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''), ' ') s $$;
-- The most memory of its own so far: what is resident at most, less what is shared or mapped now.
CREATE FUNCTION mb() RETURNS float8 LANGUAGE sql VOLATILE AS $$
  SELECT round(((regexp_match(s, 'VmHWM:\s+(\d+)'))[1]::numeric - (regexp_match(s, 'RssShmem:\s+(\d+)'))[1]::numeric - (regexp_match(s, 'RssFile:\s+(\d+)'))[1]::numeric) / 1024)
  FROM pg_read_file('/proc/self/status') s $$;
CREATE TABLE results (variant text, what text, cpu float8, mb float8, wal float8);
SQL

# One run: SQL between two readings, rolled back.
run() {                         # run VARIANT WHAT SETTINGS SQL
  local i
  for ((i = 0; i < RUNS; i++)); do
    "${PSQL[@]}" >/dev/null <<SQL
SET client_min_messages = warning;
SET search_path = scd_bench;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
$3
CREATE TEMP TABLE keep (cpu float8, mb float8, wal float8);
-- Each pays for the images of the pages that it writes.
CHECKPOINT;
BEGIN;
SELECT cpu() AS before, pg_current_wal_insert_lsn() AS lsn \gset
$4
SELECT cpu() - :before AS used, mb() AS mb, pg_current_wal_insert_lsn() - :'lsn'::pg_lsn AS wal \gset
ROLLBACK;
INSERT INTO results VALUES ('$1', '$2', :used, :mb, :wal);
SQL
  done
  sql 'VACUUM dim' >/dev/null
  [ "$(sql "SELECT to_regclass('snap') IS NULL")" = t ] || sql 'VACUUM snap' >/dev/null
}

COLUMNS_MAIN="'name ' || g AS name, 'city ' || g % 1000 AS city, g % 90 AS age, (g * 1.25)::numeric(12,2) AS balance, date '2000-01-01' + g % 5000 AS since"
OURS="SET work_mem = '128MB';"
THEIRS="SET work_mem = '512MB';"
MERGE="SELECT * FROM pipeline.merge_dimension('scd_bench.dim', '2024-03-01', max_delete_fraction => 1) \g /dev/null"

# A dimension of N live and N/5 closed versions, and its source as it was.
make_data() {                   # make_data N KEY COLUMNS [SQL that makes the table]
  "${PSQL[@]}" >/dev/null <<SQL
SET client_min_messages = warning;
SET search_path = scd_bench;
SET work_mem = '256MB';
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_bench';
DROP TABLE IF EXISTS src, snap, dim;
CREATE TABLE src AS SELECT $2 AS id, $3 FROM generate_series(1, $1) g;
UPDATE src SET city = 'before' WHERE age % 5 = 0;
VACUUM FULL src;
${4:-}
SELECT pipeline.create_dimension('dim', 'src', '{id}', 'snapshot', hard_deletes => 'invalidate');
SELECT pipeline.merge_dimension('dim', '2024-01-01');
UPDATE src SET city = 'after' WHERE age % 5 = 0;
SELECT pipeline.merge_dimension('dim', '2024-02-01');
VACUUM FULL src;
VACUUM FREEZE ANALYZE src;
VACUUM FREEZE ANALYZE dim;
SQL
}
# 1 % changed, 0.1 % deleted, 0.1 % new.
change_data() {                 # change_data N KEY COLUMNS
  sql "DELETE FROM src WHERE age = 7 AND since < '2000-05-15';
       UPDATE src SET city = 'changed' WHERE since BETWEEN '2001-01-01' AND '2001-02-19';
       INSERT INTO src SELECT $2, $3 FROM generate_series($1 + 1, $1 + $1 / 1000) g" >/dev/null
  sql 'VACUUM FULL src' >/dev/null
  sql 'VACUUM FREEZE ANALYZE src' >/dev/null
}
differs() {                     # as each of the contenders spells it
  echo "(s.name, s.city, s.age, s.balance, s.since) IS DISTINCT FROM (d.name, d.city, d.age, d.balance, d.since)"
}

dbt_sql() {
  local c d=""
  for c in name city age balance since; do
    d="$d${d:+ or }(d.$c != s.$c or ((d.$c is null and not s.$c is null) or (not d.$c is null and s.$c is null)))"
  done
  cat <<SQL
CREATE TEMP TABLE staging AS
WITH snapshot_query AS (SELECT * FROM src),
snapshotted_data AS (SELECT *, id AS dbt_unique_key FROM snap WHERE dbt_valid_to IS NULL),
insertions_source_data AS (SELECT *, id AS dbt_unique_key, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from, NULL::timestamp AS dbt_valid_to,
  md5(coalesce(id::varchar, '') || '|' || coalesce(now()::timestamp::varchar, '')) AS dbt_scd_id FROM snapshot_query),
updates_source_data AS (SELECT *, id AS dbt_unique_key, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from, now()::timestamp AS dbt_valid_to FROM snapshot_query),
deletes_source_data AS (SELECT *, id AS dbt_unique_key FROM snapshot_query),
insertions AS (SELECT 'insert' AS dbt_change_type, s.* FROM insertions_source_data s LEFT JOIN snapshotted_data d ON d.dbt_unique_key = s.dbt_unique_key
  WHERE d.dbt_unique_key IS NULL OR (d.dbt_unique_key IS NOT NULL AND ($d))),
updates AS (SELECT 'update' AS dbt_change_type, s.*, d.dbt_scd_id FROM updates_source_data s JOIN snapshotted_data d ON d.dbt_unique_key = s.dbt_unique_key WHERE ($d)),
deletes AS (SELECT 'delete' AS dbt_change_type, s.*, now()::timestamp AS dbt_updated_at, now()::timestamp AS dbt_valid_from, now()::timestamp AS dbt_valid_to, d.dbt_scd_id
  FROM snapshotted_data d LEFT JOIN deletes_source_data s ON d.dbt_unique_key = s.dbt_unique_key WHERE s.dbt_unique_key IS NULL)
SELECT * FROM insertions UNION ALL SELECT * FROM updates UNION ALL SELECT * FROM deletes;
UPDATE snap SET dbt_valid_to = i.dbt_valid_to FROM staging i WHERE i.dbt_scd_id = snap.dbt_scd_id AND i.dbt_change_type IN ('update', 'delete') AND snap.dbt_valid_to IS NULL;
INSERT INTO snap SELECT id, name, city, age, balance, since, dbt_scd_id, dbt_updated_at, dbt_valid_from, dbt_valid_to FROM staging WHERE dbt_change_type = 'insert';
SQL
}
merge_sql() {
  cat <<SQL
MERGE INTO dim d USING src s ON d.id = s.id AND d.is_current WHEN MATCHED AND $(differs) THEN UPDATE SET valid_to = '2024-03-01', is_current = false, close_reason = 'versioned', merge_id = 99;
UPDATE dim d SET valid_to = '2024-03-01', is_current = false, close_reason = 'missing', merge_id = 99 WHERE d.is_current AND d.surrogate_key <> -1 AND NOT EXISTS (SELECT FROM src s WHERE s.id = d.id) AND valid_to = 'infinity';
INSERT INTO dim (id, name, city, age, balance, since, valid_from, valid_to, is_current, merge_id)
SELECT s.*, '2024-03-01', 'infinity', true, 99 FROM src s LEFT JOIN (SELECT id FROM dim WHERE is_current) d ON d.id = s.id WHERE d.id IS NULL;
SQL
}
hand_sql() {
  cat <<SQL
CREATE TEMP TABLE delta AS SELECT s.*, d.tid FROM src s FULL JOIN (SELECT ctid AS tid, * FROM dim WHERE is_current AND surrogate_key <> -1) d ON d.id = s.id
WHERE s.id IS NULL OR d.id IS NULL OR $(differs);
UPDATE dim t SET valid_to = '2024-03-01', is_current = false, close_reason = CASE WHEN x.id IS NULL THEN 'missing' ELSE 'versioned' END, merge_id = 99 FROM delta x WHERE t.ctid = x.tid;
INSERT INTO dim (id, name, city, age, balance, since, valid_from, valid_to, is_current, merge_id)
SELECT id, name, city, age, balance, since, '2024-03-01', 'infinity', true, 99 FROM delta WHERE id IS NOT NULL;
SQL
}
# Events in order, each newer than the current version of its key.
make_events() {                 # make_events N EVENTS
  "${PSQL[@]}" >/dev/null <<SQL
SET client_min_messages = warning;
SET search_path = scd_bench;
SET work_mem = '256MB';
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_bench';
DROP TABLE IF EXISTS src, snap, dim;
CREATE TABLE src AS SELECT g AS id, $COLUMNS_MAIN, 'I'::text AS op, timestamptz '2024-01-01' AS at FROM generate_series(1, $1) g;
SELECT pipeline.create_dimension('dim', 'src', '{id}', 'cdc', effective_at => 'at', operation => 'op');
SELECT pipeline.merge_dimension('dim');
TRUNCATE src;
INSERT INTO src SELECT g * ($1 / $2) AS id, $COLUMNS_MAIN, 'U', '2024-03-01' FROM generate_series(1, $2) g;
VACUUM FREEZE ANALYZE src;
VACUUM FREEZE ANALYZE dim;
SQL
}
events_sql() {
  cat <<SQL
CREATE TEMP TABLE delta AS SELECT s.*, d.ctid AS tid FROM src s JOIN dim d ON d.id = s.id AND d.is_current WHERE s.at > d.valid_from AND $(differs);
UPDATE dim t SET valid_to = x.at, is_current = false, close_reason = 'versioned', merge_id = 99 FROM delta x WHERE t.ctid = x.tid;
INSERT INTO dim (id, name, city, age, balance, since, valid_from, valid_to, is_current, merge_id) SELECT id, name, city, age, balance, since, at, 'infinity', true, 99 FROM delta;
SQL
}
# What create_dimension() is given beyond that, and its history: ROWS live, a fifth as many closed.
make_other() {                  # make_other N COLUMNS FEED OPTIONS
  "${PSQL[@]}" >/dev/null <<SQL
SET client_min_messages = warning;
SET search_path = scd_bench;
SET work_mem = '256MB';
SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path = 'scd_bench';
DROP TABLE IF EXISTS src, snap, dim;
CREATE TABLE src AS SELECT g AS id, $2 FROM generate_series(1, $1) g;
SELECT pipeline.create_dimension('dim', 'src', '{id}', '$3', hard_deletes => 'invalidate', max_delete_fraction => 1, $4);
SELECT pipeline.merge_dimension('dim'$5);
VACUUM FULL src;
VACUUM FREEZE ANALYZE src;
VACUUM FREEZE ANALYZE dim;
SQL
}
JOIN="SELECT count(*) FROM src s FULL JOIN (SELECT id, name, city, age, balance, since FROM dim WHERE is_current AND surrogate_key <> -1) d USING (id);"
PARTS="CREATE TABLE dim (surrogate_key bigint GENERATED BY DEFAULT AS IDENTITY, LIKE src, valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL, is_current boolean NOT NULL,
  close_reason text, merge_id bigint, UNIQUE (id, valid_from)) PARTITION BY HASH (id);
SELECT format('CREATE TABLE dim_%1\$s PARTITION OF dim FOR VALUES WITH (MODULUS 8, REMAINDER %1\$s) WITH (fillfactor = 90)', g) FROM generate_series(0, 7) g \gexec"
SCANS="SELECT count(since) FROM src; SELECT count(is_current) FROM dim;"

for variant in $VARIANTS; do
  echo "== $variant, $ROWS rows"
  case $variant in main|none) ;; *) RUNS=$OTHER_RUNS ;; esac
  case $variant in
    main)
      make_data "$ROWS" g "$COLUMNS_MAIN"
      sql "CREATE TABLE snap AS SELECT id, name, city, age, balance, since, md5(id::text || valid_from) AS dbt_scd_id, valid_from::timestamp AS dbt_updated_at,
             valid_from::timestamp AS dbt_valid_from, CASE WHEN valid_to <> 'infinity' THEN valid_to::timestamp END AS dbt_valid_to FROM dim WHERE surrogate_key <> -1" >/dev/null
      sql 'VACUUM FREEZE ANALYZE snap' >/dev/null
      change_data "$ROWS" g "$COLUMNS_MAIN"
      run main 'merge_dimension()' "$OURS" "$MERGE"
      run main "dbt''s statements" "$THEIRS" "$(dbt_sql)"
      run main 'MERGE + INSERT' "$THEIRS" "$(merge_sql)"
      run main 'hand-written' "$THEIRS" "$(hand_sql)"
      run main 'the bare join, count(*)' "$THEIRS" "$JOIN"
      run main 'by the executor' "$THEIRS SET pipeline.direct_access = off;" "$MERGE"
      sql 'DROP TABLE snap' >/dev/null
      ;;
    none)
      make_data "$ROWS" g "$COLUMNS_MAIN"
      run none 'merge_dimension()' "$OURS" "$MERGE"
      run none 'two sequential scans' "$THEIRS" "$SCANS"
      ;;
    new)
      make_data "$((ROWS / 5))" g "$COLUMNS_MAIN"
      sql "DELETE FROM dim WHERE surrogate_key <> -1" >/dev/null
      sql 'VACUUM FULL dim' >/dev/null
      run new 'merge_dimension()' "$OURS" "$MERGE"
      run new 'INSERT ... SELECT' "$THEIRS" "INSERT INTO dim (id, name, city, age, balance, since, valid_from, valid_to, is_current, merge_id) SELECT *, '2024-03-01', 'infinity', true, 99 FROM src;"
      ;;
    all)
      make_data "$((ROWS / 5))" g "$COLUMNS_MAIN"
      sql "UPDATE src SET city = city || 'x'" >/dev/null
      sql 'VACUUM FULL src' >/dev/null
      run all 'merge_dimension()' "$OURS" "$MERGE"
      run all 'hand-written' "$THEIRS" "$(hand_sql)"
      ;;
    text)
      make_data "$ROWS" "('customer ' || g)" "$COLUMNS_MAIN"
      change_data "$ROWS" "('customer ' || g)" "$COLUMNS_MAIN"
      run text 'merge_dimension()' "$OURS" "$MERGE"
      run text 'hand-written' "$THEIRS" "$(hand_sql)"
      run text 'the bare join, count(*)' "$THEIRS" "$JOIN"
      ;;
    wide)
      wide="$COLUMNS_MAIN$(for i in $(seq 1 95); do printf ", g %% %d AS n%d" "$((i + 2))" "$i"; done)"
      make_data "$((ROWS / 10))" g "$wide"
      sql "UPDATE src SET n50 = -1 WHERE since BETWEEN '2001-01-01' AND '2001-02-19'" >/dev/null
      sql 'VACUUM FULL src' >/dev/null
      list=$(for i in $(seq 1 95); do printf ", n%d" "$i"; done)
      run wide 'merge_dimension()' "$OURS" "$MERGE"
      run wide 'hand-written' "$THEIRS" "CREATE TEMP TABLE delta AS SELECT s.*, d.tid FROM src s FULL JOIN (SELECT ctid AS tid, * FROM dim WHERE is_current AND surrogate_key <> -1) d ON d.id = s.id
        WHERE s.id IS NULL OR d.id IS NULL OR (s.name, s.city, s.age, s.balance, s.since${list//n/s.n}) IS DISTINCT FROM (d.name, d.city, d.age, d.balance, d.since${list//n/d.n});
        UPDATE dim t SET valid_to = '2024-03-01', is_current = false, close_reason = 'versioned', merge_id = 99 FROM delta x WHERE t.ctid = x.tid;
        INSERT INTO dim (id, name, city, age, balance, since$list, valid_from, valid_to, is_current, merge_id) SELECT id, name, city, age, balance, since$list, '2024-03-01', 'infinity', true, 99 FROM delta WHERE id IS NOT NULL;"
      ;;
    events)
      make_events "$((ROWS / 5))" "$((ROWS / 500))"
      run events 'merge_dimension()' "$OURS" "$MERGE"
      run events 'hand-written' "$THEIRS" "$(events_sql)"
      ;;
    scoped)
      # Ten of a hundred branches; 1 % of them changed, 0.1 % gone.
      make_other "$((ROWS / 5))" "$COLUMNS_MAIN, g % 100 AS branch" scoped_snapshot "scope => '{branch}'" ", '2024-01-01'"
      sql "DELETE FROM src WHERE branch >= 10 OR id % 1000 = 0; UPDATE src SET city = 'changed' WHERE since BETWEEN '2001-01-01' AND '2001-02-19'" >/dev/null
      sql 'VACUUM FULL src' >/dev/null
      run scoped 'merge_dimension()' "$OURS" "$MERGE"
      run scoped 'hand-written' "$THEIRS" "$(hand_sql | sed 's/is_current AND surrogate_key <> -1/is_current AND branch IN (SELECT branch FROM src)/; s/balance, since/balance, since, branch/g')"
      ;;
    type6)
      make_other "$((ROWS / 5))" "$COLUMNS_MAIN" snapshot "type6 => '{city}'" ", '2024-01-01'"
      sql "UPDATE src SET city = 'changed' WHERE since BETWEEN '2001-01-01' AND '2001-02-19'" >/dev/null
      sql 'VACUUM FULL src' >/dev/null
      run type6 'merge_dimension()' "$OURS" "$MERGE"
      run type6 'hand-written' "$THEIRS" "$(hand_sql | sed 's/(id, name, city,/(id, name, current_city, city,/; s/SELECT id, name, city,/SELECT id, name, city, city,/')
        UPDATE dim t SET current_city = x.city FROM delta x WHERE t.id = x.id AND t.current_city IS DISTINCT FROM x.city;"
      ;;
    effective)
      # A snapshot that says of each row since when it is so.
      make_other "$((ROWS / 5))" "$COLUMNS_MAIN, timestamptz '2024-01-01' AS at" snapshot "effective_at => 'at'" ""
      sql "UPDATE src SET city = 'changed', at = '2024-03-01' WHERE since BETWEEN '2001-01-01' AND '2001-02-19'" >/dev/null
      sql 'VACUUM FULL src' >/dev/null
      run effective 'merge_dimension()' "$OURS" "SELECT * FROM pipeline.merge_dimension('scd_bench.dim') \\g /dev/null"
      run effective 'hand-written' "$THEIRS" "$(hand_sql | sed "s/valid_to = '2024-03-01'/valid_to = x.at/; s/since, '2024-03-01'/since, at/")"
      ;;
    parts)
      make_data "$ROWS" g "$COLUMNS_MAIN" "$PARTS"
      change_data "$ROWS" g "$COLUMNS_MAIN"
      run parts 'merge_dimension()' "$OURS" "$MERGE"
      run parts 'hand-written' "$THEIRS" "$(hand_sql | sed 's/ctid AS tid/tableoid AS rel, ctid AS tid/; s/d\.tid FROM/d.tid, d.rel FROM/; s/t\.ctid = x\.tid/t.ctid = x.tid AND t.tableoid = x.rel/')"
      ;;
    small)
      make_data "$((ROWS / 5))" g "$COLUMNS_MAIN"
      change_data "$((ROWS / 5))" g "$COLUMNS_MAIN"
      run small 'merge_dimension()' "$OURS" "$MERGE"
      run small 'hand-written' "$THEIRS" "$(hand_sql)"
      run small 'the bare join, count(*)' "$THEIRS" "$JOIN"
      ;;
    big)
      RUNS=1
      make_data "$((ROWS * 4))" g "$COLUMNS_MAIN"
      change_data "$((ROWS * 4))" g "$COLUMNS_MAIN"
      run big 'merge_dimension()' "SET work_mem = '512MB';" "$MERGE"
      run big 'in partitions' "SET work_mem = '64MB';" "$MERGE"
      run big 'the bare join, count(*)' "$THEIRS" "$JOIN"
      ;;
  esac
  sql "WITH m AS (SELECT variant, what, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu, max(mb) AS mb, percentile_cont(0.5) WITHIN GROUP (ORDER BY wal) / 1048576 AS wal FROM results WHERE variant = '$variant' GROUP BY 1, 2)
    SELECT format('%-26s %8s s CPU  %6s MB  %8s MB WAL  ours is %s of it', what, round(cpu::numeric, 2), mb, round(wal::numeric, 2), round((o.ours / nullif(cpu, 0))::numeric, 2))
    FROM m, (SELECT cpu AS ours FROM m WHERE what = 'merge_dimension()') o ORDER BY cpu"
done

{
  echo "| data | what | CPU s | memory MB | WAL MB | CPU of merge_dimension() | WAL of it |"
  echo "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
  sql "WITH m AS (SELECT variant, what, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu, max(mb) AS mb, percentile_cont(0.5) WITHIN GROUP (ORDER BY wal) / 1048576 AS wal FROM results GROUP BY 1, 2)
    SELECT format('| %s | %s | %s | %s | %s | %s | %s |', CASE m.variant
        WHEN 'main' THEN '$ROWS live, a fifth as many closed; 1 % changed, 0.1 % deleted, 0.1 % new' WHEN 'none' THEN 'the same, nothing changed' WHEN 'new' THEN '$((ROWS / 5)) rows, all new'
        WHEN 'all' THEN '$((ROWS / 5)) live, all changed' WHEN 'text' THEN 'as the first, a text key' WHEN 'events' THEN '$((ROWS / 5)) live; $((ROWS / 500)) events in order' WHEN 'parts' THEN 'as the first, in 8 partitions' WHEN 'scoped' THEN '$((ROWS / 5)) live; a tenth of the scopes, 1 % changed' WHEN 'type6' THEN '$((ROWS / 5)) live, a column of type 6, 1 % changed' WHEN 'effective' THEN '$((ROWS / 5)) live, a snapshot with times, 1 % changed' WHEN 'small' THEN '$((ROWS / 5)) live, 1 % changed' WHEN 'wide' THEN '$((ROWS / 10)) live, 100 columns, 1 % changed' ELSE '$((ROWS * 4)) live, 1 % changed' END,
      m.what, round(m.cpu::numeric, 2), m.mb, round(m.wal::numeric, 1), CASE WHEN m.what <> 'merge_dimension()' THEN 'x ' || round((o.cpu / nullif(m.cpu, 0))::numeric, 2) ELSE '' END,
      CASE WHEN m.what <> 'merge_dimension()' AND m.wal > 0.05 THEN 'x ' || round((o.wal / m.wal)::numeric, 3) ELSE '' END)
    FROM m JOIN m o ON o.variant = m.variant AND o.what = 'merge_dimension()'
    ORDER BY array_position('{main,none,new,all,text,wide,events,scoped,type6,effective,parts,small,big}', m.variant), m.what <> 'merge_dimension()', m.cpu"
} | tee "${REPORT:-/dev/null}"
sql 'SELECT pipeline.drop_dimension(dimension, true) FROM pipeline.dimensions WHERE search_path LIKE '"'scd_bench%'" >/dev/null
sql 'DROP SCHEMA scd_bench CASCADE' >/dev/null
