/*
 * watermark.c
 *	  What a refresh leaves for the next: a JSON object of texts.
 *
 *	  snapshot			the watermark: its xmin with its epoch, its xmax, the
 *					transactions running between them
 *	  system			the system whose transactions and log these are
 *	  set				digest of the set's definition
 *	  target			the target's OID and file
 *	  feature:NAME		digest of each feature's definition
 *	  table:OID			file, columns and old rows of each table read
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "feature/changes.h"

static char *
target_text(Oid target)
{
	Relation	rel = relation_open(target, AccessShareLock);
	char	   *text = psprintf("%u %u", target, rel->rd_rel->relfilenode);

	relation_close(rel, NoLock);
	return text;
}

static char *
table_text(const TableMark *mark, int64 rows)
{
	return psprintf("%u %d %lld", mark->file, mark->natts, (long long) rows);
}

static char *
table_key(const TableMark *mark)
{
	return psprintf("table:%u", mark->relid);
}

/*
 * Transactions and places in the log say nothing to another system: the
 * watermark is dumped with the rest, and a restored table can get the number
 * of the old one.
 */
static char *
system_text(void)
{
	return psprintf("%llu", (unsigned long long) GetSystemIdentifier());
}

static bool
says(const Watermark *mark, const char *key, const char *text)
{
	char	   *other = pipeline_jsonb_key(mark->json, key);

	return other != NULL && strcmp(other, text) == 0;
}

/* The digest of the set's own definition. */
static char *
set_digest(const FeatureSet *set)
{
	UserScope	scope;
	char	   *digest;

	pipeline_extension_begin(&scope);
	pipeline_sql("SELECT md5((to_jsonb(s) - '{name,labels,description,created_at,refreshed_at}'::text[])::text)"
				 " FROM pipeline.feature_sets s WHERE name = $1", SPI_OK_SELECT,
				 sql_text(set->name));
	digest = pipeline_sql_text(0, 1);
	pipeline_scope_end(&scope);
	return digest;
}

/* Names and digests of the features, one after the other. */
static List *
feature_digests(const FeatureSet *set)
{
	UserScope	scope;
	List	   *list = NIL;
	uint64		n;

	pipeline_extension_begin(&scope);
	n = pipeline_sql("SELECT 'feature:' || feature, md5((to_jsonb(f) - '{feature_set,owner,position,created_at}'::text[])::text)"
					 " FROM pipeline.features f WHERE feature_set = $1 ORDER BY position",
					 SPI_OK_SELECT, sql_text(set->name));
	for (uint64 i = 0; i < n; i++)
	{
		list = lappend(list, pipeline_sql_text(i, 1));
		list = lappend(list, pipeline_sql_text(i, 2));
	}
	pipeline_scope_end(&scope);
	return list;
}

/* Find what the last refresh of the set left, if it still says something. */
void
watermark_load(Watermark *mark, const FeatureSet *set, Oid target)
{
	UserScope	scope;
	bool		isnull;
	Datum		json;

	memset(mark, 0, sizeof(Watermark));
	pipeline_extension_begin(&scope);
	if (pipeline_sql("SELECT watermark, blocks FROM pipeline.feature_refreshes"
					 " WHERE feature_set = $1 AND target = $2"
					 " ORDER BY refresh_id DESC LIMIT 1", SPI_OK_SELECT,
					 sql_text(set->name), sql_text(set->target)) > 0)
	{
		json = pipeline_sql_datum(0, 1, &isnull);
		mark->json = isnull ? NULL : DatumGetJsonbPCopy(json);
		json = pipeline_sql_datum(0, 2, &isnull);
		mark->blocks = isnull ? NULL : DatumGetJsonbPCopy(json);
	}
	pipeline_scope_end(&scope);
	if (mark->json == NULL || !OidIsValid(target) ||
		!says(mark, "target", target_text(target)) ||
		!says(mark, "system", system_text()) ||
		!says(mark, "set", set_digest(set)))
	{
		mark->json = mark->blocks = NULL;
		return;
	}
	snapshot_parse(&mark->snapshot, pipeline_jsonb_key(mark->json, "snapshot"));
}

/* Are the old rows of every table that was searched still all there? */
bool
watermark_agrees(const Watermark *mark, const ChangeSearch *search)
{
	ListCell   *lc;

	foreach(lc, search->marks)
	{
		const TableMark *table = lfirst(lc);

		if (!table->is_new &&
			!says(mark, table_key(table), table_text(table, table->older_since)))
			return false;
	}
	return true;
}

/* The features that were not there, or were other ones. */
List *
watermark_changed_specs(const Watermark *mark, const FeatureSet *set)
{
	List	   *digests = feature_digests(set);
	List	   *changed = NIL;
	ListCell   *lc;

	foreach(lc, set->specs)
	{
		int			i = 2 * foreach_current_index(lc);

		if (!says(mark, list_nth(digests, i), list_nth(digests, i + 1)))
			changed = lappend(changed, lfirst(lc));
	}
	return changed;
}

/* What this refresh leaves. */
Jsonb *
watermark_make(const FeatureSet *set, Oid target, const ChangeSearch *search)
{
	List	   *digests = feature_digests(set);
	int			npairs = 4 + list_length(digests) / 2 + list_length(search->marks);
	const char **keys = palloc_array(const char *, npairs);
	const char **values = palloc_array(const char *, npairs);
	int			n = 0;
	ListCell   *lc;

	keys[n] = "snapshot";
	values[n++] = snapshot_text(&search->now);
	keys[n] = "system";
	values[n++] = system_text();
	keys[n] = "set";
	values[n++] = set_digest(set);
	keys[n] = "target";
	values[n++] = target_text(target);
	for (int i = 0; i < list_length(digests); i += 2)
	{
		keys[n] = list_nth(digests, i);
		values[n++] = list_nth(digests, i + 1);
	}
	foreach(lc, search->marks)
	{
		const TableMark *mark = lfirst(lc);

		keys[n] = table_key(mark);
		values[n++] = table_text(mark, mark->older_now);
	}
	return pipeline_jsonb_object(npairs, keys, values);
}
