"""A mail server in this process, of another author: what it takes can be asked, what it answers is chosen."""

from __future__ import annotations

import contextlib
import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Taken:
    """What a server has taken, and how it answers."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Be as new."""
        self.messages: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.answers: dict[str, str] = {}
        """Of a recipient; and of ``DATA``."""
        self.goes_on = threading.Event()
        self.goes_on.set()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        answer = self.answers.get("DATA", "250 taken")
        if answer.startswith("250"):
            self.raw.append(envelope.content)
            found = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
            assert isinstance(found, EmailMessage)
            self.messages.append(found)
            self.recipients.append(list(envelope.rcpt_tos))
        return answer

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


@contextlib.contextmanager
def running(
    taken: Taken, *, certificate: tuple[Path, Path] | None = None, starttls: bool = False, logins: bool = False
) -> Iterator[int]:
    """Give the port of a server: in TLS from the start with a certificate, after STARTTLS when that is asked for."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    keys: dict[str, Any] = {"hostname": "127.0.0.1", "ready_timeout": 60}
    if logins:
        keys |= {"authenticator": taken.authenticate, "auth_require_tls": False, "auth_required": True}
    if starttls:
        keys |= {"tls_context": context, "require_starttls": True}
    elif context is not None:
        keys["ssl_context"] = context

    class OnAnyPort(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, **self.SMTP_kwargs)

        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            super()._trigger_server()  # type: ignore[no-untyped-call] # it has no types

    server = OnAnyPort(taken, port=0, **keys)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()
