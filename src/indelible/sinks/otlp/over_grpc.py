"""OTLP over gRPC: one unary call after the other.

The rules that live here:

- Which codes pass and which are about the records is the specification's to say (OTLP 1.x, "OTLP/gRPC Throttling" and
  "Failures"). A message that is larger than the receiver takes is sent again in smaller ones.
- Whoever waits for an answer is woken by `stop`, and gives the call up.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import select
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from indelible._version import __version__
from indelible.errors import ConfigError
from indelible.sink_settings.parts import TlsSettings
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.otlp import answers
from indelible.sinks.web.answers import Fewer, NotNow, printable
from indelible.trail import durable

if TYPE_CHECKING:
    from indelible.sinks.otlp.environment import Exporter
    from indelible.sinks.waits import Waits

METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
MISSING: Final = "needs the package grpcio, which is not installed: pip install 'indelible[otlp]'"

TOO_LARGE: Final = re.compile(r"larger than (?:the )?max", re.IGNORECASE)
"""What gRPC says of a message that a side does not take; the code is that of throttling."""

OURS: Final = "CLIENT:"
"""Stands before that where the side is ours."""

MAX_ANSWER: Final = 1 << 20
"""Bytes: so much of an answer is taken; it has one message for people."""

ABOUT_RECORDS: Final = frozenset({"INVALID_ARGUMENT"})
HINTS: Final = {
    "UNAUTHENTICATED": "does it accept our credentials?",
    "PERMISSION_DENIED": "may our credentials write there?",
    "UNIMPLEMENTED": "does it take OTLP logs?",
}


class GrpcTransport:
    """A channel to one receiver."""

    def __init__(self, exporter: Exporter, waits: Waits) -> None:
        """Nothing is connected yet."""
        self._exporter = exporter
        self._waits = waits
        self._channel: Any = None
        self._export: Any = None
        self._bell = _Bell()

    def open(self) -> None:
        """Connect. Raises SinkUnavailable, also without the package; ConfigError for files that are not there."""
        if self._channel is not None:
            return
        grpc = _library()
        self._channel = self._connected(grpc)
        self._export = self._channel.unary_unary(METHOD)  # bytes in, bytes out

    def post(self, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        """Return what the receiver answers. Raises Fewer, NotNow, SinkUnavailable."""
        self.open()
        grpc = _library()
        call = self._export.future(
            body,
            timeout=self._waits.timeout,
            metadata=[(name.lower(), text) for name, text in headers],
            compression=grpc.Compression.Gzip if self._exporter.gzip else None,
            wait_for_ready=False,
        )
        try:
            self._wait_for(call)
        except BaseException:
            call.cancel()
            raise
        if call.code() is grpc.StatusCode.OK:
            answer: bytes = call.result()
            return answer
        raise _failure(call.code().name, str(call.details() or ""), call.trailing_metadata() or ())

    def close(self) -> None:
        """Let go of the channel."""
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()
        self._bell.close()

    def _wait_for(self, call: Any) -> None:
        """Return when it is done; it has a time-out of its own."""
        self._bell.open()
        call.add_done_callback(lambda _call: self._bell.ring())
        deadline = self._waits.deadline() + 1.0
        while not call.done():
            if not self._waits.ready(self._bell.descriptor, select.POLLIN, deadline):
                raise NotNow(f"it does not answer within {self._waits.timeout:g} s")
            self._bell.heard()

    def _connected(self, grpc: Any) -> Any:
        exporter = self._exporter
        options: list[tuple[str, Any]] = [
            ("grpc.max_send_message_length", -1),  # the receiver says what is too large
            ("grpc.max_receive_message_length", MAX_ANSWER),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),  # the environment's is not asked, as over HTTP
            ("grpc.primary_user_agent", f"indelible/{__version__}"),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        if not exporter.is_secure:
            return grpc.insecure_channel(exporter.address, options)
        tls = exporter.tls or TlsSettings()
        files = (tls.ca_file or _system(), tls.key_file or tls.cert_file, tls.cert_file)
        if tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return grpc.secure_channel(
            exporter.address, grpc.ssl_channel_credentials(*map(_content, files)), options
        )


def _library() -> Any:
    """Return the package. Raises SinkUnavailable: it is not there, and may be tomorrow."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would write to standard error by itself
    try:
        return importlib.import_module("grpc")
    except ImportError as exc:
        importlib.invalidate_caches()
        if isinstance(exc, ModuleNotFoundError) and exc.name == "grpc":
            raise SinkUnavailable(MISSING) from None
        raise SinkUnavailable(f"the package grpcio cannot be loaded: {exc}") from exc


def _system() -> str | None:
    """Return where the system's authorities are; None where they are not in one file: then gRPC believes its own."""
    import ssl

    return ssl.get_default_verify_paths().cafile


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc


def _failure(code: str, details: str, trailers: Sequence[tuple[str, Any]]) -> Exception:
    """Return what a code means."""
    said = printable(details)
    reason = f"it answers {code}{f': {said}' if said else ''}"
    if code == "RESOURCE_EXHAUSTED" and TOO_LARGE.search(details):
        if OURS in details:
            return NotNow("what it answers is no answer of an OTLP receiver: it is too long")
        return Fewer(reason, sure=True, is_size=True)
    if code in ABOUT_RECORDS:
        return Fewer(reason, sure=False)
    if code == "UNAVAILABLE":
        return NotNow(_connection(details) or reason, _retry_after(trailers))
    if code == "DEADLINE_EXCEEDED":
        return NotNow("it does not answer in time")
    hint = HINTS.get(code, "")
    return NotNow(reason + (f"; {hint}" if hint else ""), _retry_after(trailers))


_REASONS: Final = (
    ("Connection refused", "nothing listens there"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not believed: is 'ca_file' its authority's?"),
    ("Unwrap failed", "it broke TLS off; does it accept our certificate?"),
    ("certificate required", "it refuses our certificate: certificate required"),
    ("Name or service not known", "the name cannot be resolved"),
    ("DNS resolution failed", "the name cannot be resolved"),
    ("Connection reset", "it broke the connection off"),
    ("Socket closed", "it closed the connection without an answer"),
)


def _connection(details: str) -> str:
    """Return in a few words what gRPC says of a connection at length."""
    return next((short for words, short in _REASONS if words in details), "")


def _retry_after(trailers: Sequence[tuple[str, Any]]) -> float | None:
    """Return how many seconds a receiver asks to be left alone, by a RetryInfo of its status details."""
    for name, value in trailers:
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            return answers.delay(value)
    return None


class _Bell:
    """What gRPC's own threads wake us by; one that rings late must not write where it is closed, or somebody else's."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def descriptor(self) -> int:
        return self._pipe[0] if self._pipe else -1

    def open(self) -> None:
        if self._pipe is None:
            self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def ring(self) -> None:
        with self._lock:
            if self._pipe is not None:
                with contextlib.suppress(BlockingIOError):  # it has rung often enough
                    os.write(self._pipe[1], b"\0")

    def heard(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 4096)

    def close(self) -> None:
        with self._lock:
            for descriptor in self._pipe or ():
                durable.close(descriptor)
            self._pipe = None
