"""A mail server (aiosmtpd) that writes what it takes to a file, one JSON object per line.

    smtp_server.py PORT FILE [--tls implicit|starttls CERT KEY] [--auth USER PASSWORD] [--refuse CODE COUNT] [--hang]
        [--slow SECONDS] [--answer STAGE TEXT]… [--unrepaired FILE] [--no-utf8]

`--answer` gives every client this answer at a stage: ehlo, auth, mail, rcpt or data. With `--unrepaired` only for
as long as the file exists. Names of clients and their answers go to FILE.names, one a line.
"""

import argparse
import asyncio
import email
import email.policy
import json
import os
import ssl
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult


class Keeper:
    def __init__(self, path, given, implicit):
        self.path = path
        # aiosmtpd sees only the TLS that it has begun itself.
        self.implicit = implicit
        self.code, self.left = given.refuse or (0, 0)
        self.hang = given.hang
        self.slow = given.slow
        self.answers = dict(given.answer or [])
        self.unrepaired = given.unrepaired

    def answer(self, stage):
        if self.unrepaired and not os.path.exists(self.unrepaired):
            return None
        return self.answers.get(stage)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        with open(self.path + ".names", "a", encoding="utf-8") as out:
            out.write(hostname + "\n")
        refusal = self.answer("ehlo")
        if refusal:
            return [refusal]
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        refusal = self.answer("mail")
        if refusal:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = self.answer("rcpt")
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        begun = time.monotonic()
        if self.hang:
            await asyncio.sleep(3600)
        if self.slow:
            await asyncio.sleep(self.slow)
        refusal = self.answer("data")
        if refusal:
            return refusal
        if self.left > 0:
            self.left -= 1
            return f"{self.code} not now"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {}
        for part in message.walk():
            if not part.is_multipart():
                parts[part.get_content_type()] = part.get_content()
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps({
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "options": envelope.mail_options,
                "tls": self.implicit or session.ssl is not None,
                "authenticated": bool(session.authenticated),
                "headers": [[name, str(value)] for name, value in message.items()],
                "text": parts.get("text/plain"),
                "html": parts.get("text/html"),
                "raw": envelope.content.decode("utf-8", "replace"),
                "from_name": message["From"].addresses[0].display_name,
                "begun": begun,
                "ended": time.monotonic(),
            }) + "\n")
        return "250 taken"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("file")
    arguments.add_argument("--tls", nargs=3)
    arguments.add_argument("--auth", nargs=2)
    arguments.add_argument("--refuse", nargs=2, type=int)
    arguments.add_argument("--hang", action="store_true")
    arguments.add_argument("--slow", type=float)
    arguments.add_argument("--answer", nargs=2, action="append")
    arguments.add_argument("--unrepaired")
    arguments.add_argument("--no-utf8", action="store_true")
    given = arguments.parse_args()
    context = None
    if given.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.tls[1], given.tls[2])
    implicit = given.tls and given.tls[0] == "implicit"
    keeper = Keeper(given.file, given, bool(implicit))

    def authenticate(server, session, envelope, mechanism, data):
        refusal = keeper.answer("auth")
        if refusal:
            return AuthResult(success=False, handled=False, message=refusal)
        wanted = [part.encode() for part in given.auth]
        return AuthResult(success=[data.login, data.password] == wanted, handled=False)

    class Server(Controller):
        def factory(self):
            options = {}
            if given.auth:
                options.update(auth_required=True, authenticator=authenticate, auth_require_tls=context is not None)
            if context and not implicit:
                options.update(tls_context=context, require_starttls=True)
            if implicit:
                # The connection is inside TLS already; aiosmtpd cannot see that by itself.
                options.update(auth_require_tls=False)
            return SMTP(self.handler, enable_SMTPUTF8=not given.no_utf8, hostname="localhost", **options)

    server = Server(keeper, hostname="127.0.0.1", port=given.port, ssl_context=context if implicit else None)
    server.start()
    asyncio.new_event_loop().run_forever()


main()
