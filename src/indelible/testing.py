"""For the tests of your own server: a real trail in a temporary directory, and what it recorded.

Nothing here is faked: what a test sees went through redaction, onto the disk and under a signed checkpoint.

    with indelible.testing.recorded() as audit:
        my_server(audit.recorder).call("send_mail", {"to": "a@b.c"})
        [event] = audit.events()
    assert event["request"]["args"] == {"to": "[EMAIL]"}
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

from indelible.formats.checks import check_format
from indelible.opening import open_recorder
from indelible.recorder import Recorder
from indelible.sinks.checks import Destination, check_sink
from indelible.sinks.memory import MemorySink

if TYPE_CHECKING:
    from indelible.query.library import Filters
    from indelible.trail.findings import VerifyResult

__all__ = [
    "SHOWN_FINDINGS",
    "Destination",
    "MemorySink",
    "Recorded",
    "assert_verifies",
    "check_format",
    "check_sink",
    "recorded",
]

SHOWN_FINDINGS: Final = 5
"""So many findings stand in the message of a failed assertion."""


class Recorded:
    """A trail that a test records to. `recorder` is what `indelible.open_trail` returns elsewhere."""

    def __init__(self, recorder: Recorder, path: Path) -> None:
        self.recorder = recorder
        self.path = path
        """The trail's active file."""

    def events(self, **filters: Unpack[Filters]) -> list[dict[str, Any]]:
        """Return what has been recorded so far, oldest first; without a filter every call, as `indelible.search`."""
        from indelible.query.library import search

        return list(search(self.path, **filters))

    def assert_verifies(self) -> VerifyResult:
        """Close the trail, so that all of it is sealed, and check it. Raises AssertionError with what is wrong."""
        self.recorder.close()
        return assert_verifies(self.path, sealed=True)


@contextlib.contextmanager
def recorded(config: Mapping[str, Any] | None = None) -> Iterator[Recorded]:
    """Open a trail in a temporary directory, for one test.

    `config` is a configuration as the file has it, such as ``{"redaction": {"keys": ["iban"]}}``; neither a file, nor
    the environment, nor the user's own trail is looked at. What cannot be recorded raises (``on_failure: deny``,
    unless the configuration says otherwise). A block that ends well ends with `Recorded.assert_verifies`; the
    directory is gone afterwards. Raises ConfigError.
    """
    with tempfile.TemporaryDirectory(prefix="indelible-") as folder:
        path = Path(folder) / "audit.jsonl"
        recorder = open_recorder(_settings(config or {}, path), caller="library", on_failure="deny")
        audit = Recorded(recorder, path)
        try:
            yield audit
            audit.assert_verifies()
        finally:
            recorder.close()


def _settings(config: Mapping[str, Any], path: Path) -> Any:
    """Return the settings of a configuration, with the trail at `path`, written before `record` returns."""
    import msgspec

    from indelible.config import parse

    settings = parse(dict(config), where="recorded(config)", env={}, profile=None)
    durability = "disk" if settings.audit.durability == "disk" else "process"
    audit = msgspec.structs.replace(settings.audit, path=str(path), durability=durability, enabled=True)
    return msgspec.structs.replace(settings, audit=audit)


def assert_verifies(path: str | Path, vkey: str | None = None, *, sealed: bool = False) -> VerifyResult:
    """Check a trail as `indelible.verify` does, and return the result.

    Raises AssertionError with the findings when there are any; with `sealed` also when events lie after the last
    checkpoint, as is right while a trail is written, but not of one that was closed. Raises TrailError when there is
    no trail to check.
    """
    from indelible.trail.checking.check import verify_trail

    result = verify_trail(path, vkey)
    if not result.ok:
        shown = [f"  {finding}" for finding in result.findings[:SHOWN_FINDINGS]]
        count = len(result.findings) + result.omitted
        said = f"{path}: the trail does not verify, {count} finding{'s' * (count != 1)}:"
        raise AssertionError("\n".join([said, *shown]))
    if sealed and result.unsealed:
        raise AssertionError(f"{path}: {result.unsealed} events are under no checkpoint")
    return result
