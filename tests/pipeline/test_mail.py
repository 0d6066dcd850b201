"""Notifications as mails, through notify-smtp to a mail server of the test."""

import email
import email.policy
import os
import socketserver
import threading

from broker import wait_until
from case import order, run


class MailServer(socketserver.ThreadingTCPServer):
    """As much of RFC 5321 as a client needs. `refuse` maps a recipient to an answer."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Session)
        self.mails = []
        self.refuse = {}
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def end(self):
        self.shutdown()
        self.server_close()


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 test")
        for raw in self.rfile:
            line = raw.decode().strip()
            verb = line.upper()
            recipient = line.partition("<")[2].partition(">")[0]
            if verb.startswith("RCPT") and recipient in self.server.refuse:
                self.say(self.server.refuse[recipient])
            elif verb.startswith("DATA"):
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) != b".\r\n":
                    lines.append(part)
                self.server.mails.append(
                    email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                )
                self.say("250 taken")
            elif verb.startswith("QUIT"):
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


def start(case, server, **more):
    return case.start(
        "notification-service", NOTIFY_SINK="smtp",
        SMTP_URL=f"smtp://127.0.0.1:{server.server_address[1]}", SMTP_FROM="shop@example.com",
        **more,
    )  # fmt: skip


def an_order_makes_a_mail(case):
    server = MailServer()
    try:
        service = start(case, server)
        case.publish(order("M-1"), message_id="order-M-1")
        case.publish(order("M-1"), message_id="order-M-1")
        wait_until(lambda: len(server.mails) == 2, 30, "two mails")
        first, second = server.mails
        assert first["To"] == "alice@example.com" and first["From"] == "shop@example.com"
        assert first["Subject"] == "Order #M-1 received - €1999.98", first["Subject"]
        assert first.get_content().strip() == "Order #M-1 received - €1999.98"
        assert first["Message-ID"] == "<order_confirmation-M-1@orders.covey>"
        assert first["Message-ID"] == second["Message-ID"]  # so mail programs show one
        wait_until(lambda: service.metric("notifications_sent_total") == 2, 30, "the count")
        assert service.stop() == 0
    finally:
        server.end()


def a_server_that_is_away_is_waited_for(case):
    server = MailServer()
    port = server.server_address[1]
    service = start(case, server)
    server.end()
    case.publish(order("M-2"), message_id="order-M-2")
    line = service.wait_logged("trying again later", message_id="order-M-2")[0]
    assert "mail: " in line["error"], line
    server = MailServer(port)
    try:
        wait_until(lambda: len(server.mails) == 1, 60, "the mail")
        case.wait_count("notifications_orders_queue", 0)
        assert case.count("dead_letter_queue") == 0
    finally:
        server.end()


def what_the_server_refuses_is_dead_lettered(case):
    server = MailServer()
    server.refuse["gone@example.com"] = "550 no such user"
    server.refuse["busy@example.com"] = "451 try later"
    try:
        service = start(case, server)
        message = order("M-3", customer_email="gone@example.com")
        case.publish(message, message_id="order-M-3")
        properties, body = case.get("dead_letter_queue")
        assert properties.message_id == "order-M-3"
        assert "550" in properties.headers["x-dead-letter-reason"], properties.headers
        assert b"gone@example.com" in body
        case.publish(order("M-4", customer_email="busy@example.com"), message_id="order-M-4")
        service.wait_logged("trying again later", message_id="order-M-4")
        assert case.count("dead_letter_queue") == 0
    finally:
        server.end()


def a_mailer_that_dies_is_started_again(case):
    killer = os.path.join(case.folder, "mailer")
    with open(killer, "w", encoding="utf-8") as file:
        file.write(
            f"#!/bin/sh\nif [ -e {case.folder}/died ]; then exec {case.programs}/notify-smtp; fi\n"
            f"read -r line\n: >{case.folder}/died\nexit 1\n"
        )
    os.chmod(killer, 0o755)
    server = MailServer()
    try:
        service = start(case, server, NOTIFY_SMTP_PROGRAM=killer)
        case.publish(order("M-5"), message_id="order-M-5")
        line = service.wait_logged("trying again later", message_id="order-M-5")[0]
        assert "ended" in line["error"], line
        wait_until(lambda: len(server.mails) == 1, 30, "the mail")
    finally:
        server.end()


run(
    an_order_makes_a_mail,
    a_server_that_is_away_is_waited_for,
    what_the_server_refuses_is_dead_lettered,
    a_mailer_that_dies_is_started_again,
)
