"""TLS to an anchor: who it is is always checked, against the system's authorities or those of `ca_file`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indelible.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from indelible.anchor_settings import AnchorSettings


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that believes these authorities, or the system's. Raises ValueError, which says why not."""
    import ssl

    try:
        made = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError("it holds no certificate" if isinstance(exc, ssl.SSLError) else exc.strerror) from exc
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def context(settings: AnchorSettings) -> ssl.SSLContext:
    """Return the context for connections to an anchor. Raises ConfigError for a `ca_file` that holds no certificate."""
    try:
        return trusting(settings.ca_file)
    except ValueError as exc:
        msg = f"audit.anchors: {settings.name}: ca_file {settings.ca_file}: {exc}"
        raise ConfigError(msg) from exc
