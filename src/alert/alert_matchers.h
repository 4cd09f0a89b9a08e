/*
 * alert_matchers.h
 *	  Matchers: which labels an alert has to have.
 *
 * The syntax and the meaning are Alertmanager's.  A list of Matcher is true of
 * labels when each is; an empty list is true of all.
 */
#ifndef PIPELINE_ALERT_MATCHERS_H
#define PIPELINE_ALERT_MATCHERS_H

#include "alert/alert.h"
#include "regex/regex.h"

typedef enum MatcherType
{
	MATCH_EQUAL,
	MATCH_NOT_EQUAL,
	MATCH_REGEX,
	MATCH_NOT_REGEX
} MatcherType;

typedef struct Matcher
{
	MatcherType type;
	char	   *name;
	char	   *value;
	int			value_len;
	regex_t    *re;				/* of MATCH_REGEX and MATCH_NOT_REGEX */
} Matcher;

/* alert_matchers_parse.c: texts to matchers that are not compiled yet. */
extern List *pipeline_matchers_read_utf8(const char *text, char **why);
extern List *pipeline_matchers_read_classic(const char *text, char **why);
extern Matcher *pipeline_matcher_make(MatcherType type, const char *name, int name_len,
									  const char *value);

/* alert_regex.c */
extern char *pipeline_matcher_compile(Matcher *matcher);

/* alert_matchers.c */
extern List *pipeline_matchers_try(const char *text, char **why);
extern List *pipeline_matchers_parse(const char *text, const char *argument);
extern List *pipeline_matchers_parse_array(const ArrayType *texts,
										   const char *argument);
extern bool pipeline_matcher_matches(const Matcher *matcher, const char *value,
									 int len);
extern char *pipeline_matcher_text(const Matcher *matcher);
extern const Matcher *pipeline_matchers_fail(const List *matchers,
											 const Jsonb *labels);
extern bool pipeline_matchers_match(const List *matchers, const Jsonb *labels);

#endif							/* PIPELINE_ALERT_MATCHERS_H */
