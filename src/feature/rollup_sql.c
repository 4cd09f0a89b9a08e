/*
 * rollup_sql.c
 *	  The statements that a rollup means.
 *
 * Windows of hours and less start at multiples of their width on the axis of
 * instants; those of days, weeks, months and years on the calendar of the
 * rollup's time zone, weeks on Mondays.  Windows that ended by the time before
 * which windows are closed are not computed again.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "feature/rollup.h"

static char *
interval_literal(const Interval *interval)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(interval_out,
														   IntervalPGetDatum(interval)));

	return psprintf("%s::pg_catalog.interval", quote_literal_cstr(text));
}

/* The event's time as an instant. */
static char *
event_instant(const Rollup *rollup, const Source *source)
{
	char	   *column = psprintf("pipeline_source.%s", quote_identifier(rollup->event_time));

	if (plan_time_is_epoch(source, rollup->event_time, "event_time"))
		return psprintf("pg_catalog.to_timestamp(%s)", column);
	return psprintf("%s::pg_catalog.timestamptz", column);
}

/* The start of the window of that step which an instant is in. */
static char *
window_start_of(const char *instant, const Interval *step)
{
	if (step->month != 0)
		return psprintf("(timestamp '2000-01-01' + pg_catalog.floor(((extract(year FROM %s::pg_catalog.timestamp) - 2000) * 12"
						" + extract(month FROM %s::pg_catalog.timestamp) - 1) / %d)::int * %s)::pg_catalog.timestamptz",
						instant, instant, step->month, interval_literal(step));
	if (step->day != 0)
		return psprintf("pg_catalog.date_bin(%s, %s::pg_catalog.timestamp, timestamp '2000-01-03')::pg_catalog.timestamptz",
						interval_literal(step), instant);
	return psprintf("pg_catalog.date_bin(%s, %s, timestamptz '2000-01-03 00:00+00')",
					interval_literal(step), instant);
}

/* One of group_by, which may have a name: checked, and ready for pasting. */
static char *
group_expression(const char *text)
{
	List	   *raw = raw_parser(psprintf("SELECT %s", text), RAW_PARSE_DEFAULT);
	SelectStmt *select;

	if (list_length(raw) == 1 && IsA(linitial_node(RawStmt, raw)->stmt, SelectStmt) &&
		linitial_node(RawStmt, raw)->stmt_len == 0)
	{
		select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
		if (select->op == SETOP_NONE && list_length(select->targetList) == 1 &&
			select->distinctClause == NIL && select->intoClause == NULL &&
			select->fromClause == NIL && select->whereClause == NULL &&
			select->groupClause == NIL && select->havingClause == NULL &&
			select->windowClause == NIL && select->valuesLists == NIL &&
			select->sortClause == NIL && select->limitOffset == NULL &&
			select->limitCount == NULL && select->lockingClause == NIL &&
			select->withClause == NULL)
			return psprintf("%s\n", text);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"group_by\" has what is not one expression"),
			 errdetail("It is: %s", text),
			 errhint("Give SQL expressions, with AS and a name where they are more than a column.")));
	return NULL;
}

/* What the groups are, to learn their names and types. */
char *
rollup_groups_sql(const Rollup *rollup, const Source *source)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	foreach(lc, rollup->group_by)
		appendStringInfo(&sql, "%s%s", foreach_current_index(lc) ? ", " : "",
						 group_expression(lfirst(lc)));
	appendStringInfo(&sql, " FROM %s AS pipeline_source", source->from);
	return sql.data;
}

/* The time before which windows are closed, as a literal. */
static char *
closed_literal(const Rollup *rollup)
{
	if (rollup->closed_before == NULL)
		return pstrdup("NULL::pg_catalog.timestamptz");
	return psprintf("%s::pg_catalog.timestamptz", quote_literal_cstr(rollup->closed_before));
}

static void
append_aggregates(StringInfo sql, const Rollup *rollup)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &rollup->aggregates->root);
	JsonbValue	v;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *column;

		if (token != WJB_KEY)
			continue;
		column = pnstrdup(v.val.string.val, v.val.string.len);
		token = JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" of argument \"aggregates\" must be a JSON string", column),
					 errhint("Say, for one: '{\"players\": \"count(DISTINCT player_id)\"}'.")));
		appendStringInfo(sql, ", %s AS %s",
						 pipeline_expression(pnstrdup(v.val.string.val, v.val.string.len), "aggregates"),
						 quote_identifier(column));
	}
}

/* Tumbling and hopping: windows that follow from the time of the event alone. */
static char *
fixed_windows_sql(const Rollup *rollup, const Source *source)
{
	StringInfoData sql;
	char	   *instant = event_instant(rollup, source);
	const Interval *step = rollup->slide ? rollup->slide : rollup->width;
	char	   *width = interval_literal(rollup->width);
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pipeline_window.start AS window_start, pipeline_window.start + %s AS window_end", width);
	foreach(lc, rollup->group_by)
		appendStringInfo(&sql, ", %s", group_expression(lfirst(lc)));
	append_aggregates(&sql, rollup);
	appendStringInfo(&sql, " FROM %s AS pipeline_source, LATERAL ", source->from);
	if (rollup->kind == ROLLUP_TUMBLING)
		appendStringInfo(&sql, "(SELECT %s AS start) AS pipeline_window",
						 window_start_of(instant, step));
	else
		appendStringInfo(&sql, "pg_catalog.generate_series(%s, %s - %s, - %s) AS pipeline_window (start)",
						 window_start_of(instant, step), instant, width, interval_literal(step));
	appendStringInfo(&sql, " WHERE pg_catalog.isfinite(%s) AND pipeline_window.start + %s > %s",
					 instant, width, instant);
	if (rollup->closed_before != NULL)
		appendStringInfo(&sql, " AND %s > %s - %s AND pipeline_window.start + %s > %s", instant,
						 closed_literal(rollup), width, width, closed_literal(rollup));
	appendStringInfoString(&sql, " GROUP BY 1, 2");
	for (int i = 0; i < list_length(rollup->group_by); i++)
		appendStringInfo(&sql, ", %d", i + 3);
	return sql.data;
}

/* The events of sessions that are open, with their groups. */
static char *
session_events_sql(const Rollup *rollup, const Source *source)
{
	StringInfoData sql;
	char	   *instant = event_instant(rollup, source);
	int			ngroups = list_length(rollup->group_by);

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pipeline_source.*, %s AS pipeline_instant", instant);
	for (int i = 0; i < ngroups; i++)
		appendStringInfo(&sql, ", (SELECT %s) AS pipeline_group_%d",
						 group_expression(list_nth(rollup->group_by, i)), i + 1);
	appendStringInfo(&sql, " FROM %s AS pipeline_source WHERE pg_catalog.isfinite(%s)",
					 source->from, instant);
	if (rollup->closed_before == NULL || !rollup->has_target)
		return sql.data;
	/* An open session goes back to its start, whatever was closed since. */
	sql.data = psprintf("SELECT pipeline_event.* FROM (%s) AS pipeline_event LEFT JOIN (SELECT pg_catalog.min(window_start) AS pipeline_from", sql.data);
	for (int i = 0; i < ngroups; i++)
		sql.data = psprintf("%s, %s AS pipeline_open_%d", sql.data,
							quote_identifier(list_nth(rollup->group_names, i)), i + 1);
	sql.data = psprintf("%s FROM %s WHERE window_end > %s", sql.data, rollup->target, closed_literal(rollup));
	for (int i = 0; i < ngroups; i++)
		sql.data = psprintf("%s%s%d", sql.data, i ? ", " : " GROUP BY ", i + 2);
	sql.data = psprintf("%s) AS pipeline_open ON true", sql.data);
	for (int i = 0; i < ngroups; i++)
		sql.data = psprintf("%s AND pipeline_open_%d IS NOT DISTINCT FROM pipeline_group_%d",
							sql.data, i + 1, i + 1);
	return psprintf("%s WHERE pipeline_instant > %s - %s OR pipeline_instant >= pipeline_from",
					sql.data, closed_literal(rollup), interval_literal(rollup->gap));
}

/*
 * Sessions: events of a group that follow one another by no more than the gap.
 */
static char *
session_windows_sql(const Rollup *rollup, const Source *source)
{
	StringInfoData sql;
	StringInfoData groups;
	char	   *gap = interval_literal(rollup->gap);
	int			ngroups = list_length(rollup->group_by);

	initStringInfo(&groups);
	for (int i = 1; i <= ngroups; i++)
		appendStringInfo(&groups, "pipeline_group_%d, ", i);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT pg_catalog.min(pipeline_instant) AS window_start, pg_catalog.max(pipeline_instant) + %s AS window_end", gap);
	for (int i = 0; i < ngroups; i++)
		appendStringInfo(&sql, ", pipeline_group_%d AS %s", i + 1,
						 quote_identifier(list_nth(rollup->group_names, i)));
	append_aggregates(&sql, rollup);
	appendStringInfo(&sql, " FROM (SELECT *, pg_catalog.sum(pipeline_new) OVER (PARTITION BY %strue ORDER BY pipeline_instant) AS pipeline_session"
					 " FROM (SELECT *, CASE WHEN pipeline_instant - pg_catalog.lag(pipeline_instant) OVER (PARTITION BY %strue ORDER BY pipeline_instant) <= %s THEN 0 ELSE 1 END AS pipeline_new"
					 " FROM (%s) AS pipeline_event) AS pipeline_event) AS pipeline_source GROUP BY %spipeline_session",
					 groups.data, groups.data, gap, session_events_sql(rollup, source), groups.data);
	if (rollup->closed_before != NULL)
		appendStringInfo(&sql, " HAVING pg_catalog.max(pipeline_instant) + %s > %s", gap,
						 closed_literal(rollup));
	return sql.data;
}

/* The windows that are not closed: their start and end, the groups, the aggregates. */
char *
rollup_windows_sql(const Rollup *rollup, const Source *source)
{
	return rollup->kind == ROLLUP_SESSION ? session_windows_sql(rollup, source) :
		fixed_windows_sql(rollup, source);
}

/* The latest time, and how many rows have none. */
char *
rollup_times_sql(const Rollup *rollup, const Source *source)
{
	char	   *instant = event_instant(rollup, source);

	return psprintf("SELECT pg_catalog.max(%s) FILTER (WHERE pg_catalog.isfinite(%s)),"
					" pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE pg_catalog.isfinite(%s) IS NOT TRUE) FROM %s AS pipeline_source",
					instant, instant, instant, source->from);
}

/* Is it a table, whose rows say who wrote them? */
bool
rollup_tells_late_rows(const Source *source)
{
	char		kind = OidIsValid(source->relid) ? get_rel_relkind(source->relid) : '\0';

	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
}

/*
 * Rows that the last refresh did not see, and whose last window had been
 * closed before: their time and themselves.
 */
char *
rollup_late_sql(const Rollup *rollup, const Source *source)
{
	char	   *instant = event_instant(rollup, source);
	const Interval *step = rollup->slide ? rollup->slide : rollup->width;
	char	   *closed = closed_literal(rollup);
	char	   *end = rollup->kind == ROLLUP_SESSION ?
		psprintf("%s + %s", instant, interval_literal(rollup->gap)) :
		psprintf("%s + %s", window_start_of(instant, step), interval_literal(rollup->width));
	char	   *within = rollup->kind != ROLLUP_HOPPING ? pstrdup("true") :
		psprintf("%s > %s", end, instant);

	return psprintf("SELECT %s AS event_time, pg_catalog.to_jsonb(pipeline_source) AS row FROM %s AS pipeline_source"
					" WHERE %s <= %s AND pg_catalog.isfinite(%s) AND %s <= %s AND %s"
					" AND pipeline.not_seen_by(pipeline_source.xmin, pipeline_source.cmin, %s)",
					instant, source->from, instant, closed, instant, end, closed, within,
					quote_literal_cstr(rollup->snapshot));
}
