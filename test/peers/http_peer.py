#!/usr/bin/env python3
"""An HTTP(S) peer for tests: it answers as the path says and writes down what it got.

    http_peer.py PORTFILE LOGFILE [--port N] [--tls CERT KEY]

It listens on 127.0.0.1, on a port that the kernel chooses, and writes the port
into PORTFILE when it is ready.  Each request becomes a line of JSON in LOGFILE.

    /status/CODE        that status; ?after=N adds Retry-After, ?body=TEXT is the answer
    /redirect           301 to the address of a cloud's metadata service
    /never              no answer at all
    /slow               the answer byte by byte
    /slow-body          a status at once, the body byte by byte
    /large              more than anybody wants to read
    /echo               the request's path and headers are in the answer, as they are, in a URL, in JSON and in HTML
    /echo-body          the request's body is the answer
    /fail-first/N       500 for the first N requests of each webhook-id or body, then 200
    /down               500 while LOGFILE.down exists, then 200
    anything else       200
"""
import json
import os
import ssl
import sys
import threading
import time
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlparse

lock = threading.Lock()
seen = {}
args = sys.argv[1:]
tls = None
port = 0
if "--tls" in args:
    i = args.index("--tls")
    tls = (args[i + 1], args[i + 2])
    del args[i:i + 3]
if "--port" in args:
    i = args.index("--port")
    port = int(args[i + 1])
    del args[i:i + 2]
portfile, logfile = args
log = open(logfile, "a", buffering=1)


class Peer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *unused):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, data):
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.1)

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Who sent it has gone away, and tries again.
            self.close_connection = True
            return
        url = urlparse(self.path)
        query = parse_qs(url.query)
        with lock:
            log.write(json.dumps({
                "at": time.time(), "method": self.command, "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body.decode("utf-8", "replace")}) + "\n")
        parts = url.path.strip("/").split("/")
        if parts[0] == "status":
            headers = [("Retry-After", query["after"][0])] if "after" in query else []
            status = int(parts[1])
            self.answer(status, b"" if status == 204 else query.get("body", ["answered"])[0].encode(), headers)
        elif parts[0] == "redirect":
            self.answer(301, b"", [("Location", "http://169.254.169.254/latest/meta-data/")])
        elif parts[0] == "never":
            time.sleep(60)
        elif parts[0] == "slow":
            self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + b"x" * 600)
        elif parts[0] == "slow-body":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
            self.drip(b"x" * 600)
        elif parts[0] == "large":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 30))
            self.end_headers()
            for _ in range(1 << 10):
                self.wfile.write(b"x" * (1 << 20))
        elif parts[0] == "echo":
            got = [self.path] + [v for v in self.headers.values()]
            self.answer(400, json.dumps([self.path, dict(self.headers)]).encode() +
                        "".join(f" {quote(s, safe='')} {quote(s, safe='').lower()} {escape(s)} " + json.dumps(s).replace("/", "\\/")
                                for s in got).encode())
        elif parts[0] == "echo-body":
            self.answer(400, body)
        elif parts[0] == "fail-first":
            key = self.headers.get("webhook-id") or body
            with lock:
                seen[key] = seen.get(key, 0) + 1
                fail = seen[key] <= int(parts[1])
            self.answer(500 if fail else 200)
        elif parts[0] == "down" and os.path.exists(logfile + ".down"):
            self.answer(500)
        else:
            self.answer(200)

    do_GET = do_POST = do_PUT = handle_request


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", port), Peer)
if tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(portfile + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(portfile + ".new", portfile)
server.serve_forever()
