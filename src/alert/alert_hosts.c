/*
 * alert_hosts.c
 *	  Who may be spoken to: pipeline.allowed_hosts, and URLs.
 *
 * The list is the superuser's.  An entry is
 *
 *		host, host:port, *.domain[:port]		over TLS only
 *		http://host:port, smtp://host:port		in plain text
 *		address, address:port, network/bits		not public, and allowed as
 *												what a name resolves to
 *
 * A URL is taken apart here in the strictest way; libcurl must then find the
 * same in it, or nothing is sent (transport/transfer.c).  That a name is on the
 * list does not allow the addresses that it resolves to: those are checked when
 * the socket is opened.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "utils/guc.h"

#include "alert/alert_notify.h"

#define MAX_URL 2048
#define MAX_HOST 255

typedef struct HostRule
{
	const char *scheme;			/* "http", "smtp"; NULL: over TLS */
	char	   *host;			/* lower case; "*.domain"; NULL: a network */
	int			port;			/* 0: any */
	TransportNetwork network;	/* of an address or network */
	bool		is_address;
	bool		is_network;		/* with bits: no host to be named */
} HostRule;

static const struct
{
	const char *name;
	int			port;
}			schemes[] = {{"https", 443}, {"http", 80}, {"smtps", 465}, {"smtp", 25}};

/* ---- pieces ---------------------------------------------------------------------- */

/* An address as 16 bytes, IPv4 mapped; false if it is none. */
static bool
parse_address(const char *text, TransportNetwork *network, int *family_bits)
{
	struct in_addr v4;
	struct in6_addr v6;

	memset(network, 0, sizeof(*network));
	network->bits = 128;
	if (inet_pton(AF_INET, text, &v4) == 1)
	{
		network->address[10] = network->address[11] = 0xff;
		memcpy(network->address + 12, &v4, 4);
		*family_bits = 32;
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1)
	{
		memcpy(network->address, &v6, 16);
		*family_bits = 128;
		return true;
	}
	return false;
}

/* Is it a name: labels of letters, digits, - and _, the last no number? */
static bool
is_name(const char *host)
{
	const char *last = strrchr(host, '.');
	int			label = 0;

	if (host[0] == '\0' || strlen(host) > MAX_HOST)
		return false;
	for (const char *c = host; *c; c++)
	{
		if (*c == '.')
		{
			if (label == 0)
				return false;
			label = 0;
		}
		else if (isascii((unsigned char) *c) &&
				 (isalnum((unsigned char) *c) || *c == '-' || *c == '_'))
			label++;
		else
			return false;
	}
	last = last ? last + 1 : host;
	return label > 0 && !isdigit((unsigned char) *last);
}

static bool
parse_port(const char *text, int *port)
{
	char	   *end;
	long		n;

	if (!isdigit((unsigned char) *text) || strlen(text) > 5)
		return false;
	n = strtol(text, &end, 10);
	if (*end || n < 1 || n > 65535)
		return false;
	*port = (int) n;
	return true;
}

/*
 * Take host[:port] apart; the host may be an IPv6 address in brackets, which
 * stay.  False if it is not of that form; the text is changed.
 */
static bool
split_host(char *text, char **host, int *port)
{
	char	   *end = text[0] == '[' ? strchr(text, ']') : NULL;
	char	   *colon;

	if (text[0] == '[' && end == NULL)
		return false;
	colon = strchr(end ? end : text, ':');
	if (end != NULL && end[1] != '\0' && end[1] != ':')
		return false;
	if (colon != NULL)
	{
		if (!parse_port(colon + 1, port))
			return false;
		*colon = '\0';
	}
	for (char *c = text; *c; c++)
		*c = (char) pg_tolower((unsigned char) *c);
	*host = text;
	return true;
}

/* The address that a host is, brackets or not; false: it is a name. */
static bool
host_address(const char *host, TransportNetwork *network)
{
	char	   *bare = pstrdup(host);
	int			bits;

	if (bare[0] == '[')
	{
		bare++;
		bare[strlen(bare) - 1] = '\0';
		if (strchr(bare, ':') == NULL)
			return false;
	}
	return parse_address(bare, network, &bits);
}

/* ---- the list ---------------------------------------------------------------------- */

/* address/bits; false if it is not of that form. */
static bool
parse_network(char *text, HostRule *rule)
{
	char	   *slash = strchr(text, '/');
	char	   *end;
	int			family_bits;
	long		bits;

	*slash = '\0';
	if (!parse_address(text, &rule->network, &family_bits) ||
		!isdigit((unsigned char) slash[1]))
		return false;
	bits = strtol(slash + 1, &end, 10);
	if (*end || bits < 0 || bits > family_bits)
		return false;
	rule->network.bits = (int) bits + 128 - family_bits;
	rule->is_address = rule->is_network = true;
	return true;
}

/* Read an entry; false if it is malformed.  The text is changed. */
static bool
parse_rule(char *text, HostRule *rule)
{
	char	   *host;

	memset(rule, 0, sizeof(*rule));
	if (pg_strncasecmp(text, "http://", 7) == 0)
		rule->scheme = "http";
	else if (pg_strncasecmp(text, "smtp://", 7) == 0)
		rule->scheme = "smtp";
	if (rule->scheme)
		text += 7;
	else if (strchr(text, '/') != NULL)
		return parse_network(text, rule);
	/* An IPv6 address without a port needs no brackets. */
	if (strchr(text, ':') != strrchr(text, ':') && text[0] != '[')
		text = psprintf("[%s]", text);
	if (!split_host(text, &host, &rule->port))
		return false;
	rule->host = host;
	rule->is_address = host_address(host, &rule->network);
	rule->network.port = rule->port;
	return rule->is_address || is_name(host) ||
		(strncmp(host, "*.", 2) == 0 && is_name(host + 2) && strchr(host + 2, '.'));
}

/* The rules of a list; NULL and the entry in `bad` when one is malformed. */
static HostRule *
parse_rules(const char *list, int *n, char **bad)
{
	char	   *copy = pstrdup(list);
	HostRule   *rules = palloc_array(HostRule, strlen(list) / 2 + 1);
	char	   *next;

	*n = 0;
	for (char *entry = copy; entry; entry = next)
	{
		next = strchr(entry, ',');
		if (next)
			*next++ = '\0';
		while (isspace((unsigned char) *entry))
			entry++;
		for (int len = strlen(entry); len > 0 && isspace((unsigned char) entry[len - 1]); len--)
			entry[len - 1] = '\0';
		if (*entry == '\0')
			continue;
		*bad = pstrdup(entry);
		if (!parse_rule(entry, &rules[*n]))
			return NULL;
		(*n)++;
	}
	return rules;
}

/* Refuse a malformed list. */
bool
pipeline_hosts_check_hook(char **newval, void **extra, int source)
{
	int			n;
	char	   *bad;

	if (parse_rules(*newval, &n, &bad) != NULL)
		return true;
	GUC_check_errdetail("\"%s\" is no host[:port], *.domain[:port], http://host[:port], smtp://host[:port], address or network/bits.",
						bad);
	if (pg_strncasecmp(bad, "https://", 8) == 0 || pg_strncasecmp(bad, "smtps://", 8) == 0)
		GUC_check_errhint("A host is spoken to over TLS only, unless http:// or smtp:// stands before it: leave %.8s out.", bad);
	return false;
}

/* The addresses on the list, for the socket. */
TransportNetwork *
pipeline_allowed_networks(int *n)
{
	int			nrules;
	char	   *bad;
	HostRule   *rules = parse_rules(pipeline_allowed_hosts, &nrules, &bad);
	TransportNetwork *networks;

	*n = 0;
	if (rules == NULL)
		return NULL;
	networks = palloc_array(TransportNetwork, nrules + 1);
	for (int i = 0; i < nrules; i++)
	{
		if (rules[i].is_address)
			networks[(*n)++] = rules[i].network;
	}
	return networks;
}

/* Do two addresses agree in the bits of the first? */
static bool
in_network(const TransportNetwork *network, const TransportNetwork *address)
{
	for (int bit = 0; bit < network->bits; bit++)
	{
		int			mask = 0x80 >> (bit % 8);

		if ((network->address[bit / 8] ^ address->address[bit / 8]) & mask)
			return false;
	}
	return true;
}

static bool
rule_names(const HostRule *rule, const UrlParts *parts)
{
	TransportNetwork address;

	if (rule->port != 0 && rule->port != parts->port)
		return false;
	if (rule->is_address)
		return host_address(parts->host, &address) && in_network(&rule->network, &address);
	if (strncmp(rule->host, "*.", 2) == 0)
	{
		int			tail = strlen(rule->host) - 1;
		int			len = strlen(parts->host);

		return len > tail && strcmp(parts->host + len - tail, rule->host + 1) == 0;
	}
	return strcmp(rule->host, parts->host) == 0;
}

/* ---- URLs --------------------------------------------------------------------------- */

/* Take a URL apart; the reason if it is malformed. */
static char *
parse_url(const char *url, UrlParts *parts)
{
	const char *rest = NULL;
	char	   *authority;
	TransportNetwork address;

	if (strlen(url) > MAX_URL)
		return psprintf("it is longer than %d bytes", MAX_URL);
	for (const char *c = url; *c; c++)
	{
		if ((unsigned char) *c <= 0x20 || (unsigned char) *c >= 0x7f || *c == '\\')
			return pstrdup("it has a space, a backslash, or a character that is not ASCII");
	}
	for (int i = 0; i < lengthof(schemes); i++)
	{
		int			len = strlen(schemes[i].name);

		if (pg_strncasecmp(url, schemes[i].name, len) != 0 || strncmp(url + len, "://", 3) != 0)
			continue;
		parts->scheme = pstrdup(schemes[i].name);
		parts->port = schemes[i].port;
		rest = url + len + 3;
	}
	if (rest == NULL)
		return pstrdup("it does not begin with https://, smtps://, http:// or smtp://");
	authority = pnstrdup(rest, strcspn(rest, "/?#"));
	if (strchr(authority, '@') != NULL)
		return pstrdup("it has a user before the host");
	if (!split_host(authority, &parts->host, &parts->port) ||
		(!host_address(parts->host, &address) && !is_name(parts->host)))
		return pstrdup("its host or port is malformed");
	return NULL;
}

/*
 * Why the URL may not be spoken to, or NULL; then its parts are set.  With
 * `tls`, nothing is said before TLS begins, whatever the scheme (STARTTLS).
 */
char *
pipeline_url_objection(const char *url, bool tls, UrlParts *parts)
{
	char	   *why = parse_url(url, parts);
	int			n;
	char	   *bad;
	HostRule   *rules;
	bool		named = false;

	if (why != NULL)
		return why;
	tls |= strcmp(parts->scheme, "https") == 0 || strcmp(parts->scheme, "smtps") == 0;
	rules = parse_rules(pipeline_allowed_hosts, &n, &bad);
	for (int i = 0; rules && i < n; i++)
	{
		const HostRule *rule = &rules[i];

		if (!rule_names(rule, parts))
			continue;
		if (rule->scheme ? strcmp(rule->scheme, parts->scheme) == 0 : tls)
			return NULL;
		named |= rule->scheme == NULL;
	}
	if (named)
		return psprintf("%s:%d is in pipeline.allowed_hosts for TLS only, not for %s",
						parts->host, parts->port, parts->scheme);
	return psprintf("%s%s:%d is not in pipeline.allowed_hosts",
					tls ? "" : psprintf("%s://", parts->scheme), parts->host, parts->port);
}

/* Is it that of a mail server? */
bool
pipeline_url_is_mail(const UrlParts *parts)
{
	return strncmp(parts->scheme, "smtp", 4) == 0;
}
