#!/usr/bin/env python3
"""Jira, GitHub and Trello for tests, as far as tickets go: with their paths, their
answers and their memory.

    ticket_peer.py PORTFILE LOGFILE

It listens on 127.0.0.1, on a port that the kernel chooses, and writes the port
into PORTFILE when it is ready.  Each request becomes a line of JSON in LOGFILE.
GET /state gives all tickets.  The file LOGFILE.lose names a method and a path: such a
request is done once and not answered.  LOGFILE.fail has a status, and headers as
name=value: what every request is answered while it is there.
"""
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

portfile, logfile = sys.argv[1:3]
log = open(logfile, "a", buffering=1)
lock = threading.Lock()
tickets = []                    # of all systems
labels = {}                     # of Trello: id -> name
AUTH = {"github": "Bearer planted-token", "jira": "Basic YW5uQGV4YW1wbGUuY29tOnBsYW50ZWQtcGFzc3dvcmQ=",
        "trello": 'OAuth oauth_consumer_key="planted-key", oauth_token="planted-token"'}


def find(system, ident):
    return next((t for t in tickets if t["system"] == system and t["id"] == ident), None)


def create(system, ident, title, body, names):
    tickets.append({"system": system, "id": ident, "title": title, "body": body, "labels": names, "comments": [], "open": True})
    return tickets[-1]


def issue(t):
    return {"number": int(t["id"]), "state": "open" if t["open"] else "closed", "body": t["body"],
            "labels": [{"name": n} for n in t["labels"]]}


def github(method, path, query, body):
    m = re.fullmatch(r"/repos/([^/]+/[^/]+)/issues(?:/(\d+)(/comments)?)?", path)
    if not m:
        return 404, {"message": "Not Found"}
    t = find("github", m.group(2)) if m.group(2) else None
    if m.group(2) and not t:
        return 404, {"message": "Not Found"}
    if method == "GET" and m.group(3):
        return 200, [{"body": c} for c in t["comments"]]
    if method == "POST" and m.group(3):
        t["comments"].append(body["body"])
        return 201, {"id": 1}
    if method == "PATCH":
        t["open"] = body["state"] != "closed"
        return 200, issue(t)
    if method == "GET":
        found = [t for t in tickets if t["system"] == "github" and query["labels"][0] in t["labels"]]
        return 200, [issue(t) for t in found[::-1][:int(query["per_page"][0])]]
    names = [] if m.group(1) == "acme/readonly" else body["labels"]
    return 201, issue(create("github", str(len(tickets) + 1), body["title"], body["body"], names))


def status(t):
    return {"name": "To Do" if t["open"] else "Done", "statusCategory": {"key": "new" if t["open"] else "done"}}


def jira(method, path, query, body):
    if method == "POST" and path == "/rest/api/2/issue":
        f = body["fields"]
        t = create("jira", f["project"]["key"] + "-" + str(len(tickets) + 1), f["summary"], f["description"], f["labels"])
        return 201, {"id": "1", "key": t["id"]}
    if method == "POST" and path in ("/rest/api/2/search", "/rest/api/2/search/jql"):
        label = re.search(r'labels = "([^"]+)"', body["jql"]).group(1)
        found = [t for t in tickets if t["system"] == "jira" and label in t["labels"]]
        return 200, {"issues": [{"key": t["id"], "fields": {"status": status(t), "description": t["body"]}} for t in found[::-1][:1]]}
    m = re.fullmatch(r"/rest/api/2/issue/([A-Z0-9-]+)/(comment|transitions)", path)
    t = find("jira", m.group(1)) if m else None
    if not t:
        return 404, {"errorMessages": ["Issue does not exist"]}
    if m.group(2) == "comment":
        if method == "GET":
            return 200, {"comments": [{"body": c} for c in t["comments"]]}
        t["comments"].append(body["body"])
        return 201, {"id": "1"}
    if method == "GET":
        return 200, {"transitions": [{"id": "11", "name": "Start", "to": {"statusCategory": {"key": "indeterminate"}}},
                                     {"id": "31", "name": "Finish", "to": {"statusCategory": {"key": "done"}}}]}
    t["open"] = body["transition"]["id"] != "31"
    return 204, None


def trello(method, path, query, body):
    if method == "GET" and re.fullmatch(r"/1/boards/\w+/labels", path):
        return 200, [{"id": i, "name": n} for i, n in labels.items()] + [{"id": "other", "name": ""}]
    if method == "POST" and path == "/1/labels":
        ident = "%024x" % (1000 + len(tickets) + len(labels))
        labels[ident] = body["name"]
        return 200, {"id": ident, "name": body["name"]}
    m = re.fullmatch(r"/1/labels/(\w+)", path)
    if m and method == "DELETE":
        return (200, {}) if labels.pop(m.group(1), None) else (404, None)
    if method == "GET" and re.fullmatch(r"/1/boards/\w+/cards/open", path):
        return 200, [{"id": t["id"], "closed": False, "idLabels": t["labels"]} for t in tickets if t["system"] == "trello" and t["open"]]
    if method == "POST" and path == "/1/cards":
        t = create("trello", "%024x" % (len(tickets) + 1), body["name"], body["desc"], body["idLabels"])
        return 200, {"id": t["id"], "closed": False}
    m = re.fullmatch(r"/1/cards/(\w+)(/actions/comments)?", path)
    t = find("trello", m.group(1)) if m else None
    if not t:
        return 404, None
    if m.group(2):
        t["comments"].append(body["text"])
        return 200, {"id": "1"}
    if method == "PUT":
        t["open"] = body["closed"] != "true"
        return 200, {"id": t["id"], "closed": not t["open"]}
    return 200, {"id": t["id"], "desc": t["body"], "actions": [{"data": {"text": c}} for c in t["comments"]]}


class Peer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def answer(self, code, body, headers=()):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(code)
        for header in headers:
            self.send_header(*header.split("=", 1))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def serve(self):
        url = urlparse(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/state":
            return self.answer(200, {"tickets": tickets, "labels": labels})
        system = "github" if url.path.startswith("/repos/") else "jira" if url.path.startswith("/rest/") else "trello"
        log.write(json.dumps({"system": system, "method": self.command, "path": self.path, "body": raw.decode()}) + "\n")
        if self.headers.get("Authorization") != AUTH[system]:
            return self.answer(401, {"message": "Bad credentials"})
        if os.path.exists(logfile + ".fail"):
            code, *headers = open(logfile + ".fail").read().split()
            return self.answer(int(code), {"message": "because the test wants it"}, headers)
        with lock:
            code, body = {"github": github, "jira": jira, "trello": trello}[system](
                self.command, url.path, parse_qs(url.query), json.loads(raw) if raw else None)
            try:
                lose = open(logfile + ".lose").read().strip()
            except FileNotFoundError:
                lose = ""
            if lose and re.fullmatch(lose, self.command + " " + url.path):
                os.unlink(logfile + ".lose")
                self.close_connection = True
                return None
        return self.answer(code, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve


server = ThreadingHTTPServer(("127.0.0.1", 0), Peer)
with open(portfile + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(portfile + ".new", portfile)
server.serve_forever()
