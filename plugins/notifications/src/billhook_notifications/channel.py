"""E-mail over SMTP. Errors quote nothing: a server's answer may repeat the address, or a link out of the text."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final, NoReturn, Self

from billhook.clock import Clock
from billhook.errors import BillhookError, CredentialsRefused, OutcomeUnknown, Refused, Temporary
from billhook.hookspecs import ConnectionContext
from billhook.notifier import ChannelInfo, Message
from billhook.provider import Finding, Severity

from .config import MailConfig, Security, mailbox

PLUGIN: Final = "notifications"
_FOR_GOOD: Final = 500
"""SMTP answers from here on are final; those from 400 on may be another next time (RFC 5321, 4.2.1)."""


class EmailChannel:
    """Sends each message as one e-mail, over a connection of its own."""

    def __init__(self, connection: str, settings: MailConfig, clock: Clock) -> None:
        self.connection = connection
        self.info = ChannelInfo(plugin=PLUGIN, title="E-mail")
        self._settings = settings
        self._clock = clock
        self._domain = mailbox(settings.sender).domain

    @classmethod
    def connect(cls, context: ConnectionContext) -> Self:
        """Make the channel of a connection; calls nobody."""
        return cls(context.name, context.config(MailConfig), context.clock)

    def send(self, message: Message) -> None:
        """Hand a message to the mail server.

        :raises Refused: the server wants neither this sender nor this recipient, or the login is wrong.
        :raises Temporary: it did not take it this time.
        :raises OutcomeUnknown: the connection broke before it said whether it took it.
        """
        written = self._written(message)
        with self._session() as session:
            try:
                session.send_message(written)
            except smtplib.SMTPRecipientsRefused as exc:
                _answered(max(code for code, _ in exc.recipients.values()), "the recipient")
            except smtplib.SMTPNotSupportedError:
                raise Refused("The mail server takes no address with letters beyond ASCII.") from None
            except smtplib.SMTPResponseException as exc:
                _answered(exc.smtp_code, "the message")
            except (smtplib.SMTPException, OSError) as exc:
                raise OutcomeUnknown(
                    f"The mail server was lost while it took the message: {_kind(exc)}."
                ) from None

    def check(self) -> Sequence[Finding]:
        """Log in and send nothing."""
        host, port = self._settings.where()
        try:
            with self._session() as session:
                session.noop()
        except BillhookError as exc:
            fix = f"Check host, port, security, username and password of the connection {self.connection}."
            return [Finding(severity=Severity.ERROR, what=str(exc), fix=fix)]
        return [Finding(severity=Severity.OK, what=f"{host}:{port} takes mail.")]

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Connect and log in; raises what :meth:`send` does, but for an outcome that is not known: nothing was sent yet."""
        try:
            session = self._connected()
        except (smtplib.SMTPResponseException, smtplib.SMTPNotSupportedError) as exc:
            _not_let_in(exc)
        except (smtplib.SMTPException, OSError) as exc:
            raise Temporary(f"The mail server cannot be reached: {_kind(exc)}.") from None
        try:
            yield session
        finally:
            _leave(session)

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        (host, port), name = settings.where(), self._domain  # said to the server: not this machine's own name
        if settings.security is Security.TLS:
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, local_hostname=name, timeout=settings.timeout, context=settings.context()
            )
        else:
            session = smtplib.SMTP(host, port, local_hostname=name, timeout=settings.timeout)
        try:
            self._let_in(session)
        except BaseException:
            session.close()
            raise
        return session

    def _let_in(self, session: smtplib.SMTP) -> None:
        settings = self._settings
        if settings.security is Security.STARTTLS:
            session.starttls(context=settings.context())
        if settings.username is not None and settings.password is not None:
            session.login(settings.username, settings.password.get_secret_value())

    def _written(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = mailbox(self._settings.sender)
        mail["To"] = message.recipient
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(self._clock.now())
        mail["Message-ID"] = f"<{message.key}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
        if self._settings.reply_to is not None:
            mail["Reply-To"] = mailbox(self._settings.reply_to)
        mail.set_content(message.text)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
        mail["Content-Language"] = message.locale  # after the content, which takes such headers away
        return mail


def _answered(code: int, about: str) -> NoReturn:
    if code >= _FOR_GOOD:
        raise Refused(f"The mail server refuses {about} ({code}).", code=str(code)) from None
    raise Temporary(f"The mail server does not take {about} now ({code}).") from None


def _not_let_in(exc: smtplib.SMTPException) -> NoReturn:
    match exc:
        case smtplib.SMTPAuthenticationError(smtp_code=code) if code >= _FOR_GOOD:
            raise CredentialsRefused(f"The mail server refuses the login ({code}).", code=str(code)) from None
        case smtplib.SMTPResponseException(smtp_code=code):
            raise Temporary(f"The mail server lets nobody in now ({code}).") from None
        case _:
            raise Temporary(
                "The mail server offers no TLS, or no login; check the setting security."
            ) from None


def _kind(exc: Exception) -> str:
    """Name what went wrong: of an operating system's error its words, of others only the kind."""
    return (isinstance(exc, OSError) and not isinstance(exc, smtplib.SMTPException) and exc.strerror) or type(
        exc
    ).__name__


def _leave(session: smtplib.SMTP) -> None:
    """Say goodbye; what was sent is sent, whatever comes of it."""
    ways: tuple[Callable[[], object], ...] = (session.quit, session.close)
    for leave in ways:
        with suppress(smtplib.SMTPException, OSError):
            leave()
