"""How a recorder is opened: from settings, or from Python with what settings there are."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from indelible import configfile, loglines
from indelible.config import parse_durability
from indelible.errors import ConfigError, TrailLocked
from indelible.recorder import Recorder
from indelible.redact.patterns import custom as check_patterns
from indelible.trail.files import side_path
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.sharing.through import ServiceWriter
from indelible.values import shell_word

if TYPE_CHECKING:
    from indelible.config import OnFailure, Settings
    from indelible.events import Caller
    from indelible.sink_settings import SinkSettings


def open_recorder(
    settings: Settings,
    *,
    caller: Caller,
    on_failure: OnFailure = "allow",
    label: str | None = None,
    report: bool = True,
) -> Recorder:
    """Open the configured trail for recording.

    `on_failure` is what holds when the settings do not say. A trail that another process holds is written through it;
    with ``audit.socket``, the trail of the service behind it. With a `label`, a holder that lets nobody in is no error:
    this one records to ``audit-<label>-<pid>.jsonl`` beside the trail and says so in `notice`. What recorders lost that
    are gone is recorded, unless `report` is false. Raises ConfigError or TrailError, one line each.
    """
    chosen = settings.audit.on_failure or on_failure
    if not settings.audit.enabled:
        return Recorder(None, settings, caller, chosen)
    check_patterns(settings.redaction.patterns)  # before anything is made on disk
    export = configfile.compliance(settings.audit.socket)
    settings = _checked(settings, export)
    if _writes_to_stderr(settings, export):
        loglines.in_a_program()
    path = Path(str(settings.audit.path))
    identity = f"{caller}:{label}" if label else caller
    if settings.audit.socket is not None:
        service = ServiceWriter(Path(settings.audit.socket), settings.audit, identity)
        recorder = Recorder(service, settings, caller, chosen)
        if report:
            recorder.report_the_dead()
        return recorder
    notice = None
    try:
        writer = SharedWriter(path, settings.audit, identity)
    except TrailLocked as exc:
        if label is None:
            raise
        path = side_path(path, label)
        writer = SharedWriter(path, settings.audit, identity)
        notice = f"{exc}; this one records to {path}"
        if settings.audit.sinks:
            notice += f", which no sink gets before '{_ships(settings, path)}'"
    recorder = Recorder(writer, settings, caller, chosen)
    recorder.echo(export)
    if report:
        recorder.report_the_dead()
    recorder.notice = notice
    if label is not None:
        recorder.sweep()
    if notice is None:
        recorder.ship()
    else:
        recorder.keep_for_sinks()
    return recorder


def _ships(settings: Settings, path: Path) -> str:
    """Return the command that takes a side trail to the sinks, which the configuration has."""
    words = ["indelible", "ship", "--once", "--trail", str(path)]
    words += [] if settings.source is None else ["-c", settings.source]
    words += [] if settings.profile is None else ["--profile", settings.profile]
    return " ".join(map(shell_word, words))


def _writes_to_stderr(settings: Settings, export: SinkSettings | None) -> bool:
    """Tell whether records are written to this process's standard error, by it or by the shipper that it starts."""
    if export is not None and export.type == "stderr":
        return True
    audit = settings.audit
    return audit.socket is None and audit.ship != "off" and any(sink.type == "stderr" for sink in audit.sinks)


def _checked(settings: Settings, export: SinkSettings | None) -> Settings:
    """Return the settings with the file that the environment asks for among the sinks.

    Raises ConfigError for sinks that this process cannot ship to.
    """
    settings = configfile.with_export(settings, export)
    if (settings.audit.sinks or settings.alerts is not None) and settings.audit.socket is None:
        from indelible.shipper.companion import check

        check(settings, export)
    return settings


def open_trail(
    path: str | Path | None = None,
    *,
    socket: str | Path | None = None,
    durability: str | None = None,
    on_failure: OnFailure | None = None,
    config: str | Path | None = None,
    profile: str | None = None,
) -> Recorder:
    """Open a trail from Python; configuration and environment count as they do for the commands.

    `path`, `socket` and `durability` win over the configuration; with a `socket`, events go into the trail of the
    service that listens there (`indelible record`). Close the recorder, or use it as a context manager; at the end
    of the process an open one is closed. A trail that another process holds is written through it. Raises ConfigError,
    TrailLocked (its holder lets nobody in) or TrailError.
    """
    settings = configfile.load(
        str(config) if config is not None else None,
        profile=profile,
        trail=str(path) if path is not None else None,
    )
    if path is not None and socket is not None:
        msg = "say either a path, for a trail of your own, or the socket of a service"
        raise ConfigError(msg)
    if socket is not None:
        settings = configfile.through(settings, socket)
    if durability is not None:
        audit = msgspec.structs.replace(settings.audit, durability=parse_durability(durability))
        settings = msgspec.structs.replace(settings, audit=audit)
    if on_failure is not None:
        audit = msgspec.structs.replace(settings.audit, on_failure=on_failure)
        settings = msgspec.structs.replace(settings, audit=audit)
    recorder = open_recorder(settings, caller="library")
    atexit.register(recorder.close)
    return recorder
