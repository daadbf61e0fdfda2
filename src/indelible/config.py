"""Settings: frozen, with their limits and units, parsed from plain data.

No I/O here: `indelible.configfile` finds and reads files and hands over mappings. Every key has a parser in a
table, so that an unknown key can be answered with the nearest known one, and so that the reference page can
be checked against the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from indelible.alert_settings import AlertSettings, parse_alerts
from indelible.anchor_settings import AnchorSettings, parse_anchors
from indelible.errors import ConfigError
from indelible.inquiry_settings import MCP_KEYS as MCP_KEYS  # noqa: PLC0414 - a section like the others
from indelible.inquiry_settings import InquirySettings
from indelible.redaction_settings import RedactionSettings as RedactionSettings  # noqa: PLC0414 - a section like the others
from indelible.redaction_settings import check_strategies, parse_strategies
from indelible.retention_settings import CLASSES as CLASSES  # noqa: PLC0414
from indelible.retention_settings import KEEP_ALL as KEEP_ALL  # noqa: PLC0414
from indelible.retention_settings import Bound as Bound  # noqa: PLC0414
from indelible.retention_settings import Retention as Retention  # noqa: PLC0414
from indelible.retention_settings import check_locked, parse_retention
from indelible.sink_settings import Backlog, Ship, SinkSettings, parse_backlog, parse_ship, parse_sinks
from indelible.values import (
    DAY_S,
    MEGABYTE,
    Parser,
    nearest,
    one_of,
    parse_boolean,
    parse_count,
    parse_duration,
    parse_limit,
    parse_megabytes,
    parse_mode,
    parse_networks,
    parse_percent,
    parse_percentages,
    parse_rate_mb,
    parse_text,
    parse_text_map,
    parse_texts,
    shown,
)

Durability = Literal["memory", "process", "disk"]
DURABILITIES: Final[tuple[Durability, ...]] = ("memory", "process", "disk")
OnFailure = Literal["deny", "allow"]
IntentMode = Literal["all", "writes", "none"]
Twins = Literal["auto", "off"]
RecordMode = Literal["full", "digest", "none"]

_ENV_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class RecordRules(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a payload is recorded: of tools in general, and of those whose name matches."""

    default: RecordMode
    tools: Mapping[str, RecordMode] = msgspec.field(default_factory=dict)
    """Pattern to mode: a tool's name, or ``backend/name``; ``*`` stands for anything."""


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the trail is written. Times are in seconds, sizes in bytes."""

    enabled: bool = True
    path: str | None = None
    """The active JSONL file; None is the default trail."""
    durability: Durability = "process"
    intent: IntentMode = "writes"
    trust_annotations: bool = True
    """False makes every tool a write, whatever its annotations say."""
    record_args: RecordMode | RecordRules = "full"
    record_results: RecordMode | RecordRules = "digest"
    on_failure: OnFailure | None = None
    """None: ``allow`` for `wrap` and the library, ``deny`` for servers."""
    write_timeout: float = 2.0
    open_timeout: float = 300.0
    """How long a start waits at the most for another process that is opening the trail, or closing it."""
    max_size: int = 100 * MEGABYTE
    backup_count: int = 5
    compress_rotated: bool = False
    retention: Retention | float | None = 90 * DAY_S
    """A number is everything's age; None: `backup_count` alone decides."""
    heartbeat: float = 3600.0
    """An idle trail says so this often; 0 never."""
    disk_thresholds: tuple[float, ...] = (75.0, 90.0, 95.0)
    """Percent of the file system, rising: an alert at each; beyond the last, events count as not recordable."""
    key_file: str | None = None
    key_env: str | None = None
    group: str | None = None
    """A group that may read the trail: files become 0640, directories 0750."""
    socket: str | None = None
    """Record through the service that listens here (`indelible record`), into its trail."""
    trust_directory: str | None = None
    """A directory of everybody's, without the sticky bit, in which the trail may lie all the same."""
    anchors: tuple[AnchorSettings, ...] = ()
    """Where checkpoints are handed as they are made."""
    sinks: tuple[SinkSettings, ...] = ()
    """Where events are shipped."""
    ship: Ship = "process"
    """Who ships them: a process that the recording command starts, a thread of it, or `indelible ship` by hand."""
    max_backlog: Backlog = Backlog()
    """How much is kept for a sink that has not taken it yet."""
    twins: Twins = "auto"
    """Whether the holder has twins made of the lines, to be asked quickly: ``auto`` where the package duckdb is."""

    @property
    def retention_rules(self) -> Retention:
        """`retention`, whichever way it was said."""
        if isinstance(self.retention, Retention):
            return self.retention
        return Retention(default=Bound(age=self.retention))


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who may record through `indelible record`, and how much. Limits are of one user; a rate of 0 is none."""

    listen: str | None = None
    """The socket; None: the command or systemd names it."""
    group: str | None = None
    """A group whose members may connect; None: the service's own."""
    mode: int = 0o660
    max_connections: int = 16
    max_events_per_second: int = 10_000
    max_rate: int = 16 * MEGABYTE
    """Bytes a second."""
    max_outstanding: int = 2048
    """Events that came and are not acknowledged."""
    max_overtime: int = 25
    """Percent of the service's time; 100: no limit."""


ProxyHeader = Literal["forwarded", "x-forwarded-for"]


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How it is known who calls."""

    trusted_proxies: tuple[str, ...] = ()
    """Who may say, in a header, which address a request came from."""
    proxy_header: ProxyHeader | None = None
    """In which header; None: in either, if they agree."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration."""

    profile: str | None = None
    audit: AuditSettings = AuditSettings()
    redaction: RedactionSettings = RedactionSettings()
    record: RecordSettings = RecordSettings()
    identity: IdentitySettings = IdentitySettings()
    alerts: AlertSettings | None = None
    """None: no rule looks at the trail."""
    mcp: InquirySettings = InquirySettings()
    servers: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """``mcpServers`` as it stands in the file."""
    warnings: tuple[str, ...] = ()
    """What the file holds that is not read, one line each."""
    source: str | None = None
    """The file that was read; None without one."""


# --- values ---------------------------------------------------------------------------------------------


def parse_durability(value: object) -> Durability:
    """Return one of the three durabilities; raises ConfigError for anything else."""
    for known in DURABILITIES:
        if value == known:
            return known
    msg = f"durability: expected {', '.join(DURABILITIES)}, found {shown(value)}"
    raise ConfigError(msg)


_RECORD_MODES: Final[tuple[RecordMode, ...]] = ("full", "digest", "none")


def _record(default: RecordMode) -> Parser:
    """Return a parser of one mode for all, or ``{default: …, tools: {PATTERN: …}}``."""

    def parse(value: object) -> RecordMode | RecordRules:
        if not isinstance(value, dict):
            return _record_mode(value)
        for key in value:
            if key not in ("default", "tools"):
                raise ValueError(f"unknown key {shown(key)}{nearest(str(key), ['default', 'tools'])}")
        tools = value.get("tools")
        if not isinstance(tools, dict | None):
            raise ValueError("tools: expected a mapping of tools' names to modes")
        modes = {}
        for name, mode in (tools or {}).items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"tools: expected a tool's name, with * for anything, not {shown(name)}")
            try:
                modes[name] = _record_mode(mode)
            except ValueError as exc:
                raise ValueError(f"tools: {name}: {exc}") from None
        return RecordRules(default=_record_mode(value.get("default", default)), tools=modes)

    return parse


def _record_mode(value: object) -> RecordMode:
    for mode in _RECORD_MODES:
        if value == mode:
            return mode
    raise ValueError("expected full, digest or none")


def _parse_twins(value: object) -> object:
    return one_of("auto", "off")("off" if value is False else value)  # YAML reads off as false


AUDIT_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "enabled": ("enabled", parse_boolean),
    "path": ("path", parse_text),
    "file": ("path", parse_text),
    "durability": ("durability", one_of(*DURABILITIES)),
    "intent": ("intent", one_of("all", "writes", "none")),
    "trust_annotations": ("trust_annotations", parse_boolean),
    "record_args": ("record_args", _record("full")),
    "record_results": ("record_results", _record("digest")),
    "on_failure": ("on_failure", one_of("deny", "allow")),
    "write_timeout": ("write_timeout", parse_duration),
    "open_timeout": ("open_timeout", parse_duration),
    "max_size_mb": ("max_size", parse_megabytes),
    "backup_count": ("backup_count", parse_count),
    "compress_rotated": ("compress_rotated", parse_boolean),
    "retention": ("retention", parse_retention),
    "heartbeat": ("heartbeat", parse_duration),
    "disk_thresholds": ("disk_thresholds", parse_percentages),
    "key_file": ("key_file", parse_text),
    "key_env": ("key_env", parse_text),
    "group": ("group", parse_text),
    "socket": ("socket", parse_text),
    "trust_directory": ("trust_directory", parse_text),
    "anchors": ("anchors", parse_anchors),
    "sinks": ("sinks", parse_sinks),
    "ship": ("ship", parse_ship),
    "max_backlog": ("max_backlog", parse_backlog),
    "twins": ("twins", _parse_twins),
}
"""Key in the file → field of `AuditSettings`, parser."""

REDACTION_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "keys": ("keys", parse_texts),
    "allow_keys": ("allow_keys", parse_texts),
    "patterns": ("patterns", parse_text_map),
    "schemas": ("schemas", parse_texts),
    "strategies": ("strategies", parse_strategies),
    "unknown_schema": ("unknown_schema", one_of("digest", "keep")),
}

RECORD_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "listen": ("listen", parse_text),
    "group": ("group", parse_text),
    "mode": ("mode", parse_mode),
    "max_connections": ("max_connections", parse_limit),
    "max_events_per_second": ("max_events_per_second", parse_count),
    "max_mb_per_second": ("max_rate", parse_rate_mb),
    "max_outstanding": ("max_outstanding", parse_limit),
    "max_overtime_percent": ("max_overtime", parse_percent),
}

IDENTITY_KEYS: Final[dict[str, tuple[str, Parser]]] = {
    "trusted_proxies": ("trusted_proxies", parse_networks),
    "proxy_header": ("proxy_header", one_of("forwarded", "x-forwarded-for")),
}

TOP_KEYS: Final = (
    "profile", "profiles", "audit", "redaction", "record", "identity", "alerts", "mcp", "mcpServers"
)  # fmt: skip

LATER_KEYS: Final = frozenset(
    {
        "identity.jwt", "identity.api_keys", "policy", "limits", "cost", "sessions", "management", "telemetry",
        "sinks", "audit.log_records",
    }
)  # fmt: skip
"""Keys of the design that this version does not have: refused by name, never silently ignored."""

FOREIGN_MARKS: Final = ("mxcp", "backends", "upstreams")
"""A file with one of these at the top is another system's: only what is ours in it is read."""


# --- files ----------------------------------------------------------------------------------------------


def parse(data: object, *, where: str, env: Mapping[str, str], profile: str | None = None) -> Settings:
    """Turn a file's content into settings.

    `where` names the file in messages, `env` answers ``${NAME}``, and `profile` overrides the file's own.
    Raises ConfigError, one line, naming file and key.
    """
    top = _mapping({} if data is None else data, where, "the top, such as 'audit:'")
    warnings: list[str] = []
    foreign = any(mark in top for mark in FOREIGN_MARKS)
    if foreign:
        ignored = sorted(str(key) for key in top if key not in (*TOP_KEYS, "sinks"))
        warnings.append(f"{where}: not read from this file of another system: {', '.join(ignored)}")
        top = {key: value for key, value in top.items() if key in (*TOP_KEYS, "sinks")}
    _refuse_unknown(top, TOP_KEYS, where, "")
    top = _expand(top, env, where)
    chosen = profile or _optional_text(top.get("profile"), where, "profile")
    return Settings(
        profile=chosen,
        audit=_whole(AuditSettings(**_audit(top, chosen, where, foreign=foreign)), where),
        redaction=_redaction(top.get("redaction"), where),
        record=RecordSettings(**_section(top.get("record"), RECORD_KEYS, where, "record")),
        identity=IdentitySettings(**_section(top.get("identity"), IDENTITY_KEYS, where, "identity")),
        alerts=_alerts(top, where),
        mcp=InquirySettings(**_section(top.get("mcp"), MCP_KEYS, where, "mcp")),
        servers=_mapping(top.get("mcpServers") or {}, where, "mcpServers"),
        warnings=tuple(warnings),
    )


def _alerts(top: Mapping[str, Any], where: str) -> AlertSettings | None:
    """Return what `alerts` says; an empty one is the built-in rules as they are."""
    if "alerts" not in top:
        return None
    body = top["alerts"]
    try:
        return parse_alerts({} if body is None else body)
    except ValueError as exc:  # what stands there may be a channel's secret: it is not repeated
        raise ConfigError(f"{where}: alerts: {exc}") from None


def _redaction(body: object, where: str) -> RedactionSettings:
    settings = RedactionSettings(**_section(body, REDACTION_KEYS, where, "redaction"))
    try:
        check_strategies(settings)
    except ValueError as exc:
        raise ConfigError(f"{where}: redaction.strategies: {exc}") from None
    return settings


def _audit(top: Mapping[str, Any], chosen: str | None, where: str, *, foreign: bool) -> dict[str, Any]:
    """Return the values of `audit`, with those of the chosen profile over them."""
    audit = _section(top.get("audit"), AUDIT_KEYS, where, "audit")
    profiles = _mapping(top.get("profiles") or {}, where, "profiles")
    overlays = {
        name: _profile(body, where, f"profiles.{_word(name)}", foreign=foreign)
        for name, body in profiles.items()
    }
    if chosen is None:
        return audit
    if profiles and chosen not in overlays:
        raise ConfigError(f"{where}: profile {chosen!r} is not defined{nearest(chosen, list(overlays))}")
    audit.update(overlays.get(chosen, {}))
    audit.setdefault("path", f"logs-{chosen}.jsonl")
    return audit


def _whole(audit: AuditSettings, where: str) -> AuditSettings:
    """Return the settings, once what one key asks of another is there. Raises ConfigError."""
    try:
        check_locked(audit.retention_rules, audit.sinks, shipped=audit.ship != "off")
    except ValueError as exc:
        raise ConfigError(f"{where}: audit.retention: {exc}") from None
    return audit


def _mapping(value: object, where: str, at: str) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise ConfigError(f"{where}: {at}: expected a mapping, found {_kind(value)}")


def _profile(body: object, where: str, at: str, *, foreign: bool) -> dict[str, Any]:
    profile = _mapping(body, where, at)
    if not foreign:  # other systems keep more in a profile than its audit section
        _refuse_unknown(profile, ("audit",), where, at)
    return _section(profile.get("audit"), AUDIT_KEYS, where, f"{at}.audit")


def _section(body: object, keys: Mapping[str, tuple[str, Parser]], where: str, at: str) -> dict[str, Any]:
    given = _mapping({} if body is None else body, where, at)
    _refuse_unknown(given, tuple(keys), where, at)
    if "path" in given and "file" in given:
        raise ConfigError(f"{where}: {at}: 'path' and 'file' name the same thing; keep one of them")
    values: dict[str, Any] = {}
    for key, value in given.items():
        field, parser = keys[key]
        try:
            values[field] = parser(value)
        except ValueError as exc:
            # of sinks the message names the place; what else stands there may be another package's secret
            found = "" if key == "sinks" and isinstance(value, list) else f", found {shown(value)}"
            raise ConfigError(f"{where}: {at}.{key}: {exc}{found}") from None
    return values


def _refuse_unknown(body: Mapping[Any, Any], known: tuple[str, ...], where: str, at: str) -> None:
    for key in body:
        path = f"{at}.{_word(key)}" if at else _word(key)
        if key in known:
            continue
        if re.sub(r"^profiles\.[^.]+\.", "", path) in LATER_KEYS:
            raise ConfigError(f"{where}: {path}: this version of Indelible does not have it yet; remove it")
        raise ConfigError(f"{where}: unknown key {shown(path)}{nearest(str(key), list(known))}")


def _optional_text(value: object, where: str, at: str) -> str | None:
    if value is None:
        return None
    try:
        return parse_text(value)
    except ValueError as exc:
        raise ConfigError(f"{where}: {at}: {exc}, found {shown(value)}") from None


def _expand(value: Any, env: Mapping[str, str], where: str, at: str = "") -> Any:
    """Replace ``${NAME}`` in every text. A name that is not set is an error: silence would hide a typo."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            try:
                return env[match[1]]
            except KeyError:
                raise ConfigError(f"{where}: {at}: environment variable {match[1]} is not set") from None

        return _ENV_REFERENCE.sub(replace, value)
    if isinstance(value, dict):
        return {key: _expand(item, env, where, f"{at}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, env, where, f"{at}[{index}]") for index, item in enumerate(value)]
    return value


def _word(key: object) -> str:
    """Return a key as a message has it: the file's own word."""
    return key if isinstance(key, str) else shown(key)


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true/false"}
    return names.get(type(value), shown(value))
