/*
 * source.c
 *	  User text is parsed, never pasted blind.
 *
 * A source is the name of a table or view, or one read-only query.  An
 * expression is one expression.  Both are parsed alone before they become part
 * of a generated statement, so that no text can close a parenthesis that it
 * did not open; and both are pasted with a line break after them, so that a
 * comment at their end stays theirs.  Rights and name resolution are those of
 * the current user and search_path.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "base/base.h"

static void
refuse_source(const char *argument, const char *text, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is not a source: %s", argument, why),
			 errdetail("It is: %s", text),
			 errhint("A source is the name of a table or view, or one read-only SELECT, WITH, VALUES or TABLE query.")));
}

/* Look for row locks and data-modifying parts anywhere in the query. */
static bool
reads_only_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->commandType != CMD_SELECT || query->rowMarks != NIL)
			return true;
		return query_tree_walker(query, reads_only_walker, context, 0);
	}
	return expression_tree_walker(node, reads_only_walker, context);
}

/* Parse the text, whatever it is, with an error that names the argument. */
static List *
parse_text(const char *text, const char *prefix, const char *argument)
{
	const char *sql = psprintf("%s%s", prefix, text);
	List	   *raw = NIL;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		raw = raw_parser(sql, RAW_PARSE_DEFAULT);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		ereport(ERROR,
				(errcode(edata->sqlerrcode),
				 errmsg("argument \"%s\" does not parse: %s", argument, edata->message),
				 errdetail("It is: %s", text)));
	}
	PG_END_TRY();
	return raw;
}

/* A position in user text is not one in the statement of the client. */
static void
query_context(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(arg);
	}
}

static TupleDesc
query_columns(RawStmt *raw, const char *text, const char *argument)
{
	ErrorContextCallback context;
	Query	   *query;

	context.callback = query_context;
	context.arg = unconstify(char *, text);
	context.previous = error_context_stack;
	error_context_stack = &context;
	query = parse_analyze_fixedparams(raw, text, NULL, 0, NULL);
	error_context_stack = context.previous;

	if (query->commandType != CMD_SELECT || query->utilityStmt != NULL)
		refuse_source(argument, text, "it does not only read");
	if (reads_only_walker((Node *) query, NULL))
		refuse_source(argument, text, "it locks or modifies rows");
	return ExecCleanTypeFromTL(query->targetList);
}

static void
open_query(Source *source, const char *argument)
{
	List	   *raw = parse_text(source->text, "", argument);
	RawStmt    *stmt;
	int			len;

	if (list_length(raw) != 1)
		refuse_source(argument, source->text,
					  raw == NIL ? "it is empty" : "it is more than one statement");
	stmt = linitial_node(RawStmt, raw);
	if (!IsA(stmt->stmt, SelectStmt))
		refuse_source(argument, source->text, "it is not a query");
	for (SelectStmt *s = (SelectStmt *) stmt->stmt; s; s = s->larg)
	{
		if (s->intoClause)
			refuse_source(argument, source->text, "SELECT INTO makes a table");
	}
	source->columns = query_columns(stmt, source->text, argument);
	len = stmt->stmt_len > 0 ? stmt->stmt_len :
		(int) strlen(source->text) - stmt->stmt_location;
	source->from = psprintf("(%s\n)", pnstrdup(source->text + stmt->stmt_location, len));
}

/* May the current user read any of it? */
static bool
may_read(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK;
}

static void
open_relation(Source *source, List *names, const char *argument)
{
	RangeVar   *rv = makeRangeVarFromNameList(names);
	Relation	rel;
	TupleDesc	desc;
	int			n = 0;

	source->relid = RangeVarGetRelid(rv, AccessShareLock, true);
	if (!OidIsValid(source->relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("source \"%s\" does not exist", source->text),
				 errdetail("It was looked up with search_path \"%s\".", namespace_search_path),
				 errhint("Argument \"%s\" takes the name of a table or view, or one read-only query.", argument)));
	rel = relation_open(source->relid, NoLock);
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		default:
			refuse_source(argument, source->text, "it is not a table or view");
	}
	desc = RelationGetDescr(rel);
	for (int i = 0; i < desc->natts; i++)
		n += !TupleDescAttr(desc, i)->attisdropped;
	source->columns = CreateTemplateTupleDesc(n);
	n = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		n++;
		TupleDescInitEntry(source->columns, n, NameStr(att->attname),
						   att->atttypid, att->atttypmod, att->attndims);
		TupleDescInitEntryCollation(source->columns, n, att->attcollation);
	}
	TupleDescFinalize(source->columns);
	/* Whoever may not read it shall not hold a lock on it either. */
	relation_close(rel, may_read(source->relid) ? NoLock : AccessShareLock);
	source->from = pipeline_qualified_name(source->relid);
}

/*
 * Open a source: check that it is one, and find its columns.  Raises 22023
 * when it is not, 42P01 when a name is unknown, and whatever the parser and
 * the analysis raise.  A named relation is locked in AccessShare mode until
 * the end of the transaction.
 */
Source *
pipeline_source(const char *text, const char *argument)
{
	Source	   *source = palloc0(sizeof(Source));
	List	   *names = NIL;
	ListCell   *lc;

	source->text = pstrdup(text);
	if (SplitIdentifierString(pstrdup(text), '.', &names) &&
		list_length(names) >= 1 && list_length(names) <= 3)
	{
		foreach(lc, names)
			lfirst(lc) = makeString(pstrdup(lfirst(lc)));
		open_relation(source, names, argument);
	}
	else
		open_query(source, argument);
	return source;
}

/*
 * Return the position (from 1) of a column in the source's columns.  Raises
 * 42703 when there is none, 42702 when there are two.
 */
int
pipeline_source_column(const Source *source, const char *column,
					   const char *argument)
{
	int			found = 0;
	StringInfoData all;

	for (int i = 0; i < source->columns->natts; i++)
	{
		if (strcmp(NameStr(TupleDescAttr(source->columns, i)->attname), column) != 0)
			continue;
		if (found)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("column \"%s\" of argument \"%s\" is ambiguous",
							column, argument),
					 errdetail("The source has two columns of that name: %s", source->text)));
		found = i + 1;
	}
	if (found)
		return found;
	initStringInfo(&all);
	for (int i = 0; i < source->columns->natts; i++)
		appendStringInfo(&all, "%s%s", i ? ", " : "",
						 NameStr(TupleDescAttr(source->columns, i)->attname));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of argument \"%s\" does not exist in the source",
					column, argument),
			 errdetail("The source %s has the columns: %s.", source->text, all.data)));
	return 0;
}

/*
 * Check that the text is one expression and return it ready for pasting, in
 * parentheses.  Its names are not resolved here.
 */
char *
pipeline_expression(const char *text, const char *argument)
{
	List	   *raw = parse_text(text, "SELECT ", argument);
	SelectStmt *select;
	ResTarget  *target;

	if (list_length(raw) == 1 &&
		IsA(linitial_node(RawStmt, raw)->stmt, SelectStmt))
	{
		select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
		target = list_length(select->targetList) == 1 ?
			linitial(select->targetList) : NULL;
		if (select->op == SETOP_NONE && target != NULL &&
			IsA(target, ResTarget) && target->name == NULL &&
			target->indirection == NIL &&
			select->distinctClause == NIL && select->intoClause == NULL &&
			select->fromClause == NIL && select->whereClause == NULL &&
			select->groupClause == NIL && select->havingClause == NULL &&
			select->windowClause == NIL && select->valuesLists == NIL &&
			select->sortClause == NIL && select->limitOffset == NULL &&
			select->limitCount == NULL && select->lockingClause == NIL &&
			select->withClause == NULL &&
			!(IsA(target->val, ColumnRef) &&
			  IsA(llast(((ColumnRef *) target->val)->fields), A_Star)) &&
			/* Nothing but the end of the text ended it: no semicolon. */
			linitial_node(RawStmt, raw)->stmt_len == 0)
			return psprintf("(%s\n)", text);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is not one expression", argument),
			 errdetail("It is: %s", text),
			 errhint("Give one SQL expression, without an alias.")));
	return NULL;
}

/*
 * Analyse one SELECT, generated by us from checked parts, and return the
 * columns of its result.
 */
TupleDesc
pipeline_query_columns(const char *sql)
{
	List	   *raw = raw_parser(sql, RAW_PARSE_DEFAULT);

	Assert(list_length(raw) == 1);
	return query_columns(linitial_node(RawStmt, raw), sql, "source");
}

/*
 * Check that the text is one read-only query, or the name of a relation, as
 * far as its form tells, and return it ready to follow FROM.  Its names are
 * not resolved here.
 */
char *
pipeline_query(const char *text, const char *argument)
{
	List	   *names = NIL;
	List	   *raw;
	RawStmt    *stmt;
	int			len;

	if (SplitIdentifierString(pstrdup(text), '.', &names) &&
		list_length(names) >= 1 && list_length(names) <= 3)
	{
		StringInfoData buf;
		ListCell   *lc;

		initStringInfo(&buf);
		foreach(lc, names)
			appendStringInfo(&buf, "%s%s", lc == list_head(names) ? "" : ".",
							 quote_identifier(lfirst(lc)));
		return buf.data;
	}
	raw = parse_text(text, "", argument);
	if (list_length(raw) != 1)
		refuse_source(argument, text, raw == NIL ? "it is empty" : "it is more than one statement");
	stmt = linitial_node(RawStmt, raw);
	if (!IsA(stmt->stmt, SelectStmt))
		refuse_source(argument, text, "it is not a query");
	for (SelectStmt *s = (SelectStmt *) stmt->stmt; s; s = s->larg)
	{
		if (s->intoClause)
			refuse_source(argument, text, "SELECT INTO makes a table");
		if (s->lockingClause)
			refuse_source(argument, text, "it locks or modifies rows");
	}
	len = stmt->stmt_len > 0 ? stmt->stmt_len : (int) strlen(text) - stmt->stmt_location;
	return psprintf("(%s\n)", pnstrdup(text + stmt->stmt_location, len));
}
