"""Other people's witnesses and logs: ours hands its checkpoints to theirs, theirs asks ours."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.anchor_settings import parse_anchors
from indelible.config import AuditSettings
from indelible.query.state import trail_state
from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer, open_note, parse
from indelible.trail.proofs.cosignature import cosignatures, parse_witness_vkey
from indelible.trail.start.opening import open_writer
from tests.witnesses import witness

Judge = Callable[[str], str]
WAIT_S = 60.0


@pytest.fixture
def theirs(judge: Judge, tmp_path: Path) -> Iterator[Callable[[Path], dict[str, str]]]:
    """Return a function that starts the judge's witness for a log's vkey and says where it is."""
    started: list[subprocess.Popen[bytes]] = []

    def start(vkey: Path) -> dict[str, str]:
        process = subprocess.Popen(
            [judge("witnessd"), str(vkey), "witness.example/theirs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        about: dict[str, str] = json.loads(process.stdout.readline())
        return about

    yield start
    for process in started:
        process.communicate(timeout=WAIT_S)


def test_their_witness_cosigns_a_trail_as_it_grows(
    theirs: Callable[[Path], dict[str, str]], tmp_path: Path
) -> None:
    """Sizes around those of tiles, a state that was lost, and then a fork, which it refuses."""
    path = tmp_path / "audit.jsonl"
    open_writer(path, AuditSettings(), "test").writer.close()
    about = theirs(Layout(path).vkey)
    anchor = {"type": "http", "url": about["url"], "vkey": about["vkey"], "name": "theirs", "every": 0}
    audit = AuditSettings(anchors=parse_anchors([anchor]))
    key = parse_witness_vkey(about["vkey"])
    verifier = None
    for count in (1, 200, 300, 5_000):
        writer = open_writer(path, audit, "test").writer
        verifier = writer._sealer._keyring.signer.verifier
        for _ in range(count):
            writer.append(b'{"event_type":"mcp_operation"}')
        writer.close()
        note = Layout(path).checkpoint.read_bytes()
        cosigned = (Layout(path).witnessed / "theirs").read_bytes()
        assert cosigned.startswith(note)
        [time_] = cosignatures(cosigned, [key]).values()
        assert abs(time_ - time.time()) < 3600
        if count == 200:
            (Layout(path).anchors / "theirs.json").unlink()
    assert verifier is not None
    assert parse(open_note((Layout(path).witnessed / "theirs").read_bytes(), [verifier])).size > 5_500
    [state] = trail_state(path)["anchors"]
    assert (state["behind"], state["failures"]) == (0, 0)


def test_tesseras_log_is_cosigned_by_our_witness(judge: Judge, tmp_path: Path) -> None:
    """Tessera publishes a checkpoint only when it is satisfied with the cosignature: five runs, growing proofs."""
    secret = bytes(range(32))
    signer = Signer("log.example/tessera", Ed25519PrivateKey.from_private_bytes(secret))
    vkey = signer.verifier.vkey()
    encoded = base64.b64encode(b"\x01" + secret).decode()
    key = tmp_path / "log.key"
    key.write_text(f"PRIVATE+KEY+{signer.verifier.name}+{signer.verifier.key_id.hex()}+{encoded}")
    log = tmp_path / "log"
    note = b""
    with witness(tmp_path, [vkey]) as ours:
        policy = tmp_path / "policy"
        policy.write_text(f"witness ours {ours.key.vkey()} {ours.url}\nquorum ours\n")
        for run, count in enumerate((1, 2, 253, 1, 300)):
            entries = tmp_path / f"entries{run}"
            entries.mkdir()
            for number in range(count):
                (entries / str(number)).write_text(f"entry {run} {number}")
            command = [
                judge("posix-oneshot"),
                "--storage_dir",
                log,
                "--entries",
                f"{entries}/*",
                "--private_key",
                key,
            ]
            command += ["--witness_policy_file", policy, "--logtostderr"]
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, check=False, timeout=WAIT_S
            )
            assert done.returncode == 0, done.stderr
            note = (log / "checkpoint").read_bytes()
            assert list(cosignatures(note, [ours.key])) == [ours.key]
    assert parse(open_note(note, [signer.verifier])).size == 557
    said = (tmp_path / "witness.log").read_text()
    assert "cosigned 557 events" in said
