"""Find and read the configuration: files, environment, defaults. The only part of it that does I/O."""

from __future__ import annotations

import glob
import logging
import os
import re
import select
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from indelible import config, endpoints, sink_settings
from indelible.anchor_settings import resolved
from indelible.compliance import FORMAT, OUTPUT, compliance_sink
from indelible.config import Settings
from indelible.endpoints import Endpoint
from indelible.errors import ConfigError
from indelible.sink_settings import SinkSettings
from indelible.sink_settings.files import FileSettings
from indelible.values import MEGABYTE, shown, user_path

log = logging.getLogger("indelible")

DEFAULT_NAME = "indelible.yaml"
MAX_CONFIG_BYTES = 4 * MEGABYTE
"""A larger file is not a configuration; reading it whole would only hurt."""
PATIENCE_MS = 1_000
"""So long what is no file has to go on before it is said that it is waited for."""
MAX_ENDPOINTS = 10_000
"""Endpoint files that are read."""
_ROTATED = re.compile(r"(?:\.[0-9]+(?:\.zst)?)?")
"""What a rotation puts behind a file's name; nothing of the file itself."""


def state_home() -> Path:
    """Return the XDG state directory (XDG Base Directory Specification 0.8): where the default trail lives."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def config_home() -> Path:
    """Return the XDG configuration directory."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def default_trail() -> Path:
    """Return the trail that is used when nobody names one, so that `wrap` and `log` meet without a config."""
    return state_home() / "indelible" / "audit.jsonl"


def find(explicit: str | None) -> Path | None:
    """Return the configuration file to read, or None when there is none.

    The order: the one named, ``./indelible.yaml``, ``$INDELIBLE_CONFIG``, the user's. A file that was named
    (by option or variable) must exist.
    """
    if explicit:
        return Path(explicit)
    here = Path(DEFAULT_NAME)
    if here.exists():
        return here
    if named := os.environ.get("INDELIBLE_CONFIG"):
        return Path(named)
    users = config_home() / "indelible" / DEFAULT_NAME
    return users if users.exists() else None


def load(
    explicit: str | None = None,
    *,
    profile: str | None = None,
    trail: str | None = None,
    within_s: float | None = None,
) -> Settings:
    """Read the configuration and return settings whose `audit.path` is always set and absolute.

    `trail` (the option ``--trail``) wins over the file's path and socket; a relative path in a file is relative to
    that file. From a pipe that is silent for longer than `within_s` none is taken; without, it is waited for. Raises
    ConfigError.
    """
    path = find(explicit)
    if path is None:
        settings, base = config.parse({}, where="configuration", env=os.environ, profile=profile), _here()
    else:
        settings = config.parse(_read(path, within_s), where=str(path), env=os.environ, profile=profile)
        base = path.resolve().parent
    audit = settings.audit
    if trail is not None:
        if not trail or "\0" in trail:
            raise ConfigError(f"--trail: expected a path, found {shown(trail)}")
        chosen = user_path(trail).absolute()
    elif audit.path is not None:
        chosen = base / user_path(audit.path)
    else:
        chosen = default_trail().absolute()
    socket = None if audit.socket is None or trail is not None else str(base / user_path(audit.socket))
    trusted = audit.trust_directory
    settings = _with_endpoints(settings, base)
    resolved_audit = msgspec.structs.replace(
        audit,
        path=str(chosen),
        socket=socket,
        trust_directory=None if trusted is None else str(base / user_path(trusted)),
        anchors=resolved(audit.anchors, base),
        sinks=_apart(sink_settings.resolved(audit.sinks, base), chosen),
    )
    source = None if path is None else str(path.resolve())
    alerts = None if settings.alerts is None else settings.alerts.resolved(base)
    return msgspec.structs.replace(settings, audit=resolved_audit, alerts=alerts, source=source)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError("the current directory has been removed; change to another one") from None


def _apart(sinks: tuple[SinkSettings, ...], trail: Path) -> tuple[SinkSettings, ...]:
    """Return the sinks. Raises ConfigError when one would write into the trail, or into another one's file."""
    directory = _real(trail.with_name(trail.name + ".d"))
    taken = {_real(trail): "the trail's own"}
    for sink in sinks:
        if not isinstance(sink.own, FileSettings):
            continue
        path = _real(Path(sink.own.path))
        whose = "of the trail" if path.is_relative_to(directory) else None
        whose = whose or next((said for other, said in taken.items() if _meet(path, other)), None)
        if whose is not None:
            raise ConfigError(f"audit.sinks: {sink.name}: {sink.own.path} is {whose}; take another")
        taken[path] = f"the file of {sink.name}, too"
    return sinks


def _real(path: Path) -> Path:
    """Return a path without symbolic links; one in a loop of them leads nowhere, and says so when it is opened."""
    return Path(os.path.realpath(path))


def _meet(one: Path, other: Path) -> bool:
    """Tell whether two files are one, by whatever name, or one is a name that the other gets by rotation."""
    if one.parent == other.parent:
        short, long = sorted((one.name, other.name), key=len)
        if long.startswith(short) and _ROTATED.fullmatch(long, len(short)):
            return True
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return False


def _with_endpoints(settings: Settings, base: Path) -> Settings:
    """Read the endpoint files that `redaction.schemas` names, relative to `base`. Raises ConfigError, one line."""
    if not settings.redaction.schemas:
        return settings
    found: list[Endpoint] = []
    warnings = list(settings.warnings)
    for pattern in settings.redaction.schemas:
        names = sorted(glob.glob(str(base / user_path(pattern)), recursive=True))  # noqa: PTH207 - it takes absolute ones, too
        if not names:
            raise ConfigError(f"redaction.schemas: {shown(pattern)}: there is no such file")
        for name in names:
            if len(found) >= MAX_ENDPOINTS:
                raise ConfigError(f"redaction.schemas: more than {MAX_ENDPOINTS} files")
            try:
                one = endpoints.parse(_read(Path(name)))
            except ValueError as exc:
                raise ConfigError(f"{name}: {exc}") from None
            found.append(one)
            if one.kind == "resource" and one.hidden:
                hidden = ", ".join(map(shown, one.hidden))
                warnings.append(
                    f"{name}: {hidden}: stands in the resource's URI, which is recorded: not hidden there"
                )
    redaction = msgspec.structs.replace(settings.redaction, endpoints=tuple(found))
    return msgspec.structs.replace(settings, redaction=redaction, warnings=tuple(warnings))


def compliance(service: str | None = None) -> SinkSettings | None:
    """Return the export that the environment asks of what records, beside the sinks; None: none.

    Raises ConfigError, one line: it asks for what there is not, or of a recorder that writes through the `service` at
    this socket.
    """
    sink = compliance_sink(os.environ)
    if sink is not None and service is not None:
        msg = (
            f"{FORMAT}: events go to the service at {service}, whose trail this process does not read; "
            "unset it here, and set it where 'indelible record' runs"
        )
        raise ConfigError(msg)
    if sink is None or not isinstance(sink.own, FileSettings):
        return sink
    path = str(user_path(sink.own.path).absolute())
    known_by = sha256(f"{sink.format}\n{path}".encode()).hexdigest()[:8]
    own = msgspec.structs.replace(sink.own, path=path)
    return msgspec.structs.replace(sink, own=own, name=f"compliance-{known_by}")


def with_export(settings: Settings, sink: SinkSettings | None) -> Settings:
    """Return the settings with the file that the environment asks for among the sinks. Raises ConfigError."""
    if sink is None or not isinstance(sink.own, FileSettings):
        return settings
    try:
        sinks = _apart((*settings.audit.sinks, sink), Path(str(settings.audit.path)))
    except ConfigError as exc:
        raise ConfigError(f"{OUTPUT}: {exc}") from None
    return msgspec.structs.replace(settings, audit=msgspec.structs.replace(settings.audit, sinks=sinks))


def through(settings: Settings, socket: str | Path) -> Settings:
    """Return the settings with which events go to the service that listens at `socket`."""
    audit = msgspec.structs.replace(settings.audit, socket=str(user_path(socket).absolute()))
    return msgspec.structs.replace(settings, audit=audit)


def _read(path: Path, within_s: float | None = None) -> object:
    import yaml  # 25 ms: only when there is a file

    try:
        raw = _content(path, within_s)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read the configuration: {exc.strerror}") from exc
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is not a configuration")
    try:
        return yaml.load(raw, _loader())  # noqa: S506 - a SafeLoader that also refuses repeated keys
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{path}: {at}not valid YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ConfigError(f"{path}: not valid YAML: {reason}") from exc


def _content(path: Path, within_s: float | None) -> bytes:
    """Return what a file holds, to a byte more than a configuration has at the most. Raises OSError.

    What is no file, such as ``<(…)`` or ``/dev/stdin``, is read up to its end. When that is not there soon, it is said
    what is waited for; `within_s` is for how long. Raises ConfigError when that is over.
    """
    # O_NONBLOCK: a pipe may have no other end yet, and to open it would be to wait for that.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.set_blocking(fd, True)
        mode = os.fstat(fd).st_mode
        quiet = None if stat.S_ISREG(mode) else _Quiet(fd, path, within_s, is_pipe=stat.S_ISFIFO(mode))
        parts, left = list[bytes](), MAX_CONFIG_BYTES + 1
        while left:
            if quiet is not None:
                quiet.await_more(begun=bool(parts))
            part = os.read(fd, left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)


class _Quiet:
    """Waits for what is no file, and says so, once, when nothing comes."""

    def __init__(self, fd: int, path: Path, within_s: float | None, *, is_pipe: bool) -> None:
        self._ready = select.poll()
        self._ready.register(fd, select.POLLIN)
        self._path = path
        self._within_s = within_s
        self._is_pipe = is_pipe
        self._said = False

    def await_more(self, *, begun: bool) -> None:
        """Return when there is something to read, or its end; or soon, when reading waits for that by itself."""
        if self._ready.poll(PATIENCE_MS):
            return
        if not self._said:
            self._said = True
            what = "the end of the configuration" if begun else "a configuration"
            log.warning("%s: is no file; waiting for %s to come out of it", self._path, what)
        if self._within_s is not None:
            if not self._ready.poll(1000 * self._within_s):
                raise ConfigError(
                    f"{self._path}: is no file, and nothing came out of it for {self._within_s:g} s"
                )
        elif self._is_pipe and not begun:  # to read one that nobody has opened yet would be to find it empty
            self._ready.poll()


def _loader() -> Any:
    """Return a safe loader for which a key that stands twice is an error: YAML 1.2, section 3.2.1.3, forbids it."""
    import yaml

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as in yaml
            seen: set[object] = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, str | int) and key in seen:
                    problem = f"the key {shown(key)} stands there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                if isinstance(key, str | int):
                    seen.add(key)
            return super().construct_mapping(node, deep)

    return Strict
