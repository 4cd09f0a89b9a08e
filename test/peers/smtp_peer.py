#!/usr/bin/env python3
"""An SMTP peer for tests: it answers as addresses say and writes down what it got.

    smtp_peer.py PORTFILE LOGFILE [--port N] [--tls CERT KEY | --starttls CERT KEY] [--auth USER PASSWORD] [--script NAME]

It listens on 127.0.0.1, on a port that the kernel chooses, and writes the port
into PORTFILE when it is ready.  Each mail becomes a line of JSON in LOGFILE.

The local part of a recipient says what happens:

    code550, code451, ...      that answer to RCPT TO
    data554, data452, ...      that answer after the mail
    once451                    that, the first time for each Message-ID
    hang                       no answer to the mail
    anything else              250

--script NAME, without aiosmtpd, for what no decent server does: silent (no greeting),
drop (the connection ends after the mail), noquit (nothing is said to QUIT), greet554 (a greeting
that refuses).
"""
import asyncio
import json
import re
import socket
import ssl
import sys

args = sys.argv[1:]
options = {}
for name, count in (("--port", 1), ("--tls", 2), ("--starttls", 2), ("--auth", 2), ("--script", 1)):
    if name in args:
        at = args.index(name)
        options[name] = args[at + 1:at + 1 + count]
        del args[at:at + 1 + count]
portfile, logfile = args
log = open(logfile, "a", buffering=1)
seen = set()


def ready(port):
    with open(portfile + ".new", "w") as f:
        f.write(str(port))
    import os
    os.rename(portfile + ".new", portfile)


def listen():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", int(options.get("--port", ["0"])[0])))
    sock.listen(64)
    return sock


async def scripted(reader, writer):
    script = options["--script"][0]
    if script == "silent":
        await asyncio.sleep(600)
    if script == "greet554":
        writer.write(b"554 no service here\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()
        return
    writer.write(b"220 peer\r\n")
    while True:
        line = await reader.readline()
        if not line:
            break
        word = line[:4].upper()
        if word == b"DATA":
            writer.write(b"354 go on\r\n")
            while (await reader.readline()).strip() != b".":
                pass
            if script == "drop":
                break
        if word == b"QUIT":
            await asyncio.sleep(600)
        writer.write(b"250 ok\r\n")
        await writer.drain()
    writer.close()


def context(files):
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(*files)
    return made


async def main():
    sock = listen()
    if "--script" in options:
        server = await asyncio.start_server(scripted, sock=sock)
    else:
        server = await mail_server(sock)
    ready(sock.getsockname()[1])
    async with server:
        await server.serve_forever()


async def mail_server(sock):
    from aiosmtpd.smtp import SMTP, AuthResult

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
            code = re.match(r"code(\d+)", address)
            if code:
                return code.group(1) + " because the test wants it"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            data = envelope.content.decode("latin-1")
            key = re.search(r"^Message-ID: (.*?)\r?$", data, re.M)
            log.write(json.dumps({
                "from": envelope.mail_from, "to": envelope.rcpt_tos, "data": data,
                "tls": session.ssl is not None or "--tls" in options,
                "user": session.auth_data.login.decode() if session.auth_data else None}) + "\n")
            for address in envelope.rcpt_tos:
                code = re.match(r"(data|once)(\d+)", address)
                if address.startswith("hang"):
                    await asyncio.sleep(600)
                if code and (code.group(1) == "data" or key.group(1) not in seen):
                    seen.add(key.group(1))
                    return code.group(2) + " because the test wants it"
            return "250 OK"

    def check(server, session, envelope, mechanism, data):
        user, password = options["--auth"]
        good = data.login == user.encode() and data.password == password.encode()
        return AuthResult(success=good, handled=False, auth_data=data)

    more = {}
    if "--auth" in options:
        more = {"authenticator": check, "auth_required": True, "auth_require_tls": "--tls" not in options}
    if "--starttls" in options:
        more.update(tls_context=context(options["--starttls"]), require_starttls=True)
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: SMTP(Handler(), hostname="peer", decode_data=False, enable_SMTPUTF8=False, data_size_limit=10_000_000, **more),
        sock=sock, ssl=context(options["--tls"]) if "--tls" in options else None)


asyncio.run(main())
