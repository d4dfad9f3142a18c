"""What a connection to a mail server can be told, from ``<CONNECTION>_…`` in the environment."""

from __future__ import annotations

import ssl
from email.headerregistry import Address
from email.utils import getaddresses
from enum import StrEnum

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from billhook.config import ConnectionConfig
from billhook.notifier import is_address


class Security(StrEnum):
    """How the connection to the mail server is kept private."""

    STARTTLS = "starttls"  # plain first, then TLS or nothing
    TLS = "tls"  # TLS from the first byte
    NONE = "none"  # a server on this machine or in a network of one's own


PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}
"""Where mail servers listen: submission, submissions (RFC 8314) and SMTP."""


class MailConfig(ConnectionConfig):
    """An SMTP server, and who the mail is from."""

    host: str = Field(description="the mail server's name or address", min_length=1)
    port: int | None = Field(
        None, ge=1, le=65535, description="its port; unset: 587, with security=tls 465, with security=none 25"
    )
    security: Security = Field(
        Security.STARTTLS,
        description="starttls, tls (from the first byte), or none (on this machine or in a network of your own)",
    )
    username: str | None = Field(None, description="whom to log in as; unset: no login")
    password: SecretStr | None = Field(
        None, description="the password that goes with the username", validate_default=True
    )
    sender: str = Field(
        description="who the mail is from: billing@example.com, or Acme <billing@example.com>"
    )
    reply_to: str | None = Field(None, description="where answers go; unset: to the sender")
    ca_bundle: str | None = Field(
        None, description="path of the certificates (PEM) to trust instead of the system's"
    )
    timeout: float = Field(10.0, gt=0, le=60, description="how long each answer is waited for, in seconds")

    @field_validator("sender", "reply_to")
    @classmethod
    def _is_mailbox(cls, value: str | None) -> str | None:
        if value is not None:
            mailbox(value)
        return value

    @field_validator("host")
    @classmethod
    def _is_host(cls, value: str) -> str:
        if not value.isprintable() or any(each in value for each in " /@"):
            raise ValueError(
                "write a name or an address, such as smtp.example.com; the port has its own setting"
            )
        return value

    @field_validator("ca_bundle")
    @classmethod
    def _is_bundle(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except OSError as exc:  # ssl.SSLError is one
                raise ValueError(
                    f"no certificates can be read from it ({exc.strerror or 'not PEM'})"
                ) from exc
        return value

    @field_validator("password")
    @classmethod
    def _logs_in_safely(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("username") is None):
            raise ValueError("set both username and password, or neither")
        if value is not None and info.data.get("security") is Security.NONE:
            raise ValueError("it is sent over starttls or tls only, and security is none")
        return value

    def where(self) -> tuple[str, int]:
        """Return host and port."""
        return self.host, self.port or PORTS[self.security]

    def context(self) -> ssl.SSLContext:
        """Return how the server's certificate is checked."""
        return ssl.create_default_context(cafile=self.ca_bundle)


def mailbox(text: str) -> Address:
    """Read ``billing@example.com`` or ``Acme <billing@example.com>``; raises ValueError."""
    found = getaddresses([text]) if text.isprintable() else []
    name, address = found[0] if len(found) == 1 else ("", "")
    if not is_address(address):
        raise ValueError("write an e-mail address: billing@example.com, or Acme <billing@example.com>")
    return Address(display_name=name, addr_spec=address)
