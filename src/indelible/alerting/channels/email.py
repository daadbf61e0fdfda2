"""Mail, by SMTP (RFC 5321): each alert a message, taken when the server has said 250 to it.

The rules that live here:

- Everything with a server, from its name to its last answer, takes no longer than the time-out, all in all; `stop` ends
  it. `smtplib` cannot be interrupted: it works on a thread of its own, whose socket is cut off then.
- With ``starttls`` a server that does not offer it gets nothing, neither a password nor a mail: whoever is in between
  could have taken the offer away (RFC 8314, section 5.1).
- 4xx, and any answer to who we are, passes or is mended where it was configured. 5xx to a message is about it, and so
  is a refusal of every recipient; of some of them it is not, and a line in the log says who.
- No header is made of text: `EmailMessage` folds and encodes, and refuses a line end.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.alert_settings import EmailSettings
from indelible.alerting.channels.mail import Mail
from indelible.errors import ConfigError
from indelible.sink_settings import TlsSettings
from indelible.sink_settings.addresses import is_public
from indelible.sinks import reasons
from indelible.sinks.base import NOTHING, Delivery, SinkUnavailable, delivered
from indelible.sinks.secrets import read_secret
from indelible.sinks.waits import Waits
from indelible.sinks.web.answers import printable

if TYPE_CHECKING:
    from indelible.sink_settings import SinkSettings
    from indelible.sinks.base import Shipment

log = logging.getLogger("indelible")

DOMAIN: Final = "indelible.invalid"
"""Of message ids: it is nobody's (RFC 2606)."""

PERMANENT: Final = 500

SLACK_S: Final = 5.0
"""So much later than all of it would a single read give up: its time-out looks like an end of the connection."""


class _ForbiddenError(OSError):
    """An address that nobody said may be connected to."""


class _Refused(Exception):  # noqa: N818 - what to do
    """The server will never take this message."""


class EmailSink:
    """See `Sink`."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `EmailSettings`."""
        self._own = EmailSettings.of(settings.own)
        self._name = settings.name
        self._target = f"{self._own.host}:{self._own.port}"
        self._waits = Waits(settings.timeout)
        self._server: smtplib.SMTP | None = None

    def open(self) -> None:
        """See `Sink`."""
        with self._said():
            self._patiently(self._connected)

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        refused: list[tuple[int, str]] = []
        taken = 0
        for index, shipment in enumerate(shipments):
            try:
                message = self._message(msgspec.json.decode(shipment.record, type=Mail))
            except ValueError as exc:
                refused.append((index, f"is no mail: {exc}"))
                taken = index + 1
                continue
            with self._said(lambda: delivered(taken, refused)):  # noqa: B023 - called before the next one
                try:
                    self._patiently(lambda: self._carry(message))  # noqa: B023
                except _Refused as exc:
                    refused.append((index, str(exc)))
            taken = index + 1
        return delivered(taken, refused)

    def close(self) -> None:
        """See `Sink`."""
        self._let_go(politely=True)
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- messages ---------------------------------------------------------------------------------------------

    def _message(self, mail: Mail) -> EmailMessage:
        """Return a message. Raises ValueError for what no header may hold."""
        message = EmailMessage(policy=POLICY)
        message["From"] = self._own.sender
        message["To"] = ", ".join(self._own.to)
        message["Subject"] = mail.subject
        message["Date"] = _date(mail.at)
        message["Message-ID"] = f"<{mail.id}@{DOMAIN}>"
        message["References"] = f"<{mail.thread}@{DOMAIN}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's vacation answers
        message.set_content(mail.text, charset="utf-8")
        return message

    def _carry(self, message: EmailMessage) -> None:
        server = self._connected()
        try:
            some = server.send_message(message, self._own.sender, list(self._own.to))
        except smtplib.SMTPRecipientsRefused as exc:
            self._rest(server)
            codes = [code for code, _ in exc.recipients.values()]
            if codes and min(codes) >= PERMANENT:
                raise _Refused(
                    f"no recipient is accepted: {_of_answer(next(iter(exc.recipients.values())))}"
                ) from None
            raise
        except smtplib.SMTPDataError as exc:
            self._rest(server)
            if exc.smtp_code >= PERMANENT:
                raise _Refused(f"it answers {_of_answer((exc.smtp_code, exc.smtp_error))}") from None
            raise
        for who, answer in some.items():
            log.warning(
                "channel %s: %s does not accept %s: %s", self._name, self._target, who, _of_answer(answer)
            )

    def _rest(self, server: smtplib.SMTP) -> None:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.rset()

    # --- the server -------------------------------------------------------------------------------------------

    def _connected(self) -> smtplib.SMTP:
        if self._server is not None:
            try:
                if self._server.noop()[0] < 400:
                    return self._server
            except (smtplib.SMTPException, OSError):
                pass
            self._let_go()
        own = self._own
        context = None
        if own.security != "none":
            from indelible.sinks import tls

            context = tls.context(own.tls or TlsSettings())
        user, password = self._credentials()
        server = _Server(own, self._waits.timeout + SLACK_S, context if own.security == "tls" else None)
        self._server = server
        server.connect(own.host, own.port)
        server.ehlo()
        if own.security == "starttls" and context is not None:
            server.start_tls(context)
        if user is not None and password is not None:
            server.login(user, password)
        return server

    def _credentials(self) -> tuple[str | None, str | None]:
        if self._own.username is None or self._own.password is None:
            return None, None
        return read_secret(self._own.username, "username"), read_secret(self._own.password, "password")

    def _patiently(self, function: Callable[[], Any]) -> None:
        """Have something done within the time-out. Raises what it raises, TimeoutError, SinkUnavailable."""
        try:
            with self._waits.together():
                self._waits.check()
                self._waits.call(function)
        except (TimeoutError, SinkUnavailable):
            self._let_go()
            raise

    @contextlib.contextmanager
    def _said(self, delivery: Callable[[], Delivery] = lambda: NOTHING) -> Iterator[None]:
        """Make what went wrong a state of the sink."""
        try:
            yield
        except SinkUnavailable as exc:
            exc.delivery = delivery()
            raise
        except (OSError, smtplib.SMTPException, ConfigError) as exc:
            self._let_go()
            raise SinkUnavailable(f"{self._target}: {_why(exc)}", delivery()) from exc

    def _let_go(self, *, politely: bool = False) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(smtplib.SMTPException, OSError, SinkUnavailable):
            if politely:
                self._waits.call(server.quit)
        sock = server.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # whoever waits for it is woken
                sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            server.close()


class _Server(smtplib.SMTP):
    """A connection that goes where it may, with TLS from the start when it has a context."""

    def __init__(self, own: EmailSettings, timeout: float, context: ssl.SSLContext | None) -> None:
        super().__init__(timeout=timeout)
        self._own = own
        self._context = context
        self._named = (own.tls.server_name if own.tls is not None else None) or own.host
        self._host = self._named  # what `starttls` says the server's certificate must name

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        last: OSError = OSError("the name has no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if not self._own.allow_private and not is_public(str(place[0])):
                last = _ForbiddenError(f"{place[0]} is not a public address; see 'allow_private'")
                continue
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(timeout)
                made.connect(place)
                return (
                    made
                    if self._context is None
                    else self._context.wrap_socket(made, server_hostname=self._named)
                )
            except OSError as exc:
                made.close()
                last = exc
        raise last

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, or not at all. `smtplib` would check the certificate against the host alone."""
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("it does not offer STARTTLS; see 'security'")
        code, answer = self.starttls(context=context)
        if code != 220:
            raise smtplib.SMTPResponseException(code, answer)
        self.ehlo()


def _date(at: str) -> str:
    from datetime import UTC, datetime

    try:
        return format_datetime(datetime.fromisoformat(at))
    except ValueError:
        return format_datetime(datetime.now(UTC))


def _of_answer(answer: tuple[int, bytes | str]) -> str:
    code, said = answer
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return f"{code} {printable(text)}".rstrip()


def _why(exc: Exception) -> str:
    if isinstance(exc, _ForbiddenError):
        return str(exc)
    if isinstance(exc, smtplib.SMTPAuthenticationError):
        return f"it does not accept our credentials: {_of_answer((exc.smtp_code, exc.smtp_error))}"
    if isinstance(exc, smtplib.SMTPSenderRefused | smtplib.SMTPResponseException):
        return f"it answers {_of_answer((exc.smtp_code, exc.smtp_error))}"
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        return f"no recipient is accepted now: {_of_answer(next(iter(exc.recipients.values())))}"
    if isinstance(exc, smtplib.SMTPServerDisconnected):
        return "it closed the connection"
    if isinstance(exc, smtplib.SMTPException):
        return printable(str(exc)) or type(exc).__name__
    if isinstance(exc, TimeoutError):
        return "it does not answer in time"
    return reasons.of(exc)
