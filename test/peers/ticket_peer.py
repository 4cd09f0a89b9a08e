#!/usr/bin/env python3
"""Jira, GitHub and Trello for tests, as far as tickets go: with their paths, their
answers, their memory, and what they refuse.

    ticket_peer.py PORTFILE LOGFILE

It listens on 127.0.0.1, on a port that the kernel chooses, and writes the port
into PORTFILE when it is ready.  Each request becomes a line of JSON in LOGFILE.
GET /state gives all tickets.  The file LOGFILE.lose names a method and a path: such a
request is done once and not answered.  LOGFILE.fail has a status, headers as name=value
and words: what every request is answered while it is there.  While LOGFILE.many is there
the board of Trello has 900 more cards.
"""
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

portfile, logfile = sys.argv[1:3]
log = open(logfile, "a", buffering=1)
lock = threading.Lock()
tickets = []                    # of all systems
labels = {}                     # of Trello: id -> name
AUTH = {"github": "Bearer planted-token", "jira": "Basic YW5uQGV4YW1wbGUuY29tOnBsYW50ZWQtcGFzc3dvcmQ=",
        "trello": 'OAuth oauth_consumer_key="planted-key", oauth_token="planted-token"'}


class Refused(Exception):
    """An answer that is no success."""


def need(good, code, body):
    if not good:
        raise Refused(code, body)


def find(system, ident):
    return next((t for t in tickets if t["system"] == system and t["id"] == ident), None)


def create(system, ident, title, body, names):
    tickets.append({"system": system, "id": ident, "title": title, "body": body, "labels": names, "comments": [], "open": True})
    return tickets[-1]


# ---- GitHub: REST API, version 2022-11-28

def issue(t):
    return {"id": 1000 + int(t["id"]), "number": int(t["id"]), "state": "open" if t["open"] else "closed", "title": t["title"], "body": t["body"],
            "labels": [{"id": 1, "name": n, "color": "ededed"} for n in t["labels"]], "user": {"login": "bot"}}


def comment(n, text):
    return {"id": n, "body": text, "user": {"login": "bot"}, "created_at": now(), "updated_at": now()}


def now(ahead=0):
    # Its clock is not that of who asks.
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600 + ahead))


def invalid(field):
    return {"message": "Validation Failed", "errors": [{"resource": "Issue", "field": field, "code": "invalid"}], "status": "422"}


def github(method, path, query, body, headers):
    need(headers.get("User-Agent"), 403, {"message": "Request forbidden by administrative rules."})
    need(headers.get("X-GitHub-Api-Version") == "2022-11-28", 400, {"message": "Unsupported version"})
    m = re.fullmatch(r"/repos/([^/]+/[^/]+)/issues(?:/(\d+)(/comments)?)?", path)
    need(m, 404, {"message": "Not Found", "status": "404"})
    t = find("github", m.group(2)) if m.group(2) else None
    need(t or not m.group(2), 404, {"message": "Not Found", "status": "404"})
    per_page = int(query.get("per_page", ["30"])[0])
    need(1 <= per_page <= 100, 422, invalid("per_page"))
    if method in ("POST", "PATCH"):
        need(len(body.get("body", "")) <= 65536, 422, invalid("body"))
    if method == "GET" and m.group(3):
        # In the order of their ids, from the oldest, updated since then.
        found = [comment(n, c) for n, c in enumerate(t["comments"])]
        return 200, [c for c in found if c["updated_at"] >= query["since"][0]][:per_page]
    if method == "POST" and m.group(3):
        need(body["body"].strip(), 422, invalid("body"))
        t["comments"].append(body["body"])
        return 201, comment(len(t["comments"]), body["body"])
    if method == "PATCH":
        need(body["state"] in ("open", "closed") and body.get("state_reason") in (None, "completed", "not_planned", "reopened", "duplicate"), 422, invalid("state"))
        t["open"] = body["state"] != "closed"
        return 200, issue(t)
    if method == "GET":
        need(query["state"][0] in ("open", "closed", "all") and query["direction"][0] in ("asc", "desc"), 422, invalid("state"))
        found = [t for t in tickets if t["system"] == "github" and all(n in t["labels"] for n in query["labels"][0].split(","))
                 and (query["state"][0] == "all" or t["open"] == (query["state"][0] == "open"))]
        return 200, [issue(t) for t in found[::-1][:per_page]]
    need(body["title"].strip() and len(body["title"]) <= 256, 422, invalid("title"))
    need(all(n and len(n) <= 50 and "," not in n for n in body["labels"]), 422, invalid("labels"))
    # Whoever may not write may make no label, and has those that are there left out.
    need(m.group(1) != "acme/nolabels", 403, {"message": "You do not have permission to create labels on this repository.", "status": "403"})
    names = [] if m.group(1) == "acme/readonly" else body["labels"]
    return 201, issue(create("github", str(len(tickets) + 1), body["title"], body["body"], names))


# ---- Jira: REST API 2; projects that begin with CLD are of the cloud

def status(t):
    return {"name": "To Do" if t["open"] else "Done", "statusCategory": {"id": 2, "key": "new" if t["open"] else "done"}}


def jira_error(**errors):
    return {"errorMessages": [], "errors": errors}


def jira(method, path, query, body, headers):
    if method == "POST":
        need(headers.get("Content-Type", "").startswith("application/json"), 415, None)
    if method == "POST" and path == "/rest/api/2/issue":
        f = body["fields"]
        need(0 < len(f["summary"]) <= 255 and "\n" not in f["summary"], 400, jira_error(summary="The summary is invalid because it contains newline characters or is too long."))
        need(len(f["description"]) <= 32767, 400, jira_error(description="The entered text is too long. It exceeds the allowed limit of 32,767 characters."))
        need(f["issuetype"]["name"] in ("Bug", "Task", "Story"), 400, jira_error(issuetype="Specify a valid issue type"))
        need(not any(" " in n or len(n) > 255 for n in f["labels"]), 400, jira_error(labels="The label can't contain spaces."))
        t = create("jira", f["project"]["key"] + "-" + str(len(tickets) + 1), f["summary"], f["description"], f["labels"])
        return 201, {"id": "1", "key": t["id"], "self": "https://jira.example/rest/api/2/issue/1"}
    if method == "POST" and path in ("/rest/api/2/search", "/rest/api/2/search/jql"):
        m = re.fullmatch(r'project = "(\w+)" AND labels = "([^"]+)" ORDER BY created DESC', body["jql"])
        need(m, 400, {"errorMessages": ["Error in the JQL Query"], "errors": {}})
        cloud = m.group(1).startswith("CLD")
        need(not cloud or path.endswith("jql"), 410, {"errorMessages": ["The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."]})
        need(cloud or not path.endswith("jql"), 404, None)
        found = [t for t in tickets if t["system"] == "jira" and t["id"].startswith(m.group(1) + "-") and m.group(2) in t["labels"]][::-1][:body["maxResults"]]
        values = {"status": status, "description": lambda t: t["body"], "labels": lambda t: t["labels"]}
        found = [{"id": "1", "key": t["id"], "fields": {f: values[f](t) for f in body["fields"]}} for t in found]
        return 200, {"issues": found, "isLast": True} if cloud else {"startAt": 0, "maxResults": body["maxResults"], "total": len(found), "issues": found}
    m = re.fullmatch(r"/rest/api/2/issue/([A-Z0-9_-]+)/(comment|transitions)", path)
    t = find("jira", m.group(1)) if m else None
    need(t, 404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}})
    if m.group(2) == "comment":
        if method == "GET":
            found = [{"id": str(n), "body": c} for n, c in enumerate(t["comments"])]
            found = (found[::-1] if query.get("orderBy") == ["-created"] else found)[:int(query["maxResults"][0])]
            return 200, {"startAt": 0, "maxResults": int(query["maxResults"][0]), "total": len(t["comments"]), "comments": found}
        need(0 < len(body["body"]) <= 32767, 400, jira_error(comment="Comment body can not be empty!"))
        t["comments"].append(body["body"])
        return 201, {"id": "1", "body": body["body"]}
    possible = {"11": ("Start", "In Progress", "indeterminate"), "31": ("Finish", "Done", "done")}
    if method == "GET":
        return 200, {"expand": "transitions", "transitions": [{"id": i, "name": name, "to": {"name": to, "statusCategory": {"key": key}}} for i, (name, to, key) in possible.items()]}
    need(body["transition"]["id"] in possible, 400, {"errorMessages": ["Transition id is not valid for this issue."], "errors": {}})
    t["open"] = possible[body["transition"]["id"]][2] != "done"
    return 204, None


# ---- Trello: REST API 1; what is refused is refused in plain text

def is_id(text):
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{24}", text)


def trello(method, path, query, body, headers):
    if body is not None:
        need(headers.get("Content-Type", "").startswith("application/json"), 400, "invalid content type")
    m = re.fullmatch(r"/1/boards/(\w+)/(labels|cards/open)", path)
    if m and method == "GET":
        need(is_id(m.group(1)), 400, "invalid id")
        if m.group(2) == "labels":
            limit = int(query.get("limit", ["50"])[0])
            need(0 <= limit <= 1000, 400, "invalid value for limit")
            return 200, ([{"id": "c" * 24, "name": ""}] + [{"id": i, "name": n} for i, n in labels.items()])[:limit]
        # What others have on their board, first.
        others = [{"id": "d%023x" % n, "closed": False, "idLabels": ["e" * 24, "f" * 24]} for n in range(900)] if os.path.exists(logfile + ".many") else []
        fields = query["fields"][0].split(",")
        return 200, [{k: v for k, v in c.items() if k == "id" or k in fields} for c in others + [
            {"id": t["id"], "closed": False, "idLabels": t["labels"], "name": t["title"]} for t in tickets if t["system"] == "trello" and t["open"]]]
    if method == "POST" and path == "/1/labels":
        need(is_id(body["idBoard"]), 400, "invalid value for idBoard")
        need(body["color"] in ("yellow", "purple", "blue", "red", "green", "orange", "black", "sky", "pink", "lime"), 400, "invalid value for color")
        ident = "%024x" % (1000 + len(tickets) + len(labels))
        labels[ident] = body["name"]
        return 200, {"id": ident, "name": body["name"], "idBoard": body["idBoard"], "color": body["color"]}
    m = re.fullmatch(r"/1/labels/(\w+)", path)
    if m and method == "DELETE":
        need(labels.pop(m.group(1), None), 404, "The requested resource was not found.")
        for t in tickets:
            t["labels"] = [n for n in t["labels"] if n != m.group(1)]
        return 200, {"limits": {}}
    if method == "POST" and path == "/1/cards":
        need(is_id(body["idList"]), 400, "invalid value for idList")
        need(all(i in labels for i in body["idLabels"]), 400, "invalid value for idLabels")
        need(len(body["name"]) <= 16384 and len(body["desc"]) <= 16384, 400, "invalid value for desc")
        t = create("trello", "%024x" % (len(tickets) + 1), body["name"], body["desc"], body["idLabels"])
        return 200, {"id": t["id"], "closed": False, "name": t["title"], "idLabels": t["labels"]}
    m = re.fullmatch(r"/1/cards/(\w+)(/actions/comments)?", path)
    t = find("trello", m.group(1)) if m else None
    need(t, 404, "The requested resource was not found.")
    if m.group(2):
        need(0 < len(body["text"]) <= 16384, 400, "invalid value for text")
        t["comments"].append(body["text"])
        return 200, {"id": "1", "type": "commentCard", "data": {"text": body["text"]}}
    if method == "PUT":
        need(body["closed"] in (True, False, "true", "false"), 400, "invalid value for closed")
        t["open"] = body["closed"] not in (True, "true")
        return 200, {"id": t["id"], "closed": not t["open"]}
    need(query["actions"] == ["commentCard"], 400, "invalid value for actions")
    return 200, {"id": t["id"], "desc": t["body"], "actions": [{"id": str(n), "type": "commentCard", "data": {"text": c}} for n, c in enumerate(t["comments"])][::-1]}


class Peer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def answer(self, code, body, headers=()):
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
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
            words = " ".join(h for h in headers if "=" not in h)
            return self.answer(int(code), {"message": words or "because the test wants it"}, [h for h in headers if "=" in h])
        with lock:
            try:
                code, body = {"github": github, "jira": jira, "trello": trello}[system](
                    self.command, url.path, parse_qs(url.query), json.loads(raw) if raw else None, self.headers)
            except Refused as refused:
                code, body = refused.args
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
