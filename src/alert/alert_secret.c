/*
 * alert_secret.c
 *	  Secrets: files that the notifier reads and that nothing else holds.
 *
 * A secret is a file of mode 0600 of the server's user, in
 * pipeline.secrets_dir/OWNER/, of lines
 *
 *		name = value
 *
 * with # before a comment.  The folder is the owner's: a channel can name the
 * secrets of its owner only, and a reference has no character that could lead
 * elsewhere.  The file is read for each attempt, so that a new value counts at
 * once.
 *
 * What goes into a table or the log is first rid of the values and of what a
 * peer might show of them: the parts of a URL, and what Basic authentication
 * makes of a name and a password.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "alert/alert_notify.h"

#define MAX_SECRET 65536
#define MAX_REF 100
/* Parts of a URL that are shorter tell nothing. */
#define MIN_PART 8
#define STARS "***"

/* Raise 22023 unless it can name a secret. */
void
pipeline_check_secret_ref(const char *ref)
{
	bool		bad = ref[0] == '\0' || strlen(ref) > MAX_REF;

	for (const char *c = ref; *c; c++)
		bad |= !(isascii((unsigned char) *c) && (isalnum((unsigned char) *c) || *c == '_' || *c == '-'));
	if (bad)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"secret_ref\""),
				 errdetail("It names a file in the folder of the channel's owner under pipeline.secrets_dir: 1 to %d letters, digits, underscores and hyphens.", MAX_REF),
				 errhint("Do not give the secret itself; an administrator puts it into that file.")));
}

/* ---- hiding ------------------------------------------------------------------------ */

static void
hide_as_it_is(Secret *secret, const char *text)
{
	if (text[0] != '\0' && !pipeline_list_has(secret->hidden, text))
		secret->hidden = lappend(secret->hidden, pstrdup(text));
}

/* As it stands in a URL, with these digits. */
static char *
in_url(const char *text, const char *format)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		if (isascii((unsigned char) *c) && (isalnum((unsigned char) *c) || strchr("-._~", *c) != NULL))
			appendStringInfoChar(&buf, *c);
		else
			appendStringInfo(&buf, format, (unsigned char) *c);
	}
	return buf.data;
}

/* As it stands in JSON, where some write a slash with a backslash before it. */
static char *
in_json(const char *text, bool slashes)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		if (*c == '"' || *c == '\\' || (*c == '/' && slashes))
			appendStringInfoChar(&buf, '\\');
		appendStringInfoChar(&buf, *c);
	}
	return buf.data;
}

/* As it stands in HTML. */
static char *
in_html(const char *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *c = text; *c; c++)
	{
		if (*c == '&')
			appendStringInfoString(&buf, "&amp;");
		else if (*c == '<')
			appendStringInfoString(&buf, "&lt;");
		else if (*c == '>')
			appendStringInfoString(&buf, "&gt;");
		else if (*c == '"')
			appendStringInfoString(&buf, "&quot;");
		else
			appendStringInfoChar(&buf, *c);
	}
	return buf.data;
}

/* Let a text be hidden from now on, also as answers may write it. */
void
pipeline_secret_hide(Secret *secret, const char *text)
{
	hide_as_it_is(secret, text);
	hide_as_it_is(secret, in_url(text, "%%%02X"));
	hide_as_it_is(secret, in_url(text, "%%%02x"));
	hide_as_it_is(secret, in_json(text, false));
	hide_as_it_is(secret, in_json(text, true));
	hide_as_it_is(secret, in_html(text));
}

/* A URL is hidden as a whole, from its path on, and in its longer parts. */
static void
hide_url(Secret *secret, const char *url)
{
	const char *path = strstr(url, "://");
	char	   *parts;

	path = path ? strpbrk(path + 3, "/?#") : NULL;
	if (path == NULL)
		return;
	if (strlen(path) >= MIN_PART)
		pipeline_secret_hide(secret, path);
	parts = pstrdup(path);
	for (char *part = strtok(parts, "/?#&="); part; part = strtok(NULL, "/?#&="))
	{
		if (strlen(part) >= MIN_PART)
			pipeline_secret_hide(secret, part);
	}
}

static char *
base64(const char *text, int len)
{
	int			room = pg_b64_enc_len(len);
	char	   *out = palloc0(room + 1);

	len = pg_b64_encode((const uint8 *) text, len, out, room);
	if (len >= 0)
		out[len] = '\0';
	return out;
}

static void
hide_all(Secret *secret)
{
	const char *username = pipeline_secret_get(secret, "username");
	const char *password = pipeline_secret_get(secret, "password");
	StringInfoData plain;
	ListCell   *lc;

	foreach(lc, secret->values)
	{
		char	   *value = lfirst(lc);
		char	   *words = pstrdup(value);

		pipeline_secret_hide(secret, value);
		if (strstr(value, "://") != NULL)
			hide_url(secret, value);
		/* A value can be several. */
		for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
			pipeline_secret_hide(secret, word);
	}
	if (username == NULL || password == NULL)
		return;
	/* HTTP Basic, AUTH PLAIN and AUTH LOGIN. */
	initStringInfo(&plain);
	appendStringInfo(&plain, "%s:%s", username, password);
	pipeline_secret_hide(secret, base64(plain.data, plain.len));
	resetStringInfo(&plain);
	appendStringInfoChar(&plain, '\0');
	appendStringInfoString(&plain, username);
	appendStringInfoChar(&plain, '\0');
	appendStringInfoString(&plain, password);
	pipeline_secret_hide(secret, base64(plain.data, plain.len));
	pipeline_secret_hide(secret, base64(password, strlen(password)));
}

static int
longer_first(const ListCell *a, const ListCell *b)
{
	return (int) strlen(lfirst(b)) - (int) strlen(lfirst(a));
}

/* The text without what must not be written anywhere; NULL stays NULL. */
char *
pipeline_redact(const Secret *secret, const char *text)
{
	List	   *hidden;
	ListCell   *lc;
	char	   *out;

	if (text == NULL)
		return NULL;
	out = pstrdup(text);
	if (secret == NULL)
		return out;
	hidden = list_copy(secret->hidden);
	list_sort(hidden, longer_first);
	foreach(lc, hidden)
	{
		const char *word = lfirst(lc);
		StringInfoData buf;
		char	   *rest = out;
		char	   *at;

		initStringInfo(&buf);
		while ((at = strstr(rest, word)) != NULL)
		{
			appendBinaryStringInfo(&buf, rest, at - rest);
			appendStringInfoString(&buf, STARS);
			rest = at + strlen(word);
		}
		appendStringInfoString(&buf, rest);
		out = buf.data;
	}
	return out;
}

/* ---- reading ----------------------------------------------------------------------- */

/* The value of a name, or NULL. */
const char *
pipeline_secret_get(const Secret *secret, const char *name)
{
	for (int i = 0; secret && i < list_length(secret->names); i++)
	{
		if (strcmp(list_nth(secret->names, i), name) == 0)
			return list_nth(secret->values, i);
	}
	return NULL;
}

static char *
trimmed(const char *text, int len)
{
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char) *text))
	{
		text++;
		len--;
	}
	return pnstrdup(text, len);
}

/* Take the lines in; the reason when one is malformed, which tells no value. */
static char *
parse_lines(Secret *secret, const char *text)
{
	int			number = 0;

	while (*text)
	{
		int			len = strcspn(text, "\n");
		char	   *line = trimmed(text, len);
		char	   *equals = strchr(line, '=');
		int			name_len = strspn(line, "abcdefghijklmnopqrstuvwxyz_");

		number++;
		text += len + (text[len] == '\n');
		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (equals == NULL || name_len == 0 ||
			line + name_len + strspn(line + name_len, " \t") != equals)
			return psprintf("line %d of the secret is not of the form \"name = value\"", number);
		secret->names = lappend(secret->names, pnstrdup(line, name_len));
		secret->values = lappend(secret->values, trimmed(equals + 1, strlen(equals + 1)));
		for (const char *c = equals + 1; *c; c++)
		{
			if ((unsigned char) *c < 0x20 || *c == 0x7f)
				return psprintf("line %d of the secret has a control character", number);
		}
	}
	return NULL;
}

/* Why the file of this state cannot be trusted, or NULL. */
static const char *
untrusted(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is not a file";
	if (st->st_uid != geteuid())
		return "it does not belong to the user that the server runs as";
	if (st->st_mode & (S_IRWXG | S_IRWXO))
		return "its mode must be 0600: others may read it";
	if (st->st_size > MAX_SECRET)
		return "it is too large";
	return NULL;
}

/* Read an open file into memory; the reason when it cannot be. */
static char *
read_file(int fd, char *text)
{
	struct stat st;
	int			len = 0;
	int			n;

	if (fstat(fd, &st) != 0)
		return psprintf("%m");
	if (untrusted(&st) != NULL)
		return pstrdup(untrusted(&st));
	while ((n = read(fd, text + len, MAX_SECRET - len)) > 0)
		len += n;
	if (n < 0)
		return psprintf("%m");
	text[len] = '\0';
	if (strlen(text) != len)
		return pstrdup("it has a zero byte");
	if (!pg_verify_mbstr(PG_UTF8, text, len, true))
		return pstrdup("it is not UTF-8");
	return NULL;
}

/* The folder of an owner has the role's name; not every name can be one. */
static char *
secret_path(Oid owner, const char *ref, char **why)
{
	char	   *name = GetUserNameFromId(owner, true);

	if (pipeline_secrets_dir[0] == '\0')
		*why = pstrdup("pipeline.secrets_dir is not set");
	else if (name == NULL)
		*why = pstrdup("the owner of the channel does not exist");
	else if (name[0] == '.' || strchr(name, '/') != NULL)
		*why = pstrdup("the name of the channel's owner cannot be that of a folder");
	else
		return psprintf("%s/%s/%s", pipeline_secrets_dir, name, ref);
	return NULL;
}

/*
 * Read the secret of an owner, in the current memory context.  NULL and the
 * reason in *why when that cannot be; the reason tells nothing of it.  Inside a
 * transaction.
 */
Secret *
pipeline_secret_read(Oid owner, const char *ref, char **why)
{
	char	   *path = secret_path(owner, ref, why);
	Secret	   *secret = palloc0_object(Secret);
	char	   *text;
	int			fd;

	if (path == NULL)
		return NULL;
	fd = OpenTransientFile(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
	{
		*why = psprintf("could not open secret \"%s\": %m", ref);
		return NULL;
	}
	text = palloc(MAX_SECRET + 1);
	*why = read_file(fd, text);
	CloseTransientFile(fd);
	if (*why != NULL)
		*why = psprintf("could not read secret \"%s\": %s", ref, *why);
	else
		*why = parse_lines(secret, text);
	explicit_bzero(text, MAX_SECRET + 1);
	pfree(text);
	if (*why != NULL)
		return NULL;
	hide_all(secret);
	return secret;
}
