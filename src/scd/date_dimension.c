/*
 * date_dimension.c
 *	  create_date_dimension(): a row for each day, with the attributes that
 *	  reports group by.
 *
 * Its key is smart: the day as YYYYMMDD, so that partitions and people can
 * read it.  9999-12-31 is the unknown day.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "scd/scd.h"

PG_FUNCTION_INFO_V1(pipeline_create_date_dimension);

/* Names of months, then of days from Monday on. */
typedef struct Language
{
	const char *code;
	const char *months;
	const char *days;
	const char *unknown;
} Language;

static const Language languages[] = {
	{"de", "{Januar,Februar,März,April,Mai,Juni,Juli,August,September,Oktober,November,Dezember}",
	"{Montag,Dienstag,Mittwoch,Donnerstag,Freitag,Samstag,Sonntag}", "unbekannt"},
	{"en", "{January,February,March,April,May,June,July,August,September,October,November,December}",
	"{Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday}", "unknown"},
	{"es", "{enero,febrero,marzo,abril,mayo,junio,julio,agosto,septiembre,octubre,noviembre,diciembre}",
	"{lunes,martes,miércoles,jueves,viernes,sábado,domingo}", "desconocido"},
	{"fr", "{janvier,février,mars,avril,mai,juin,juillet,août,septembre,octobre,novembre,décembre}",
	"{lundi,mardi,mercredi,jeudi,vendredi,samedi,dimanche}", "inconnu"},
	{"it", "{gennaio,febbraio,marzo,aprile,maggio,giugno,luglio,agosto,settembre,ottobre,novembre,dicembre}",
	"{lunedì,martedì,mercoledì,giovedì,venerdì,sabato,domenica}", "sconosciuto"},
	{"pt", "{janeiro,fevereiro,março,abril,maio,junho,julho,agosto,setembro,outubro,novembro,dezembro}",
	"{segunda-feira,terça-feira,quarta-feira,quinta-feira,sexta-feira,sábado,domingo}", "desconhecido"},
	{NULL}
};

static const Language *
find_language(const char *code)
{
	const char *known[lengthof(languages)];
	int			n = 0;

	for (const Language *l = languages; l->code; l++)
		known[n++] = l->code;
	known[n] = NULL;
	pipeline_check_choice("language", code, known);
	for (const Language *l = languages; l->code; l++)
	{
		if (strcmp(l->code, code) == 0)
			return l;
	}
	return NULL;
}

/* SQL of the holidays: (day, name), one row for a day. */
static char *
holidays_sql(const char *text)
{
	Source	   *source;
	const char *day = NULL;
	const char *name = NULL;

	if (text == NULL)
		return "SELECT NULL::pg_catalog.date AS day, NULL::pg_catalog.text AS name WHERE false";
	source = pipeline_source(text, "holidays");
	for (int i = 0; i < source->columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->columns, i);

		if (day == NULL && (att->atttypid == DATEOID || att->atttypid == TIMESTAMPOID ||
							att->atttypid == TIMESTAMPTZOID))
			day = quote_identifier(NameStr(att->attname));
		if (name == NULL && (att->atttypid == TEXTOID || att->atttypid == VARCHAROID ||
							 att->atttypid == BPCHAROID))
			name = quote_identifier(NameStr(att->attname));
	}
	if (day == NULL || name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("argument \"holidays\" lacks a column"),
				 errdetail("It is: %s", text),
				 errhint("It returns a date and a text, the name of the holiday.")));
	return psprintf("SELECT h.%s::pg_catalog.date AS day, pg_catalog.string_agg(DISTINCT h.%s::pg_catalog.text, ', ') AS name FROM %s AS h WHERE h.%s IS NOT NULL GROUP BY 1",
					day, name, source->from, day);
}

static const char columns_sql[] =
"date_sk pg_catalog.int4 PRIMARY KEY, date pg_catalog.date NOT NULL UNIQUE,"
" year pg_catalog.int4, quarter pg_catalog.int4, month pg_catalog.int4, month_name pg_catalog.text,"
" year_month pg_catalog.text, day pg_catalog.int4, day_of_week pg_catalog.int4, day_name pg_catalog.text,"
" day_of_year pg_catalog.int4, iso_year pg_catalog.int4, iso_week pg_catalog.int4,"
" calendar_week pg_catalog.int4, week_of_month pg_catalog.int4, is_weekend pg_catalog.bool,"
" is_month_start pg_catalog.bool, is_month_end pg_catalog.bool, is_quarter_end pg_catalog.bool,"
" is_year_end pg_catalog.bool, fiscal_year pg_catalog.int4, fiscal_quarter pg_catalog.int4,"
" fiscal_month pg_catalog.int4, is_holiday pg_catalog.bool, holiday_name pg_catalog.text";

/*
 * The days, with their attributes; run with a search_path of pg_catalog alone.
 */
static char *
days_sql(DateADT from, DateADT to, const Language *language, int fiscal)
{
	return psprintf(
					"SELECT (pg_catalog.to_char(d.day, 'YYYYMMDD'))::pg_catalog.int4, d.day, d.y, d.q, d.m,"
					" (%s::pg_catalog.text[])[d.m], pg_catalog.to_char(d.day, 'YYYY-MM'), d.dom, d.dow,"
					" (%s::pg_catalog.text[])[d.dow], d.doy, EXTRACT(isoyear FROM d.day)::pg_catalog.int4,"
					" EXTRACT(week FROM d.day)::pg_catalog.int4, (d.doy - 1) / 7 + 1, (d.dom - 1) / 7 + 1, d.dow > 5,"
					" d.dom = 1, EXTRACT(month FROM d.day + 1) <> d.m, EXTRACT(quarter FROM d.day + 1) <> d.q,"
					" EXTRACT(year FROM d.day + 1) <> d.y, d.y + (CASE WHEN %d > 1 AND d.m >= %d THEN 1 ELSE 0 END),"
					" d.fm / 3 + 1, d.fm + 1, h.day IS NOT NULL, h.name"
					" FROM (SELECT g::pg_catalog.date AS day, EXTRACT(year FROM g)::pg_catalog.int4 AS y,"
					" EXTRACT(quarter FROM g)::pg_catalog.int4 AS q, EXTRACT(month FROM g)::pg_catalog.int4 AS m,"
					" EXTRACT(day FROM g)::pg_catalog.int4 AS dom, EXTRACT(isodow FROM g)::pg_catalog.int4 AS dow,"
					" EXTRACT(doy FROM g)::pg_catalog.int4 AS doy,"
					" (EXTRACT(month FROM g)::pg_catalog.int4 - %d + 12) %% 12 AS fm"
					" FROM pg_catalog.generate_series(%s::pg_catalog.timestamp, %s::pg_catalog.timestamp, '1 day') g) d"
					" LEFT JOIN pipeline_holidays h ON h.day = d.day",
					quote_literal_cstr(language->months), quote_literal_cstr(language->days),
					fiscal, fiscal, fiscal,
					quote_literal_cstr(DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(from)))),
					quote_literal_cstr(DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(to)))));
}

/* Write the days; those that are there are brought up to date. */
static int64
write_days(const char *table, const char *query)
{
	static const char names[] = "date_sk, date, year, quarter, month, month_name, year_month, day, day_of_week,"
	" day_name, day_of_year, iso_year, iso_week, calendar_week, week_of_month, is_weekend, is_month_start,"
	" is_month_end, is_quarter_end, is_year_end, fiscal_year, fiscal_quarter, fiscal_month, is_holiday, holiday_name";

	return (int64) pipeline_sql_generated(psprintf("INSERT INTO %s AS t (%s) %s ON CONFLICT (date_sk) DO UPDATE SET month_name = excluded.month_name,"
												   " day_name = excluded.day_name, fiscal_year = excluded.fiscal_year, fiscal_quarter = excluded.fiscal_quarter,"
												   " fiscal_month = excluded.fiscal_month, is_holiday = excluded.is_holiday, holiday_name = excluded.holiday_name"
												   " WHERE (t.month_name, t.day_name, t.fiscal_year, t.fiscal_quarter, t.fiscal_month, t.is_holiday, t.holiday_name) IS DISTINCT FROM"
												   " (excluded.month_name, excluded.day_name, excluded.fiscal_year, excluded.fiscal_quarter, excluded.fiscal_month, excluded.is_holiday, excluded.holiday_name)",
												   table, names, query), SPI_OK_INSERT, false);
}

static void
check_days(FunctionCallInfo fcinfo, DateADT *from, DateADT *to)
{
	*from = PG_GETARG_DATEADT(1);
	*to = PG_GETARG_DATEADT(2);
	if (DATE_NOT_FINITE(*from) || DATE_NOT_FINITE(*to) || *to < *from ||
		*to - *from > 400 * 366)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid range of days: from %s to %s",
						DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(*from))),
						DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(*to)))),
				 errhint("\"to_date\" is the last day, not before \"from_date\", within 400 years.")));
}

/* Read the holidays, with the caller's search_path, into a delta. */
static Tuplestorestate *
read_holidays(const char *sql)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *receiver = CreateTuplestoreDestReceiver();

	TupleDescInitEntry(desc, 1, "day", DATEOID, -1, 0);
	TupleDescInitEntry(desc, 2, "name", TEXTOID, -1, 0);
	TupleDescFinalize(desc);
	SetTuplestoreDestReceiverParams(receiver, store, CurrentMemoryContext, true, NULL, NULL);
	pipeline_scd_stream(sql, receiver);
	pipeline_scd_delta_register("pipeline_holidays", desc, store);
	return store;
}

/* Find the table, or make it, as the caller. */
static char *
date_table(text *name)
{
	RangeVar   *rv = makeRangeVarFromNameList(textToQualifiedNameList(name));
	Oid			relid = RangeVarGetRelid(rv, NoLock, true);
	char	   *table;

	if (OidIsValid(relid))
		return pipeline_qualified_name(relid);
	table = rv->schemaname ? quote_qualified_identifier(rv->schemaname, rv->relname) :
		pstrdup(quote_identifier(rv->relname));
	(void) pipeline_sql_generated(psprintf("CREATE TABLE %s (%s)", table, columns_sql), SPI_OK_UTILITY, false);
	return pipeline_qualified_name(RangeVarGetRelid(rv, NoLock, false));
}

/*
 * SQL: create_date_dimension(target, from_date, to_date, holidays, language,
 * fiscal_year_start).  Returns the number of rows written.
 */
Datum
pipeline_create_date_dimension(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {
		"target", "from_date", "to_date", NULL, "language", "fiscal_year_start"
	};
	DateADT		from;
	DateADT		to;
	int			fiscal;
	const Language *language;
	char	   *holidays;
	char	   *table;
	char	   *query;
	int64		rows;
	Tuplestorestate *days_off;
	UserScope	scope;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (names[i] != NULL)
			pipeline_not_null(fcinfo, i, names[i]);
	}
	check_days(fcinfo, &from, &to);
	language = find_language(pipeline_arg_text(fcinfo, 4));
	fiscal = PG_GETARG_INT32(5);
	if (fiscal < 1 || fiscal > 12)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"fiscal_year_start\": %d", fiscal),
				 errhint("It is a month, from 1 to 12.")));
	SPI_connect();
	holidays = holidays_sql(pipeline_arg_text(fcinfo, 3));
	table = date_table(PG_GETARG_TEXT_PP(0));
	/* The holidays are read as the user reads them; the days by our own names. */
	days_off = read_holidays(holidays);
	pipeline_user_begin(&scope, GetUserId(), "pg_catalog, pg_temp");
	query = days_sql(from, to, language, fiscal);
	rows = write_days(table, query);
	rows += write_days(table, psprintf("SELECT 99991231, '9999-12-31'::date, NULL::int4, NULL::int4, NULL::int4, %s, NULL::text, NULL::int4, NULL::int4, %s,"
									   " NULL::int4, NULL::int4, NULL::int4, NULL::int4, NULL::int4, false, false, false, false, false, NULL::int4, NULL::int4, NULL::int4, false, NULL::text",
									   quote_literal_cstr(language->unknown), quote_literal_cstr(language->unknown)));
	pipeline_scope_end(&scope);
	tuplestore_end(days_off);
	SPI_finish();
	PG_RETURN_INT64(rows);
}
