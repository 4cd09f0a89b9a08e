# Which addresses a socket may be opened to: address.c by itself, compared with
# Python's ipaddress, which has the registries of IANA, at and around the ends of
# all ranges and at random.  ADDRESS_SEED repeats a run with another seed.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my ($source) = grep { -e "$_/alert/transport/address.c" } '../tree/src', '../src', 'src', '../../src';
my $dir = PostgreSQL::Test::Utils::tempdir();
# What it needs of the server's headers.
append_to_file("$dir/postgres.h", <<'C');
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#define lengthof(array) (sizeof(array) / sizeof((array)[0]))
#define strlcpy(to, from, size) snprintf(to, size, "%s", from)
C
append_to_file("$dir/asks.c", <<'C');
#include "postgres.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include "alert/transport/transfer.h"

/* Of each line, an address: may a socket be opened to it?  First what is listed. */
int
main(int argc, char **argv)
{
	char		line[200];
	char		text[64];
	TransportNetwork network = {{0}, 96, 0};

	for (int i = 1; i < argc; i++)
	{
		network.address[10] = network.address[11] = 0xff;
		network.bits = 96 + 8;
		network.port = 443;
		network.address[12] = (unsigned char) atoi(argv[i]);
	}
	while (fgets(line, sizeof(line), stdin))
	{
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(443)};
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
		bool		is_v4;

		line[strcspn(line, "\n")] = '\0';
		is_v4 = inet_pton(AF_INET, line, &v4.sin_addr) == 1;
		if (!is_v4 && inet_pton(AF_INET6, line, &v6.sin6_addr) != 1)
			return 1;
		printf("%s %d\n", line,
			   transport_address_allowed(is_v4 ? (struct sockaddr *) &v4 : (struct sockaddr *) &v6,
										 &network, argc - 1, text, sizeof(text)));
	}
	return 0;
}
C
append_to_file("$dir/compare.py", <<'PYTHON');
import ipaddress, random, subprocess, sys
random.seed(int(sys.argv[2]))
nets = [ipaddress.ip_network(n) for n in """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
  192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 ::/128 ::1/128 ::ffff:0:0/96 64:ff9b::/96
  64:ff9b:1::/48 100::/64 100:0:0:1::/64 2000::/3 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8""".split()]
# Refused by us beyond what Python calls not public: some of the protocols' own, relays of 6to4, documentation of 2024, site-local.
beyond = [ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "fec0::/10")]

def around(n):
    first, last = int(n.network_address), int(n.broadcast_address)
    for i in (first - 1, first, first + 1, (first + last) // 2, last - 1, last, last + 1):
        if 0 <= i < 2 ** n.max_prefixlen:
            yield type(n.network_address)(i)

addresses = [a for n in nets for a in around(n)]
for _ in range(3000):
    n = random.choice(nets)
    addresses += [ipaddress.IPv4Address(random.getrandbits(32)), ipaddress.IPv6Address(random.getrandbits(128)), n[random.getrandbits(128) % n.num_addresses]]
# In each way in which IPv6 carries one of IPv4.
for a in [a for a in addresses if a.version == 4]:
    addresses += [ipaddress.IPv6Address(int(ipaddress.IPv6Address(p)) | int(a)) for p in ("::ffff:0:0", "64:ff9b::", "::")]
    addresses.append(ipaddress.IPv6Address((0x2002 << 112) | (int(a) << 80) | random.getrandbits(80)))

def carried(a):
    if a.version == 4:
        return a
    if a in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(a) & 0xffffffff)
    return a.ipv4_mapped or a.sixtofour or a

out = subprocess.run([sys.argv[1]], input="".join(f"{a}\n" for a in addresses), capture_output=True, text=True, check=True).stdout
wrong = []
for a, line in zip(addresses, out.splitlines()):
    c = carried(a)
    allowed = line.split()[1] == "1"
    public = c.is_global and not c.is_multicast and not c.is_reserved
    if allowed != public and (allowed or not any(c in n for n in beyond)):
        wrong.append(f"{a} {allowed}")
print(len(addresses) > 9000, len(wrong), *wrong[:20])
PYTHON
chomp(my $cflags = `curl-config --cflags`);
system_or_bail('cc', '-Wall', '-include', 'stdlib.h', "-I$dir", "-I$source", split(' ', $cflags), '-o', "$dir/asks", "$dir/asks.c", "$source/alert/transport/address.c");
my $seed = $ENV{ADDRESS_SEED} // 20261125;
note("seed $seed");
my ($out, $err) = run_command([ '/usr/bin/env', 'python3', "$dir/compare.py", "$dir/asks", $seed ]);
is($out, 'True 0', 'a socket is opened to public addresses only') or diag($err);

# What is listed, by its port.
sub asks { my ($address, @listed) = @_; my $answer; IPC::Run::run([ "$dir/asks", @listed ], '<', \"$address\n", '>', \$answer); return $answer =~ / 1$/ ? 1 : 0; }
is(join(' ', map { asks($_) } qw(10.1.2.3 ::ffff:10.1.2.3 169.254.169.254 127.0.0.1 ::1 fd00::1 8.8.8.8)), '0 0 0 0 0 0 1', 'without a list');
is(join(' ', map { asks($_, 10) } qw(10.1.2.3 ::ffff:10.1.2.3 11.1.2.3 127.0.0.1 169.254.169.254 8.8.8.8)), '1 1 1 0 0 1', 'with 10.0.0.0/8 on it');
done_testing();
