/*
 * definition.c
 *	  The row of a dimension in pipeline.dimensions.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "scd/scd.h"

static char *
text_of(int column)
{
	return pipeline_sql_text(0, column);
}

static List *
list_of(int column)
{
	bool		isnull;
	Datum		value = pipeline_sql_datum(0, column, &isnull);

	return pipeline_array_list(DatumGetArrayTypeP(value), "columns");
}

static double
fraction_of(int column)
{
	bool		isnull;

	return DatumGetFloat8(pipeline_sql_datum(0, column, &isnull));
}

static TimestampTz
time_of(int column, bool *isnull)
{
	Datum		value = pipeline_sql_datum(0, column, isnull);

	return *isnull ? 0 : DatumGetTimestampTz(value);
}

static Dimension *
read_row(Oid relid)
{
	Dimension  *dimension = palloc0(sizeof(Dimension));
	bool		isnull;

	dimension->relid = relid;
	dimension->owner = DatumGetObjectId(pipeline_sql_datum(0, 1, &isnull));
	dimension->search_path = text_of(2);
	dimension->source = text_of(3);
	dimension->business_key = list_of(4);
	dimension->feed = text_of(5);
	dimension->type2 = list_of(6);
	dimension->type1 = list_of(7);
	dimension->hard_deletes = text_of(8);
	dimension->unknown_member = pipeline_sql_bool(0, 9);
	dimension->initial_valid_from = time_of(10, &isnull);
	dimension->has_initial = !isnull;
	dimension->on_new_column = text_of(11);
	dimension->open_end = time_of(12, &dimension->open_end_null);
	pipeline_scd_names(dimension, DatumGetJsonbP(pipeline_sql_datum(0, 13, &isnull)));
	dimension->max_delete_fraction = fraction_of(14);
	dimension->max_rejected_fraction = fraction_of(15);
	dimension->exact = pipeline_sql_bool(0, 16);
	dimension->type0 = list_of(17);
	dimension->type3 = list_of(18);
	dimension->type6 = list_of(19);
	dimension->effective_at = text_of(20);
	pipeline_scd_operation(dimension, text_of(21));
	dimension->sequence_by = text_of(22);
	dimension->on_tie = text_of(23);
	dimension->scope = list_of(24);
	dimension->current_index = pipeline_sql_bool(0, 25);
	dimension->temporal_key = pipeline_sql_bool(0, 26);
	dimension->events = DatumGetObjectId(pipeline_sql_datum(0, 27, &isnull));
	if (isnull)
		dimension->events = InvalidOid;
	return dimension;
}

/*
 * Find the definition of a table; raises 42704 when there is none and that
 * matters.  Inside an SPI connection.
 */
Dimension *
pipeline_scd_find(Oid relid, bool missing_ok)
{
	UserScope	scope;
	Dimension  *dimension = NULL;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT owner::oid, search_path, source, business_key, feed, type2, type1,"
					 " hard_deletes, unknown_member, initial_valid_from, on_new_column, open_end,"
					 " names, max_delete_fraction, max_rejected_fraction, exact, type0, type3,"
					 " type6, effective_at, operation, sequence_by, on_tie, scope, current_index,"
					 " temporal_key, events::oid"
					 " FROM pipeline.dimensions WHERE dimension = $1",
					 SPI_OK_SELECT, sql_regclass(relid)) > 0)
		dimension = read_row(relid);
	pipeline_scope_end(&scope);
	if (dimension == NULL && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s is not a registered dimension",
						get_rel_name(relid) ? pipeline_qualified_name(relid) :
						psprintf("relation with OID %u", relid)),
				 errhint("Register it by create_dimension(), or merge once by merge_scd2().")));
	if (dimension != NULL)
		dimension->name = get_rel_name(relid) ? pipeline_qualified_name(relid) :
			psprintf("%u", relid);
	return dimension;
}

/* The row as a JSON object, for the change log; NULL when there is none. */
Jsonb *
pipeline_scd_jsonb(Oid relid)
{
	UserScope	scope;
	Jsonb	   *row = NULL;
	bool		isnull;

	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT to_jsonb(d) FROM pipeline.dimensions d WHERE dimension = $1",
					 SPI_OK_SELECT, sql_regclass(relid)) > 0)
		row = DatumGetJsonbPCopy(pipeline_sql_datum(0, 1, &isnull));
	pipeline_scope_end(&scope);
	return row;
}

/* Write the row; a replaced one keeps its owner. */
void
pipeline_scd_store(const Dimension *d, bool replace)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	if (replace)
		pipeline_sql("DELETE FROM pipeline.dimensions WHERE dimension = $1",
					 SPI_OK_DELETE, sql_regclass(d->relid));
	pipeline_sql("INSERT INTO pipeline.dimensions (dimension, owner, search_path, source,"
				 " business_key, feed, type2, type1, hard_deletes, unknown_member,"
				 " initial_valid_from, on_new_column, open_end, names, max_delete_fraction,"
				 " max_rejected_fraction, exact, labels, description, type0, type3, type6,"
				 " effective_at, operation, sequence_by, on_tie, scope, current_index,"
				 " temporal_key, events)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
				 " $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)",
				 SPI_OK_INSERT,
				 sql_regclass(d->relid), sql_role(d->owner),
				 sql_text(d->search_path), sql_text(d->source),
				 sql_array(pipeline_list_array(d->business_key)), sql_text(d->feed),
				 sql_array(pipeline_list_array(d->type2)),
				 sql_array(pipeline_list_array(d->type1)),
				 sql_text(d->hard_deletes), sql_bool(d->unknown_member),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(d->initial_valid_from),
						   !d->has_initial),
				 sql_text(d->on_new_column),
				 sql_datum(TIMESTAMPTZOID, TimestampTzGetDatum(d->open_end),
						   d->open_end_null),
				 sql_jsonb(pipeline_scd_names_jsonb(d)),
				 sql_float8(d->max_delete_fraction),
				 sql_float8(d->max_rejected_fraction), sql_bool(d->exact),
				 sql_jsonb(d->labels), sql_text(d->description),
				 sql_array(pipeline_list_array(d->type0)),
				 sql_array(pipeline_list_array(d->type3)),
				 sql_array(pipeline_list_array(d->type6)),
				 sql_text(d->effective_at), sql_text(d->operation),
				 sql_text(d->sequence_by), sql_text(d->on_tie),
				 sql_array(pipeline_list_array(d->scope)),
				 sql_bool(d->current_index), sql_bool(d->temporal_key),
				 sql_regclass(d->events));
	pipeline_scope_end(&scope);
}

/* Keep the columns that a merge added. */
void
pipeline_scd_store_type2(const Dimension *d)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("UPDATE pipeline.dimensions SET type2 = $2 WHERE dimension = $1",
				 SPI_OK_UPDATE, sql_regclass(d->relid),
				 sql_array(pipeline_list_array(d->type2)));
	pipeline_scope_end(&scope);
}

/* Forget the row, and where `history` says so its merges and rejects. */
void
pipeline_scd_forget(Oid relid, bool history)
{
	UserScope	scope;

	pipeline_extension_begin(&scope);
	pipeline_sql("DELETE FROM pipeline.dimensions WHERE dimension = $1",
				 SPI_OK_DELETE, sql_regclass(relid));
	pipeline_sql("DELETE FROM pipeline.inferred_members WHERE dimension = $1",
				 SPI_OK_DELETE, sql_regclass(relid));
	if (history)
		pipeline_sql("DELETE FROM pipeline.merges WHERE dimension = $1",
					 SPI_OK_DELETE, sql_regclass(relid));
	pipeline_scope_end(&scope);
}
