/*
 * alert_json.h
 *	  Writing JSON, value by value; commas come by themselves.
 */
#ifndef PIPELINE_ALERT_JSON_H
#define PIPELINE_ALERT_JSON_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void json_open(StringInfo buf, char bracket);
extern void json_close(StringInfo buf, char bracket);
extern void json_key(StringInfo buf, const char *key);
extern void json_string(StringInfo buf, const char *value); /* NULL: null */
extern void json_int(StringInfo buf, int64 value);
extern void json_bool(StringInfo buf, bool value);
extern void json_value(StringInfo buf, const Jsonb *value); /* NULL: null */
extern void json_pair(StringInfo buf, const char *key, const char *value);

#endif							/* PIPELINE_ALERT_JSON_H */
