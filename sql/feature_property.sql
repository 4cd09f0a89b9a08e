-- features() against a naive oracle in plain SQL, one correlated subquery a
-- feature, on hundreds of random combinations of data, time zones, windows,
-- filters and aggregates. A failure prints its seed and its specification.
CREATE SCHEMA feature_property;
SET search_path = feature_property;
SET datestyle = 'ISO, YMD';
SET statement_timeout = '240s';
SET jit = off;	-- what is switched off below costs so much that it would compile
SET client_min_messages = warning;	-- left-out rows are counted elsewhere

-- One element of an array.
CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text
LANGUAGE sql VOLATILE AS
$$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;

-- NULL now and then.
CREATE FUNCTION sparse(value anyelement, chance float8) RETURNS anyelement
LANGUAGE sql VOLATILE AS
$$ SELECT CASE WHEN random() >= chance THEN value END $$;

-- A time near one of two changes of clocks, on a grid, so that there are ties.
CREATE FUNCTION moment() RETURNS timestamp
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  base timestamp := pick('2024-03-08', '2024-03-28', '2024-10-25', '2024-11-01', '2024-01-29');
  step text := pick('1 hour', '30 minutes', '1 day', '00:00:00.000001');
BEGIN
  IF random() < 0.01 THEN RETURN pick('infinity', '-infinity'); END IF;
  RETURN base + floor(random() * 60) * step::interval;
END $$;

CREATE FUNCTION make_data() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DROP TABLE IF EXISTS spine_epoch, e_epoch, spine_tz, spine_ts, spine_date, e_tz, e_ts, e_date;
  CREATE TABLE spine_tz AS
    SELECT n, sparse((random() * 4)::int, 0.03) AS a,
           sparse(pick('x', 'y', 'Y', ''), 0.03) AS b,
           sparse(moment()::timestamptz, 0.03) AS t
    FROM generate_series(1, (random() * 80)::int) n;
  CREATE TABLE spine_ts AS SELECT n, a::smallint AS a, b::varchar(5) AS b, t::timestamp AS t FROM spine_tz;
  CREATE TABLE spine_epoch AS SELECT n, a, b, floor(extract(epoch FROM t))::bigint AS t FROM spine_tz WHERE t IS NULL OR isfinite(t);
  CREATE TABLE spine_date AS SELECT n, a::numeric AS a, b, t::date AS t FROM spine_tz;
  CREATE TABLE e_tz AS
    SELECT sparse((random() * 5)::int, 0.03) AS a,
           sparse(pick('x', 'y', 'Y', '', 'z'), 0.03) AS b,
           sparse(moment()::timestamptz, 0.03) AS t,
           sparse((random() * 60000 - 30000)::int2, 0.1) AS i2,
           sparse((random() * 4e9 - 2e9)::int4, 0.1) AS i4,
           sparse((random() * 1.8e19 - 9e18)::numeric::int8, 0.1) AS i8,
           sparse(CASE pick('one', 'two', 'six', 'nan', 'inf', 'neg')
                  WHEN 'one' THEN round((random() * 100)::numeric, 1)
                  WHEN 'two' THEN round((random() * 1e6)::numeric, 2)
                  WHEN 'six' THEN round((random() * 10)::numeric, 6)
                  WHEN 'nan' THEN CASE WHEN random() < 0.1 THEN 'NaN'::numeric ELSE 7 END
                  WHEN 'inf' THEN CASE WHEN random() < 0.1 THEN pick('Infinity', '-Infinity')::numeric ELSE 1e30 END
                  ELSE round((random() * -100)::numeric, 2) END, 0.1) AS num,
           sparse(round((random() * 100)::numeric, 2), 0.1) AS money2,
           sparse(round(random() * 4000) / 4, 0.1) AS f8,
           sparse((round(random() * 400) / 4)::float4, 0.1) AS f4,
           sparse(pick('a', 'B', 'bb', 'C', 'zeta', ''), 0.1) AS txt,
           sparse('2024-01-01'::date + (random() * 100)::int, 0.1) AS d,
           random() < 0.5 AS flag
    FROM generate_series(1, (random() * 200)::int);
  ALTER TABLE e_tz ADD known timestamptz;
  UPDATE e_tz SET known = sparse(CASE WHEN random() < 0.3 OR NOT isfinite(t) THEN t
    ELSE t + floor(random() * 20 - 4) * pick('1 hour', '6 hours', '1 day', '30 days')::interval END, 0.05);
  CREATE TABLE e_ts AS SELECT *, t::timestamp AS t2 FROM e_tz;
  ALTER TABLE e_ts DROP COLUMN t;
  ALTER TABLE e_ts RENAME t2 TO t;
  ALTER TABLE e_ts ALTER a TYPE bigint;
  CREATE TABLE e_epoch AS SELECT a, b, floor(extract(epoch FROM t))::bigint AS t, i2, i4, i8, num, money2, f8, f4, txt, d, flag, floor(extract(epoch FROM known))::bigint AS known
    FROM e_tz WHERE (t IS NULL OR isfinite(t)) AND (known IS NULL OR isfinite(known));
  CREATE TABLE e_date AS SELECT *, t::date AS day, a AS "Who Is", b::text AS "it's" FROM e_tz;
  ALTER TABLE e_date ALTER known TYPE date;
  ALTER TABLE e_ts ALTER known TYPE timestamp;
  ALTER TABLE e_date DROP COLUMN t, DROP COLUMN a, DROP COLUMN b;
  CREATE INDEX ON e_tz (b, a, t);
  CREATE INDEX ON e_ts (a, t);
  CREATE INDEX ON e_epoch (a, b);
  CREATE INDEX ON e_date ("it's", "Who Is", day);
END $$;

-- The k most frequent elements of an array.
CREATE FUNCTION top_of(elements anyarray, k int) RETURNS anyarray LANGUAGE sql AS $$
  SELECT array_agg(e ORDER BY n DESC, e) FROM (SELECT e, count(*) AS n FROM unnest(elements) e GROUP BY e ORDER BY n DESC, e LIMIT k) x $$;
-- The only aggregate in reach that takes values back and cannot combine.
CREATE FUNCTION plus(int8, int4, int4) RETURNS int8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 + $2 * $3';
CREATE FUNCTION minus(int8, int4, int4) RETURNS int8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2 * $3';
CREATE AGGREGATE weighted_sum(int4, int4) (sfunc = plus, stype = int8, initcond = '0', msfunc = plus, minvfunc = minus, mstype = int8, minitcond = '0');
CREATE AGGREGATE inverse_sum(int4) (sfunc = int4_sum, stype = int8, msfunc = int4_avg_accum, minvfunc = int4_avg_accum_inv,
  mstype = int8[], minitcond = '{0,0}', mfinalfunc = int2int4_sum);

-- One random feature: its element for features(), and its oracle.
CREATE FUNCTION make_feature(name text, knows boolean DEFAULT false, OUT spec jsonb, OUT oracle text, OUT shown text)
LANGUAGE plpgsql AS $$
DECLARE
  source text := pick('e_tz', 'e_tz', 'e_epoch', 'e_ts', 'e_date', 'SELECT * FROM e_tz WHERE flag', 'spine_tz');
  of_spine boolean := source = 'spine_tz' AND NOT knows;
  aggregate text := pick('count', 'count', 'sum', 'sum', 'avg', 'min', 'max', 'exists', 'count_distinct', 'count_distinct',
                         'first', 'last', 'time_since_first', 'time_since_last', 'stddev', 'variance',
                         'last_k', 'top_k', 'rate', 'percentile', 'percentile', 'decayed_sum', 'other', 'other');
  k int := 1 + floor(random() * 4);
  args jsonb;
  own text;	-- the oracle's expression, where it is not the aggregate's name
  spread text;
  second text;	-- argument
  value text;
  lookback text := pick('0', '1 hour', '90 minutes', '1 day', '24 hours', '3 days', '7 days', '21 days',
                        '1 month', '1 month 3 days', '1 month -10 days', '1 year', '0.000001 seconds');
  lookahead text := pick('0', '0', '0', '1 day', '36 hours', '1 month', '1 month -2 days', '-1 hour', '-1 day', '-7 days', '-1 month', '0.000001 seconds');
  align text := CASE WHEN random() < 0.25 THEN pick('second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year') END;
  at text := 's.t';
  closed text := pick('left', 'left', 'right', 'both', 'none');
  filter text := CASE WHEN random() < 0.4 THEN
    CASE WHEN of_spine THEN pick('n % 2 = 0', 'b = ''x'' -- comment')
         ELSE pick('flag', 'i4 > 0', 'num IS NULL', 'txt < ''c''', 'false', 'NULL::boolean') END END;
  fallback text;
  a text := 'a'; b text := 'b'; t text := 't';
  condition text;
  counted text;
  type text := CASE source WHEN 'e_ts' THEN 'timestamp' ELSE 'timestamptz' END;
BEGIN
  IF knows AND source = 'spine_tz' THEN source := 'e_tz'; END IF;
  IF lookback::interval + lookahead::interval < '0' THEN lookahead := '0'; END IF;
  IF align IS NOT NULL THEN
    lookback := CASE WHEN align IN ('second', 'minute', 'hour') THEN pick('0', '1 hour', '3 hours', '1 day 2 hours')
                     WHEN align = 'day' THEN pick('0', '1 day', '7 days', '1 month')
                     WHEN align = 'week' THEN pick('0', '7 days', '21 days')
                     ELSE pick('0', '1 year') END;
    lookahead := CASE WHEN align IN ('second', 'minute', 'hour') THEN pick('0', '0', '1 hour', '1 day')
                      WHEN align = 'day' THEN pick('0', '0', '1 day', '1 month')
                      WHEN align = 'week' THEN pick('0', '0', '7 days')
                      ELSE pick('0', '0', '1 year') END;
    IF lookback::interval >= '1 day' AND align IN ('day', 'hour') AND random() < 0.2 THEN lookahead := '-1 day'; END IF;
    at := format('date_trunc(%L, s.t)', align);
  END IF;
  IF aggregate IN ('sum', 'avg') THEN
    value := CASE WHEN of_spine THEN 'n' ELSE
      pick('i2', 'i4', 'i8', 'num', 'money2', 'f8', 'f4', 'i4::numeric / 3', '1', 'CASE WHEN flag THEN i2 END') END;
  ELSIF aggregate = 'other' THEN
    IF of_spine THEN aggregate := pick('bit_or', 'pg_catalog.sum'); value := 'n';
    ELSE
      aggregate := pick('bit_or', 'bit_and', 'pg_catalog.sum', 'pg_catalog.avg', 'var_pop', 'stddev_pop', 'bool_or', 'bool_and', 'inverse_sum', 'pg_catalog.max');
      value := CASE WHEN aggregate ~ '^bit' THEN pick('i2', 'i4', 'i8') WHEN aggregate ~ '^bool' THEN 'flag' WHEN aggregate = 'inverse_sum' THEN 'i2'
                    WHEN aggregate ~ 'max' THEN pick('txt', 'd', 'num', 'i2') ELSE pick('i2', 'i4', 'i8', 'num', 'money2', 'num * i2 / 7') END;
      IF random() < 0.25 THEN
        aggregate := pick('corr', 'covar_pop', 'regr_count', 'weighted_sum'); value := pick('i2', 'i2 % 5'); second := pick('i2 % 3', 'i2 * 2', 'length(txt)');
        args := jsonb_build_object('arguments', jsonb_build_array(second));
        own := format('%s(%s, %s) %%s', aggregate, value, second);
      END IF;
    END IF;
  ELSIF aggregate IN ('percentile', 'decayed_sum') THEN
    value := CASE WHEN of_spine THEN 'n' WHEN aggregate = 'percentile' THEN pick('i2', 'i4', 'i8', 'num', 'money2', 'f8', 'f4') ELSE pick('i2', 'f8', 'money2') END;
  ELSIF aggregate IN ('stddev', 'variance') THEN
    value := CASE WHEN of_spine THEN 'n' ELSE
      pick('i2', 'i4', 'i8', 'num', 'money2', 'f8', 'f4', 'i4::numeric / 3', '1', 'num * i2 / 7') END;
  ELSIF aggregate IN ('min', 'max', 'first', 'last', 'count_distinct', 'last_k', 'top_k') THEN
    value := CASE WHEN of_spine THEN pick('n', 't', 'b') ELSE
      pick('i2', 'i4', 'i8', 'num', 'f8', 'f4', 'txt', 'd', 'ARRAY[i2]', 'txt COLLATE "C"') END;
    IF aggregate IN ('first', 'last', 'last_k', 'top_k') AND value ~ 'ARRAY' THEN value := 'i2'; END IF;
  ELSIF random() < 0.4 THEN
    value := CASE WHEN of_spine THEN pick('n', 'b') ELSE pick('i2', 'txt', 'num') END;
  END IF;
  IF source = 'e_date' THEN
    a := '"Who Is"'; b := '"it''s"'; t := 'day';
  END IF;
  -- There is no time since an infinite time.
  IF aggregate ~ '^time|^decayed' AND source <> 'e_epoch' THEN filter := format('isfinite(%s)', t) || coalesce(' AND ' || filter, ''); END IF;
  IF random() < 0.2 AND aggregate IN ('count', 'count_distinct', 'exists') THEN
    fallback := CASE aggregate WHEN 'exists' THEN 'true' ELSE '-1' END;
  ELSIF random() < 0.2 AND aggregate !~ '^count|^exists|^time|_k$' AND value IN ('i2', 'i4', 'i8', 'num', 'f8') THEN
    fallback := '-7';
  END IF;
  CASE aggregate
    WHEN 'last_k' THEN args := jsonb_build_object('k', k); own := format('(array_agg(%s ORDER BY e.%s DESC, %s DESC) %%s)[1:%s]', value, t, value, k);
    WHEN 'top_k' THEN args := jsonb_build_object('k', k); own := format('top_of(array_agg(%s) %%s, %s)', value, k);
    WHEN 'percentile' THEN
      args := jsonb_build_object('fraction', pick('0', '0.5', '0.9', '1', '0.333')::numeric, 'method', pick('cont', 'disc'));
      own := format('percentile_%s(%s) WITHIN GROUP (ORDER BY %s%s) %%s', args->>'method', args->>'fraction', value, CASE args->>'method' WHEN 'cont' THEN '::float8' ELSE '' END);
    WHEN 'decayed_sum' THEN
      args := jsonb_build_object('half_life', pick('10 days', '1000 hours'));
      own := format('sum((%s)::float8 * power(2::float8, -extract(epoch FROM %s - e.%s%s)::float8 / extract(epoch FROM %L::interval)::float8)) %%s',
                    value, at, t, CASE t WHEN 'day' THEN '::timestamp' ELSE '' END, args->>'half_life');
    WHEN 'rate' THEN
      IF random() < 0.7 THEN args := jsonb_build_object('per', pick('1 hour', '2 days')); END IF;
    ELSE
  END CASE;
  IF random() < 0.12 AND NOT aggregate IN ('rate', 'decayed_sum', 'corr', 'covar_pop') AND coalesce(value, '') NOT IN ('f8', 'f4') AND fallback IS NULL THEN
    spread := CASE WHEN of_spine THEN pick('n % 3', 'b') ELSE pick('txt', 'i2 % 4', 'flag') END;
  END IF;
  spec := jsonb_strip_nulls(jsonb_build_object('feature', name, 'source', source, 'aggregate', aggregate,
    'value', value, 'lookback', lookback, 'lookahead', CASE WHEN lookahead <> '0' OR random() < 0.5 THEN lookahead END, 'align', align, 'closed', closed, 'filter', filter, 'default_value', fallback, 'by', spread, 'args', args));
  IF source = 'e_date' THEN
    spec := spec || '{"entity": ["Who Is", "it''s"], "event_time": "day"}';
  END IF;
  condition := format('e.%s = s.a AND e.%s = s.b AND e.%s %s %s - %L::interval AND e.%s %s %s + %L::interval%s',
    a, b, t, CASE WHEN closed IN ('left', 'both') THEN '>=' ELSE '>' END, at, lookback,
    t, CASE WHEN closed IN ('right', 'both') THEN '<=' ELSE '<' END, at, lookahead,
    E' AND (e.' || t || ' < $1 OR $1 IS NULL)');
  IF knows THEN
    condition := condition || ' AND e.known IS NOT NULL AND (e.known < $1 OR $1 IS NULL)';
    IF lookahead::interval <= '0' THEN
      condition := condition || format(' AND e.known %s %s', CASE WHEN closed IN ('right', 'both') THEN '<=' ELSE '<' END, at);
    END IF;
  END IF;
  IF source = 'e_epoch' THEN source := 'SELECT a, b, to_timestamp(t) AS t, i2, i4, i8, num, money2, f8, f4, txt, d, flag, to_timestamp(known) AS known FROM e_epoch'; END IF;
  IF of_spine THEN source := 'TABLE spine_tz'; ELSIF source !~ ' ' THEN source := 'TABLE ' || source; END IF;
  counted := format('FILTER (WHERE (%s) AND (%s) IS NOT NULL)', coalesce(filter || E'\n', 'true'), coalesce(value || ') IS NOT NULL AND (' || second, value, '1'));
  IF own IS NOT NULL THEN own := replace(own, '%s', counted); END IF;
  IF aggregate = 'rate' THEN
    own := format($q$CASE WHEN isfinite(s.t) AND (%1$s + %2$L::interval)%4$s > (%1$s - %3$L::interval)%4$s
                     THEN count(*) %5$s * extract(epoch FROM %6$L::interval)::float8 / extract(epoch FROM (%1$s + %2$L::interval)%4$s - (%1$s - %3$L::interval)%4$s)::float8 END$q$,
      at, lookahead::interval, lookback::interval, CASE WHEN source IN ('TABLE e_ts', 'TABLE e_date') THEN '' ELSE '::timestamptz' END, counted, coalesce(args->>'per', '1 second'));
  END IF;
  oracle := format('(SELECT CASE WHEN count(*) %s = 0 THEN %s ELSE %s END FROM (%s) e WHERE %s)', counted,
    coalesce(fallback, CASE WHEN aggregate ~ '^count' THEN '0' WHEN aggregate = 'exists' THEN 'false' WHEN aggregate = 'rate' THEN own ELSE 'NULL' END),
    CASE WHEN own IS NOT NULL THEN own ELSE CASE aggregate
      WHEN 'exists' THEN 'true'
      WHEN 'count' THEN 'count(*) ' || counted
      WHEN 'count_distinct' THEN format('count(DISTINCT %s) %s', value, counted)
      WHEN 'first' THEN format('(array_agg(%s ORDER BY e.%s, %s) %s)[1]', value, t, value, counted)
      WHEN 'last' THEN format('(array_agg(%s ORDER BY e.%s DESC, %s DESC) %s)[1]', value, t, value, counted)
      WHEN 'time_since_first' THEN format('%s - (min(e.%s) %s)::%s', at, t, counted, CASE t WHEN 'day' THEN 'timestamp' ELSE type END)
      WHEN 'time_since_last' THEN format('%s - (max(e.%s) %s)::%s', at, t, counted, CASE t WHEN 'day' THEN 'timestamp' ELSE type END)
      ELSE format('%s(%s) %s', aggregate, value, counted)
    END END, source, condition);
  IF spread IS NOT NULL THEN
    oracle := replace(replace(oracle, '(SELECT CASE', format('(SELECT (%s)::text AS k, CASE', spread)), ' FROM (' || source || ') e', ' AS v FROM (' || source || ') e');
    oracle := format('(SELECT coalesce(jsonb_object_agg(k, v), ''{}'') FROM %s GROUP BY 1 HAVING count(*) %s > 0) g WHERE k IS NOT NULL AND v IS NOT NULL)', left(oracle, -1), counted);
  END IF;
  -- What is exact must even print alike.
  shown := CASE WHEN spread IS NOT NULL THEN '%s' WHEN aggregate IN ('rate', 'decayed_sum') THEN 'to_char((%s * 1.234567)::numeric, ''9.9999999999EEEE'')' WHEN aggregate ~ 'corr|covar' THEN 'CASE WHEN abs(%1$s) >= 0.001 THEN to_char((%1$s * 1.234567)::numeric, ''9.9999999EEEE'') WHEN abs(%1$s) >= 0 THEN ''0'' END' WHEN aggregate ~ 'pg_catalog|_pop|inverse' THEN '%s::text' WHEN aggregate IN ('stddev', 'variance') AND value IN ('f8', 'f4') THEN 'round((%s * 1.234567)::numeric, 5)'
                WHEN aggregate IN ('sum', 'avg', 'stddev', 'variance', 'time_since_first', 'time_since_last') THEN '%s::text'
                ELSE '%s' END;
END $$;

CREATE FUNCTION try(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  spine text := pick('spine_tz', 'spine_tz', 'spine_ts', 'spine_date', 'spine_epoch');
  as_of timestamptz := CASE WHEN random() < 0.3 THEN moment() END;
  specs jsonb := '[]';
  wanted text := 's.*';
  got text := 'f.n, f.a, f.b, f.t';
  columns text;
  f record;
  differences bigint;
BEGIN
  FOR i IN 1 .. 1 + floor(random() * 5) LOOP
    f := make_feature('f' || i);
    specs := specs || f.spec;
    wanted := wanted || ', ' || format(f.shown, f.oracle);
    got := got || ', ' || format(f.shown, 'f' || i);
  END LOOP;
  -- A date is its midnight.
  IF spine = 'spine_epoch' THEN wanted := 's.n, s.a, s.b, floor(extract(epoch FROM s.t))::bigint' || substr(wanted, 4); END IF;
  IF spine = 'spine_date' THEN wanted := regexp_replace(wanted, '\ms\.t\M', 's.t::timestamp', 'g'); END IF;
  columns := pipeline.features_columns(spine, '{a,b}', 't', specs);
  EXECUTE format($q$
    WITH wanted AS MATERIALIZED (
      SELECT %s FROM %s s WHERE a IS NOT NULL AND b IS NOT NULL AND t IS NOT NULL AND (t < $1 OR $1 IS NULL)),
    got AS MATERIALIZED (
      SELECT %s FROM pipeline.features($2, '{a,b}', 't', $3, $1) AS f (%s))
    SELECT (SELECT count(*) FROM (TABLE wanted EXCEPT ALL TABLE got) x)
         + (SELECT count(*) FROM (TABLE got EXCEPT ALL TABLE wanted) x)$q$,
    wanted, CASE spine WHEN 'spine_epoch' THEN '(SELECT n, a, b, to_timestamp(t) AS t FROM spine_epoch)' ELSE spine END, got, columns) INTO differences USING as_of, spine, specs;
  IF differences > 0 THEN
    RETURN format('seed %s: %s differences, spine %s, as_of %s, time zone %s: %s',
                  seed, differences, spine, as_of, current_setting('TimeZone'), specs);
  END IF;
  RETURN NULL;
END $$;

-- The same through a set, whose events are known later than they happen.
CREATE FUNCTION try_known(seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  spine text := pick('spine_tz', 'spine_tz', 'spine_ts', 'spine_date', 'spine_epoch');
  as_of timestamptz := CASE WHEN random() < 0.3 THEN moment() END;
  wanted text := 's.*';
  got text := 'f.n, f.a, f.b, f.t';
  specs jsonb := '[]';
  f record;
  differences bigint;
BEGIN
  PERFORM pipeline.create_feature_set('feature_property', spine, '{a,b}', 't', target => 'feature_property.known_target',
    knowledge_time => 'known', timezone => current_setting('TimeZone'), or_replace => true);
  FOR i IN 1 .. 1 + floor(random() * 3) LOOP
    f := make_feature('f' || i, true);
    specs := specs || f.spec;
    PERFORM pipeline.add_feature('feature_property', 'f' || i, f.spec->>'source', f.spec->>'aggregate', (f.spec->>'lookback')::interval,
      coalesce(f.spec->>'lookahead', '0')::interval, f.spec->>'value', f.spec->>'closed', f.spec->>'filter',
      CASE WHEN f.spec ? 'entity' THEN ARRAY['Who Is', 'it''s'] END, f.spec->>'event_time', f.spec->>'align', f.spec->>'by', coalesce(f.spec->'args', '{}'), f.spec->>'default_value');
    wanted := wanted || ', ' || format(f.shown, f.oracle);
    got := got || ', ' || format(f.shown, 'f' || i);
  END LOOP;
  IF spine = 'spine_epoch' THEN wanted := 's.n, s.a, s.b, floor(extract(epoch FROM s.t))::bigint' || substr(wanted, 4); END IF;
  IF spine = 'spine_date' THEN wanted := regexp_replace(wanted, '\ms\.t\M', 's.t::timestamp', 'g'); END IF;
  DROP TABLE IF EXISTS known_target;
  PERFORM pipeline.refresh_features('feature_property', as_of => as_of);
  EXECUTE format($q$
    WITH wanted AS MATERIALIZED (
      SELECT %s FROM %s s WHERE a IS NOT NULL AND b IS NOT NULL AND t IS NOT NULL AND (t < $1 OR $1 IS NULL)),
    got AS MATERIALIZED (SELECT %s FROM known_target f)
    SELECT (SELECT count(*) FROM (TABLE wanted EXCEPT ALL TABLE got) x)
         + (SELECT count(*) FROM (TABLE got EXCEPT ALL TABLE wanted) x)$q$,
    wanted, CASE spine WHEN 'spine_epoch' THEN '(SELECT n, a, b, to_timestamp(t) AS t FROM spine_epoch)' ELSE spine END, got) INTO differences USING as_of;
  IF differences > 0 THEN
    RETURN format('seed %s: %s differences, spine %s, as_of %s, time zone %s, knowledge time: %s',
                  seed, differences, spine, as_of, current_setting('TimeZone'), specs);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION try_all(first int, last int, knows boolean DEFAULT false) RETURNS TABLE (failure text) LANGUAGE plpgsql AS $$
BEGIN
  FOR seed IN first .. last LOOP
    PERFORM setseed(seed / 10000.0);
    -- Now and then with the help of other processes.
    PERFORM set_config('min_parallel_table_scan_size', CASE WHEN seed % 50 = 0 THEN '0' ELSE '8MB' END, true);
    -- And now and then by an index, whatever it costs.
    PERFORM set_config(unnest('{enable_seqscan,enable_hashjoin,enable_mergejoin,enable_bitmapscan}'::text[]), CASE WHEN seed % 7 = 0 THEN 'off' ELSE 'on' END, true);
    PERFORM set_config('TimeZone', pick('UTC', 'Europe/Madrid', 'America/New_York', 'Australia/Lord_Howe', '+03'), true);
    IF seed % 5 = 0 OR seed = first THEN PERFORM make_data(); END IF;
    BEGIN
      failure := CASE WHEN knows THEN try_known(seed) ELSE try(seed) END;
    EXCEPTION WHEN OTHERS THEN
      failure := format('seed %s: %s %s', seed, SQLSTATE, SQLERRM);
    END;
    IF failure IS NOT NULL THEN RETURN NEXT; END IF;
  END LOOP;
END $$;

SELECT * FROM try_all(1, 600);
SELECT * FROM try_all(1001, 1200, knows => true);
SELECT pipeline.drop_feature_set('feature_property', drop_target => true);

-- Dense windows: every aggregate that keeps more than sums, many events to a
-- time, cursors that step back.
SET timezone = 'America/New_York';
SELECT setseed(0.25);
CREATE TABLE dense AS
SELECT (random() * 3)::int AS a, '2024-11-01'::timestamptz + floor(random() * 600) * interval '15 minutes' AS t,
       (random() * 30)::int AS v, round((random() * 100)::numeric, (random() * 4)::int) AS num, random() * 1e6 AS f
FROM generate_series(1, 3000);
SELECT jsonb_agg(jsonb_build_object('feature', aggregate || n, 'source', 'dense', 'aggregate', aggregate, 'value', value, 'lookback', lookback,
         'lookahead', lookahead, 'closed', closed, 'filter', 'v <> 7') ORDER BY n) AS specs,
       string_agg(format($q$, CASE WHEN count(*) FILTER (WHERE w%1$s AND v <> 7) = 0 THEN %3$s ELSE %2$s END AS x%1$s$q$, n,
         CASE aggregate WHEN 'count_distinct' THEN format('count(DISTINCT %s) FILTER (WHERE w%s AND v <> 7)', value, n)
                        WHEN 'first' THEN format('(array_agg(%s ORDER BY e.t, %s) FILTER (WHERE w%s AND v <> 7))[1]', value, value, n)
                        WHEN 'last' THEN format('(array_agg(%s ORDER BY e.t DESC, %s DESC) FILTER (WHERE w%s AND v <> 7))[1]', value, value, n)
                        ELSE format('%s(%s) FILTER (WHERE w%s AND v <> 7)', aggregate, value, n) END,
         CASE aggregate WHEN 'count_distinct' THEN '0' ELSE 'NULL' END), '' ORDER BY n) AS oracle,
       string_agg(format($q$, e.t %s s.t - %L::interval AND e.t %s s.t + %L::interval AS w%s$q$, CASE WHEN closed = 'both' THEN '>=' ELSE '>' END, lookback,
         CASE WHEN closed IN ('both', 'right') THEN '<=' ELSE '<' END, lookahead, n), '' ORDER BY n) AS windows,
       string_agg(CASE WHEN value = 'f' THEN format('abs(f.%1$s%2$s - o.x%2$s) <= 1e-12 * o.x%2$s OR f.%1$s%2$s IS NULL AND o.x%2$s IS NULL', aggregate, n)
                       ELSE format('f.%1$s%2$s::text IS NOT DISTINCT FROM o.x%2$s::text', aggregate, n) END, ') AND (' ORDER BY n) AS same
FROM (SELECT row_number() OVER () AS n, * FROM (VALUES ('count_distinct', 'v'), ('count_distinct', 'num'), ('first', 'v'), ('last', 'num'), ('stddev', 'num'),
        ('variance', 'num'), ('stddev', 'v'), ('variance', 'f'), ('stddev', 'f'), ('stddev', 'v::int8 * 100000000000000000')) x (aggregate, value),
      (VALUES ('1 day', '0', 'none'), ('36 hours', '12 hours', 'both'), ('7 days', '-1 day', 'right')) y (lookback, lookahead, closed)) z
\gset
SELECT pipeline.features_columns('SELECT DISTINCT a, t FROM dense', '{a}', 't', :'specs') AS columns
\gset
SELECT count(*) > 900 AS rows, count(*) FILTER (WHERE (:same) IS NOT TRUE) AS wrong
FROM pipeline.features('SELECT DISTINCT a, t FROM dense', '{a}', 't', :'specs') AS f (:columns)
JOIN (SELECT s.a, s.t :oracle
      FROM (SELECT DISTINCT a, t FROM dense) s
      LEFT JOIN LATERAL (SELECT e.* :windows FROM dense e WHERE e.a = s.a AND e.t BETWEEN s.t - interval '8 days' AND s.t + interval '1 day') e ON true
      GROUP BY s.a, s.t) o USING (a, t);
RESET timezone;

-- Floats that are not exact: to 1e-12 relative.
SELECT setseed(0.5);
CREATE TABLE floats AS
SELECT (random() * 20)::int AS a, '2024-01-01'::timestamptz + random() * interval '30 days' AS t,
       (random() - 0.5) * 10 ^ (random() * 12)::int AS v
FROM generate_series(1, 5000);
SELECT count(*) AS rows,
       count(*) FILTER (WHERE abs(f.s - o.s) > 1e-12 * o.size OR abs(f.m - o.m) > 1e-12 * o.size) AS wrong
FROM pipeline.features('floats', '{a}', 't',
  '[{"feature": "s", "source": "floats", "aggregate": "sum", "value": "v", "lookback": "3 days", "closed": "both"},
    {"feature": "m", "source": "floats", "aggregate": "avg", "value": "v", "lookback": "3 days", "closed": "both"}]')
  AS f (a int, t timestamptz, v float8, s float8, m float8),
LATERAL (SELECT sum(v) AS s, avg(v) AS m, sum(abs(v)) AS size FROM floats e
         WHERE e.a = f.a AND e.t >= f.t - interval '3 days' AND e.t <= f.t) o;

-- Numbers of many scales in one long window: as few steps as there are scales.
CREATE TABLE scales AS
SELECT 1 AS a, '2024-01-01'::timestamptz + n * interval '1 second' AS t, round((n % 7)::numeric / 3, n % 5) AS v
FROM generate_series(1, 100000) n;
SELECT count(*) AS rows, count(*) FILTER (WHERE s IS DISTINCT FROM w) AS wrong
FROM (SELECT t, s::text, (sum(v) OVER (ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))::text AS w
      FROM pipeline.features('scales', '{a}', 't',
        '[{"feature": "s", "source": "scales", "aggregate": "sum", "value": "v", "lookback": "3 days"}]')
        AS f (a int, t timestamptz, v numeric, s numeric)) x;

-- What does not fit in memory is spilled, and the same comes out.
CREATE TABLE big AS
SELECT n, (n * 7919) % 3001 AS a, md5((n % 17)::text) AS b,
       '2024-01-01'::timestamptz + ((n::bigint * 48271) % 2592000) * interval '1 second' AS t,
       (n % 1000)::numeric / 8 AS v, md5(n::text) AS txt
FROM generate_series(1, 60000) n;
CREATE TABLE same AS SELECT 1 AS entity, t, v::float8 AS v FROM big WHERE n <= 8000;
SELECT $$[{"feature": "c", "source": "big", "aggregate": "count", "lookback": "7 days"},
          {"feature": "s", "source": "big", "aggregate": "sum", "value": "v", "lookback": "7 days"},
          {"feature": "m", "source": "big", "aggregate": "min", "value": "txt", "lookback": "20 days"},
          {"feature": "d", "source": "big", "aggregate": "count_distinct", "value": "substr(txt, 1, 1)", "lookback": "20 days", "lookahead": "10 days"},
          {"feature": "l", "source": "big", "aggregate": "last", "value": "txt", "lookback": "21 days", "align": "week"},
          {"feature": "dev", "source": "big", "aggregate": "stddev", "value": "v", "lookback": "0", "lookahead": "20 days"},
          {"feature": "x", "source": "SELECT * FROM big WHERE n % 3 = 0", "aggregate": "max", "value": "n", "lookback": "14 days"}]$$ AS specs
\gset
SELECT pipeline.features_columns('big', '{a,b}', 't', :'specs') AS columns
\gset
SET work_mem = '256MB';
CREATE TABLE in_memory AS SELECT * FROM pipeline.features('big', '{a,b}', 't', :'specs') AS (:columns);
SET work_mem = '64kB';
CREATE TABLE spilled AS SELECT * FROM pipeline.features('big', '{a,b}', 't', :'specs') AS (:columns);
RESET work_mem;
SELECT count(*) AS rows, count(l) AS lasts, count(dev) AS deviations, sum(d) AS kinds FROM spilled;
SELECT (SELECT count(*) FROM spilled) AS rows,
       (SELECT count(*) FROM (TABLE in_memory EXCEPT ALL TABLE spilled) x) AS differences;
-- Many sources: even the places to group by are within the budget.
SELECT jsonb_agg(jsonb_build_object('feature', 'f' || i, 'source', 'SELECT * FROM big WHERE n = ' || i, 'aggregate', 'count', 'lookback', '1 day', 'closed', 'both')) AS specs
FROM generate_series(1, 60) i
\gset
SELECT pipeline.features_columns('big', '{a,b}', 't', :'specs') AS columns
\gset
SELECT count(*) AS rows, sum(f1 + f30 + f60) AS counted FROM pipeline.features('big', '{a,b}', 't', :'specs') AS (:columns);
-- One entity that is larger than the budget.
SET work_mem = '64kB';
SELECT count(*) AS rows, sum(c) AS counted
FROM pipeline.features('same', '{entity}', 't',
  '[{"feature": "c", "source": "same", "aggregate": "count", "lookback": "100 days"}]')
  AS (entity int, t timestamptz, v float8, c bigint);
RESET work_mem;
SELECT sum(c) AS counted FROM (SELECT rank() OVER (ORDER BY t) - 1 AS c FROM same) x;

SET client_min_messages = error;
DROP SCHEMA feature_property CASCADE;
