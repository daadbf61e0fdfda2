"""TLS to a receiver: who it is is always checked (RFC 5425, section 5), and what went wrong is said in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.errors import ConfigError
from indelible.trail.anchors.tls import trusting

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings import TlsSettings


def context(tls: TlsSettings) -> ssl.SSLContext:
    """Return the context for connections to a receiver. Raises ConfigError for files that hold not what they should."""
    import ssl

    try:
        made = trusting(tls.ca_file)
    except ValueError as exc:
        raise ConfigError(f"ca_file: {tls.ca_file}: {exc}") from exc
    if tls.cert_file is not None:
        names = tls.cert_file if tls.key_file is None else f"{tls.cert_file} and {tls.key_file}"
        try:
            made.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
        except ssl.SSLError as exc:
            why = (
                "the key is not the certificate's"
                if exc.reason == "KEY_VALUES_MISMATCH"
                else "no PEM of that kind"
            )
            raise ConfigError(f"cert_file, key_file: {names}: {why}") from exc
        except OSError as exc:
            raise ConfigError(f"cert_file, key_file: {names}: {exc.strerror}") from exc
        except ValueError as exc:  # of `_no_password`
            raise ConfigError(f"cert_file, key_file: {names}: {exc}") from exc
    return made


def _no_password() -> str:
    raise ValueError(
        "the key is locked with a password; give one that is not, and readable for this user alone"
    )


def reason(exc: ssl.SSLError) -> str:
    """Return in a few words why TLS did not come about, or was ended."""
    import ssl

    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {exc.verify_message.rstrip('.')}"
    words = (exc.reason or "").lower().replace("_", " ")
    if "alert" in words:
        said = words.partition("alert ")[2] or words
        about = "our certificate" if "certificate" in said or "unknown ca" in said else "the connection"
        return f"it refuses {about}: {said}"
    if words in ("wrong version number", "http request", "record layer failure", "packet length too long"):
        return "it does not speak TLS there"
    return f"TLS failed: {words or exc}"
