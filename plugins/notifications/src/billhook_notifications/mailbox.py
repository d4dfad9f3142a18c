"""A mailbox on loopback that receives over SMTP: for development and tests. It keeps mail in memory and passes nothing on.

::

    with Mailbox() as mailbox:
        ...                             # connect to mailbox.host, mailbox.port, security=none
        (mail,) = mailbox.received()
        print(mail.subject, mail.text)

It speaks as much of RFC 5321 as a client needs, with STARTTLS or TLS and a login where they are asked for. What goes
wrong was asked for: :meth:`Mailbox.refuse`, :meth:`Mailbox.hang_up`.
"""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Final, Self

LARGEST: Final = 1024 * 1024
"""Bytes of a message."""

KEPT: Final = 1000
"""Messages; the oldest ones go."""

_LONGEST_LINE: Final = 4096  # bytes
_PATIENCE: Final = 60.0  # seconds without a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as it arrived. ``recipients``: whom it was handed over for, whatever its headers say."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        """The subject."""
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """The plain text."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The same as HTML; empty when there is none."""
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


class Mailbox:
    """The server. It listens on a free port of 127.0.0.1 while the ``with`` block runs.

    :param certificate: its own certificate and key; None: it knows no TLS.    :param from_the_start: TLS from the first
        byte, instead of STARTTLS.    :param login: the only username and password; None: it asks for none.
    """

    def __init__(
        self,
        *,
        certificate: ssl.SSLContext | None = None,
        from_the_start: bool = False,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.certificate = certificate
        self.from_the_start = from_the_start
        self.login = login
        self._mails: deque[Mail] = deque(maxlen=KEPT)
        self._refusals: dict[str, deque[int]] = {}
        self._hang_ups = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.mailbox = self
        self.host, self.port = "127.0.0.1", int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Begin to listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; what was received stays."""
        self._server.shutdown()
        self._server.server_close()

    def received(self) -> list[Mail]:
        """Return what arrived, the oldest first."""
        with self._lock:
            return list(self._mails)

    def environment(self) -> Mapping[str, str]:
        """Return the settings, without prefix, of a connection that sends here without TLS."""
        return {"HOST": self.host, "PORT": str(self.port), "SECURITY": "none"}

    def refuse(self, verb: str, code: int, *, times: int = 1) -> None:
        """Answer the next commands of this verb with ``code``. ``CONNECT`` is the greeting, ``.`` the end of a message."""
        with self._lock:
            self._refusals.setdefault(verb, deque()).extend([code] * times)

    def hang_up(self, *, times: int = 1) -> None:
        """Take the next messages, and break the connection instead of saying so."""
        with self._lock:
            self._hang_ups += times

    def refusal(self, verb: str) -> int | None:
        """Return how this command is to be refused, once."""
        with self._lock:
            waiting = self._refusals.get(verb)
            return waiting.popleft() if waiting else None

    def take(self, mail: Mail) -> bool:
        """Keep a mail; False: its sender is not to hear of it."""
        with self._lock:
            self._mails.append(mail)
            silent = self._hang_ups > 0
            self._hang_ups -= silent
            return not silent


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mailbox: Mailbox

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or trusts the certificate not, is its own affair."""


class _Session(socketserver.BaseRequestHandler):
    """One connection."""

    server: _Server

    def setup(self) -> None:
        self.mailbox = self.server.mailbox
        self.request.settimeout(_PATIENCE)
        self.private = False
        if self.mailbox.from_the_start:
            self._encrypt()
        self.lines = self.request.makefile("rb")
        self.sender = ""
        self.recipients: list[str] = []
        self.known = self.mailbox.login is None

    def finish(self) -> None:
        self.lines.close()
        self.request.close()

    def handle(self) -> None:
        if not self._say(self.mailbox.refusal("CONNECT") or 220, "mailbox"):
            return
        while line := self.lines.readline(_LONGEST_LINE):
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            code = self.mailbox.refusal(verb.upper())
            going_on = self._say(code, "refused") if code else self._obey(verb.upper(), rest)
            if not going_on:
                return

    def _obey(self, verb: str, rest: str) -> bool:
        """Carry a command out; False: the connection ends."""
        match verb:
            case "EHLO":
                return self._greet()
            case "HELO" | "NOOP":
                return self._say(250, "OK")
            case "STARTTLS" if self.mailbox.certificate and not self.private:
                return self._start_tls()
            case "AUTH":
                return self._log_in(rest)
            case "MAIL" | "RCPT" | "DATA" if not self.known:
                return self._say(530, "log in first")
            case "MAIL" | "RSET":
                self.sender, self.recipients = _path(rest), []
                return self._say(250, "OK")
            case "RCPT":
                self.recipients.append(_path(rest))
                return self._say(250, "OK")
            case "DATA":
                return self._receive()
            case "QUIT":
                self._say(221, "bye")
                return False
            case _:
                return self._say(502, "not here")

    def _greet(self) -> bool:
        words = ["mailbox", f"SIZE {LARGEST}", "8BITMIME", "SMTPUTF8"]
        if self.mailbox.certificate and not self.private:
            words.append("STARTTLS")
        if self.mailbox.login:
            words.append("AUTH PLAIN")
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        self.request.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return True

    def _log_in(self, rest: str) -> bool:
        mechanism, _, said = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            return self._say(504, "PLAIN only")
        try:
            _, username, password = base64.b64decode(said).decode().split("\0")
        except ValueError:
            return self._say(501, "that is no PLAIN login")
        self.known = (username, password) == self.mailbox.login
        return self._say(235, "welcome") if self.known else self._say(535, "wrong username or password")

    def _receive(self) -> bool:
        if not self.recipients:
            return self._say(503, "for whom?")
        self._say(354, "end with a dot")
        whole = bytearray()
        while (line := self.lines.readline(_LONGEST_LINE)) not in (b".\r\n", b""):
            whole += line[1:] if line.startswith(b".") else line
            if len(whole) > LARGEST:
                return self._say(552, "too large") and False
        code = self.mailbox.refusal(".")
        if code or not line:
            return bool(line) and self._say(code or 451, "refused")
        message = message_from_bytes(bytes(whole), policy=policy.default)
        mail = Mail(sender=self.sender, recipients=tuple(self.recipients), message=message)
        return self.mailbox.take(mail) and self._say(250, "taken")

    def _start_tls(self) -> bool:
        self._say(220, "go ahead")
        self._encrypt()
        self.lines.close()
        self.lines = self.request.makefile("rb")
        return True

    def _encrypt(self) -> None:
        if self.mailbox.certificate is not None:
            self.request = self.mailbox.certificate.wrap_socket(self.request, server_side=True)
            self.private = True

    def _say(self, code: int, text: str) -> bool:
        """Answer; False after 421, which ends the connection."""
        self.request.sendall(f"{code} {text}\r\n".encode())
        return code != 421


def _path(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]
