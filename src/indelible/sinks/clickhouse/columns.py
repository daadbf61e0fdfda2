"""The columns of the table that `indelible schema clickhouse` prints, as data. Pure.

The rules that live here:

- `origin`, `seq` and `line` are what the sink sends. Every other column is computed from the line by the table
  (MATERIALIZED: stored; ALIAS: when it is read), so that nobody can insert one that says something else than the line,
  and so that a key of a later version needs no other sink: it is in the line, and a column can be added at any time.
- No expression can fail, whatever is in a line: what is missing, or of another type, is an empty text, or NULL of a
  number, since 0 is an answer.
- Stored is what people filter and group by; what is long, or looked at one by one, is read from the line.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from indelible.sinks.clickhouse.quoting import literal

WORD: Final = "LowCardinality(String)"
"""A text of which there are few."""

RFC3339: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$"
"""What is read as a time; a recorder may say anything there."""


class Column(NamedTuple):
    """One column."""

    name: str
    type: str
    expression: str = ""
    """What it is computed by; empty: it is sent."""
    stored: bool = True
    codec: str = ""
    path: tuple[str, ...] = ()
    """The field of the event that it is."""

    @property
    def sql(self) -> str:
        """The column as CREATE TABLE has it."""
        how = "MATERIALIZED" if self.stored else "ALIAS"
        computed = f" {how} {self.expression}" if self.expression else ""
        return f"{self.name} {self.type}{computed}" + (f" CODEC({self.codec})" if self.codec else "")


def _path(path: tuple[str, ...]) -> str:
    return ", ".join(["line", *map(literal, path)])


def _text(name: str, *path: str, type_: str = "String", stored: bool = True) -> Column:
    return Column(name, type_, f"JSONExtractString({_path(path)})", stored, path=path)


def _word(name: str, *path: str) -> Column:
    return _text(name, *path, type_=WORD)


def _typed(type_: str, name: str, *path: str, stored: bool = True) -> Column:
    return Column(name, type_, f"JSONExtract({_path(path)}, {literal(type_)})", stored, path=path)


def _whole(name: str, *path: str, stored: bool = True) -> Column:
    return _typed("Nullable(Int64)", name, *path, stored=stored)


def _json(name: str, *path: str) -> Column:
    return Column(name, "String", f"JSONExtractRaw({_path(path)})", stored=False, path=path)


def _read(name: str, *path: str) -> Column:
    return _text(name, *path, stored=False)


def _time(name: str, otherwise: str) -> Column:
    said = f"JSONExtractString({_path((name,))})"
    parsed = f"if(match({said}, {literal(RFC3339)}), parseDateTime64BestEffortOrNull({said}, 6, 'UTC'), NULL)"
    return Column(
        name, "DateTime64(6, 'UTC')", f"ifNull({parsed}, {otherwise})", codec="Delta, ZSTD", path=(name,)
    )


LEAF: Final = "if(erased, JSONExtractString(line, 'leaf'), lower(hex(SHA256(concat(char(0), line)))))"
"""C2SP tlog-tiles: SHA-256 of 0x00 and the line; of an erased line what it says."""

COLUMNS: Final = (
    Column("origin", WORD),
    Column("seq", "UInt64", codec="Delta, ZSTD"),
    Column("line", "String", codec="ZSTD(3)"),
    Column("inserted_at", "DateTime64(3, 'UTC')", "now64(3, 'UTC')", codec="Delta, ZSTD"),
    Column("erased", "UInt8", "JSONHas(line, 'erased')"),
    _time("recorded_at", "inserted_at"),
    _time("timestamp", "recorded_at"),
    _whole("schema", "schema", stored=False),
    _word("event_type", "event_type"),
    Column("event_id", "UUID", "toUUIDOrZero(JSONExtractString(line, 'event_id'))", path=("event_id",)),
    Column("leaf", "String", LEAF, stored=False),
    _word("caller", "source", "caller"),
    _text("session_id", "source", "session_id"),
    _text("client_ip", "source", "client_ip"),
    _word("client", "source", "client"),
    _text("user_id", "source", "user_id"),
    _word("caller_type", "source", "caller_type"),
    _typed("Array(String)", "roles", "source", "roles"),
    _word("tenant", "source", "tenant"),
    _word("auth_method", "source", "auth_method"),
    _text("auth_key_id", "source", "auth_key_id"),
    _read("issuer", "source", "issuer"),
    _typed("Array(String)", "on_behalf_of", "source", "on_behalf_of", stored=False),
    _read("recorder_id", "source", "recorder", "id"),
    _whole("recorder_uid", "source", "recorder", "uid", stored=False),
    _whole("recorder_pid", "source", "recorder", "pid", stored=False),
    _word("backend", "target", "backend"),
    _word("method", "target", "method"),
    _word("type", "target", "type"),
    _text("capability_name", "target", "capability_name"),
    _read("original_name", "target", "original_name"),
    _word("effects", "target", "effects"),
    _read("server_version", "target", "server_version"),
    _read("protocol_version", "target", "protocol_version"),
    _read("tool_sha256", "target", "tool_sha256"),
    _text("request_id", "request", "request_id"),
    _read("intent", "request", "intent"),
    _read("rpc_id", "request", "rpc_id"),
    _text("trace_id", "request", "trace_id"),
    _read("span_id", "request", "span_id"),
    _read("continues", "request", "continues"),
    _json("args", "request", "args"),
    _whole("args_bytes", "request", "args_bytes"),
    _read("args_hmac", "request", "args_hmac"),
    _read("hmac_key_id", "request", "hmac_key_id"),
    _word("policy_decision", "policy", "decision"),
    _word("policy_rule", "policy", "rule"),
    _text("policy_reason", "policy", "reason"),
    _word("status", "outcome", "status"),
    _word("kind", "outcome", "kind"),
    _typed("Nullable(Float64)", "latency_ms", "outcome", "latency_ms"),
    _text("error", "outcome", "error"),
    _word("error_type", "outcome", "error_type"),
    _whole("error_code", "outcome", "error_code"),
    _whole("result_bytes", "outcome", "result_bytes"),
    _read("result_hmac", "outcome", "result_hmac"),
    _json("result", "outcome", "result"),
    _whole("cost_centicents", "cost", "centicents"),
    _word("cost_model", "cost", "model"),
    _whole("cost_input_tokens", "cost", "input_tokens"),
    _whole("cost_output_tokens", "cost", "output_tokens"),
    _word("state_from", "state", "from"),
    _word("state_to", "state", "to"),
    _text("state_reason", "state", "reason"),
    _json("metadata", "metadata"),
)

INDEXES: Final = (
    ("by_recorded_at", "recorded_at", "minmax"),
    ("by_timestamp", "timestamp", "minmax"),
    ("by_event_id", "event_id", "bloom_filter(0.01)"),
    ("by_request_id", "request_id", "bloom_filter(0.01)"),
    ("by_session_id", "session_id", "bloom_filter(0.01)"),
    ("by_user_id", "user_id", "bloom_filter(0.01)"),
    ("by_capability_name", "capability_name", "bloom_filter(0.01)"),
)
"""Data-skipping indexes: name, column, type."""

OF_CALLS: Final = tuple(
    column.name for column in COLUMNS if not column.name.startswith(("state_", "inserted_"))
)
"""What the view of calls has."""

GIVEN: Final = tuple(column.name for column in COLUMNS if not column.expression)
"""The columns that are sent."""
