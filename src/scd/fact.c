/*
 * fact.c
 *	  create_fact() and drop_fact(): the definition of a fact, its lookups and
 *	  its table.
 *
 * The table holds the columns of the source, a surrogate key for each lookup,
 * and the number of the load that wrote the row.  The natural keys stay in
 * it, so that a fact can be pointed right later.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "alert/alert.h"
#include "scd/scd.h"

PG_FUNCTION_INFO_V1(pipeline_create_fact);
PG_FUNCTION_INFO_V1(pipeline_drop_fact);

/* ---- lookups ------------------------------------------------------------------- */

static void
bad_lookup(const char *column, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid lookup \"%s\" in argument \"lookups\"", column),
			 errdetail("%s", detail), errhint("%s", hint)));
}

static const char lookup_hint[] =
"For example: {\"customer_sk\": {\"dimension\": \"dim.customer\", \"key\": {\"customer_id\": \"cust_id\"}, \"at\": \"order_ts\"}}.";

/* The pairs of "key": column of the dimension, column of the source. */
static void
read_key(Lookup *lookup, Jsonb *object)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root, "key", 3, &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	e;

	if (v == NULL || v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		bad_lookup(lookup->column, "Its \"key\" is not an object.", lookup_hint);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &e, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			lookup->keys = lappend(lookup->keys, pnstrdup(e.val.string.val, e.val.string.len));
		if (token == WJB_VALUE && e.type != jbvString)
			bad_lookup(lookup->column, "A column of its \"key\" is not a string.", lookup_hint);
		if (token == WJB_VALUE)
			lookup->columns = lappend(lookup->columns, pnstrdup(e.val.string.val, e.val.string.len));
	}
}

static Lookup *
read_lookup(const char *column, Jsonb *object)
{
	static const char *const known[] = {
		"dimension", "key", "at", "on_missing", "before_first", NULL
	};
	static const char *const missing[] = {"unknown", "inferred", "reject", NULL};
	static const char *const before[] = {"unknown", "first_version", NULL};
	Lookup	   *lookup = palloc0(sizeof(Lookup));
	char	   *dimension;
	Oid			relid;

	lookup->column = pstrdup(column);
	pipeline_check_keys(object, psprintf("lookups.%s", column), known);
	dimension = pipeline_jsonb_key(object, "dimension");
	if (dimension == NULL)
		bad_lookup(column, "It has no \"dimension\".", lookup_hint);
	relid = RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(dimension))),
							 AccessShareLock, false);
	lookup->dimension = pipeline_scd_find(relid, false);
	if (lookup->dimension->names[META_SURROGATE_KEY] == NULL)
		bad_lookup(column, psprintf("Dimension %s has no surrogate key.", lookup->dimension->name),
				   "Add one, and say its name by alter_dimension().");
	read_key(lookup, object);
	lookup->at = pipeline_jsonb_key(object, "at");
	lookup->on_missing = pipeline_jsonb_key(object, "on_missing");
	lookup->before_first = pipeline_jsonb_key(object, "before_first");
	if (lookup->on_missing == NULL)
		lookup->on_missing = "unknown";
	if (lookup->before_first == NULL)
		lookup->before_first = "unknown";
	pipeline_check_choice("on_missing", lookup->on_missing, missing);
	pipeline_check_choice("before_first", lookup->before_first, before);
	if (list_length(lookup->keys) != list_length(lookup->dimension->business_key))
		bad_lookup(column, psprintf("The business key of dimension %s is {%s}.", lookup->dimension->name,
									pipeline_list_join(lookup->dimension->business_key, ",")),
				   "Give a column of the source for each of its columns.");
	return lookup;
}

/* Read the lookups; inside an SPI connection. */
List *
pipeline_scd_lookups(const Jsonb *lookups)
{
	List	   *list = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *column = NULL;

	if (!JB_ROOT_IS_OBJECT(lookups))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"lookups\" must be a JSON object"),
				 errhint("%s", lookup_hint)));
	it = JsonbIteratorInit((JsonbContainer *) &lookups->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			column = pnstrdup(v.val.string.val, v.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (v.type != jbvBinary || !JsonContainerIsObject(v.val.binary.data))
			bad_lookup(column, "It is not an object.", lookup_hint);
		list = lappend(list, read_lookup(column, JsonbValueToJsonb(&v)));
	}
	return list;
}

/* Check the lookups against the source. */
void
pipeline_scd_check_lookups(Fact *fact, const Source *source)
{
	ListCell   *lc;

	foreach(lc, fact->lookups)
	{
		Lookup	   *lookup = lfirst(lc);
		ListCell   *c;

		foreach(c, lookup->keys)
		{
			if (!pipeline_list_has(lookup->dimension->business_key, lfirst(c)))
				bad_lookup(lookup->column, psprintf("The business key of dimension %s is {%s}.", lookup->dimension->name,
													pipeline_list_join(lookup->dimension->business_key, ",")),
						   "Give a column of the source for each of its columns.");
		}
		foreach(c, lookup->columns)
			(void) pipeline_source_column(source, lfirst(c), "lookups");
		if (lookup->at != NULL)
			(void) pipeline_source_column(source, lookup->at, "lookups");
		for (int i = 0; i < source->columns->natts; i++)
		{
			if (strcmp(NameStr(TupleDescAttr(source->columns, i)->attname), lookup->column) == 0)
				bad_lookup(lookup->column, "The source has a column of that name.",
						   "Name the column of the fact otherwise.");
		}
	}
	foreach(lc, fact->fact_key)
		(void) pipeline_source_column(source, lfirst(lc), "fact_key");
	if (fact->event_time != NULL)
		(void) pipeline_source_column(source, fact->event_time, "event_time");
}

/* ---- the definition ------------------------------------------------------------ */

Fact *
pipeline_scd_find_fact(Oid relid, bool missing_ok)
{
	UserScope	scope;
	Fact	   *fact = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, search_path, source, lookups, fact_key, mode, event_time"
					 " FROM pipeline.facts WHERE fact = $1", SPI_OK_SELECT, sql_regclass(relid)) > 0)
	{
		fact = palloc0(sizeof(Fact));
		fact->relid = relid;
		fact->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
		fact->search_path = pipeline_sql_text(0, 2);
		fact->source = pipeline_sql_text(0, 3);
		fact->lookups_json = DatumGetJsonbPCopy(pipeline_sql_datum(0, 4, &isnull));
		fact->fact_key = pipeline_array_list(DatumGetArrayTypePCopy(pipeline_sql_datum(0, 5, &isnull)), "fact_key");
		fact->mode = pipeline_sql_text(0, 6);
		fact->event_time = pipeline_sql_text(0, 7);
	}
	pipeline_scope_end(&scope);
	if (fact == NULL && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s is not a registered fact",
						get_rel_name(relid) ? pipeline_qualified_name(relid) :
						psprintf("relation with OID %u", relid)),
				 errhint("Register it by create_fact().")));
	if (fact != NULL)
		fact->name = get_rel_name(relid) ? pipeline_qualified_name(relid) : psprintf("%u", relid);
	return fact;
}

/* The row as a JSON object; NULL when there is none. */
Jsonb *
pipeline_scd_fact_jsonb(Oid relid)
{
	UserScope	scope;
	Jsonb	   *row = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT to_jsonb(f) FROM pipeline.facts f WHERE fact = $1",
					 SPI_OK_SELECT, sql_regclass(relid)) > 0)
		row = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return row;
}

static void
store_fact(const Fact *f)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.facts WHERE fact = $1", SPI_OK_DELETE, sql_regclass(f->relid));
	pipeline_sql("INSERT INTO pipeline.facts (fact, owner, search_path, source, lookups, fact_key,"
				 " mode, event_time, labels, description)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", SPI_OK_INSERT,
				 sql_regclass(f->relid), sql_role(f->owner), sql_text(f->search_path),
				 sql_text(f->source), sql_jsonb(f->lookups_json),
				 sql_array(pipeline_list_array(f->fact_key)), sql_text(f->mode),
				 sql_text(f->event_time), sql_jsonb(f->labels), sql_text(f->description));
	pipeline_scope_end(&scope);
}

/* ---- the table ------------------------------------------------------------------- */

static void
make_fact_table(Fact *fact, const Source *source)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	for (int i = 0; i < source->columns->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(source->columns, i);

		appendStringInfo(&sql, ", %s %s%s%s", quote_identifier(NameStr(att->attname)),
						 pipeline_scd_type_name(att->atttypid, att->atttypmod),
						 OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid) ? " COLLATE " : "",
						 OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid) ?
						 pipeline_scd_collation_name(att->attcollation) : "");
	}
	foreach(lc, fact->lookups)
		appendStringInfo(&sql, ", %s pg_catalog.int8", quote_identifier(((Lookup *) lfirst(lc))->column));
	appendStringInfoString(&sql, ", " FACT_LOAD " pg_catalog.int8");
	if (fact->fact_key != NIL)
	{
		appendStringInfoString(&sql, ", UNIQUE (");
		foreach(lc, fact->fact_key)
			appendStringInfo(&sql, "%s%s", lc == list_head(fact->fact_key) ? "" : ", ",
							 quote_identifier(lfirst(lc)));
		appendStringInfoChar(&sql, ')');
	}
	(void) pipeline_sql_generated(psprintf("CREATE TABLE %s (%s)", fact->name, sql.data + 2),
								  SPI_OK_UTILITY, false);
}

static void
check_fact_column(const Fact *fact, const char *column)
{
	if (get_attnum(fact->relid, column) == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s has no column \"%s\"", fact->name, column),
				 errhint("Add it: ALTER TABLE %s ADD COLUMN %s ...", fact->name, quote_identifier(column))));
}

/* A table that exists must have every column that a load writes. */
static void
check_fact_table(const Fact *fact, const Source *source)
{
	ListCell   *lc;

	if (get_rel_relkind(fact->relid) != RELKIND_RELATION &&
		get_rel_relkind(fact->relid) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a table", fact->name),
				 errhint("A fact is a table or a partitioned table.")));
	for (int i = 0; i < source->columns->natts; i++)
		check_fact_column(fact, NameStr(TupleDescAttr(source->columns, i)->attname));
	foreach(lc, fact->lookups)
		check_fact_column(fact, ((Lookup *) lfirst(lc))->column);
	check_fact_column(fact, FACT_LOAD);
}

/* Find the table, and whether it is registered. */
static Fact *
find_table(Fact *fact, RangeVar *rv, bool or_replace, Oid *schema)
{
	Fact	   *before;
	AclResult	acl;

	fact->owner = GetUserId();
	fact->relid = RangeVarGetRelidExtended(rv, ShareRowExclusiveLock, RVR_MISSING_OK, pipeline_scd_check_owns, NULL);
	if (!OidIsValid(fact->relid))
	{
		*schema = RangeVarGetCreationNamespace(rv);
		acl = object_aclcheck(NamespaceRelationId, *schema, GetUserId(), ACL_CREATE);
		if (acl != ACLCHECK_OK)
			aclcheck_error(acl, OBJECT_SCHEMA, get_namespace_name(*schema));
		fact->name = quote_qualified_identifier(get_namespace_name(*schema), rv->relname);
		return NULL;
	}
	fact->name = pipeline_qualified_name(fact->relid);
	before = pipeline_scd_find_fact(fact->relid, true);
	if (before == NULL)
		return NULL;
	if (!or_replace)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("fact %s already exists", fact->name),
				 errhint("Use or_replace => true to change its definition.")));
	if (!has_privs_of_role(GetUserId(), before->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of fact %s", fact->name),
				 errhint("Its source is read as its owner; membership in that role counts.")));
	fact->owner = before->owner;
	return before;
}

static void
check_mode(const Fact *fact)
{
	static const char *const modes[] = {"append", "merge", "replace_interval", NULL};

	pipeline_check_choice("mode", fact->mode, modes);
	if (strcmp(fact->mode, "merge") == 0 && fact->fact_key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode => 'merge' needs argument \"fact_key\""),
				 errhint("Name the columns that identify a fact.")));
	if (strcmp(fact->mode, "replace_interval") == 0 && fact->event_time == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode => 'replace_interval' needs argument \"event_time\""),
				 errhint("Name the column that says when a fact happened.")));
}

/* SQL: create_fact(fact, source, lookups, fact_key, mode, event_time, labels, or_replace, description). */
Datum
pipeline_create_fact(PG_FUNCTION_ARGS)
{
	Fact	   *fact = palloc0(sizeof(Fact));
	Oid			schema = InvalidOid;
	Jsonb	   *before_row;
	Source	   *source;
	RangeVar   *rv;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "fact");
	pipeline_not_null(fcinfo, 1, "source");
	pipeline_not_null(fcinfo, 2, "lookups");
	pipeline_not_null(fcinfo, 4, "mode");
	pipeline_not_null(fcinfo, 6, "labels");
	pipeline_not_null(fcinfo, 7, "or_replace");
	fact->source = pipeline_arg_text(fcinfo, 1);
	fact->lookups_json = pipeline_arg_jsonb(fcinfo, 2);
	fact->fact_key = pipeline_array_list(pipeline_arg_array(fcinfo, 3), "fact_key");
	fact->mode = pipeline_arg_text(fcinfo, 4);
	fact->event_time = pipeline_arg_text(fcinfo, 5);
	fact->labels = pipeline_arg_jsonb(fcinfo, 6);
	fact->description = pipeline_arg_text(fcinfo, 8);
	fact->search_path = pipeline_search_path();
	pipeline_check_labels(fact->labels, "labels");
	check_mode(fact);
	rv = makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0)));

	SPI_connect();
	(void) find_table(fact, rv, PG_GETARG_BOOL(7), &schema);
	before_row = OidIsValid(fact->relid) ? pipeline_scd_fact_jsonb(fact->relid) : NULL;
	pipeline_user_begin(&scope, fact->owner, fact->search_path);
	source = pipeline_source(fact->source, "source");
	fact->lookups = pipeline_scd_lookups(fact->lookups_json);
	pipeline_scd_check_lookups(fact, source);
	if (OidIsValid(fact->relid))
		check_fact_table(fact, source);
	else
	{
		make_fact_table(fact, source);
		fact->relid = get_relname_relid(rv->relname, schema);
	}
	pipeline_scope_end(&scope);
	store_fact(fact);
	pipeline_record_change("create_fact", "fact", fact->name, before_row,
						   pipeline_scd_fact_jsonb(fact->relid), fact->description);
	SPI_finish();
	PG_RETURN_OID(fact->relid);
}

/* SQL: drop_fact(fact regclass, drop_table boolean). */
Datum
pipeline_drop_fact(PG_FUNCTION_ARGS)
{
	Fact	   *fact;
	Jsonb	   *before;
	UserScope	scope;

	pipeline_not_null(fcinfo, 0, "fact");
	pipeline_not_null(fcinfo, 1, "drop_table");
	SPI_connect();
	fact = pipeline_scd_find_fact(PG_GETARG_OID(0), false);
	pipeline_check_owner(fact->owner, "fact", fact->name);
	before = pipeline_scd_fact_jsonb(fact->relid);
	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.facts WHERE fact = $1", SPI_OK_DELETE, sql_regclass(fact->relid));
	if (PG_GETARG_BOOL(1))
		pipeline_sql("DELETE FROM pipeline.merges WHERE dimension = $1", SPI_OK_DELETE, sql_regclass(fact->relid));
	pipeline_scope_end(&scope);
	if (PG_GETARG_BOOL(1) && get_rel_name(fact->relid) != NULL)
	{
		pipeline_user_begin(&scope, fact->owner, fact->search_path);
		(void) pipeline_sql_generated(psprintf("DROP TABLE %s", fact->name), SPI_OK_UTILITY, false);
		pipeline_scope_end(&scope);
	}
	pipeline_record_change("drop_fact", "fact", fact->name, before, NULL, NULL);
	SPI_finish();
	PG_RETURN_VOID();
}
