"""E-mail over SMTP against a mailbox on loopback: the contract, encryption, login, and every way a server says no."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from billhook.clock import VirtualClock
from billhook.errors import CredentialsRefused, OutcomeUnknown, Refused, Temporary
from billhook.notifier import Message, MessageKind
from billhook.provider import Severity
from billhook.testing.connection import make_context
from billhook.testing.contracts import NotificationChannelContract
from billhook_notifications.channel import EmailChannel
from billhook_notifications.config import MailConfig
from billhook_notifications.mailbox import Mailbox

NOW = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)
LOGIN = ("billing", "a-long-password")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


def channel_to(mailbox: Mailbox, **settings: object) -> EmailChannel:
    given = {"host": mailbox.host, "port": mailbox.port, "security": "none", "timeout": 30, **settings}
    config = MailConfig.model_validate({"sender": "Acme Billing <billing@acme.test>", **given})
    return EmailChannel.connect(make_context("mail", config, clock=VirtualClock(NOW)))


def message(recipient: str = "ada@customer.test") -> Message:
    return Message(
        key="k1",
        kind=MessageKind.PORTAL_LINK,
        recipient=recipient,
        locale="de-DE",
        subject="Ihr Link",
        text="Hallo",
        html="<p>Hallo</p>",
    )


class TestEmail(NotificationChannelContract):
    @pytest.fixture
    def channel(self, mailbox: Mailbox) -> EmailChannel:
        return channel_to(mailbox)

    @pytest.fixture
    def received(self, mailbox: Mailbox) -> object:
        def received() -> Sequence[tuple[str, str, str]]:
            return [(each.recipients[0], each.subject, each.text) for each in mailbox.received()]

        return received

    @pytest.fixture
    def refuse(self, mailbox: Mailbox) -> object:
        return lambda: mailbox.refuse("RCPT", 550)

    @pytest.fixture
    def break_down(self, mailbox: Mailbox) -> object:
        return lambda: mailbox.refuse(".", 451)


def test_the_headers_say_from_whom_when_and_that_nobody_need_answer(mailbox: Mailbox) -> None:
    channel_to(mailbox, reply_to="help@acme.test").send(message())
    (mail,) = mailbox.received()
    assert {name: str(value) for name, value in mail.message.items() if name[:4] != "MIME"} == {
        "From": "Acme Billing <billing@acme.test>",
        "To": "ada@customer.test",
        "Subject": "Ihr Link",
        "Date": "Tue, 01 Sep 2026 09:00:00 +0000",
        "Message-ID": "<k1@acme.test>",
        "Auto-Submitted": "auto-generated",
        "Reply-To": "help@acme.test",
        "Content-Language": "de-DE",
        "Content-Type": mail.message["Content-Type"],
    }
    assert (mail.text.strip(), mail.html.strip()) == ("Hallo", "<p>Hallo</p>")


@pytest.mark.parametrize(
    ("verb", "code", "kind"),
    [
        ("CONNECT", 421, Temporary),
        ("CONNECT", 554, Temporary),
        ("MAIL", 451, Temporary),
        ("MAIL", 550, Refused),
        ("RCPT", 450, Temporary),
        ("RCPT", 550, Refused),
        ("DATA", 451, Temporary),
        (".", 452, Temporary),
        (".", 554, Refused),
    ],
)
def test_a_refusal_for_good_is_told_from_one_for_now(
    mailbox: Mailbox, verb: str, code: int, kind: type[Exception]
) -> None:
    mailbox.refuse(verb, code)
    with pytest.raises(kind, match=str(code)):
        channel_to(mailbox).send(message())
    assert mailbox.received() == []


def test_a_connection_that_breaks_after_the_message_leaves_it_open_whether_it_was_taken(
    mailbox: Mailbox,
) -> None:
    mailbox.hang_up()
    with pytest.raises(OutcomeUnknown):
        channel_to(mailbox).send(message())
    assert len(mailbox.received()) == 1


def test_a_server_that_is_not_there_may_be_later() -> None:
    gone = Mailbox()
    with gone:
        channel = channel_to(gone)
    with pytest.raises(Temporary, match="cannot be reached"):
        channel.send(message())
    (found,) = channel.check()
    assert found.severity is Severity.ERROR


def test_a_check_logs_in_and_sends_nothing(mailbox: Mailbox) -> None:
    (found,) = channel_to(mailbox).check()
    assert found.severity is Severity.OK
    assert mailbox.received() == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailbox")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mailbox.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def encrypted(certificate: Path, **options: bool) -> Mailbox:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return Mailbox(certificate=context, login=LOGIN, **options)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_and_password_travel_encrypted(certificate: Path, security: str) -> None:
    with encrypted(certificate, from_the_start=security == "tls") as mailbox:
        channel = channel_to(
            mailbox, security=security, ca_bundle=str(certificate), username=LOGIN[0], password=LOGIN[1]
        )
        channel.send(message())
        assert [each.subject for each in mailbox.received()] == ["Ihr Link"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_nothing(certificate: Path, security: str) -> None:
    with encrypted(certificate, from_the_start=security == "tls") as mailbox:
        channel = channel_to(mailbox, security=security, username=LOGIN[0], password=LOGIN[1])
        with pytest.raises(Temporary, match="SSLCertVerificationError|certificate"):
            channel.send(message())
        assert mailbox.received() == []


def test_a_server_without_tls_gets_nothing_when_tls_was_asked_for(mailbox: Mailbox) -> None:
    with pytest.raises(Temporary, match="offers no TLS"):
        channel_to(mailbox, security="starttls").send(message())
    assert mailbox.received() == []


def test_a_wrong_password_is_told_without_it(certificate: Path) -> None:
    with encrypted(certificate) as mailbox:
        channel = channel_to(
            mailbox, security="starttls", ca_bundle=str(certificate), username="billing", password="wrong-one"
        )
        with pytest.raises(CredentialsRefused) as refused:
            channel.send(message())
    assert "wrong-one" not in str(refused.value)


def test_an_address_with_other_letters_is_sent_where_the_server_takes_it(mailbox: Mailbox) -> None:
    channel_to(mailbox).send(message("jürgen@bücher.test"))
    (mail,) = mailbox.received()
    assert mail.recipients == ("jürgen@bücher.test",)
