/*
 * render_ticket.c
 *	  Channels of kind ticket: Jira, GitHub, Trello.
 *
 * A group of alerts is one ticket, which has a label made of the group's key:
 *
 *		find it by the label
 *		fires:		there is none: create it; else comment on it
 *		resolved:	comment on it and close it, if it is open
 *
 * Each step is a request, whose answer says what the next is.  An attempt that
 * was lost may have done any of them, so the next begins at the beginning: what
 * was created is found by its label; and each text ends with the idempotency
 * key, by which one that is there already is known.
 *
 * A ticket that people have closed stays closed: while the alerts fire it is
 * commented on, and nothing else.  A test is created and closed again.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "alert/render_text.h"
#include "alert/render_ticket.h"

#define MAX_TITLE 250
#define MAX_BODY 8000
#define MAX_LABELS 20
/* A board of Trello with a thousand cards, some comments of 64 KB. */
#define MAX_ANSWER (8 * 1024 * 1024)
/* Pause where a peer says that it is too much, and not for how long. */
#define LIMITED_S 60

static const TicketSystem *const systems[] = {
	&pipeline_ticket_github,
	&pipeline_ticket_jira,
	&pipeline_ticket_trello,
};

static const TicketSystem *
system_of(const Jsonb *config)
{
	static const char *const names[] = {"github", "jira", "trello", NULL};
	char	   *name = pipeline_config_string(config, "system");

	if (name == NULL)
		pipeline_config_missing("ticket", "system", NULL);
	pipeline_check_choice("config.system", name, names);
	for (int i = 0; i < lengthof(systems); i++)
	{
		if (strcmp(systems[i]->name, name) == 0)
			return systems[i];
	}
	return NULL;
}

/* ---- config ---------------------------------------------------------------------------- */

/*
 * Raise 22023 unless the value of a key has `least` to `most` letters, digits and
 * characters of `more`: it becomes part of a path or of a query.
 */
void
ticket_check_pattern(const Jsonb *config, const char *key, const char *more,
					 int least, int most)
{
	char	   *value = pipeline_config_string(config, key);
	bool		good = strlen(value) >= least && strlen(value) <= most;

	for (char *c = value; *c && good; c++)
		good = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(more, *c);
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of key \"%s\" in argument \"config\": \"%s\"", key, value),
				 errhint("It has %d to %d letters, digits%s%s.", least, most, more[0] ? " and characters of " : "", more)));
}

static bool
has_key(const char *const *keys, const char *key)
{
	for (; *keys; keys++)
	{
		if (strcmp(*keys, key) == 0)
			return true;
	}
	return false;
}

/* A key of another system's is none of this one's. */
static void
check_keys_of_system(const TicketSystem *system, const Jsonb *config)
{
	for (int i = 0; i < system->nrequired; i++)
	{
		if (pipeline_config_string(config, system->keys[i]) == NULL)
			pipeline_config_missing("ticket", system->keys[i], NULL);
	}
	for (int i = 0; i < lengthof(systems); i++)
	{
		for (const char *const *k = systems[i]->keys; *k; k++)
		{
			if (!has_key(system->keys, *k) && ticket_get(config, *k) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("key \"%s\" in argument \"config\" is not for system \"%s\"", *k, system->name)));
		}
	}
}

static Jsonb *
check_config(const Jsonb *config, bool has_secret)
{
	const TicketSystem *system = system_of(config);
	Jsonb	   *full = (Jsonb *) config;
	List	   *labels = pipeline_jsonb_strings(config, "config", "labels");
	ListCell   *lc;

	if (!has_secret)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a channel of kind \"ticket\" needs argument \"secret_ref\""),
				 errhint("It names a file in the folder of the channel's owner under pipeline.secrets_dir, with lines %s.", system->secret)));
	if (system->url)
		full = pipeline_config_default(config, "url", system->url);
	if (pipeline_config_url(full, "url") == NULL)
		pipeline_config_missing("ticket", "url", NULL);
	check_keys_of_system(system, full);
	system->check(full);
	foreach(lc, labels)
	{
		const char *label = lfirst(lc);

		if (label[0] == '\0' || strlen(label) > 50 || strpbrk(label, " ,\"") || strcmp(label, pipeline_one_line(label)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid label under key \"labels\" in argument \"config\": \"%s\"", label),
					 errhint("A label has at most 50 bytes, and no blank, comma or quote.")));
	}
	if (list_length(labels) > MAX_LABELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too many labels in argument \"config\": %d", list_length(labels)),
				 errhint("At most %d.", MAX_LABELS)));
	return full;
}

/* ---- texts ------------------------------------------------------------------------------- */

/* The label of the group. */
static char *
group_label(const Sending *s)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char		hex[17] = {0};
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) s->group_key, strlen(s->group_key)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	hex_encode((char *) digest, 8, hex);
	return psprintf("pipeline-%s", hex);
}

char *
ticket_title(const Sending *s)
{
	return pipeline_cut(pipeline_message_headline(s), MAX_TITLE);
}

/* What a ticket or a comment says; users' text without any markup. */
char *
ticket_body(const Sending *s)
{
	char	   *text = pipeline_cut(pipeline_message_text(s), MAX_BODY);

	return psprintf("%s\nnotification %s", system_of(s->config)->verbatim(text), s->idempotency_key);
}

/* A block of code of Markdown, with a fence that is longer than any in the text. */
char *
ticket_fenced(const char *text)
{
	int			longest = 2;
	int			run = 0;
	StringInfoData fence;

	for (const char *c = text; *c; c++)
	{
		run = *c == '`' ? run + 1 : 0;
		longest = Max(longest, run);
	}
	initStringInfo(&fence);
	for (int i = 0; i <= longest; i++)
		appendStringInfoChar(&fence, '`');
	return psprintf("%s\n%s\n%s\n", fence.data, text, fence.data);
}

/* Ours, and those of the config. */
List *
ticket_labels(const Sending *s, const Ticket *t)
{
	return lcons(t->label, pipeline_jsonb_strings(s->config, "config", "labels"));
}

void
ticket_url(const Sending *s, Request *request, const char *method,
		   const char *path)
{
	char	   *base = pipeline_config_string(s->config, "url");
	int			len = strlen(base);

	while (len > 0 && base[len - 1] == '/')
		len--;
	request->method = method;
	/* A lost answer is for us to deal with: we look before we do it again. */
	request->fresh = true;
	request->max_answer = MAX_ANSWER;
	request->url = psprintf("%.*s%s", len, base, path);
}

/* ---- answers -------------------------------------------------------------------------------- */

const Jsonb *
ticket_get(const Jsonb *object, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v;

	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		return NULL;
	v = getKeyJsonValueFromContainer((JsonbContainer *) &object->root, key, strlen(key), &buf);
	return v ? JsonbValueToJsonb(v) : NULL;
}

const Jsonb *
ticket_element(const Jsonb *array, int i)
{
	JsonbValue *v;

	if (array == NULL || !JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		return NULL;
	v = getIthJsonbValueFromContainer((JsonbContainer *) &array->root, i);
	return v ? JsonbValueToJsonb(v) : NULL;
}

/*
 * A value that is a word: letters, digits, hyphens, underscores; it becomes part of a path.
 * NULL when it is not there; an error when it is something else.
 */
char *
ticket_word(const Jsonb *object, const char *key)
{
	char	   *value;

	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		return NULL;
	value = pipeline_jsonb_key(object, key);
	if (value == NULL)
		return NULL;
	if (value[0] == '\0' || strlen(value) > 100 ||
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the peer's answer has an odd \"%s\"", key)));
	return value;
}

/* Is the key of this notification anywhere in it? */
bool
ticket_mentions(const Sending *s, const Jsonb *answer)
{
	return answer != NULL &&
		strstr(JsonbToCString(NULL, (JsonbContainer *) &answer->root, VARSIZE(answer)), s->idempotency_key) != NULL;
}

/* ---- the phases ------------------------------------------------------------------------------- */

static bool
closes(const Sending *s)
{
	return !s->message->firing || s->message->test;
}

/* What comes when the ticket says what it should. */
static TicketPhase
after_telling(const Sending *s, const Ticket *t, const TicketSystem *system)
{
	if (!closes(s) || !t->open)
		return TICKET_DONE;
	return system->transitions ? TICKET_FIND_TRANSITION : TICKET_CLOSE;
}

static TicketPhase
after_finding(const Sending *s, const Ticket *t, const TicketSystem *system)
{
	if (t->id == NULL)
		return s->message->firing ? TICKET_CREATE : t->label_id ? TICKET_DROP_LABEL : TICKET_DONE;
	/* Somebody has closed it, or an attempt of ours that was lost. */
	if (!t->open && closes(s))
		return t->label_id ? TICKET_DROP_LABEL : TICKET_DONE;
	if (t->told)
		return after_telling(s, t, system);
	return s->attempt > 1 ? TICKET_FIND_COMMENT : TICKET_COMMENT;
}

static TicketPhase
next_phase(const Sending *s, const Ticket *t, const TicketSystem *system)
{
	switch (t->phase)
	{
		case TICKET_FIND_LABEL:
			return t->label_id ? TICKET_FIND : s->message->firing ? TICKET_CREATE_LABEL : TICKET_DONE;
		case TICKET_CREATE_LABEL:
			return TICKET_CREATE;
		case TICKET_FIND:
			return after_finding(s, t, system);
		case TICKET_FIND_COMMENT:
			return t->told ? after_telling(s, t, system) : TICKET_COMMENT;
		case TICKET_CREATE:
		case TICKET_COMMENT:
			return after_telling(s, t, system);
		case TICKET_FIND_TRANSITION:
			return TICKET_CLOSE;
		case TICKET_CLOSE:
			return t->label_id ? TICKET_DROP_LABEL : TICKET_DONE;
		case TICKET_DROP_LABEL:
		case TICKET_DONE:
			break;
	}
	return TICKET_DONE;
}

static void
build_request(Sending *s, Request *request)
{
	const TicketSystem *system = system_of(s->config);
	Ticket	   *t = s->state;

	if (t == NULL)
	{
		t = s->state = palloc0_object(Ticket);
		t->phase = system->labels ? TICKET_FIND_LABEL : TICKET_FIND;
		t->label = group_label(s);
	}
	system->authorize(s, request);
	system->request(s, t, request);
}

typedef struct Learning
{
	const TicketSystem *system;
	Sending    *s;
	const TransportResult *result;
} Learning;

/* Read the answer; some have none. */
static bool
learn(void *arg)
{
	Learning   *l = arg;
	Jsonb	   *answer = NULL;

	if (l->result->length > 0)
		answer = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(pg_any_to_server(pnstrdup(l->result->answer, l->result->length),
																							  l->result->length, PG_UTF8))));
	l->system->learn(l->s, l->s->state, answer);
	return true;
}

/*
 * Did the peer refuse because it was too much?  GitHub says 403 then, with
 * Retry-After or only in words.
 */
static bool
limited(Sending *s, const TransportResult *result)
{
	if (result->status != 403)
		return false;
	if (result->retry_after <= 0 && strstr(pnstrdup(result->answer, result->length), "rate limit") == NULL)
		return false;
	if (result->retry_after <= 0)
		s->retry_after = LIMITED_S;
	return true;
}

static Verdict
judge(Sending *s, const TransportResult *result)
{
	const TicketSystem *system = system_of(s->config);
	Ticket	   *t = s->state;
	Learning	l = {system, s, result};
	Verdict		verdict = pipeline_judge_http(s, result);
	ErrorData  *edata;

	if (limited(s, result))
		return VERDICT_RETRY;
	/* A label that is gone already is as good as dropped. */
	if (t->phase == TICKET_DROP_LABEL && result->status == 404)
		return VERDICT_SENT;
	if (verdict != VERDICT_SENT)
		return verdict;
	edata = pipeline_try(learn, &l);
	if (edata != NULL)
	{
		s->error = psprintf("the peer answered what cannot be understood: %s", edata->message);
		return result->complete ? VERDICT_DEAD : VERDICT_RETRY;
	}
	t->phase = next_phase(s, t, system);
	return t->phase == TICKET_DONE ? VERDICT_SENT : VERDICT_NEXT;
}

static const char *const keys[] = {"system", "url", "labels", "repository", "project", "issue_type",
"done", "cloud", "board", "list", NULL};
static const char *const secrets[] = {"token", "username", "password", "key", NULL};

const ChannelKind pipeline_kind_ticket = {
	.name = "ticket",
	.keys = keys,
	.secrets = secrets,
	.check_config = check_config,
	.request = build_request,
	.judge = judge
};
