/*
 * address.c
 *	  Which addresses a socket may be opened to.
 *
 * Whoever may name a host could otherwise have the server speak to what only
 * the server can reach: itself, its network, the metadata service of its
 * cloud.  A name says nothing, since its owner decides what it resolves to; so
 * the address is asked, at the socket.  What is not public is in the registries
 * of special-purpose addresses of IANA, or outside of what has been given out of
 * IPv6; an IPv6 address that carries one of IPv4 is asked for that.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "alert/transport/transfer.h"

typedef struct Range
{
	unsigned char prefix[16];
	int			bits;
} Range;

/* ::ffff:a.b.c.d/bits */
#define V4(a, b, c, d, n) \
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 96 + (n)}

static const Range special[] = {
	V4(0, 0, 0, 0, 8),			/* this network */
	V4(10, 0, 0, 0, 8),			/* private */
	V4(100, 64, 0, 0, 10),		/* of carriers */
	V4(127, 0, 0, 0, 8),		/* loopback */
	V4(169, 254, 0, 0, 16),		/* link-local, metadata of clouds */
	V4(172, 16, 0, 0, 12),		/* private */
	V4(192, 0, 0, 0, 24),		/* protocol assignments */
	V4(192, 0, 2, 0, 24),		/* documentation */
	V4(192, 88, 99, 0, 24),		/* relays of 6to4 */
	V4(192, 168, 0, 0, 16),		/* private */
	V4(198, 18, 0, 0, 15),		/* benchmarks */
	V4(198, 51, 100, 0, 24),	/* documentation */
	V4(203, 0, 113, 0, 24),		/* documentation */
	V4(224, 0, 0, 0, 4),		/* multicast */
	V4(240, 0, 0, 0, 4),		/* reserved, broadcast */
	{{0x20, 0x01, 0x00}, 23},	/* protocol assignments, Teredo */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x3f, 0xff, 0x00}, 20},	/* documentation */
};

/* ::ffff:0:0/96 is IPv4; of the rest of IPv6 only this is given out. */
static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const unsigned char given_out[1] = {0x20};

/* Prefixes that carry an IPv4 address, and where. */
static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
static const unsigned char sixtofour[2] = {0x20, 0x02};

static bool
in_range(const unsigned char *address, const unsigned char *prefix, int bits)
{
	int			bytes = bits / 8;
	int			rest = bits % 8;
	unsigned char mask = (unsigned char) (0xff << (8 - rest));

	if (memcmp(address, prefix, bytes) != 0)
		return false;
	return rest == 0 || ((address[bytes] ^ prefix[bytes]) & mask) == 0;
}

static void
set_v4(unsigned char *address, const unsigned char *v4)
{
	unsigned char bytes[4];

	memcpy(bytes, v4, 4);
	memcpy(address, mapped, 12);
	memcpy(address + 12, bytes, 4);
}

/* The address as 16 bytes, and its port; false for another family. */
static bool
address_bytes(const struct sockaddr *address, unsigned char *bytes, int *port)
{
	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) address;

		set_v4(bytes, (const unsigned char *) &in->sin_addr);
		*port = ntohs(in->sin_port);
		return true;
	}
	if (address->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *) address;

		memcpy(bytes, &in->sin6_addr, 16);
		*port = ntohs(in->sin6_port);
		return true;
	}
	return false;
}

static bool
is_public(const unsigned char *bytes)
{
	unsigned char address[16];

	memcpy(address, bytes, 16);
	if (memcmp(address, nat64, sizeof(nat64)) == 0)
		set_v4(address, bytes + 12);
	else if (memcmp(address, sixtofour, sizeof(sixtofour)) == 0)
		set_v4(address, bytes + 2);
	if (memcmp(address, mapped, sizeof(mapped)) != 0 && !in_range(address, given_out, 3))
		return false;
	for (size_t i = 0; i < lengthof(special); i++)
	{
		if (in_range(address, special[i].prefix, special[i].bits))
			return false;
	}
	return true;
}

static bool
is_listed(const unsigned char *bytes, int port,
		  const TransportNetwork *networks, int nnetworks)
{
	for (int i = 0; i < nnetworks; i++)
	{
		if ((networks[i].port == 0 || networks[i].port == port) &&
			in_range(bytes, networks[i].address, networks[i].bits))
			return true;
	}
	return false;
}

/*
 * May a socket be opened to this address: is it public, or listed?  `text`
 * becomes the address in words.
 */
bool
transport_address_allowed(const struct sockaddr *address,
						  const TransportNetwork *networks, int nnetworks,
						  char *text, size_t size)
{
	unsigned char bytes[16];
	int			port;
	bool		v4 = address->sa_family == AF_INET;

	strlcpy(text, "of an unknown family", size);
	if (!address_bytes(address, bytes, &port))
		return false;
	(void) inet_ntop(address->sa_family, v4 ? bytes + 12 : bytes, text, size);
	return is_public(bytes) || is_listed(bytes, port, networks, nnetworks);
}
