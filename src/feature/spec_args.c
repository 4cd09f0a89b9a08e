/*
 * spec_args.c
 *	  The options of single aggregates: the keys of argument "args".
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "feature/feature.h"

#define MAX_K 10000

static char *
shown(const Jsonb *args)
{
	return JsonbToCString(NULL, (JsonbContainer *) &args->root, VARSIZE(args));
}

/* The value of a key as text, or the fallback; NULL: it is required. */
static char *
arg_text(const FeatureSpec *spec, const char *key, const char *fallback)
{
	char	   *text = spec->args ? pipeline_jsonb_key(spec->args, key) : NULL;

	if (text != NULL)
		return text;
	if (fallback == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate \"%s\" needs key \"%s\" of argument \"args\"",
						spec->aggregate_name, key),
				 errdetail("It is %s.", spec->args ? shown(spec->args) : "NULL")));
	return pstrdup(fallback);
}

static void
refuse_arg(const char *key, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for key \"%s\" of argument \"args\": \"%s\"",
					key, value),
			 errhint("%s", hint)));
}

static int
integer_arg(const FeatureSpec *spec, const char *key, const char *fallback,
			int least, int greatest)
{
	char	   *text = arg_text(spec, key, fallback);
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text || number < least ||
		number > greatest)
		refuse_arg(key, text, psprintf("It is a whole number from %d to %d.",
									   least, greatest));
	return (int) number;
}

/* A length of time that is the same wherever it starts, in microseconds. */
static int64
length_arg(const FeatureSpec *spec, const char *key, const char *fallback)
{
	char	   *text = arg_text(spec, key, fallback);
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in,
																 CStringGetDatum(text),
																 ObjectIdGetDatum(InvalidOid),
																 Int32GetDatum(-1)));
	double		length = (double) interval->day * USECS_PER_DAY +
		(double) interval->time;

	if (interval->month != 0 || length < 1 || length > 1e18)
		refuse_arg(key, text, "It is an interval without months, longer than 0; a day is 24 hours.");
	return (int64) interval->day * USECS_PER_DAY + interval->time;
}

static void
percentile_args(FeatureSpec *spec)
{
	static const char *const methods[] = {"cont", "disc", NULL};
	char	   *text = arg_text(spec, "fraction", NULL);
	char	   *method = arg_text(spec, "method", "cont");
	char	   *end;

	errno = 0;
	spec->fraction = strtod(text, &end);
	if (errno != 0 || *end != '\0' || end == text ||
		!(spec->fraction >= 0 && spec->fraction <= 1))
		refuse_arg("fraction", text, "It is a number from 0 to 1; 0.5 asks for the median.");
	pipeline_check_choice("method", method, methods);
	spec->continuous = strcmp(method, "cont") == 0;
}

/* A key whose value is an array of strings, as a list; NIL: it is not there. */
static List *
strings_arg(const FeatureSpec *spec, const char *key, const char *hint)
{
	JsonbValue	buf;
	JsonbValue *v = spec->args == NULL ? NULL :
		getKeyJsonValueFromContainer((JsonbContainer *) &spec->args->root,
									 key, strlen(key), &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	List	   *strings = NIL;
	bool		good;

	if (v == NULL || v->type == jbvNull)
		return NIL;
	good = v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
	if (good)
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			good = good && element.type == jbvString;
			if (element.type == jbvString)
				strings = lappend(strings, pnstrdup(element.val.string.val,
													element.val.string.len));
		}
	}
	if (!good || strings == NIL)
		refuse_arg(key, shown(spec->args), hint);
	return strings;
}

static bool
arg_is_allowed(const FeatureSpec *spec, const char *key)
{
	switch (spec->aggregate)
	{
		case AGGREGATE_LAST_K:
		case AGGREGATE_TOP_K:
			return strcmp(key, "k") == 0;
		case AGGREGATE_RATE:
			return strcmp(key, "per") == 0;
		case AGGREGATE_PERCENTILE:
			return strcmp(key, "fraction") == 0 || strcmp(key, "method") == 0;
		case AGGREGATE_DECAYED_SUM:
			return strcmp(key, "half_life") == 0;
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			return strcmp(key, "precision") == 0;
		case AGGREGATE_OTHER:
			return strcmp(key, "arguments") == 0;
		default:
			return false;
	}
}

/* Every key must be one of the aggregate's, or of `by`. */
static void
check_arg_keys(const FeatureSpec *spec)
{
	static const char *const all[] = {
		"k", "per", "fraction", "method", "half_life", "precision", "arguments",
		NULL
	};
	const char *allowed[lengthof(all) + 1];
	int			n = 0;

	for (const char *const *key = all; *key; key++)
	{
		if (arg_is_allowed(spec, *key))
			allowed[n++] = *key;
	}
	if (spec->by != NULL)
		allowed[n++] = "values";
	allowed[n] = NULL;
	if (n == 0 && JB_ROOT_IS_OBJECT(spec->args) && JB_ROOT_COUNT(spec->args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate \"%s\" takes no argument \"args\"",
						spec->aggregate_name),
				 errdetail("It is %s.", shown(spec->args)),
				 errhint("Leave it out, or say '{}'.")));
	pipeline_check_keys(spec->args, "args", allowed);
}

/* Read the options of the feature's aggregate from its args. */
void
feature_spec_args(FeatureSpec *spec)
{
	if (spec->args != NULL)
		check_arg_keys(spec);
	switch (spec->aggregate)
	{
		case AGGREGATE_LAST_K:
		case AGGREGATE_TOP_K:
			spec->k = integer_arg(spec, "k", NULL, 1, MAX_K);
			break;
		case AGGREGATE_RATE:
			spec->per = length_arg(spec, "per", "1 second");
			break;
		case AGGREGATE_PERCENTILE:
			percentile_args(spec);
			break;
		case AGGREGATE_DECAYED_SUM:
			spec->half_life = length_arg(spec, "half_life", NULL);
			break;
		case AGGREGATE_APPROX_COUNT_DISTINCT:
			spec->precision = integer_arg(spec, "precision", "10", 4, 16);
			break;
		case AGGREGATE_OTHER:
			spec->arguments = strings_arg(spec, "arguments",
										  "It is an array of strings: the SQL expressions that follow the value in a call of the function.");
			break;
		default:
			break;
	}
	/* Those of `by` that become columns. */
	if (spec->by != NULL)
		spec->values = strings_arg(spec, "values",
								   "It is an array of strings: each becomes a column. Without it the feature is one jsonb object with a key a value.");
}
