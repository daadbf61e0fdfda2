"""Where logs go, and how: what the settings say, and what they do not say the environment.

``OTEL_EXPORTER_OTLP_LOGS_*`` come before ``OTEL_EXPORTER_OTLP_*`` (OpenTelemetry specification, Protocol Exporter).
Pure: whoever makes a sink hands the environment in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from indelible.errors import ConfigError
from indelible.named_settings import MAX_TIMEOUT_S
from indelible.sink_settings.otlp import COMPRESSIONS, LOGS_PATH, PROTOCOLS, check_headers, parse_endpoint
from indelible.sink_settings.parts import HEADER, HEADER_TEXT, TlsSettings
from indelible.values import shown

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from indelible.sink_settings.otlp import OtlpSettings, Protocol

HTTP_PORT: Final = 4318
GRPC_PORT: Final = 4317
TIMEOUT_S: Final = 10.0
"""What the specification has when nothing is said."""


class Exporter(NamedTuple):
    """Where logs go, and how: what the settings and the environment come to."""

    protocol: Protocol
    url: str
    """With the path, over HTTP."""
    headers: dict[str, str]
    gzip: bool
    tls: TlsSettings | None
    timeout: float

    @property
    def is_secure(self) -> bool:
        """Whether it is TLS."""
        return self.url.lower().startswith("https:")

    @property
    def address(self) -> str:
        """``HOST:PORT``, as gRPC has it."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        return f"{f'[{host}]' if ':' in host else host}:{parts.port or (443 if self.is_secure else 80)}"


def exporter(own: OtlpSettings, env: Mapping[str, str]) -> Exporter:
    """Return where logs go. Raises ConfigError: the environment says what nobody can."""
    said = _Environment(env)
    protocol: Any = own.protocol or said.choice("PROTOCOL", PROTOCOLS) or PROTOCOLS[0]
    compression = own.compression or said.choice("COMPRESSION", COMPRESSIONS) or "none"
    url = own.endpoint
    if url is None:
        url = said.endpoint(protocol)
    elif protocol != "grpc":
        parts = urlsplit(url)
        url = url if parts.path.strip("/") else parts._replace(path=LOGS_PATH).geturl()
    secure = urlsplit(url).scheme == "https"
    tls = own.tls or said.tls()
    headers = said.headers(protocol) if own.headers is None else dict(own.headers)
    if own.token is not None:  # what the settings say comes first
        headers = {name: text for name, text in headers.items() if name.lower() != "authorization"}
    _check(own, protocol)
    timeout = own.timeout or said.timeout() or TIMEOUT_S
    return Exporter(protocol, url, headers, compression == "gzip", tls if secure else None, timeout)


def _check(own: OtlpSettings, protocol: str) -> None:
    """Raise ConfigError for headers of the settings that the protocol, which the environment names, cannot have."""
    try:
        check_headers(own.headers or {}, protocol)
    except ValueError as exc:
        raise ConfigError(f"headers: {exc}") from None


class _Environment:
    """What ``OTEL_EXPORTER_OTLP_*`` say; a variable that is set and empty is not set."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def _get(self, name: str) -> tuple[str, str]:
        """Return the variable that counts, and its value; empty without one."""
        for variable in (f"OTEL_EXPORTER_OTLP_LOGS_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if value := self._env.get(variable, "").strip():
                return variable, value
        return "", ""

    def choice(self, name: str, known: tuple[str, ...]) -> str | None:
        variable, value = self._get(name)
        if value and value.lower() not in known:
            raise ConfigError(f"{variable}: expected {', '.join(known)}, found {shown(value)}")
        return value.lower() or None

    def endpoint(self, protocol: Protocol) -> str:
        variable, value = self._get("ENDPOINT")
        if not value:
            return (
                f"http://localhost:{GRPC_PORT}"
                if protocol == "grpc"
                else f"http://localhost:{HTTP_PORT}{LOGS_PATH}"
            )
        if protocol == "grpc":
            if "://" not in value:
                _, insecure = self._get("INSECURE")
                value = f"{'http' if insecure.lower() == 'true' else 'https'}://{value}"
            return self._url(variable, value).geturl()
        parts = self._url(variable, value)
        if "_LOGS_" not in variable:  # that one is for all signals, each below it
            parts = parts._replace(path=parts.path.rstrip("/") + LOGS_PATH)
        return parts._replace(path=parts.path or "/").geturl()

    def _url(self, variable: str, value: str) -> SplitResult:
        try:
            parse_endpoint(value)
        except ValueError as exc:
            raise ConfigError(f"{variable}: {exc}") from None
        return urlsplit(value)

    def headers(self, protocol: str) -> dict[str, str]:
        """Return ``name=value`` pairs with commas between them, values percent-encoded (W3C Baggage)."""
        variable, value = self._get("HEADERS")
        found: dict[str, str] = {}
        for item in filter(str.strip, value.split(",")):
            name, equals, text = item.partition("=")
            name, text = name.strip(), unquote(text.strip())
            if not equals or not HEADER.fullmatch(name) or not HEADER_TEXT.fullmatch(text):
                raise ConfigError(f"{variable}: expected name=value pairs with commas between them")
            found[name] = text
        try:
            check_headers(found, protocol)
        except ValueError as exc:
            raise ConfigError(f"{variable}: {exc}") from None
        return found

    def tls(self) -> TlsSettings | None:
        names = {"ca_file": "CERTIFICATE", "cert_file": "CLIENT_CERTIFICATE", "key_file": "CLIENT_KEY"}
        found = {key: value for key, name in names.items() if (value := self._get(name)[1])}
        if "key_file" in found and "cert_file" not in found:
            raise ConfigError(f"{self._get('CLIENT_KEY')[0]}: needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
        return TlsSettings(**found) if found else None

    def timeout(self) -> float | None:
        variable, value = self._get("TIMEOUT")
        if not value:
            return None
        if not value.isascii() or not value.isdigit() or not 0 < int(value) <= MAX_TIMEOUT_S * 1000:
            raise ConfigError(f"{variable}: expected milliseconds, above 0 and up to {MAX_TIMEOUT_S * 1000:g}")
        return int(value) / 1000
