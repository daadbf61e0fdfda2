"""``type: http``: a webhook, or the API of a system that takes events over HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast

import msgspec

from indelible.sink_settings.parts import (
    BATCH_KEYS,
    HEADER,
    HIDDEN,
    OURS,
    BatchSettings,
    Kind,
    Own,
    Secret,
    TlsSettings,
    parse_headers,
    parse_tls,
    resolved,
    secret_keys,
    take_batch,
    take_secret,
)
from indelible.values import one_of, parse_boolean, parse_text, parse_text_map, split_url

Flavor = Literal["webhook", "splunk_hec", "elasticsearch", "loki"]
Body = Literal["lines", "array", "single"]

BULK: Final = "_bulk"
TIMEOUT_S: Final = 30.0
"""Receivers that index what they are sent take longer than those that store it."""

SECRETS: Final = ("token", "username", "password", "secret")


class Traits(NamedTuple):
    """What one API is like."""

    path: str
    """Where it is at its server; `INDEX` stands for the index. Empty: the URL says all."""
    scheme: str
    """What goes before a token in `Authorization`."""
    keys: frozenset[str]
    """Keys that it has and not every API."""
    gzip: bool = True
    """Whether every such receiver takes compressed requests."""
    format: str = ""


FLAVORS: Final[dict[str, Traits]] = {
    "webhook": Traits("", "Bearer", frozenset({"secret_env", "secret_file", "body"}), gzip=False),
    "splunk_hec": Traits(
        "/services/collector/event", "Splunk", frozenset({"index", "source", "sourcetype", "host"})
    ),
    "elasticsearch": Traits(f"/INDEX/{BULK}", "ApiKey", frozenset({"index"}), format="ecs"),
    "loki": Traits("/loki/api/v1/push", "Bearer", frozenset({"labels"})),
}

ELASTIC_INDEX: Final = "logs-indelible.audit-default"
"""A data stream of Elastic's own naming scheme: type, dataset, namespace."""

LABELS: Final = {"service_name": "indelible"}
MAX_LABELS: Final = 15
"""What Loki takes of one stream unless it is told otherwise (`max_label_names_per_series`)."""

_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class HttpSettings(Own, frozen=True, kw_only=True):
    """A receiver over HTTP."""

    url: str
    flavor: Flavor = "webhook"
    body: Body = "array"
    """How a webhook's records stand in a request: as one JSON array, one a line, or one a request."""
    gzip: bool = False
    headers: Mapping[str, str] = {}
    token: Secret | None = None
    token_header: str = "Authorization"  # noqa: S105 - a header's name
    token_scheme: str = "Bearer"  # noqa: S105 - what stands before a token
    """Empty: the token stands alone."""
    username: Secret | None = None
    password: Secret | None = None
    secret: Secret | None = None
    """What a webhook's requests are signed with."""
    tls: TlsSettings | None = None
    allow_private: bool = False
    """Whether addresses that are not public may be connected to."""
    allow_http: bool = False
    """Whether records may travel in plain text; to this machine they may."""
    index: str | None = None
    source: str = "indelible"
    sourcetype: str = "indelible:json"
    host: str | None = None
    """What Splunk says the events' host is; None: this machine."""
    labels: Mapping[str, str] = msgspec.field(default_factory=lambda: LABELS)
    batch: BatchSettings = BatchSettings()

    @property
    def target(self) -> str:
        """See `Own`: without the path, since that of a webhook is often its secret."""
        from urllib.parse import urlsplit  # 3 ms, which only who has such a sink pays

        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def words(self) -> str:
        """See `Own`."""
        from urllib.parse import urlsplit

        return str(urlsplit(self.url).hostname)

    @property
    def format(self) -> str:
        """See `Own`."""
        return FLAVORS[self.flavor].format

    @property
    def path(self) -> str:
        """Path and query that requests go to: where the API is at the URL, unless the URL says it."""
        from urllib.parse import urlsplit

        parts = urlsplit(self.url)
        wanted = FLAVORS[self.flavor].path.replace("INDEX", self.index or ELASTIC_INDEX)
        path = _joined(parts.path.rstrip("/") if wanted else parts.path, wanted)
        return (path or "/") + (f"?{parts.query}" if parts.query else "")

    def public(self) -> Self:
        """See `Own`: the path of a webhook's URL is often its secret, and headers may hold one."""
        url = self.url if self.url.rstrip("/") == self.target else f"{self.target}/{HIDDEN}"
        return msgspec.structs.replace(self, url=url, headers=dict.fromkeys(self.headers, HIDDEN))

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return resolved(self, base, "tls", *SECRETS)


def _joined(path: str, wanted: str) -> str:
    """Return the path of an API: what is said of it in a URL's path, and what is not."""
    last = wanted.rpartition("/")[2]
    if last == BULK and path.endswith(f"/{BULK}"):  # of an index that the URL names
        return path
    said = wanted
    while said and not path.endswith(said):
        said = said.rpartition("/")[0]
    return path + wanted[len(said) :]


def parse_url(value: object) -> str:
    """Return the URL of a receiver."""
    text = parse_text(value)
    split_url(
        text, "expected https://HOST[:PORT][/PATH][?QUERY] or http://…, without credentials or a fragment"
    )
    return text


def parse_own_headers(value: object) -> dict[str, str]:
    """Return headers beside those that the sink sets by itself."""
    found = parse_headers(value)
    for name in found:
        if name.lower() in OURS:
            other = "token_env, token_file, or username and password" if name.lower() == "authorization" else ""
            raise ValueError(f"{name!r} is not to be set here" + (f"; take {other}" if other else ""))
    return found


def _header_name(value: object) -> str:
    text = parse_text(value)
    if not HEADER.fullmatch(text) or text.lower() in OURS - {"authorization"}:
        raise ValueError("expected the name of a header, such as Authorization or X-API-Key")
    return text


def _scheme(value: object) -> str:
    if value == "" or (isinstance(value, str) and HEADER.fullmatch(value)):
        return str(value)
    raise ValueError("expected a word such as Bearer, or an empty text for none")


def _index(value: object) -> str:
    text = parse_text(value)
    if not _INDEX.fullmatch(text):
        raise ValueError("expected the name of an index: lower-case letters, digits, '.', '_' and '-'")
    return text


def _labels(value: object) -> dict[str, str]:
    found = parse_text_map(value)
    if not 0 < len(found) <= MAX_LABELS:
        raise ValueError(f"expected 1 to {MAX_LABELS} labels")
    for name in found:
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"{name!r} is no label: letters, digits and '_', not '__' first")
    return found


def _made(values: dict[str, Any]) -> HttpSettings:
    flavor = values["flavor"]
    traits = FLAVORS[flavor]
    for key in values:
        having = [name for name, other in FLAVORS.items() if key in other.keys]
        if having and flavor not in having:
            raise ValueError(f"{key}: is for 'flavor: {' and '.join(having)}'")
    values.setdefault("gzip", traits.gzip)
    elsewhere = values.get("token_header", "Authorization").lower() != "authorization"
    values.setdefault("token_scheme", "" if elsewhere else traits.scheme)
    values.update({name: take_secret(values, name) for name in SECRETS})
    own = HttpSettings(batch=take_batch(values), **values)
    _check_credentials(own)
    check_place(own.url, own.tls, allow_private=own.allow_private, allow_http=own.allow_http)
    return own


def _check_credentials(own: HttpSettings) -> None:
    if (own.username is None) != (own.password is None):
        raise ValueError("username: needs password, and password a username (…_env or …_file each)")
    if own.token is not None and own.username is not None and own.token_header.lower() == "authorization":
        raise ValueError("token: give a token, or username and password, not both")
    if own.token_header.lower() in {name.lower() for name in own.headers}:
        raise ValueError(f"headers: {own.token_header} is where the token goes")


def check_place(
    url: str,
    tls: TlsSettings | None,
    *,
    allow_private: bool,
    allow_http: bool,
    key: str = "url",
    sends: str = "records and credentials",
) -> None:
    """Raise ValueError for a URL, which stands under `key`, that goes where nobody said it may, or in plain text."""
    from urllib.parse import urlsplit

    from indelible.sink_settings.addresses import is_local_name, is_private_literal

    parts = urlsplit(url)
    host = cast("str", parts.hostname)
    if parts.scheme == "http" and not allow_http and not is_local_name(host):
        raise ValueError(f"{key}: http:// sends {sends} in plain text; use https://, or say 'allow_http: true'")
    if parts.scheme == "http" and tls is not None:
        raise ValueError(f"tls: is for {key}s with https://")
    if not allow_private and (host == "localhost" or is_private_literal(host)):
        raise ValueError(f"{key}: {host} is not a public address; say 'allow_private: true'")


HTTP: Final = Kind(
    {
        "url": parse_url,
        "flavor": one_of(*FLAVORS),
        "body": one_of("array", "lines", "single"),
        "gzip": parse_boolean,
        "headers": parse_own_headers,
        "token_header": _header_name,
        "token_scheme": _scheme,
        **secret_keys(*SECRETS),
        "tls": parse_tls,
        "allow_private": parse_boolean,
        "allow_http": parse_boolean,
        "index": _index,
        "source": parse_text,
        "sourcetype": parse_text,
        "host": parse_text,
        "labels": _labels,
        **BATCH_KEYS,
    },
    _made,
    required=("url",),
    defaults={"flavor": "webhook", "timeout": TIMEOUT_S},
)
