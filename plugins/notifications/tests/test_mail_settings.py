"""Settings of a mail server: every mistake names its variable, and the password shows nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from billhook.config import load_connection, masked
from billhook.errors import ConfigInvalid
from billhook_notifications.config import MailConfig, Security

GOOD = {"MAIL_HOST": "smtp.acme.test", "MAIL_SENDER": "Acme <billing@acme.test>"}
PASSWORD = "a-long-and-secret-password"


def load(**env: str) -> MailConfig:
    return load_connection(MailConfig, "mail", env={**GOOD, **env})


@pytest.mark.parametrize(
    ("env", "port"),
    [
        ({}, 587),
        ({"MAIL_SECURITY": "tls"}, 465),
        ({"MAIL_SECURITY": "none"}, 25),
        ({"MAIL_PORT": "2525"}, 2525),
    ],
)
def test_the_port_follows_from_the_security(env: dict[str, str], port: int) -> None:
    assert load(**env).where() == ("smtp.acme.test", port)


def test_without_a_word_the_connection_is_encrypted() -> None:
    assert load().security is Security.STARTTLS


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MAIL_PORT", "70000", "65535"),
        ("MAIL_SECURITY", "ssl", "starttls"),
        ("MAIL_SENDER", "Acme", "e-mail address"),
        ("MAIL_SENDER", "a@acme.test, b@acme.test", "e-mail address"),
        ("MAIL_REPLY_TO", "nobody", "e-mail address"),
        ("MAIL_HOST", "smtp://acme.test", "name or an address"),
        ("MAIL_TIMEOUT", "0", "greater than 0"),
        ("MAIL_CA_BUNDLE", "/nowhere/at/all.pem", "certificates"),
        ("MAIL_PASSWORD", PASSWORD, "both username and password"),
    ],
)
def test_a_mistake_names_its_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as found:
        load(**{variable: value})
    (problem,) = found.value.problems
    assert problem.where == variable
    assert said in problem.what
    assert PASSWORD not in str(problem)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="MAIL_CA_BUNDLE"):
        load(MAIL_CA_BUNDLE=str(path))


def test_a_username_alone_is_not_enough() -> None:
    with pytest.raises(ConfigInvalid, match="MAIL_PASSWORD"):
        load(MAIL_USERNAME="billing")


def test_a_password_never_travels_in_the_clear() -> None:
    with pytest.raises(ConfigInvalid, match="MAIL_PASSWORD.*security is none"):
        load(MAIL_USERNAME="billing", MAIL_PASSWORD=PASSWORD, MAIL_SECURITY="none")


def test_the_password_may_be_a_mounted_file_and_is_masked(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    config = load(MAIL_USERNAME="billing", MAIL_PASSWORD_FILE=str(path))
    assert config.password is not None
    assert config.password.get_secret_value() == PASSWORD
    assert masked(config)["password"] == "…word"
    assert PASSWORD not in repr(config)
