/*
 * value_text.c
 *	  Values as JSON, for samples and observed values.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "expect/check.h"

Jsonb *
pipeline_jsonb_from(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(pstrdup(text))));
}

/* Prepare to_json() for values of a type known only now. */
void
pipeline_prepare_to_json(FmgrInfo *flinfo, Oid typid)
{
	Node	   *arg = (Node *) makeNullConst(typid, -1, InvalidOid);

	fmgr_info(F_TO_JSON, flinfo);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, list_make1(arg),
											 InvalidOid, InvalidOid,
											 COERCE_EXPLICIT_CALL), flinfo);
}

/* Text as a JSON string; what is too long is cut. */
static char *
quoted_text(char *text)
{
	StringInfoData buf;
	int			len = strlen(text);

	if (len > MAX_SAMPLE_BYTES)
	{
		text[pg_mbcliplen(text, len, MAX_SAMPLE_BYTES)] = '\0';
		text = psprintf("%s...", text);
	}
	initStringInfo(&buf);
	escape_json(&buf, text);
	return buf.data;
}

/*
 * A value as JSON text.  It ends up in jsonb among others, so that a value of
 * many megabytes is a string of its beginning, and json with an escape, which
 * jsonb may refuse (\u0000), is a string of all of it.
 */
char *
pipeline_value_json(FmgrInfo *to_json, Datum value, bool isnull, Oid typid)
{
	Oid			output;
	bool		is_varlena;
	char	   *json;

	if (isnull)
		return "null";
	getTypeOutputInfo(typid, &output, &is_varlena);
	if (is_varlena && get_typlen(typid) == -1 &&
		toast_raw_datum_size(value) > MAX_SAMPLE_BYTES)
		return quoted_text(OidOutputFunctionCall(output, value));
	json = TextDatumGetCString(FunctionCall1(to_json, value));
	return getBaseType(typid) == JSONOID && strstr(json, "\\u") ? quoted_text(json) : json;
}
