"""``type: clickhouse``: a table of a ClickHouse server, over its HTTP interface. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from indelible.sink_settings.http import check_place, parse_own_headers, parse_url
from indelible.sink_settings.parts import (
    BATCH_KEYS,
    HIDDEN,
    BatchSettings,
    Kind,
    Own,
    Secret,
    TlsSettings,
    parse_tls,
    resolved,
    secret_keys,
    take_batch,
    take_secret,
)
from indelible.values import parse_boolean, parse_text, shown

DATABASE: Final = "indelible"
TABLE: Final = "events"

TIMEOUT_S: Final = 30.0
"""A server that merges parts, or waits for a quorum, takes longer than one that stores."""

BATCH_LINES: Final = 10_000
BATCH_BYTES: Final = 10_000_000
"""Each request makes a part of the table, which is merged later: fewer and larger ones are what ClickHouse asks for."""

MAX_NAME: Final = 128
"""Characters of a database's or a table's name: as bytes of a file's name they are escaped, up to 255 of those."""

FORMATS: Final = (
    "indelible", "alive", "argus", "cloudevents", "ecs", "hangar", "json-lines", "jsonlines", "mcpgw", "mxcp", "ocsf",
)  # fmt: skip
"""Those whose records are JSON objects with the event's own fields: rows of `JSONEachRow`."""

FIXED: Final = frozenset(
    {
        "database", "default_format", "distributed_foreground_insert", "input_format_allow_errors_num",
        "input_format_allow_errors_ratio", "insert_deduplication_token", "insert_distributed_sync", "password",
        "query", "query_id", "session_id", "user", "wait_end_of_query",
        "wait_for_async_insert",
    }
)  # fmt: skip
"""Parameters of a request that are the sink's: with other values rows could be lost, or sent to elsewhere."""

_SETTING = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}")


class ClickhouseSettings(Own, frozen=True, kw_only=True):
    """A table, and who may insert into it."""

    url: str
    database: str = DATABASE
    table: str = TABLE
    username: Secret | None = None
    """None: the server's `default` user."""
    password: Secret | None = None
    settings: Mapping[str, str] = {}
    """ClickHouse's own, for each INSERT."""
    gzip: bool = True
    headers: Mapping[str, str] = {}
    tls: TlsSettings | None = None
    allow_private: bool = False
    allow_http: bool = False
    batch: BatchSettings = BatchSettings(lines=BATCH_LINES, bytes=BATCH_BYTES)

    @property
    def target(self) -> str:
        """See `Own`."""
        from urllib.parse import urlsplit  # 3 ms, which only who has such a sink pays

        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc} {self.database}.{self.table}"

    @property
    def words(self) -> str:
        """See `Own`."""
        from urllib.parse import urlsplit

        return str(urlsplit(self.url).hostname)

    def public(self) -> Self:
        """See `Own`: headers may hold a token."""
        return msgspec.structs.replace(self, headers=dict.fromkeys(self.headers, HIDDEN))

    def check_format(self, name: str) -> None:
        """See `Own`: to the schema's own table other records would be rows without a line."""
        if name != "indelible" and (self.database, self.table) == (DATABASE, TABLE):
            raise ValueError(
                f"table: {DATABASE}.{TABLE} takes lines as they stand in the trail; name the table that has the "
                f"columns of format {name}"
            )

    def resolved(self, base: Path) -> Self:
        """See `Own`."""
        return resolved(self, base, "tls", "username", "password")


def parse_identifier(value: object) -> str:
    """Return the name of a database or a table: any that can be quoted and read."""
    text = parse_text(value)
    if not text.isprintable() or text != text.strip() or len(text) > MAX_NAME:
        raise ValueError(f"expected a name of up to {MAX_NAME} printable characters")
    return text


def _url(value: object) -> str:
    text = parse_url(value)
    if "?" in text:
        raise ValueError(
            "expected no query in it: ClickHouse's settings go to 'settings', the table to 'table'"
        )
    return text


def _headers(value: object) -> dict[str, str]:
    found = parse_own_headers(value)
    for name in found:
        if name.lower() in ("x-clickhouse-user", "x-clickhouse-key"):
            raise ValueError(f"{name!r} is not to be set here; take username_… and password_…")
    return found


def _settings(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping of ClickHouse's settings to values")
    found: dict[str, str] = {}
    for name, given in value.items():
        if not isinstance(name, str) or not _SETTING.fullmatch(name) or name.startswith("param_"):
            raise ValueError(f"{shown(name)} is no setting's name")
        if name in FIXED:
            raise ValueError(f"{name!r} is not to be set here")
        if not isinstance(given, str | int | float):
            raise ValueError(f"{name}: expected a text or a number")
        found[name] = str(int(given) if isinstance(given, bool) else given)
    return found


def _made(values: dict[str, Any]) -> ClickhouseSettings:
    username, password = take_secret(values, "username"), take_secret(values, "password")
    own = ClickhouseSettings(username=username, password=password, batch=take_batch(values), **values)
    check_place(own.url, own.tls, allow_private=own.allow_private, allow_http=own.allow_http)
    return own


CLICKHOUSE: Final = Kind(
    {
        "url": _url,
        "database": parse_identifier,
        "table": parse_identifier,
        **secret_keys("username", "password"),
        "settings": _settings,
        "gzip": parse_boolean,
        "headers": _headers,
        "tls": parse_tls,
        "allow_private": parse_boolean,
        "allow_http": parse_boolean,
        **BATCH_KEYS,
    },
    _made,
    required=("url",),
    defaults={
        "format": "indelible",
        "timeout": TIMEOUT_S,
        "flush_batch_lines": BATCH_LINES,
        "flush_batch_bytes": BATCH_BYTES,
    },
    formats=FORMATS,
)
