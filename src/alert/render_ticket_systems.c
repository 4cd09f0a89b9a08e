/*
 * render_ticket_systems.c
 *	  What Jira, GitHub and Trello call the things that a channel of tickets does.
 *
 * Jira: REST API 2, of the cloud (email and API token as username and password)
 * and of Data Center (the same, or a personal access token as token).  GitHub:
 * REST API of 2022-11-28, token.  Trello: REST API 1, key and token; there labels
 * are things of their own, and ours is dropped when the ticket is closed.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "alert/alert_json.h"
#include "alert/render_ticket.h"

static void
begin_body(StringInfo buf)
{
	initStringInfo(buf);
	json_open(buf, '{');
}

static void
end_body(StringInfo buf, Request *request)
{
	json_close(buf, '}');
	pipeline_request_json(request, buf->data);
}

static void
label_array(StringInfo buf, const char *key, const Sending *s, const Ticket *t)
{
	ListCell   *lc;

	json_key(buf, key);
	json_open(buf, '[');
	foreach(lc, ticket_labels(s, t))
		json_string(buf, lfirst(lc));
	json_close(buf, ']');
}

/* A body of one pair. */
static void
pair_body(Request *request, const char *key, const char *value)
{
	StringInfoData buf;

	begin_body(&buf);
	json_pair(&buf, key, value);
	end_body(&buf, request);
}

static void
must_have(const void *thing, const char *what)
{
	if (thing == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("it has no %s", what)));
}

/*
 * From when on there can be a comment that tells of the notification, as GitHub
 * wants a time; its clock may be another than ours.
 */
static char *
comments_since(const Sending *s)
{
	Datum		at = DirectFunctionCall3(timestamptz_in, CStringGetDatum(s->created_at),
										 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	return psprintf("%.19sZ", pipeline_time_text(DatumGetTimestampTz(at) - USECS_PER_HOUR));
}

/* ---- GitHub ----------------------------------------------------------------------------- */

static void
github_check(const Jsonb *config)
{
	char	   *repository = pipeline_config_string(config, "repository");
	char	   *slash = strchr(repository, '/');

	ticket_check_pattern(config, "repository", "/._-", 3, 140);
	if (slash == NULL || slash == repository || slash[1] == '\0' || strchr(slash + 1, '/') || strstr(repository, "..") ||
		repository[0] == '.' || slash[1] == '.')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value of key \"repository\" in argument \"config\": \"%s\"", repository),
				 errhint("It is owner/name.")));
}

static void
github_authorize(const Sending *s, Request *request)
{
	pipeline_request_header(request, "Authorization", psprintf("Bearer %s", pipeline_sending_secret(s, "token")));
	pipeline_request_header(request, "Accept", "application/vnd.github+json");
	pipeline_request_header(request, "X-GitHub-Api-Version", "2022-11-28");
}

static void
github_request(const Sending *s, const Ticket *t, Request *request)
{
	char	   *issues = psprintf("/repos/%s/issues", pipeline_config_string(s->config, "repository"));
	StringInfoData buf;

	switch (t->phase)
	{
		case TICKET_FIND:
			ticket_url(s, request, "GET", psprintf("%s?labels=%s&state=all&sort=created&direction=desc&per_page=1", issues, t->label));
			break;
		case TICKET_FIND_COMMENT:
			ticket_url(s, request, "GET", psprintf("%s/%s/comments?since=%s&per_page=100", issues, t->id, comments_since(s)));
			break;
		case TICKET_CREATE:
			ticket_url(s, request, "POST", issues);
			begin_body(&buf);
			json_pair(&buf, "title", ticket_title(s));
			json_pair(&buf, "body", ticket_body(s));
			label_array(&buf, "labels", s, t);
			end_body(&buf, request);
			break;
		case TICKET_COMMENT:
			ticket_url(s, request, "POST", psprintf("%s/%s/comments", issues, t->id));
			pair_body(request, "body", ticket_body(s));
			break;
		case TICKET_CLOSE:
			ticket_url(s, request, "PATCH", psprintf("%s/%s", issues, t->id));
			begin_body(&buf);
			json_pair(&buf, "state", "closed");
			json_pair(&buf, "state_reason", "completed");
			end_body(&buf, request);
			break;
		default:
			elog(ERROR, "unexpected phase %d", t->phase);
	}
}

static void
github_learn(const Sending *s, Ticket *t, const Jsonb *answer)
{
	const Jsonb *issue = t->phase == TICKET_FIND ? ticket_element(answer, 0) : answer;

	if (t->phase == TICKET_FIND_COMMENT)
		t->told = ticket_mentions(s, answer);
	if (t->phase != TICKET_FIND && t->phase != TICKET_CREATE)
		return;
	t->id = ticket_word(issue, "number");
	t->open = issue == NULL || strcmp(pipeline_jsonb_key(issue, "state") ? pipeline_jsonb_key(issue, "state") : "", "closed") != 0;
	t->told = ticket_mentions(s, issue);
	if (t->phase != TICKET_CREATE)
		return;
	must_have(t->id, "number of the issue");
	/* Whoever may only write issues has his labels left out, silently. */
	if (strstr(JsonbToCString(NULL, (JsonbContainer *) &answer->root, VARSIZE(answer)), t->label) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the issue was created without its label: the token needs write access to the repository")));
}

static const char *const github_keys[] = {"repository", NULL};

const TicketSystem pipeline_ticket_github = {
	.name = "github",
	.url = "https://api.github.com",
	.secret = "\"token = ...\"",
	.keys = github_keys,
	.nrequired = 1,
	.check = github_check,
	.authorize = github_authorize,
	.request = github_request,
	.learn = github_learn,
	.verbatim = ticket_fenced
};

/* ---- Jira ----------------------------------------------------------------------------------- */

/* Is it the cloud, where searching is elsewhere? */
static bool
jira_cloud(const Jsonb *config)
{
	const Jsonb *cloud = ticket_get(config, "cloud");
	char	   *url = pipeline_config_string(config, "url");

	if (cloud != NULL)
		return strcmp(pipeline_jsonb_key(config, "cloud"), "true") == 0;
	return strstr(url, ".atlassian.net") != NULL;
}

static void
jira_check(const Jsonb *config)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer((JsonbContainer *) &config->root, "cloud", 5, &buf);

	ticket_check_pattern(config, "project", "_", 1, 50);
	(void) pipeline_config_string(config, "issue_type");
	(void) pipeline_config_string(config, "done");
	if (v != NULL && v->type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"cloud\" in argument \"config\" is not true or false")));
}

static void
jira_authorize(const Sending *s, Request *request)
{
	if (pipeline_secret_get(s->secret, "token") != NULL)
		pipeline_request_header(request, "Authorization", psprintf("Bearer %s", pipeline_sending_secret(s, "token")));
	else
	{
		request->username = (char *) pipeline_sending_secret(s, "username");
		request->password = (char *) pipeline_sending_secret(s, "password");
	}
	pipeline_request_header(request, "Accept", "application/json");
}

static void
jira_create(const Sending *s, const Ticket *t, Request *request)
{
	char	   *type = pipeline_config_string(s->config, "issue_type");
	StringInfoData buf;

	ticket_url(s, request, "POST", "/rest/api/2/issue");
	begin_body(&buf);
	json_key(&buf, "fields");
	json_open(&buf, '{');
	json_key(&buf, "project");
	json_open(&buf, '{');
	json_pair(&buf, "key", pipeline_config_string(s->config, "project"));
	json_close(&buf, '}');
	json_key(&buf, "issuetype");
	json_open(&buf, '{');
	json_pair(&buf, "name", type ? type : "Task");
	json_close(&buf, '}');
	json_pair(&buf, "summary", ticket_title(s));
	json_pair(&buf, "description", ticket_body(s));
	label_array(&buf, "labels", s, t);
	json_close(&buf, '}');
	end_body(&buf, request);
}

static void
jira_find(const Sending *s, const Ticket *t, Request *request)
{
	StringInfoData buf;

	ticket_url(s, request, "POST", jira_cloud(s->config) ? "/rest/api/2/search/jql" : "/rest/api/2/search");
	begin_body(&buf);
	json_pair(&buf, "jql", psprintf("project = \"%s\" AND labels = \"%s\" ORDER BY created DESC",
									pipeline_config_string(s->config, "project"), t->label));
	json_key(&buf, "fields");
	json_open(&buf, '[');
	json_string(&buf, "status");
	json_string(&buf, "description");
	json_close(&buf, ']');
	json_key(&buf, "maxResults");
	json_int(&buf, 1);
	end_body(&buf, request);
}

static void
jira_request(const Sending *s, const Ticket *t, Request *request)
{
	char	   *issue = psprintf("/rest/api/2/issue/%s", t->id ? t->id : "");
	StringInfoData buf;

	switch (t->phase)
	{
		case TICKET_FIND:
			jira_find(s, t, request);
			break;
		case TICKET_FIND_COMMENT:
			ticket_url(s, request, "GET", psprintf("%s/comment?orderBy=-created&maxResults=50", issue));
			break;
		case TICKET_CREATE:
			jira_create(s, t, request);
			break;
		case TICKET_COMMENT:
			ticket_url(s, request, "POST", psprintf("%s/comment", issue));
			pair_body(request, "body", ticket_body(s));
			break;
		case TICKET_FIND_TRANSITION:
			ticket_url(s, request, "GET", psprintf("%s/transitions", issue));
			break;
		case TICKET_CLOSE:
			ticket_url(s, request, "POST", psprintf("%s/transitions", issue));
			begin_body(&buf);
			json_key(&buf, "transition");
			json_open(&buf, '{');
			json_pair(&buf, "id", t->transition);
			json_close(&buf, '}');
			end_body(&buf, request);
			break;
		default:
			elog(ERROR, "unexpected phase %d", t->phase);
	}
}

/* Is the status one of those that are done? */
static bool
is_done(const Jsonb *status)
{
	const Jsonb *category = ticket_get(status, "statusCategory");
	char	   *key = category ? pipeline_jsonb_key(category, "key") : NULL;

	return key != NULL && strcmp(key, "done") == 0;
}

/* The transition of that name, or else the first to a status that is done. */
static char *
find_transition(const Sending *s, const Jsonb *answer)
{
	char	   *wanted = pipeline_config_string(s->config, "done");
	const Jsonb *all = ticket_get(answer, "transitions");
	const Jsonb *one;

	for (int i = 0; (one = ticket_element(all, i)) != NULL; i++)
	{
		char	   *name = pipeline_jsonb_key(one, "name");

		if (wanted ? name && strcmp(name, wanted) == 0 : is_done(ticket_get(one, "to")))
			return ticket_word(one, "id");
	}
	return NULL;
}

static void
jira_learn(const Sending *s, Ticket *t, const Jsonb *answer)
{
	const Jsonb *issue;

	switch (t->phase)
	{
		case TICKET_FIND:
			must_have(ticket_get(answer, "issues"), "list of issues");
			issue = ticket_element(ticket_get(answer, "issues"), 0);
			t->id = ticket_word(issue, "key");
			t->open = !is_done(ticket_get(ticket_get(issue, "fields"), "status"));
			t->told = ticket_mentions(s, issue);
			break;
		case TICKET_FIND_COMMENT:
			t->told = ticket_mentions(s, answer);
			break;
		case TICKET_CREATE:
			t->id = ticket_word(answer, "key");
			must_have(t->id, "key of the issue");
			t->open = true;
			break;
		case TICKET_FIND_TRANSITION:
			t->transition = find_transition(s, answer);
			must_have(t->transition, "transition to a status that is done");
			break;
		default:
			break;
	}
}

/* A text that is no markup; nothing in it ends that. */
static char *
jira_verbatim(const char *text)
{
	char	   *copy = pstrdup(text);

	for (char *c = copy; (c = strchr(c, '{')) != NULL; c++)
	{
		if (pg_strncasecmp(c, "{noformat", 9) == 0)
			*c = '(';
	}
	return psprintf("{noformat}\n%s\n{noformat}\n", copy);
}

static const char *const jira_keys[] = {"project", "issue_type", "done", "cloud", NULL};

const TicketSystem pipeline_ticket_jira = {
	.name = "jira",
	.secret = "\"username = ...\" and \"password = ...\" (of the cloud: e-mail and API token), or \"token = ...\"",
	.transitions = true,
	.keys = jira_keys,
	.nrequired = 1,
	.check = jira_check,
	.authorize = jira_authorize,
	.request = jira_request,
	.learn = jira_learn,
	.verbatim = jira_verbatim
};

/* ---- Trello ------------------------------------------------------------------------------------ */

static void
trello_check(const Jsonb *config)
{
	ticket_check_pattern(config, "board", "", 8, 32);
	ticket_check_pattern(config, "list", "", 8, 32);
	if (pipeline_jsonb_strings(config, "config", "labels") != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"labels\" in argument \"config\" is not for system \"trello\"")));
}

/* In a header: what is in a URL is in logs. */
static void
trello_authorize(const Sending *s, Request *request)
{
	pipeline_request_header(request, "Authorization",
							psprintf("OAuth oauth_consumer_key=\"%s\", oauth_token=\"%s\"",
									 pipeline_sending_secret(s, "key"), pipeline_sending_secret(s, "token")));
	pipeline_request_header(request, "Accept", "application/json");
}

static void
trello_create(const Sending *s, const Ticket *t, Request *request)
{
	StringInfoData buf;

	ticket_url(s, request, "POST", "/1/cards");
	begin_body(&buf);
	json_pair(&buf, "idList", pipeline_config_string(s->config, "list"));
	json_pair(&buf, "name", ticket_title(s));
	json_pair(&buf, "desc", ticket_body(s));
	json_key(&buf, "idLabels");
	json_open(&buf, '[');
	json_string(&buf, t->label_id);
	json_close(&buf, ']');
	end_body(&buf, request);
}

static void
trello_create_label(const Sending *s, const Ticket *t, Request *request)
{
	StringInfoData buf;

	ticket_url(s, request, "POST", "/1/labels");
	begin_body(&buf);
	json_pair(&buf, "name", t->label);
	json_pair(&buf, "color", "red");
	json_pair(&buf, "idBoard", pipeline_config_string(s->config, "board"));
	end_body(&buf, request);
}

static void
trello_request(const Sending *s, const Ticket *t, Request *request)
{
	char	   *board = psprintf("/1/boards/%s", pipeline_config_string(s->config, "board"));
	char	   *card = psprintf("/1/cards/%s", t->id ? t->id : "");
	StringInfoData buf;

	switch (t->phase)
	{
		case TICKET_FIND_LABEL:
			ticket_url(s, request, "GET", psprintf("%s/labels?fields=name&limit=1000", board));
			break;
		case TICKET_CREATE_LABEL:
			trello_create_label(s, t, request);
			break;
		case TICKET_FIND:
			ticket_url(s, request, "GET", psprintf("%s/cards/open?fields=closed,idLabels", board));
			break;
		case TICKET_FIND_COMMENT:
			ticket_url(s, request, "GET", psprintf("%s?fields=desc&actions=commentCard&actions_limit=50", card));
			break;
		case TICKET_CREATE:
			trello_create(s, t, request);
			break;
		case TICKET_COMMENT:
			ticket_url(s, request, "POST", psprintf("%s/actions/comments", card));
			pair_body(request, "text", ticket_body(s));
			break;
		case TICKET_CLOSE:
			ticket_url(s, request, "PUT", card);
			begin_body(&buf);
			json_key(&buf, "closed");
			json_bool(&buf, true);
			end_body(&buf, request);
			break;
		case TICKET_DROP_LABEL:
			ticket_url(s, request, "DELETE", psprintf("/1/labels/%s", t->label_id));
			break;
		default:
			elog(ERROR, "unexpected phase %d", t->phase);
	}
}

/* The id of the label of our name. */
static char *
find_label(const Ticket *t, const Jsonb *answer)
{
	const Jsonb *one;

	for (int i = 0; (one = ticket_element(answer, i)) != NULL; i++)
	{
		char	   *name = JB_ROOT_IS_OBJECT(one) ? pipeline_jsonb_key(one, "name") : NULL;

		if (name && strcmp(name, t->label) == 0)
			return ticket_word(one, "id");
	}
	return NULL;
}

/* The card with our label. */
static const Jsonb *
find_card(const Ticket *t, const Jsonb *answer)
{
	const Jsonb *one;

	for (int i = 0; (one = ticket_element(answer, i)) != NULL; i++)
	{
		const Jsonb *labels = ticket_get(one, "idLabels");

		if (labels && strstr(JsonbToCString(NULL, (JsonbContainer *) &labels->root, VARSIZE(labels)), t->label_id))
			return one;
	}
	return NULL;
}

static void
trello_learn(const Sending *s, Ticket *t, const Jsonb *answer)
{
	const Jsonb *card;

	switch (t->phase)
	{
		case TICKET_FIND_LABEL:
			t->label_id = find_label(t, answer);
			break;
		case TICKET_CREATE_LABEL:
			t->label_id = ticket_word(answer, "id");
			must_have(t->label_id, "id of the label");
			break;
		case TICKET_FIND:
			card = find_card(t, answer);
			t->id = ticket_word(card, "id");
			t->open = card != NULL && pipeline_jsonb_key(card, "closed") && strcmp(pipeline_jsonb_key(card, "closed"), "true") != 0;
			break;
		case TICKET_FIND_COMMENT:
			t->told = ticket_mentions(s, answer);
			break;
		case TICKET_CREATE:
			t->id = ticket_word(answer, "id");
			must_have(t->id, "id of the card");
			t->open = true;
			break;
		default:
			break;
	}
}

static const char *const trello_keys[] = {"board", "list", NULL};

const TicketSystem pipeline_ticket_trello = {
	.name = "trello",
	.url = "https://api.trello.com",
	.secret = "\"key = ...\" and \"token = ...\"",
	.labels = true,
	.keys = trello_keys,
	.nrequired = 2,
	.check = trello_check,
	.authorize = trello_authorize,
	.request = trello_request,
	.learn = trello_learn,
	.verbatim = ticket_fenced
};
