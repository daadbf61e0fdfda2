"""The client of S3's API that is an optional package: how it is made, and what it says when it cannot be.

It is imported when a sink, or a source, is opened. It knows credentials, addresses and signatures; it tries nothing
twice, unless it is told to.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from indelible._version import __version__
from indelible.errors import ConfigError
from indelible.sinks.base import SinkUnavailable
from indelible.sinks.bucket.answers import NotTaken, refused
from indelible.sinks.secrets import read_secret
from indelible.sinks.web.answers import printable

if TYPE_CHECKING:
    from indelible.sink_settings.s3 import S3Settings

MISSING: Final = "needs the package boto3, which is not installed: pip install 'indelible[s3]'"

REGION: Final = "us-east-1"
"""What stores that know no regions are signed for."""


ONCE: Final = {"total_max_attempts": 1, "mode": "standard"}
"""Of boto3's own retries; who reads takes more."""


def library() -> Any:
    """Return the package. Raises SinkUnavailable: it is not there, and may be tomorrow."""
    try:
        return importlib.import_module("boto3.session")
    except ImportError as exc:
        if getattr(exc, "name", None) not in ("boto3", "botocore", "s3transfer"):
            raise SinkUnavailable(f"the package boto3 cannot be loaded: {exc}") from exc
        raise SinkUnavailable(MISSING) from exc


def make(own: S3Settings, boto3: Any, *, verify: str | None = None, **more: Any) -> tuple[Any, Any]:
    """Return boto3's client of the API, and the credentials that it signs with.

    `boto3` is what `library` returned; `verify` the file of authorities for who lets boto3 connect, `more` goes to
    botocore's Config. It may ask others (a metadata service, a token service) and take its time. Raises
    SinkUnavailable, ConfigError, and what `in_our_words` translates.
    """
    from botocore.config import Config

    session = boto3.Session(**_explicit(own), profile_name=own.profile, region_name=own.region)
    credentials = session.get_credentials()
    if credentials is None:
        raise SinkUnavailable(
            "no credentials: give access_key_env and secret_key_env, a profile, or one of AWS's usual places"
        )
    client = session.client(
        "s3",
        region_name=own.region or session.region_name or REGION,
        endpoint_url=own.endpoint,
        verify=verify,
        config=Config(
            s3={"addressing_style": _style(own)},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra=f"indelible/{__version__}",
            **{"retries": ONCE, **more},
        ),
    )
    return client, credentials


def _style(own: S3Settings) -> str:
    """Return where the bucket stands in a URL: in the path of a store of one's own, whoever named that."""
    named = own.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if own.path_style is None:
        return "path" if named else "auto"
    return "path" if own.path_style else "virtual"


def _explicit(own: S3Settings) -> dict[str, str]:
    """Return the credentials that the settings name; none: those of AWS's usual places. Raises ConfigError."""
    named = {
        "aws_access_key_id": ("access_key", own.access_key),
        "aws_secret_access_key": ("secret_key", own.secret_key),
        "aws_session_token": ("session_token", own.session_token),
    }
    return {name: read_secret(secret, key) for name, (key, secret) in named.items() if secret is not None}


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """Translate what boto3 raises by itself, and what a store refuses when nobody else carries its requests."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (SinkUnavailable, ConfigError, NotTaken, OSError):
        raise
    except ClientError as exc:
        raise refused(exc.response) from exc
    except (BotoCoreError, ValueError) as exc:
        raise SinkUnavailable(f"boto3: {printable(str(exc))}") from exc
