// The cases of feature.sh in DuckDB and Polars, on their own tables in memory:
// CPU seconds of this process by case, form and number of threads.
//   node feature_engines.mjs duckdb|polars DIRECTORY RUNS THREADS CASE...     (THREADS 0: as many as it likes)
// Prints: case engine form threads CPU-seconds checksum.  DIRECTORY has the
// tables as CSV, times in microseconds, and node_modules.
import { createRequire } from 'node:module';

const [engine, dir, runs, threads, ...cases] = process.argv.slice(2);
const require = createRequire(`${dir}/`);
const DAY = 86400 * 1e6;
const METHODS = [0, 1, 2, 3, 4];
const days = (which) => (which === 'windows' ? [21, 1, 3, 7, 14] : [21]);
const longest = 21 * DAY;
const tableOf = (which, table) => (which === 'skewed' && ['spine', 'prints'].includes(table) ? `skewed_${table}` : table);
const values = (which) => (which === 'by' ? METHODS.map((m) => `paid_${m}`) : ['paid']);
// What subtracts, and so can be a difference of running sums.
const subtracts = (which) => !['max', 'distinct'].includes(which);

async function time(which, form, compute) {
  const times = [];
  let sum;
  for (let i = 0; i < Number(runs); i++) {
    const start = process.cpuUsage();
    sum = await compute();
    const used = process.cpuUsage(start);
    times.push((used.user + used.system) / 1e6);
  }
  times.sort((a, b) => a - b);
  console.log(`${which} ${engine} ${form} ${threads} ${times[times.length >> 1].toFixed(2)} ${sum}`);
}

async function duckdb() {
  const { DuckDBInstance } = require('@duckdb/node-api');
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  if (threads !== '0') await connection.run(`SET threads = ${threads}`);
  const load = async (table, columns) => connection.run(`CREATE TABLE ${table} AS SELECT * FROM read_csv('${dir}/${table}.csv', header = false,
    columns = {'user_id': 'INTEGER', 'value_prop': 'VARCHAR', 'ts': 'BIGINT'${columns}})`);
  for (const [table, columns] of [['spine', ", 'id': 'BIGINT'"], ['prints', ''], ['taps', ''], ['pays', ", 'cents': 'INTEGER', 'method': 'INTEGER'"],
    ...(cases.includes('skewed') ? [['skewed_spine', ", 'id': 'BIGINT'"], ['skewed_prints', '']] : [])])
    await load(table, columns);
  // Every column of the result counts, lest one is not computed.
  const checksum = async (which, sql) => (await (await connection.runAndReadAll(
    `SELECT sum((${days(which).map((d) => `coalesce(views_${d}, 0) * 7 + coalesce(taps_${d}, 0) * 11 + coalesce(pays_${d}, 0) * 13 + ${values(which).map((v, i) => `${i + 1} * coalesce(${v}_${d}, 0)`).join(' + ')}`).join(' + ')})
      * (id % 1009))::VARCHAR FROM (${sql}) x`)).getRows())[0][0];
  const key = 'user_id, value_prop';

  for (const which of cases) {
    const spine = tableOf(which, 'spine');
    const since = `ts >= (SELECT min(ts) FROM ${spine}) - ${longest}`;
    const all = `SELECT ${key}, ts, 1 AS kind, 1 AS v, 0 AS t, 0 AS p, NULL AS c, NULL AS m, 0 AS id, 0 AS sign, 0 AS d FROM ${tableOf(which, 'prints')} WHERE ${since}
      UNION ALL SELECT ${key}, ts, 1, 0, 1, 0, NULL, NULL, 0, 0, 0 FROM taps WHERE ${since}
      UNION ALL SELECT ${key}, ts, 1, 0, 0, 1, cents, method, 0, 0, 0 FROM pays WHERE ${since}`;
    const marks = `UNION ALL SELECT ${key}, ts, 0, 0, 0, 0, NULL, NULL, id, 1, 0 FROM ${spine}`;
    const paid = (over) => (which === 'max' ? [`max(c)${over} AS paid`] : which === 'distinct' ? [`count(DISTINCT c)${over} AS paid`] :
      which === 'by' ? METHODS.map((m) => `sum(CASE WHEN m = ${m} THEN c END)${over} AS paid_${m}`) : [`sum(c)${over} AS paid`]);
    const columns = (d, over) => [`sum(v)${over} AS views`, `sum(t)${over} AS taps`, `sum(p)${over} AS pays`, ...paid(over)].map((c) => `${c}_${d}`).join(', ');
    const frame = (d) => `w${d} AS (PARTITION BY ${key} ORDER BY ts RANGE BETWEEN ${d * DAY} PRECEDING AND 1 PRECEDING)`;
    await time(which, 'frames', () => checksum(which, `SELECT id, ${days(which).map((d) => columns(d, ` OVER w${d}`)).join(', ')} FROM (${all} ${marks}) e
      WINDOW ${days(which).map(frame).join(', ')} QUALIFY sign = 1`));

    if (which !== 'skewed')		// there, it is a thousand events a row
      await time(which, 'join', () => checksum(which, `SELECT s.id, ${days(which).map((d) => {
        const filter = d === 21 ? '' : ` FILTER (WHERE e.ts >= s.ts - ${d * DAY})`;
        return columns(d, filter);
      }).join(', ')} FROM ${spine} s LEFT JOIN (${all}) e ON e.user_id = s.user_id AND e.value_prop = s.value_prop AND e.ts >= s.ts - ${longest} AND e.ts < s.ts
        GROUP BY s.id`));

    if (!subtracts(which)) continue;
    const running = which === 'by' ? METHODS.map((m) => [`paid_${m}`, `CASE WHEN m = ${m} THEN c END`]) : [['paid', 'c']];
    const all_running = [['views', 'v'], ['taps', 't'], ['pays', 'p'], ...running];
    await time(which, 'sums', () => checksum(which, `SELECT id, ${days(which).map((d) => all_running.map(([name]) =>
      `sum(CASE WHEN d IN (0, ${d}) THEN sign * ${name} END) AS ${name}_${d}`).join(', ')).join(', ')}
      FROM (SELECT id, sign, d, ${all_running.map(([name, what]) => `sum(${what}) OVER w AS ${name}`).join(', ')}
        FROM (${all} ${marks} ${days(which).map((d) => `UNION ALL SELECT ${key}, ts - ${d * DAY}, 0, 0, 0, 0, NULL, NULL, id, -1, ${d} FROM ${spine}`).join(' ')}) e
        WINDOW w AS (PARTITION BY ${key} ORDER BY ts, kind ROWS UNBOUNDED PRECEDING)) r WHERE sign <> 0 GROUP BY id`));

    const numbered = (table, more) => `(SELECT ${key}, ts, row_number() OVER (PARTITION BY ${key} ORDER BY ts) AS n${more} FROM ${tableOf(which, table)} WHERE ${since})`;
    const sums = running.map(([name, what]) => `, sum(${what.replace('m =', 'method =').replace('THEN c', 'THEN cents').replace(/^c$/, 'cents')})
      OVER (PARTITION BY ${key} ORDER BY ts ROWS UNBOUNDED PRECEDING) AS ${name}`).join('');
    const asof = (table, name, shift) => `ASOF LEFT JOIN ${numbered(table, table === 'pays' ? sums : '')} ${name}
      ON s.user_id = ${name}.user_id AND s.value_prop = ${name}.value_prop AND s.ts - ${shift} > ${name}.ts`;
    const sources = [['prints', 'views'], ['taps', 'taps'], ['pays', 'pays']];
    await time(which, 'asof', () => checksum(which, `SELECT s.id, ${days(which).map((d) =>
      [...sources.map(([table, name]) => `coalesce(${table}0.n, 0) - coalesce(${table}${d}.n, 0) AS ${name}_${d}`),
        ...running.map(([name]) => `coalesce(pays0.${name}, 0) - coalesce(pays${d}.${name}, 0) AS ${name}_${d}`)].join(', ')).join(', ')}
      FROM ${spine} s ${sources.map(([table]) => [0, ...days(which)].map((d) => asof(table, `${table}${d}`, d * DAY)).join(' ')).join(' ')}`));
  }
}

async function polars() {
  if (threads !== '0') process.env.POLARS_MAX_THREADS = threads;
  const pl = require('nodejs-polars');
  const read = (table, more) => pl.readCSV(`${dir}/${table}.csv`, { hasHeader: false,
    schema: { user_id: pl.Int32, value_prop: pl.Utf8, ts: pl.Int64, ...more } });
  const tables = { spine: read('spine', { id: pl.Int64 }), prints: read('prints'), taps: read('taps'), pays: read('pays', { cents: pl.Int64, method: pl.Int64 }) };
  if (cases.includes('skewed')) Object.assign(tables, { skewed_spine: read('skewed_spine', { id: pl.Int64 }), skewed_prints: read('skewed_prints') });
  const key = ['user_id', 'value_prop'];
  const keys = () => key.map((k) => pl.col(k));
  const constant = (n, name) => pl.lit(n).cast(pl.Int64).alias(name);
  const checksum = (which, frame) => {
    let total = null;
    for (const d of days(which)) {
      for (const [name, weight] of [['views', 7], ['taps', 11], ['pays', 13], ...values(which).map((v, i) => [v, i + 1])]) {
        const term = pl.col(`${name}_${d}`).fillNull(pl.lit(0)).mul(pl.lit(weight));
        total = total === null ? term : total.add(term);
      }
    }
    return String(BigInt(Math.round(Number(frame.select(total.mul(pl.col('id').modulo(pl.lit(1009))).sum().alias('x')).getColumn('x').get(0)))));
  };

  for (const which of cases) {
    const spine = tables[tableOf(which, 'spine')];
    const table = (name) => tables[tableOf(which, name)];
    const from = () => Number(spine.getColumn('ts').min()) - longest;
    const recent = (name) => table(name).filter(pl.col('ts').gtEq(pl.lit(from())));
    const names = ['v', 't', 'p', ...(which === 'by' ? METHODS.map((m) => `c${m}`) : ['c'])];
    const shown = ['views', 'taps', 'pays', ...values(which)];

    if (subtracts(which)) {
      await time(which, 'sums', () => {
        const events = (name, one) => recent(name).select(...keys(), pl.col('ts'), constant(1, 'kind'),
          ...names.map((n) => (n === one ? constant(1, n) : name === 'pays' && n === 'c' ? pl.col('cents').alias('c') :
            name === 'pays' && n[0] === 'c' ? pl.when(pl.col('method').eq(pl.lit(Number(n[1])))).then(pl.col('cents')).otherwise(pl.lit(0)).cast(pl.Int64).alias(n) : constant(0, n))),
          constant(0, 'id'), constant(0, 'sign'), constant(0, 'd'));
        const marks = (sign, d) => spine.select(...keys(), pl.col('ts').sub(pl.lit(d * DAY)).cast(pl.Int64).alias('ts'), constant(0, 'kind'),
          ...names.map((n) => constant(0, n)), pl.col('id'), constant(sign, 'sign'), constant(d, 'd'));
        // All marks of a row are of its entity: sums over all before them serve.
        const sums = pl.concat([events('prints', 'v'), events('taps', 't'), events('pays', 'p'), marks(1, 0), ...days(which).map((d) => marks(-1, d))])
          .sort([...key, 'ts', 'kind'])
          .withColumns(...names.map((n) => pl.col(n).cumSum().mul(pl.col('sign')).alias(n)))
          .filter(pl.col('sign').neq(pl.lit(0)));
        const columns = [];
        for (const d of days(which)) {
          names.forEach((n, i) => columns.push((days(which).length === 1 ? pl.col(n) :
            pl.when(pl.col('d').eq(pl.lit(0)).or(pl.col('d').eq(pl.lit(d)))).then(pl.col(n)).otherwise(pl.lit(0))).sum().alias(`${shown[i]}_${d}`)));
        }
        return checksum(which, sums.groupBy('id').agg(...columns));
      });
    }

    if (['four', 'skewed'].includes(which)) {
      await time(which, 'asof', () => {
        let result = spine.sort('ts').withColumns(pl.col('ts').sub(pl.lit(1)).cast(pl.Int64).alias('at1'),
          pl.col('ts').sub(pl.lit(longest + 1)).cast(pl.Int64).alias('at0'));
        for (const [source, name] of [['prints', 'v'], ['taps', 't'], ['pays', 'p']]) {
          const running = recent(source).sort('ts').withColumns(constant(1, 'one'))
            .withColumns(pl.col('one').cumSum().over(...key).alias(name), ...(name === 'p' ? [pl.col('cents').cumSum().over(...key).alias('c')] : []))
            .select(...keys(), pl.col('ts').alias(`${name}_ts`), pl.col(name), ...(name === 'p' ? [pl.col('c')] : []));
          for (const at of ['1', '0']) {
            const columns = name === 'p' ? ['p', 'c'] : [name];
            const right = running.select(...keys(), pl.col(`${name}_ts`).alias(`${name}${at}_ts`), ...columns.map((c) => pl.col(c).alias(c + at)));
            result = result.joinAsof(right, { leftOn: `at${at}`, rightOn: `${name}${at}_ts`, byLeft: key, byRight: key, strategy: 'backward' });
          }
        }
        const less = (n, name) => pl.col(`${n}1`).fillNull(pl.lit(0)).sub(pl.col(`${n}0`).fillNull(pl.lit(0))).alias(`${name}_21`);
        return checksum(which, result.select(pl.col('id'), less('v', 'views'), less('t', 'taps'), less('p', 'pays'), less('c', 'paid')));
      });
    }

    if (which !== 'skewed') {
      await time(which, 'join', () => {
        let result = spine.select('id');
        for (const [source, name] of [['prints', 'views'], ['taps', 'taps'], ['pays', 'pays']]) {
          const right = recent(source).withColumns(pl.col('ts').alias('event'));
          const pairs = spine.join(right.drop('ts'), { on: key, how: 'inner' })
            .filter(pl.col('event').lt(pl.col('ts')).and(pl.col('event').gtEq(pl.col('ts').sub(pl.lit(longest)))));
          const columns = [];
          for (const d of days(which)) {
            const inside = pl.col('event').gtEq(pl.col('ts').sub(pl.lit(d * DAY)));
            columns.push(inside.cast(pl.Int64).sum().alias(`${name}_${d}`));
            if (source !== 'pays') continue;
            if (which === 'max') columns.push(pl.col('cents').max().alias(`paid_${d}`));
            else if (which === 'distinct') columns.push(pl.col('cents').nUnique().cast(pl.Int64).alias(`paid_${d}`));
            else if (which === 'by') METHODS.forEach((m) => columns.push(pl.when(pl.col('method').eq(pl.lit(m))).then(pl.col('cents')).otherwise(pl.lit(0)).sum().alias(`paid_${m}_${d}`)));
            else columns.push(pl.when(inside).then(pl.col('cents')).otherwise(pl.lit(0)).sum().alias(`paid_${d}`));
          }
          result = result.join(pairs.groupBy('id').agg(...columns), { on: 'id', how: 'left' });
        }
        return checksum(which, result);
      });
    }
  }
}

await (engine === 'duckdb' ? duckdb() : polars());
