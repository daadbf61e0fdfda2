"""Checkpoints handed out beside a writer: anchors that are well, dead, slow, or away for a while."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.anchor_settings import parse_anchors
from indelible.config import AuditSettings
from indelible.errors import ConfigError
from indelible.events import encode_body
from indelible.query.state import trail_state
from indelible.trail.anchors import handout
from indelible.trail.anchors.state import read_state
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import parse, parse_vkey, split_note
from indelible.trail.proofs.cosignature import cosignatures
from indelible.trail.proofs.keptfiles import notes_in
from indelible.trail.sharing.shared import SharedWriter
from indelible.trail.start.opening import open_writer
from indelible.trail.writer import Writer
from indelible.witness.server import Witness, WitnessServer
from indelible.witness.state import StateDirectory
from tests.copying import copy_trail
from tests.witnesses import COSIGNER

pytestmark = pytest.mark.slow

WAIT_S = 60.0
EVENT = indelible.Event(
    event_type="mcp_operation", timestamp=indelible.events.now(), event_id=indelible.events.new_id()
)


def audit(*anchors: dict[str, Any]) -> AuditSettings:
    return AuditSettings(anchors=parse_anchors([{"every": 0, **anchor} for anchor in anchors]))


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


at_end = contextlib.ExitStack()
"""What a test leaves open when it fails: the next one must not find its threads."""


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    at_end.close()


def opened(path: Path, settings: AuditSettings) -> Writer:
    writer = open_writer(path, settings, "test").writer
    at_end.callback(writer.close)
    return writer


def hands_nothing_out(writer: Writer) -> bool:
    """Tell whether its threads have ended: `close` does not wait for an anchor that fails."""
    return not any(follower._thread.is_alive() for follower in writer._handout._followers)


def last_of(kept: Path) -> bytes | None:
    """Return the newest checkpoint that was handed to a file; None before there is a whole one in it."""
    notes = notes_in(kept.read_bytes()).notes if kept.exists() else []
    return notes[-1] if notes else None


def append(writer: Writer, count: int = 1) -> None:
    for _ in range(count):
        writer.append(encode_body(EVENT))


def size_of(note: bytes) -> int:
    return parse(split_note(note)[0]).size


def published(path: Path) -> bytes:
    return Layout(path).checkpoint.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t" / "audit.jsonl"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_each_checkpoint_is_handed_out_and_the_last_at_the_end(path: Path, kept: Path) -> None:
    writer = opened(path, audit({"type": "file", "path": str(kept)}))
    for _ in range(3):
        append(writer)
        writer.seal()
        wait_for(lambda: last_of(kept) == published(path))
    writer.close()
    notes = notes_in(kept.read_bytes()).notes
    assert notes[-1] == published(path)
    sizes = [size_of(note) for note in notes]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 4
    state = read_state(Layout(path).anchors / "kept.json")
    assert state is not None
    assert (state.size, state.failures, state.error) == (sizes[-1], 0, None)


def test_what_an_anchor_has_is_not_handed_out_again(path: Path, kept: Path) -> None:
    settings = audit({"type": "file", "path": str(kept)})
    opened(path, settings).close()
    kept.unlink()
    writer = opened(path, settings)
    writer.close()
    sizes = [size_of(note) for note in notes_in(kept.read_bytes()).notes]
    assert sizes[0] > 3, "the checkpoint of the first run is known to be there"


def test_newest_only_and_not_sooner_than_asked(path: Path, kept: Path) -> None:
    writer = opened(path, audit({"type": "file", "path": str(kept), "every": "1h"}))
    writer.seal()
    wait_for(kept.exists)
    for _ in range(5):
        append(writer)
        writer.seal()
    writer.close()
    assert len(notes_in(kept.read_bytes()).notes) == 2, "the first, and the last at the end"


def test_an_anchor_that_was_away_gets_the_newest_when_it_is_back(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handout, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(handout, "MAX_RETRY_S", 0.1)
    mount = tmp_path / "mnt"
    writer = opened(path, audit({"type": "file", "path": str(mount / "kept")}))
    state_file = Layout(path).anchors / "kept.json"
    wait_for(lambda: (read_state(state_file) or 0) and json.loads(state_file.read_bytes())["failures"] >= 3)
    append(writer, 5)
    writer.seal()
    [said] = trail_state(path)["anchors"]
    assert "not mounted" in said["error"]
    assert (said["size"], said["behind"]) == (0, size_of(published(path)))
    mount.mkdir()
    wait_for((mount / "kept").exists)
    wait_for(lambda: trail_state(path)["anchors"][0]["failures"] == 0)
    writer.close()
    assert trail_state(path)["anchors"][0]["behind"] == 0
    assert notes_in((mount / "kept").read_bytes()).notes[-1] == published(path)
    texts = [record.getMessage() for record in caplog.records if record.name == "indelible"]
    assert len([text for text in texts if "not mounted" in text]) == 1, "said once, and not at each attempt"


def test_pauses_grow_and_are_spread(path: Path, tmp_path: Path) -> None:
    writer = opened(path, audit({"type": "file", "path": str(tmp_path / "mnt" / "kept")}))
    [follower] = writer._handout._followers
    wait_for(lambda: follower._state.state.failures)
    writer.close()
    pauses = []
    for _ in range(12):
        follower._failed(OSError(5, "Input/output error"))
        pauses.append(follower._due - time.monotonic())
    assert pauses[0] <= 2.0
    assert max(pauses) <= handout.MAX_RETRY_S
    assert pauses[-1] >= handout.MAX_RETRY_S / 2 - 1
    assert len({round(pause / handout.MAX_RETRY_S, 6) for pause in pauses[-3:]}) > 1


@pytest.fixture
def silent() -> Iterator[str]:
    """Return the address of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_silent_anchor_holds_neither_appends_nor_checkpoints_nor_the_end(
    path: Path, kept: Path, silent: str
) -> None:
    settings = audit(
        {"type": "http", "url": f"http://{silent}", "vkey": COSIGNER.key.vkey(), "timeout": "120s"},
        {"type": "file", "path": str(kept)},
    )
    writer = opened(path, settings)
    append(writer, 10_000)  # more than may wait for a checkpoint
    writer.seal()
    wait_for(lambda: last_of(kept) == published(path))
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 60, "not the anchor's 120 s"
    assert notes_in(kept.read_bytes()).notes[-1] == published(path)


def test_who_comes_while_the_last_checkpoint_is_handed_out_waits_for_the_trail(
    path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_words = Writer.last_words

    def slow(writer: Writer) -> None:
        time.sleep(0.5)  # the disk takes its time
        last_words(writer)

    monkeypatch.setattr(Writer, "last_words", slow)
    anchor = {"type": "http", "url": f"http://{silent}", "vkey": COSIGNER.key.vkey(), "timeout": "120s"}
    first = SharedWriter(path, audit(anchor), "first")
    closing = threading.Thread(target=first.close)
    closing.start()
    wait_for(lambda: not Layout(path).socket.exists())
    SharedWriter(path, AuditSettings(), "second").close()
    closing.join(WAIT_S)


def test_an_anchor_that_fails_is_not_waited_for_at_the_end(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handout, "CLOSE_S", 3600.0)
    writer = opened(path, audit({"type": "file", "path": str(tmp_path / "mnt" / "kept")}))
    [follower] = writer._handout._followers
    wait_for(lambda: follower._state.state.failures)
    writer.close()


def test_a_wrong_key_of_a_witness_is_said_before_anything_is_made(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.anchors: w: vkey"):
        opened(path, audit({"type": "http", "url": "http://127.0.0.1:1", "vkey": "nonsense", "name": "w"}))
    assert not path.parent.exists()


def test_a_damaged_state_is_begun_anew(path: Path, kept: Path) -> None:
    settings = audit({"type": "file", "path": str(kept)})
    opened(path, settings).close()
    for content in (b"", b"{}", b"\xff", b'{"name":"kept","type":"file","to":"x","origin":"y","size":-1}'):
        (Layout(path).anchors / "kept.json").write_bytes(content)
        opened(path, settings).close()
        assert size_of(notes_in(kept.read_bytes()).notes[-1]) == size_of(published(path))


def test_states_of_anchors_that_are_gone_are_removed(path: Path, kept: Path) -> None:
    opened(path, audit({"type": "file", "path": str(kept), "name": "old"})).close()
    opened(path, audit({"type": "file", "path": str(kept), "name": "new"})).close()
    assert [anchor["name"] for anchor in trail_state(path)["anchors"]] == ["new"]


# --- a witness ------------------------------------------------------------------------------------------


class Serving:
    """Our witness in this process, on a port that it keeps."""

    def __init__(self, folder: Path, vkey: str, port: int = 0) -> None:
        key = parse_vkey(vkey)
        self._state = StateDirectory(folder, COSIGNER.key)
        self._server = WitnessServer(("127.0.0.1", port), Witness({key.name: [key]}, COSIGNER, self._state))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        at_end.callback(self.end)

    def end(self) -> None:
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._state.close()


def test_a_witness_across_restarts_of_both(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(handout, "MAX_RETRY_S", 0.1)
    opened(path, AuditSettings()).close()
    vkey = Layout(path).vkey.read_text()
    witness = Serving(tmp_path / "state", vkey)
    anchor = {
        "type": "http",
        "url": f"http://127.0.0.1:{witness.port}",
        "vkey": COSIGNER.key.vkey(),
        "name": "w",
    }
    witnessed = Layout(path).witnessed / "w"

    def cosigned() -> bool:
        return witnessed.exists() and witnessed.read_bytes().startswith(published(path))

    for round_ in range(2):
        writer = opened(path, audit(anchor))
        append(writer, 300)
        writer.seal()
        wait_for(cosigned)
        witness.end()
        append(writer, 300)
        writer.seal()
        wait_for(lambda: trail_state(path)["anchors"][0]["failures"])
        witness = Serving(tmp_path / "state", vkey, witness.port)
        wait_for(cosigned)
        writer.close()
        wait_for(cosigned)
        if not round_:
            (Layout(path).anchors / "w.json").unlink()  # the witness knows its size
    witness.end()
    assert list(cosignatures(witnessed.read_bytes(), [COSIGNER.key])) == [COSIGNER.key]


def test_a_trail_that_was_forked_is_refused_and_said(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put back from a copy, and another history after it: the witness keeps what it had."""
    import shutil

    caplog.set_level(logging.ERROR, "indelible")
    monkeypatch.setattr(handout, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(handout, "MAX_RETRY_S", 0.1)
    opened(path, AuditSettings()).close()
    witness = Serving(tmp_path / "state", Layout(path).vkey.read_text())
    anchor = {
        "type": "http",
        "url": f"http://127.0.0.1:{witness.port}",
        "vkey": COSIGNER.key.vkey(),
        "name": "w",
    }
    copy_trail(path.parent, tmp_path / "copy")
    writer = opened(path, audit(anchor))
    append(writer, 300)
    writer.close()
    had = (Layout(path).witnessed / "w").read_bytes()
    for count, why in ((1, "rolled back"), (500, "forked or rolled back")):
        wait_for(lambda writer=writer: hands_nothing_out(writer))  # type: ignore[misc]
        shutil.rmtree(path.parent)
        copy_trail(tmp_path / "copy", path.parent)
        writer = opened(path, audit(anchor))
        append(writer, count)
        writer.seal()
        wait_for(lambda why=why: why in (trail_state(path)["anchors"][0]["error"] or ""))  # type: ignore[misc]
        assert trail_state(path)["anchors"][0]["behind"]
        writer.close()
    witness.end()
    assert any("rolled back" in record.getMessage() for record in caplog.records)
    assert size_of(had) > 300


# --- a fork of the process ------------------------------------------------------------------------------


def test_a_forked_child_hands_nothing_out(path: Path, kept: Path) -> None:
    writer = opened(path, audit({"type": "file", "path": str(kept)}))
    append(writer)
    pid = os.fork()
    if pid == 0:  # the child must neither hang nor write
        signal.alarm(20)
        writer.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    append(writer)
    writer.close()
    assert notes_in(kept.read_bytes()).notes[-1] == published(path)
    assert sys.exc_info() == (None, None, None)
