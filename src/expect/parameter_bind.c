/*
 * parameter_bind.c
 *	  Parameters of a suite: {"$PARAMETER": "upstream_rows * 1.1"} in place of a
 *	  kwarg (evaluation parameters in Great Expectations 0.18, suite parameters in
 *	  1.x), and their values at each validation.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/elog.h"
#include "utils/json.h"

#include "expect/check.h"

/* The expression of a kwarg that is a parameter, or NULL. */
static char *
parameter_of(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data) ?
		pipeline_jsonb_key(JsonbValueToJsonb((JsonbValue *) v), "$PARAMETER") : NULL;
}

/* Does one of the kwargs stand for a parameter's value? */
bool
pipeline_has_parameters(const Jsonb *kwargs)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(kwargs))
		return false;
	it = JsonbIteratorInit((JsonbContainer *) &kwargs->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_VALUE && parameter_of(&v) != NULL)
			return true;
	return false;
}

/*
 * Raise 22023 if one of the kwargs that are parameters holds SQL: who validates
 * a suite may give values, but not queries to run as its owner.
 */
void
pipeline_check_parameter_keys(const ExpectationType *type, const Jsonb *kwargs)
{
	static const char *const always[] = {"row_condition", "condition_parser", "result_format", "query", "unexpected_rows_query"};

	for (int i = 0; i < MAX_KWARGS + lengthof(always); i++)
	{
		const Kwarg *kwarg = i < MAX_KWARGS && type->kwargs[i].name ? &type->kwargs[i] : NULL;
		const char *name = i >= MAX_KWARGS ? always[i - MAX_KWARGS] : kwarg && kwarg->kind == KWARG_SOURCE ? kwarg->name : NULL;
		JsonbValue	buf;
		JsonbValue *v = name ? pipeline_kwarg(kwargs, name, &buf) : NULL;

		if (v != NULL && parameter_of(v) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" in argument \"kwargs\" takes no parameter", name),
					 errdetail("It says what is read, with the rights of the suite's owner.")));
	}
}

/*
 * The kwargs with parameters replaced by their values.  `values` NULL: only look
 * at the syntax of their expressions, add the names that they ask for to a list,
 * and return NULL.
 */
Jsonb *
pipeline_bind_parameters(const Jsonb *kwargs, const Jsonb *values, List **names)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &kwargs->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	StringInfoData buf;

	initStringInfo(&buf);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		Jsonb	   *value;
		char	   *text;

		if (token == WJB_KEY)
		{
			appendStringInfoString(&buf, buf.len ? ", " : "{");
			escape_json(&buf, pnstrdup(v.val.string.val, v.val.string.len));
			continue;
		}
		if (token != WJB_VALUE)
			continue;
		text = parameter_of(&v);
		if (text != NULL && values == NULL)
		{
			List	   *asked = pipeline_parameter_names(text);

			if (names)
				*names = list_concat(*names, asked);
			continue;
		}
		value = JsonbValueToJsonb(&v);
		if (text != NULL)
		{
			/* The tool may have put a value beside the name. */
			Jsonb	   *given = pipeline_kwarg_json(value, psprintf("$PARAMETER.%s", text));

			value = given ? given : pipeline_parameter_value(text, values);
		}
		appendStringInfo(&buf, ": %s", JsonbToCString(NULL, (JsonbContainer *) &value->root, VARSIZE(value)));
	}
	appendStringInfoString(&buf, buf.len ? "}" : "{}");
	return values == NULL ? NULL : pipeline_jsonb_from(buf.data);
}

/* ---- the checks of a suite ------------------------------------------------------- */

/* Put the values of parameters into the kwargs of a check. */
typedef struct Binding
{
	Check	   *check;
	const Jsonb *values;
} Binding;

static bool
bind(void *arg)
{
	Binding    *b = arg;

	b->check->kwargs = pipeline_bind_parameters(b->check->kwargs, b->values, NULL);
	pipeline_check_kwargs(b->check->type, b->check->kwargs);
	return true;
}

/* What is wrong with a value is the error of the check. */
static void
bind_check(Check *check, const Jsonb *values)
{
	Binding		b = {check, values};
	Jsonb	   *unbound = check->kwargs;
	ErrorData  *edata;

	if (!pipeline_has_parameters(check->kwargs))
		return;
	check->bound = true;
	edata = pipeline_try(bind, &b);
	if (edata == NULL)
		return;
	check->kwargs = unbound;
	check->result.done = true;
	check->result.error = psprintf("%s (%s)", edata->message, unpack_sql_state(edata->sqlerrcode));
}

/* Values of parameters: those that are given, over those of the suite. */
static Jsonb *
merged_parameters(const Suite *suite, const Jsonb *given)
{
	UserScope	scope;
	Jsonb	   *merged;
	bool		isnull;

	if (given == NULL)
		return suite->parameters;
	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT $1::jsonb || $2::jsonb", SPI_OK_SELECT, sql_jsonb(suite->parameters), sql_jsonb(given));
	merged = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return merged;
}

/* A value that no check asks for is a name misspelled. */
static void
check_given(const Suite *suite, const List *checks, const Jsonb *given)
{
	List	   *names = NIL;
	ListCell   *lc;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (given == NULL)
		return;
	foreach(lc, checks)
		if (pipeline_has_parameters(((Check *) lfirst(lc))->kwargs))
			(void) pipeline_bind_parameters(((Check *) lfirst(lc))->kwargs, NULL, &names);
	it = JsonbIteratorInit((JsonbContainer *) &given->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *name = token == WJB_KEY ? pnstrdup(v.val.string.val, v.val.string.len) : NULL;

		if (name != NULL && !pipeline_list_has(names, name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("no expectation of suite \"%s\" has a parameter \"%s\"", suite->name, name),
					 errhint(names ? "There are: %s." : "There is none.", pipeline_list_join(names, ", "))));
	}
}

/*
 * Put values into the checks of a suite: those given, over the suite's own.
 * `strict`: raise 22023 for one that is given and that no check asks for.
 */
void
pipeline_bind_checks(const Suite *suite, const List *checks, const Jsonb *given, bool strict)
{
	const Jsonb *values = merged_parameters(suite, given);
	ListCell   *lc;

	if (strict)
		check_given(suite, checks, given);
	foreach(lc, checks)
		bind_check(lfirst(lc), values);
}
