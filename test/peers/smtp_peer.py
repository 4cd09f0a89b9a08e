#!/usr/bin/env python3
"""A mail server for tests: smtp_peer.py PORTFILE LOG [--port N] [--tls CERT KEY] [--implicit].

With --tls it offers STARTTLS, with --implicit besides it speaks TLS from the
start.  AUTH PLAIN takes user:right.  The local part of a recipient says what
is answered: "say451" is refused by 451, "say550" by 550, "data451" once the
mail is there, "hang" never.  Each mail is a line of JSON in LOG.
"""
import argparse
import base64
import email
import email.policy
import json
import os
import re
import socketserver
import ssl
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument('portfile')
parser.add_argument('log')
parser.add_argument('--port', type=int, default=0)
parser.add_argument('--tls', nargs=2)
parser.add_argument('--implicit', action='store_true')
options = parser.parse_args()
lock = threading.Lock()
context = None
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.tls)


class Session(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b'\r\n')
        self.wfile.flush()

    def secure(self):
        self.request = context.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile('rb')
        self.wfile = self.request.makefile('wb')
        self.tls = True

    def handle(self):
        self.tls, self.user, self.sender, self.to = False, None, None, []
        if options.implicit:
            self.secure()
        self.say('220 peer')
        while True:
            line = self.rfile.readline().decode('utf-8', 'replace').rstrip('\r\n')
            if not line or not self.command(line):
                return

    def command(self, line):
        verb = line.split(' ')[0].upper()
        if verb == 'EHLO':
            if context and not self.tls:
                self.say('250-STARTTLS')
            self.say('250-AUTH PLAIN')
            self.say('250 SIZE 10000000')
        elif verb == 'STARTTLS':
            self.say('220 go')
            self.secure()
        elif verb == 'AUTH':
            parts = line.split(' ')
            if len(parts) < 3:
                self.say('334 ')
                parts.append(self.rfile.readline().decode().strip())
            _, user, password = base64.b64decode(parts[2]).decode().split('\0')
            self.user = user if password == 'right' else None
            self.say('235 welcome' if self.user else '535 no such user, or not that password')
        elif verb == 'MAIL':
            self.sender, self.to = re.search(r'<(.*)>', line).group(1), []
            self.say('250 ok')
        elif verb == 'RCPT':
            return self.recipient(re.search(r'<(.*)>', line).group(1))
        elif verb == 'DATA':
            self.data()
        elif verb == 'QUIT':
            self.say('221 bye')
            return False
        else:
            self.say('250 ok')
        return True

    def recipient(self, address):
        refused = re.match(r'say(\d+)@', address)
        if address.startswith('hang@'):
            time.sleep(30)
        if refused:
            self.say(refused.group(1) + ' not this one')
        else:
            self.to.append(address)
            self.say('250 ok')
        return True

    def data(self):
        self.say('354 go on')
        raw = b''
        while True:
            line = self.rfile.readline()
            if line in (b'.\r\n', b''):
                break
            raw += line[1:] if line.startswith(b'..') else line
        answer = next((m.group(1) for m in (re.match(r'data(\d+)@', a) for a in self.to) if m), '250')
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        parts = {p.get_content_type(): p.get_content() for p in mail.walk() if not p.is_multipart()}
        record = {'from': self.sender, 'to': self.to, 'tls': self.tls, 'user': self.user, 'answer': answer,
                  'headers': {k.lower(): str(v) for k, v in mail.items()}, 'count': len(mail.items()),
                  'text': parts.get('text/plain'), 'html': parts.get('text/html'),
                  'longest': max(len(l) for l in raw.split(b'\r\n')), 'defects': [str(d) for d in mail.defects]}
        with lock, open(options.log, 'a') as log:
            log.write(json.dumps(record) + '\n')
        self.say(answer + (' taken' if answer == '250' else ' not now'))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = Server(('127.0.0.1', options.port), Session)
with open(options.portfile + '.new', 'w') as f:
    f.write(str(server.server_address[1]))
os.rename(options.portfile + '.new', options.portfile)
server.serve_forever()
