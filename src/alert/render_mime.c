/*
 * render_mime.c
 *	  Writing a mail.  See render_mime.h.
 */
#include "postgres.h"

#include <ctype.h>
#include <time.h>

#include "common/base64.h"
#include "pgtime.h"

#include "alert/alert_render.h"
#include "alert/render_mime.h"

/* Bytes of a word of RFC 2047: 39 make 52 characters, with the frame 64. */
#define WORD_BYTES 39
/* Bytes of a line of base64, which makes 76 characters of them. */
#define LINE_BYTES 57
/* ASCII is sent as it is up to here; RFC 5322 allows lines of 998. */
#define MAX_PLAIN 400

static void
append_base64(StringInfo buf, const char *data, int len)
{
	enlargeStringInfo(buf, pg_b64_enc_len(len) + 1);
	len = pg_b64_encode((const uint8 *) data, len, buf->data + buf->len, pg_b64_enc_len(len));
	if (len < 0)
		elog(ERROR, "could not encode a text of a mail");
	buf->len += len;
	buf->data[buf->len] = '\0';
}

/* ---- headers ------------------------------------------------------------------------- */

/* Can it stand in a header as it is? */
static bool
is_plain(const char *text)
{
	for (const char *c = text; *c; c++)
	{
		if ((unsigned char) *c >= 0x7f)
			return false;
	}
	/* What looks like an encoded word would be read as one. */
	return strlen(text) <= MAX_PLAIN && strstr(text, "=?") == NULL;
}

/* Append words of RFC 2047, on lines of their own; no character is split. */
static void
append_words(StringInfo mail, const char *text)
{
	while (*text)
	{
		int			len = Min(strlen(text), WORD_BYTES);

		while (len > 1 && (text[len] & 0xc0) == 0x80)
			len--;
		appendStringInfoString(mail, "=?UTF-8?B?");
		append_base64(mail, text, len);
		appendStringInfoString(mail, "?=");
		text += len;
		if (*text)
			appendStringInfoString(mail, "\r\n ");
	}
}

/* Append "Name: text". */
void
mime_header(StringInfo mail, const char *name, const char *text)
{
	char	   *line = pipeline_one_line(text);

	appendStringInfo(mail, "%s: ", name);
	if (is_plain(line))
		appendStringInfoString(mail, line);
	else
		append_words(mail, line);
	appendStringInfoString(mail, "\r\n");
}

/* A name before an address: quoted, or in words. */
static void
append_name(StringInfo mail, const char *name)
{
	char	   *line = pipeline_one_line(name);

	if (!is_plain(line))
	{
		append_words(mail, line);
		return;
	}
	appendStringInfoChar(mail, '"');
	for (char *c = line; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(mail, '\\');
		appendStringInfoChar(mail, *c);
	}
	appendStringInfoChar(mail, '"');
}

/* Append a header of mailboxes, one a line. */
void
mime_mailboxes(StringInfo mail, const char *name, List *mailboxes)
{
	ListCell   *lc;

	appendStringInfo(mail, "%s: ", name);
	foreach(lc, mailboxes)
	{
		Mailbox    *m = lfirst(lc);

		if (lc != list_head(mailboxes))
			appendStringInfoString(mail, ",\r\n ");
		if (m->name)
		{
			append_name(mail, m->name);
			appendStringInfoString(mail, "\r\n ");
		}
		appendStringInfo(mail, m->name ? "<%s>" : "%s", m->address);
	}
	appendStringInfoString(mail, "\r\n");
}

/* Append a header with a time, as RFC 5322 writes it, in UTC. */
void
mime_date(StringInfo mail, const char *name, pg_time_t at)
{
	char		text[64];

	/* Of the C locale: these names are no translation's. */
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
	"Aug", "Sep", "Oct", "Nov", "Dec"};
	struct pg_tm *tm = pg_gmtime(&at);

	snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d +0000", days[tm->tm_wday], tm->tm_mday,
			 months[tm->tm_mon], tm->tm_year + 1900, tm->tm_hour, tm->tm_min, tm->tm_sec);
	appendStringInfo(mail, "%s: %s\r\n", name, text);
}

/* ---- parts ---------------------------------------------------------------------------- */

/* Append one part of a multipart body; `type` is text/plain or text/html. */
void
mime_part(StringInfo mail, const char *boundary, const char *type,
		  const char *text)
{
	StringInfoData lines;

	/* Lines end as mail's do, before they are encoded. */
	initStringInfo(&lines);
	for (const char *c = text; *c; c++)
		appendStringInfo(&lines, *c == '\n' ? "\r\n" : "%c", *c);
	appendStringInfo(mail, "--%s\r\nContent-Type: %s; charset=utf-8\r\n"
					 "Content-Transfer-Encoding: base64\r\n\r\n", boundary, type);
	for (int at = 0; at < lines.len; at += LINE_BYTES)
	{
		append_base64(mail, lines.data + at, Min(LINE_BYTES, lines.len - at));
		appendStringInfoString(mail, "\r\n");
	}
}

/* ---- addresses ------------------------------------------------------------------------- */

static bool
is_atext(char c)
{
	return isascii((unsigned char) c) && (isalnum((unsigned char) c) || strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

/* Is it local@domain, in ASCII, without quotes and comments? */
static bool
is_address(const char *address)
{
	const char *at = strchr(address, '@');
	int			len = strlen(address);

	if (at == NULL || at == address || at - address > 64 || len > 254 || at[1] == '\0')
		return false;
	for (const char *c = address; c < at; c++)
	{
		if (!is_atext(*c) || (*c == '.' && (c == address || c[1] == '.' || c + 1 == at)))
			return false;
	}
	for (const char *c = at + 1; *c; c++)
	{
		if (!isascii((unsigned char) *c) || !(isalnum((unsigned char) *c) || *c == '-' || *c == '.'))
			return false;
		if ((*c == '.' || *c == '-') && (c == at + 1 || c[1] == '\0' || (*c == '.' && c[1] == '.')))
			return false;
	}
	return true;
}

/* Take a mailbox apart; why it is none, or NULL. */
char *
mime_mailbox(const char *text, Mailbox *mailbox)
{
	const char *angle = strrchr(text, '<');
	int			len = strlen(text);

	mailbox->name = NULL;
	mailbox->address = pstrdup(text);
	if (strcmp(text, pipeline_one_line(text)) != 0)
		return pstrdup("it has a control character");
	if (angle != NULL)
	{
		int			name_len = angle - text;

		if (text[len - 1] != '>')
			return pstrdup("after < there is no > at the end");
		mailbox->address = pnstrdup(angle + 1, text + len - 1 - (angle + 1));
		while (name_len > 0 && text[name_len - 1] == ' ')
			name_len--;
		if (name_len >= 2 && text[0] == '"' && text[name_len - 1] == '"')
			mailbox->name = pnstrdup(text + 1, name_len - 2);
		else if (name_len > 0)
			mailbox->name = pnstrdup(text, name_len);
	}
	if (!is_address(mailbox->address))
		return pstrdup("the address is not of the form local@domain, in ASCII");
	return NULL;
}
