/*
 * alert_suppress.c
 *	  Ask silences and inhibitions of alerts.
 *
 * They cover alerts of their owner, those of administrators everybody's.  An
 * inhibition joins two alerts of one owner, or takes an administrator's as the
 * source: nobody can mute an alert of another by raising one.
 *
 * As in Alertmanager an alert that is silenced or inhibited itself inhibits
 * others all the same, and one that matches both sides is not inhibited by one
 * that does so too, itself among them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

#include "alert/alert_suppress.h"

typedef struct Silence
{
	int64		silence_id;
	Oid			owner;
	bool		of_all;			/* an administrator's */
	List	   *matchers;
	TimestampTz ends_at;
	bool		until_resolved;
	char	   *comment;
} Silence;

typedef struct Inhibition
{
	char	   *name;
	Oid			owner;
	bool		of_all;
	List	   *source;
	List	   *target;
	List	   *equal;			/* names of labels, of the source */
	List	   *equal_target;	/* and of the target */
	HTAB	   *sources;		/* NULL: not looked for yet */
} Inhibition;

/* The open alerts that match a source, by owner and equal labels. */
typedef struct SourceKey
{
	Oid			owner;			/* InvalidOid: of an administrator */
	const char *equal;
} SourceKey;

typedef struct SourceEntry
{
	SourceKey	key;
	int64		plain;			/* one that does not match the target too, or 0 */
	int64		both;			/* one that does, or 0 */
} SourceEntry;

struct Suppression
{
	TimestampTz at;
	List	   *silences;
	List	   *inhibitions;
	bool		open_loaded;
	List	   *open;			/* of OpenAlert */
};

/* ---- reading ---------------------------------------------------------------------------- */

/* Matchers that were good when they were written; one must not stop all. */
static bool
read_matchers(const char *text, const char *what, const char *name, List **matchers)
{
	char	   *why;

	*matchers = pipeline_matchers_try(text, &why);
	if (why)
		ereport(LOG,
				(errmsg("matchers of %s \"%s\" cannot be read: %s", what, name, why)));
	return why == NULL;
}

static void
load_silences(Suppression *suppression)
{
	uint64		n = pipeline_sql("SELECT silence_id, owner::oid, matchers, ends_at, until_resolved, comment FROM pipeline.silences"
								 " WHERE starts_at <= $1 AND ends_at > $1 ORDER BY silence_id", SPI_OK_SELECT,
								 sql_time(suppression->at));

	for (uint64 i = 0; i < n; i++)
	{
		Silence    *silence = palloc0(sizeof(Silence));
		bool		isnull;

		silence->silence_id = pipeline_sql_int8(i, 1);
		silence->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		silence->of_all = pipeline_is_admin(silence->owner);
		silence->ends_at = DatumGetTimestampTz(pipeline_sql_datum(i, 4, &isnull));
		silence->until_resolved = pipeline_sql_bool(i, 5);
		silence->comment = pipeline_sql_text(i, 6);
		if (read_matchers(pipeline_sql_text(i, 3), "silence", psprintf(INT64_FORMAT, silence->silence_id),
						  &silence->matchers))
			suppression->silences = lappend(suppression->silences, silence);
	}
}

/*
 * The labels that an element of equal_labels compares: one of both alerts, or,
 * "a=b", label a of the source with label b of the target.
 */
void
pipeline_equal_labels(const char *text, char **of_source, char **of_target)
{
	const char *sign = strchr(text, '=');

	*of_source = sign ? pnstrdup(text, sign - text) : pstrdup(text);
	*of_target = pstrdup(sign ? sign + 1 : text);
}

static void
load_inhibitions(Suppression *suppression)
{
	uint64		n = pipeline_sql("SELECT name, owner::oid, source_matchers, target_matchers, equal_labels, predefined"
								 " FROM pipeline.inhibitions ORDER BY NOT predefined, name COLLATE \"C\"", SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
	{
		Inhibition *inhibition = palloc0(sizeof(Inhibition));
		ListCell   *lc;
		bool		isnull;

		inhibition->name = pipeline_sql_text(i, 1);
		inhibition->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		inhibition->of_all = pipeline_sql_bool(i, 6) || pipeline_is_admin(inhibition->owner);
		foreach(lc, pipeline_array_list(DatumGetArrayTypePCopy(pipeline_sql_datum(i, 5, &isnull)), "equal_labels"))
		{
			char	   *of_source;
			char	   *of_target;

			pipeline_equal_labels(lfirst(lc), &of_source, &of_target);
			inhibition->equal = lappend(inhibition->equal, of_source);
			inhibition->equal_target = lappend(inhibition->equal_target, of_target);
		}
		if (read_matchers(pipeline_sql_text(i, 3), "inhibition", inhibition->name, &inhibition->source) &&
			read_matchers(pipeline_sql_text(i, 4), "inhibition", inhibition->name, &inhibition->target))
			suppression->inhibitions = lappend(suppression->inhibitions, inhibition);
	}
}

/* Read what is in force at a time. */
Suppression *
pipeline_suppression_load(TimestampTz at)
{
	Suppression *suppression = palloc0(sizeof(Suppression));

	suppression->at = at;
	load_silences(suppression);
	load_inhibitions(suppression);
	return suppression;
}

/* All alerts that are not resolved; read when first asked for. */
List *
pipeline_open_alerts(Suppression *suppression)
{
	uint64		n;

	if (suppression->open_loaded)
		return suppression->open;
	suppression->open_loaded = true;
	n = pipeline_sql("SELECT alert_id, owner::oid, labels FROM pipeline.alerts WHERE state <> 'resolved'"
					 " ORDER BY alert_id", SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		OpenAlert  *alert = palloc0(sizeof(OpenAlert));
		bool		isnull;

		alert->alert_id = pipeline_sql_int8(i, 1);
		alert->owner = DatumGetObjectId(pipeline_sql_datum(i, 2, &isnull));
		alert->labels = DatumGetJsonbPCopy(pipeline_sql_datum(i, 3, &isnull));
		suppression->open = lappend(suppression->open, alert);
	}
	return suppression->open;
}

/* ---- inhibitions --------------------------------------------------------------------------- */

static uint32
hash_source(const void *key, Size size)
{
	const SourceKey *k = key;

	return hash_combine(hash_uint32(k->owner),
						hash_bytes((const unsigned char *) k->equal, strlen(k->equal)));
}

static int
compare_source(const void *a, const void *b, Size size)
{
	const SourceKey *x = a;
	const SourceKey *y = b;

	return x->owner != y->owner || strcmp(x->equal, y->equal) != 0;
}

/* The values of these labels, in order, so that none can be taken for another. */
static char *
equal_values(const List *names, const Jsonb *labels)
{
	int			n = list_length(names);
	const char **keys = palloc_array(const char *, n + 1);
	const char **values = palloc_array(const char *, n + 1);
	Jsonb	   *object;

	for (int i = 0; i < n; i++)
	{
		keys[i] = psprintf("%d", i);
		values[i] = pipeline_jsonb_key(labels, list_nth(names, i));
		/* An empty label is one that is not there. */
		if (values[i] && values[i][0] == '\0')
			values[i] = NULL;
	}
	object = pipeline_jsonb_object(n, keys, values);
	return JsonbToCString(NULL, &object->root, VARSIZE(object));
}

/* Find the alerts that match the source of an inhibition. */
static void
find_sources(Suppression *suppression, Inhibition *inhibition)
{
	HASHCTL		ctl = {
		.keysize = sizeof(SourceKey), .entrysize = sizeof(SourceEntry),
		.hash = hash_source, .match = compare_source, .hcxt = CurrentMemoryContext
	};
	ListCell   *lc;

	inhibition->sources = hash_create("pipeline inhibition", 64, &ctl,
									  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	foreach(lc, pipeline_open_alerts(suppression))
	{
		const OpenAlert *alert = lfirst(lc);
		SourceKey	key;
		SourceEntry *entry;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (!inhibition->of_all && alert->owner != inhibition->owner)
			continue;
		if (!pipeline_matchers_match(inhibition->source, alert->labels))
			continue;
		key.owner = pipeline_is_admin(alert->owner) ? InvalidOid : alert->owner;
		key.equal = equal_values(inhibition->equal, alert->labels);
		entry = hash_search(inhibition->sources, &key, HASH_ENTER, &found);
		if (!found)
			entry->plain = entry->both = 0;
		/* The oldest is the likeliest cause, and stays the one that is named. */
		if (pipeline_matchers_match(inhibition->target, alert->labels))
			entry->both = entry->both ? entry->both : alert->alert_id;
		else
			entry->plain = entry->plain ? entry->plain : alert->alert_id;
	}
}

/* The alert by which an inhibition mutes this one; 0: none. */
static int64
inhibiting_alert(Suppression *suppression, Inhibition *inhibition, const OpenAlert *alert)
{
	bool		both = pipeline_matchers_match(inhibition->source, alert->labels);
	SourceKey	keys[2];

	if (inhibition->sources == NULL)
		find_sources(suppression, inhibition);
	keys[0].owner = pipeline_is_admin(alert->owner) ? InvalidOid : alert->owner;
	keys[0].equal = equal_values(inhibition->equal_target, alert->labels);
	keys[1] = keys[0];
	keys[1].owner = InvalidOid;
	for (int i = 0; i < 2; i++)
	{
		SourceEntry *entry = hash_search(inhibition->sources, &keys[i], HASH_FIND, NULL);

		if (entry && entry->plain)
			return entry->plain;
		if (entry && entry->both && !both)
			return entry->both;
	}
	return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool
covers(Oid owner, bool of_all, const OpenAlert *alert)
{
	return of_all || owner == alert->owner;
}

/*
 * All that keeps an alert from being told, inhibitions first; NIL: nothing.
 */
List *
pipeline_suppressors(Suppression *suppression, const OpenAlert *alert)
{
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, suppression->inhibitions)
	{
		Inhibition *inhibition = lfirst(lc);
		Suppressor *suppressor;
		int64		by;

		if (!covers(inhibition->owner, inhibition->of_all, alert) ||
			!pipeline_matchers_match(inhibition->target, alert->labels))
			continue;
		by = inhibiting_alert(suppression, inhibition, alert);
		if (by == 0)
			continue;
		suppressor = palloc0(sizeof(Suppressor));
		suppressor->kind = "inhibition";
		suppressor->name = inhibition->name;
		suppressor->by_alert = by;
		suppressor->until = DT_NOEND;
		found = lappend(found, suppressor);
	}
	foreach(lc, suppression->silences)
	{
		Silence    *silence = lfirst(lc);
		Suppressor *suppressor;

		if (!covers(silence->owner, silence->of_all, alert) ||
			!pipeline_matchers_match(silence->matchers, alert->labels))
			continue;
		suppressor = palloc0(sizeof(Suppressor));
		suppressor->kind = "silence";
		suppressor->name = psprintf(INT64_FORMAT, silence->silence_id);
		suppressor->until = silence->ends_at;
		suppressor->comment = silence->comment;
		found = lappend(found, suppressor);
	}
	return found;
}

/* Say it in words. */
char *
pipeline_suppressor_text(const Suppressor *suppressor)
{
	if (suppressor->by_alert != 0)
		return psprintf("inhibited by alert " INT64_FORMAT " (inhibition \"%s\")",
						suppressor->by_alert, suppressor->name);
	return psprintf("silenced by silence %s", suppressor->name);
}

/*
 * End the silences that last until their alerts are resolved, when `resolved`
 * (of OpenAlert) were the last of those.
 */
void
pipeline_silences_end(Suppression *suppression, List *resolved, TimestampTz at)
{
	ListCell   *ls;
	ListCell   *la;

	foreach(ls, suppression->silences)
	{
		Silence    *silence = lfirst(ls);
		bool		matched = false;

		if (!silence->until_resolved)
			continue;
		foreach(la, resolved)
		{
			const OpenAlert *alert = lfirst(la);

			matched = matched || (covers(silence->owner, silence->of_all, alert) &&
								  pipeline_matchers_match(silence->matchers, alert->labels));
		}
		if (!matched)
			continue;
		foreach(la, pipeline_open_alerts(suppression))
		{
			const OpenAlert *alert = lfirst(la);

			if (covers(silence->owner, silence->of_all, alert) &&
				pipeline_matchers_match(silence->matchers, alert->labels))
				break;
		}
		if (la != NULL)
			continue;
		pipeline_sql("UPDATE pipeline.silences SET ends_at = greatest(starts_at, $2), ended_by = 'resolved' WHERE silence_id = $1",
					 SPI_OK_UPDATE, sql_int8(silence->silence_id), sql_time(at));
		suppression->silences = foreach_delete_current(suppression->silences, ls);
	}
}
