/*
 * alert_json.c
 *	  Writing JSON, value by value.
 *
 * Whether a comma is due can be seen at the end of what was written: none
 * follows an opening bracket, a colon, or nothing.
 */
#include "postgres.h"

#include "utils/json.h"

#include "alert/alert_json.h"

static void
begin_value(StringInfo buf)
{
	char		last = buf->len > 0 ? buf->data[buf->len - 1] : '{';

	if (last != '{' && last != '[' && last != ':')
		appendStringInfoChar(buf, ',');
}

/* Open an object '{' or an array '['. */
void
json_open(StringInfo buf, char bracket)
{
	begin_value(buf);
	appendStringInfoChar(buf, bracket);
}

/* Close it, by '}' or ']'. */
void
json_close(StringInfo buf, char bracket)
{
	appendStringInfoChar(buf, bracket);
}

/* The key of the next value. */
void
json_key(StringInfo buf, const char *key)
{
	begin_value(buf);
	escape_json(buf, key);
	appendStringInfoChar(buf, ':');
}

void
json_string(StringInfo buf, const char *value)
{
	begin_value(buf);
	if (value)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
}

void
json_int(StringInfo buf, int64 value)
{
	begin_value(buf);
	appendStringInfo(buf, INT64_FORMAT, value);
}

void
json_bool(StringInfo buf, bool value)
{
	begin_value(buf);
	appendStringInfoString(buf, value ? "true" : "false");
}

void
json_value(StringInfo buf, const Jsonb *value)
{
	begin_value(buf);
	if (value)
		(void) JsonbToCString(buf, (JsonbContainer *) &value->root, VARSIZE(value));
	else
		appendStringInfoString(buf, "null");
}

/* A key and a string; left out when the string is NULL. */
void
json_pair(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	json_key(buf, key);
	json_string(buf, value);
}
