// The main case of feature.sh in DuckDB and Polars, on their own tables in
// memory: CPU seconds of this process by form and number of threads.
//   node feature_engines.mjs duckdb|polars DIRECTORY RUNS THREADS     (0: as many as it likes)
// Prints: engine form threads CPU-seconds checksum.  DIRECTORY has the tables
// as CSV, times in microseconds, and node_modules.
import { createRequire } from 'node:module';

const [engine, dir, runs, threads] = process.argv.slice(2);
const require = createRequire(`${dir}/`);
const WINDOW = 21 * 86400 * 1e6;

async function time(form, compute) {
  const times = [];
  let sum;
  for (let i = 0; i < Number(runs); i++) {
    const start = process.cpuUsage();
    sum = await compute();
    const used = process.cpuUsage(start);
    times.push((used.user + used.system) / 1e6);
  }
  times.sort((a, b) => a - b);
  console.log(`${engine} ${form} ${threads} ${times[times.length >> 1].toFixed(2)} ${sum}`);
}

async function duckdb() {
  const { DuckDBInstance } = require('@duckdb/node-api');
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  if (threads !== '0') await connection.run(`SET threads = ${threads}`);
  for (const [table, columns] of [['spine', ", 'id': 'BIGINT'"], ['prints', ''], ['taps', ''], ['pays', ", 'cents': 'INTEGER'"]])
    await connection.run(`CREATE TABLE ${table} AS SELECT * FROM read_csv('${dir}/${table}.csv', header = false,
      columns = {'user_id': 'INTEGER', 'value_prop': 'VARCHAR', 'ts': 'BIGINT'${columns}})`);
  const checksum = async (sql) => (await (await connection.runAndReadAll(
    `SELECT sum((views * 7 + taps * 11 + pays * 13 + coalesce(paid, 0)) * (id % 1009))::VARCHAR FROM (${sql}) x`)).getRows())[0][0];
  const since = `ts >= (SELECT min(ts) FROM spine) - ${WINDOW}`;
  const key = 'user_id, value_prop';
  const all = `SELECT ${key}, ts, 1 AS kind, 1 AS v, 0 AS t, 0 AS p, 0 AS c, 0 AS id, 0 AS sign FROM prints WHERE ${since}
    UNION ALL SELECT ${key}, ts, 1, 0, 1, 0, 0, 0, 0 FROM taps WHERE ${since}
    UNION ALL SELECT ${key}, ts, 1, 0, 0, 1, cents, 0, 0 FROM pays WHERE ${since}
    UNION ALL SELECT ${key}, ts, 0, 0, 0, 0, 0, id, 1 FROM spine`;
  await time('frames', () => checksum(`SELECT id, sum(v) OVER w AS views, sum(t) OVER w AS taps, sum(p) OVER w AS pays, sum(c) OVER w AS paid FROM (${all}) e
    WINDOW w AS (PARTITION BY ${key} ORDER BY ts RANGE BETWEEN ${WINDOW} PRECEDING AND 1 PRECEDING) QUALIFY sign = 1`));
  await time('sums', () => checksum(`SELECT id, sum(sign * v) AS views, sum(sign * t) AS taps, sum(sign * p) AS pays, sum(sign * c) AS paid
    FROM (SELECT id, sign, sum(v) OVER w AS v, sum(t) OVER w AS t, sum(p) OVER w AS p, sum(c) OVER w AS c
      FROM (${all} UNION ALL SELECT ${key}, ts - ${WINDOW}, 0, 0, 0, 0, 0, id, -1 FROM spine) e
      WINDOW w AS (PARTITION BY ${key} ORDER BY ts, kind ROWS UNBOUNDED PRECEDING)) r WHERE sign <> 0 GROUP BY id`));
  const running = (table, more) => `(SELECT ${key}, ts, row_number() OVER (PARTITION BY ${key} ORDER BY ts) AS n${more} FROM ${table} WHERE ${since})`;
  const paid = `, sum(cents) OVER (PARTITION BY ${key} ORDER BY ts ROWS UNBOUNDED PRECEDING) AS c`;
  const asof = (table, name, shift, more = '') => `ASOF LEFT JOIN ${running(table, more)} ${name}
    ON s.user_id = ${name}.user_id AND s.value_prop = ${name}.value_prop AND s.ts - ${shift} > ${name}.ts`;
  await time('asof', () => checksum(`SELECT s.id, coalesce(v1.n, 0) - coalesce(v0.n, 0) AS views, coalesce(t1.n, 0) - coalesce(t0.n, 0) AS taps,
      coalesce(p1.n, 0) - coalesce(p0.n, 0) AS pays, coalesce(p1.c, 0) - coalesce(p0.c, 0) AS paid
    FROM spine s ${asof('prints', 'v1', 0)} ${asof('prints', 'v0', WINDOW)} ${asof('taps', 't1', 0)} ${asof('taps', 't0', WINDOW)}
      ${asof('pays', 'p1', 0, paid)} ${asof('pays', 'p0', WINDOW, paid)}`));
}

async function polars() {
  if (threads !== '0') process.env.POLARS_MAX_THREADS = threads;
  const pl = require('nodejs-polars');
  const read = (table, more) => pl.readCSV(`${dir}/${table}.csv`, { hasHeader: false,
    schema: { user_id: pl.Int32, value_prop: pl.Utf8, ts: pl.Int64, ...more } });
  const spine = read('spine', { id: pl.Int64 });
  const prints = read('prints'), taps = read('taps'), pays = read('pays', { cents: pl.Int64 });
  const key = ['user_id', 'value_prop'];
  const from = () => Number(spine.getColumn('ts').min()) - WINDOW;
  const checksum = (frame) => String(BigInt(Math.round(Number(frame.select(
    pl.col('views').mul(pl.lit(7)).add(pl.col('taps').mul(pl.lit(11))).add(pl.col('pays').mul(pl.lit(13))).add(pl.col('paid'))
      .mul(pl.col('id').modulo(pl.lit(1009))).sum().alias('x')).getColumn('x').get(0)))));
  const zero = (name) => pl.lit(0).cast(pl.Int64).alias(name);
  const one = (name) => pl.lit(1).cast(pl.Int64).alias(name);

  await time('sums', () => {
    const events = (frame, which) => frame.filter(pl.col('ts').gtEq(pl.lit(from()))).select(...key.map((k) => pl.col(k)), pl.col('ts'),
      one('kind'), ...['v', 't', 'p'].map((n) => (n === which ? one(n) : zero(n))), which === 'p' ? pl.col('cents').alias('c') : zero('c'), zero('id'), zero('sign'));
    const marks = (sign, shift) => spine.select(...key.map((k) => pl.col(k)), pl.col('ts').sub(pl.lit(shift)).cast(pl.Int64).alias('ts'), zero('kind'),
      zero('v'), zero('t'), zero('p'), zero('c'), pl.col('id'), pl.lit(sign).cast(pl.Int64).alias('sign'));
    // Both marks of a row are of its entity: sums over all before them serve.
    const sums = pl.concat([events(prints, 'v'), events(taps, 't'), events(pays, 'p'), marks(1, 0), marks(-1, WINDOW)])
      .sort([...key, 'ts', 'kind'])
      .withColumns(...['v', 't', 'p', 'c'].map((n) => pl.col(n).cumSum().mul(pl.col('sign')).alias(n)))
      .filter(pl.col('sign').neq(pl.lit(0)));
    return checksum(sums.groupBy('id').agg(pl.col('v').sum().alias('views'), pl.col('t').sum().alias('taps'), pl.col('p').sum().alias('pays'), pl.col('c').sum().alias('paid')));
  });

  await time('asof', () => {
    let result = spine.sort('ts').withColumns(pl.col('ts').sub(pl.lit(1)).cast(pl.Int64).alias('at1'),
      pl.col('ts').sub(pl.lit(WINDOW + 1)).cast(pl.Int64).alias('at0'));
    for (const [frame, name] of [[prints, 'v'], [taps, 't'], [pays, 'p']]) {
      const running = frame.filter(pl.col('ts').gtEq(pl.lit(from()))).sort('ts').withColumns(one('one'))
        .withColumns(pl.col('one').cumSum().over(...key).alias(name), ...(name === 'p' ? [pl.col('cents').cumSum().over(...key).alias('c')] : []))
        .select(...key.map((k) => pl.col(k)), pl.col('ts').alias(`${name}_ts`), pl.col(name), ...(name === 'p' ? [pl.col('c')] : []));
      for (const at of ['1', '0']) {
        const columns = name === 'p' ? ['p', 'c'] : [name];
        const right = running.select(...key.map((k) => pl.col(k)), pl.col(`${name}_ts`).alias(`${name}${at}_ts`), ...columns.map((c) => pl.col(c).alias(c + at)));
        result = result.joinAsof(right, { leftOn: `at${at}`, rightOn: `${name}${at}_ts`, byLeft: key, byRight: key, strategy: 'backward' });
      }
    }
    const less = (n) => pl.col(`${n}1`).fillNull(pl.lit(0)).sub(pl.col(`${n}0`).fillNull(pl.lit(0)));
    return checksum(result.select(pl.col('id'), less('v').alias('views'), less('t').alias('taps'), less('p').alias('pays'), less('c').alias('paid')));
  });
}

await (engine === 'duckdb' ? duckdb() : polars());
