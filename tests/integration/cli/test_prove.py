"""`prove`, `export` and what `verify` does with a proof, lines and a kept checkpoint: the commands as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import indelible
from indelible.trail.layout import Layout
from tests.integration.cli.conftest import COMMAND, Run
from tests.integration.cli.test_commands import one_line
from tests.trails import VKEY, Maker


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Make a trail of three files, of which three lines are not sealed."""
    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(60)
    maker.rotate(compress=True)
    maker.add_many(60).rotate()
    return maker.add_many(20).seal().add_many(3)


@pytest.fixture
def trail(maker: Maker) -> Path:
    return maker.layout.active


LINE, SEQ = 5, 126


@pytest.fixture
def line(trail: Path, tmp_path: Path) -> Path:
    """Write the sealed line with `SEQ` to a file, as somebody cuts it out of the trail."""
    path = tmp_path / "line.json"
    path.write_bytes(trail.read_bytes().splitlines(keepends=True)[LINE - 1])
    assert json.loads(path.read_bytes())["seq"] == SEQ
    return path


@pytest.fixture
def proof(run: Run, trail: Path, tmp_path: Path) -> Path:
    path = tmp_path / "event.tlog-proof"
    result = run("prove", str(SEQ), "--trail", trail, "-o", path)
    assert (result.returncode, result.stdout) == (0, b"")
    return path


def answer(result: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert result.stderr == b""
    assert result.stdout.count(b"\n") == 1
    value: dict[str, Any] = json.loads(result.stdout)
    assert value["ok"] is (result.returncode == 0)
    assert {"ok", "events", "files", "checkpoint", "findings", "not_checked"} <= set(value)
    return value


def problems(value: dict[str, Any]) -> list[str]:
    return [finding["problem"] for finding in value["findings"]]


# --- prove ----------------------------------------------------------------------------------------------


def test_by_seq_and_by_id_it_is_the_same_proof(run: Run, trail: Path, line: Path, proof: Path) -> None:
    by_seq = run("prove", str(SEQ), "--trail", trail)
    by_id = run("prove", json.loads(line.read_bytes())["event_id"], "--trail", trail)
    assert by_seq.stdout == by_id.stdout == proof.read_bytes()
    assert by_seq.stderr == by_id.stderr == b""
    assert by_seq.stdout.startswith(b"c2sp.org/tlog-proof@v1\nindex 126\n")


def test_an_id_is_found_in_a_compressed_file(run: Run, trail: Path) -> None:
    result = run("prove", "00000000-0000-4000-8000-000000000031", "--trail", trail)
    assert result.stdout.splitlines()[1] == b"index 31"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("143", "seq 143 cannot be proved: the checkpoint covers seq 0 to 142"),
        ("9" * 19, f"seq {'9' * 19} cannot be proved: the checkpoint covers seq 0 to 142"),
        ("9" * 20, f"seq {'9' * 20} cannot be proved: the checkpoint covers seq 0 to 142"),
        ("0" * 20 + "143", "seq 143 cannot be proved: the checkpoint covers seq 0 to 142"),
        ("9" * 5_000, f"seq {'9' * 1_000}"),
        ("00000000-0000-4000-8000-000000000143", "seq 143 cannot be proved"),
        ("00000000-0000-4000-8000-999999999999", "no line has event_id"),
        ("x", "the event_id 'x' stands in more than one event"),
        ("\udcff", "no line has event_id"),
    ],
)
def test_what_cannot_be_proved_is_one_line(run: Run, trail: Path, event: str, said: str) -> None:
    message = one_line(run("prove", event, "--trail", trail), 1)
    assert said.replace("the event_id", "event_id") in message
    assert len(message) < 6_000


def test_a_line_that_was_altered_is_not_proved_by_its_id(run: Run, trail: Path, line: Path) -> None:
    trail.write_bytes(trail.read_bytes().replace(b'"path":"/srv/126"', b'"path":"/srv/127"'))
    message = one_line(run("prove", json.loads(line.read_bytes())["event_id"], "--trail", trail), 1)
    assert "not the one that was sealed" in message


def test_no_link_is_followed_to_a_tile(run: Run, trail: Path, tmp_path: Path) -> None:
    tile = Layout(trail).tiles / "0" / "000.p" / "143"
    tile.rename(tmp_path / "kept")
    tile.symlink_to(tmp_path / "kept")
    message = one_line(run("prove", "7", "--trail", trail), 1)
    assert f"{tile}: tile missing; " in message
    assert "found a symbolic link, which is not followed; no proof can rest on it" in message
    verified = run("verify", "--trail", trail, "--json")
    [finding] = json.loads(verified.stdout)["findings"]
    assert (verified.returncode, verified.stderr) == (1, b"")
    assert (finding["file"], finding["found"]) == (str(tile), "a symbolic link, which is not followed")


@pytest.mark.parametrize("name", ["0/000.p/143", "checkpoint", "key.vkey"])
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_nothing_rests_on_what_was_altered(run: Run, maker: Maker, name: str, how: str) -> None:
    path = maker.layout.tiles / name if "/" in name else maker.layout.directory / name
    if how == "missing":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    message = one_line(run("prove", str(SEQ), "--trail", maker.layout.active), 1)
    assert str(path) in message or "signed root" in message


def test_usage(run: Run, trail: Path, tmp_path: Path, line: Path) -> None:
    assert "missing argument" in one_line(run("prove", "--trail", trail), 2)
    assert "seq or an event_id" in one_line(run("prove", "", "--trail", trail), 2)
    assert "--vkey" in one_line(run("prove", "1", "--trail", trail, "--vkey", "nonsense"), 2)
    assert "no trail" in one_line(run("prove", "1", "--trail", tmp_path / "x.jsonl"), 3)
    before = line.read_bytes()
    assert "nothing is overwritten" in one_line(run("prove", "1", "--trail", trail, "-o", line), 2)
    assert line.read_bytes() == before
    one_line(run("prove", "1", "--trail", trail, "-o", tmp_path / "no" / "where"), 3)
    shutil.copytree(trail.parent / "audit.jsonl.d", trail.parent / "other.jsonl.d")
    assert "which one" in one_line(run("prove", "1", "--trail", trail.parent), 2)


# --- verify --proof -------------------------------------------------------------------------------------


def test_a_proof_is_checked_with_nothing_else_at_hand(
    run: Run, trail: Path, proof: Path, line: Path, tmp_path: Path
) -> None:
    shutil.rmtree(trail.parent)
    result = run("verify", "--proof", proof, "--line", line, "--vkey", VKEY)
    assert result.returncode == 0
    text = result.stdout.decode()
    assert ": ok: index 126 in the tree of 143 events of indelible/" in text
    assert "the line is the leaf" in text
    value = answer(run("verify", "--proof", proof, "--line", line, "--vkey", VKEY, "--json"))
    assert (value["events"], value["files"], value["proof"]) == (1, 0, {"index": 126, "line": True})


def test_without_the_line_only_the_shape_is_judged(run: Run, proof: Path) -> None:
    result = run("verify", "--proof", proof, "--vkey", VKEY)
    assert result.returncode == 0
    assert b": shape only: " in result.stdout
    assert b": ok" not in result.stdout
    value = answer(run("verify", "--proof", proof, "--vkey", VKEY, "--json"))
    assert (value["events"], value["proof"]) == (0, {"index": 126, "line": None})
    assert any("--line" in text for text in value["not_checked"])


def test_the_end_of_the_line_is_said(run: Run, proof: Path, line: Path) -> None:
    bare = line.read_bytes().rstrip(b"\n")
    for data, said in (
        (bare, b"no line feed"),
        (bare + b"\r\n", b"carriage return"),
        (bare + b"\r", b"no line feed"),
    ):
        line.write_bytes(data)
        result = run("verify", "--proof", proof, "--line", line, "--vkey", VKEY)
        assert (result.returncode, said in result.stdout) == (0, True)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"x" * 3_000_000, bytes(500), b"\r\n"])
def test_another_line_is_no(run: Run, proof: Path, line: Path, data: bytes) -> None:
    line.write_bytes(data)
    value = answer(run("verify", "--proof", proof, "--line", line, "--vkey", VKEY, "--json"))
    assert (value["ok"], problems(value), value["proof"]["line"]) == (False, ["proof invalid"], False)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"hello", bytes(5_000_000), b"c2sp.org/tlog-proof@v1\nindex " + b"9" * 5_000]
)
def test_what_is_no_proof_is_no(run: Run, proof: Path, line: Path, data: bytes) -> None:
    proof.write_bytes(data)
    for extra in ((), ("--line", line)):
        value = answer(run("verify", "--proof", proof, *extra, "--vkey", VKEY, "--json"))
        assert problems(value) == ["proof invalid"]
        result = run("verify", "--proof", proof, *extra, "--vkey", VKEY)
        assert (result.returncode, b"NOT OK" in result.stdout, result.stderr) == (1, True, b"")


def test_usage_of_a_proof(run: Run, trail: Path, proof: Path, line: Path, tmp_path: Path) -> None:
    assert "needs --vkey" in one_line(run("verify", "--proof", proof), 2)
    assert "no trail" in one_line(run("verify", "--proof", proof, "--vkey", VKEY, "--trail", trail), 2)
    for name in (tmp_path / "nowhere", tmp_path):
        assert "--proof: " in one_line(run("verify", "--proof", name, "--vkey", VKEY), 2)
        assert "--line: " in one_line(run("verify", "--proof", proof, "--vkey", VKEY, "--line", name), 2)
    line.write_bytes(line.read_bytes() * 2)
    assert "more than one line" in one_line(run("verify", "--proof", proof, "--vkey", VKEY, "--line", line), 2)
    assert "not together" in one_line(run("verify", "--checkpoint", line, "--line", line), 2)


# --- verify --line --------------------------------------------------------------------------------------


def test_lines_from_elsewhere(run: Run, trail: Path, line: Path) -> None:
    assert b"line 1: yes: seq 126" in run("verify", "--line", line, "--trail", trail).stdout
    lines = trail.read_bytes().splitlines()
    line.write_bytes(lines[4] + b"\r\n\n" + lines[-1] + b"\nhello\n" + lines[5].replace(b"ada", b"eve"))
    value = answer(run("verify", "--line", line, "--trail", trail, "--json"))
    assert value["counts"] == {"yes": 1, "not covered": 1, "no": 2}
    assert [(item["line"], item["verdict"], item["seq"]) for item in value["lines"]] == [
        (1, "yes", 126),
        (3, "not covered", 145),
        (4, "no", None),
        (5, "no", 127),
    ]
    assert problems(value) == ["line not covered yet", "line not in the trail", "line not in the trail"]
    text = run("verify", "--line", line, "--trail", trail).stdout.decode()
    assert "line 5: no: seq 127" in text
    assert "NOT OK: 1 yes, 1 not covered, 2 no" in text


def test_lines_from_standard_input(trail: Path, line: Path, home: dict[str, str]) -> None:
    command = [*COMMAND, "verify", "--line", "-", "--trail", str(trail), "--vkey", VKEY]
    done = subprocess.run(
        command, input=line.read_bytes(), capture_output=True, check=False, env=home, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"key not pinned" not in done.stdout


def test_an_empty_file_is_no_yes(run: Run, trail: Path, line: Path) -> None:
    line.write_bytes(b"\n\r\n")
    assert problems(answer(run("verify", "--line", line, "--trail", trail, "--json"))) == [
        "line not in the trail"
    ]


def test_usage_of_lines(run: Run, trail: Path, tmp_path: Path) -> None:
    for name in (tmp_path / "nowhere", tmp_path):
        assert "--line: " in one_line(run("verify", "--line", name, "--trail", trail), 2)


# --- verify --checkpoint --------------------------------------------------------------------------------


def test_a_kept_checkpoint(run: Run, maker: Maker, trail: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copyfile(maker.layout.checkpoint, kept)
    maker.add_many(300).seal()
    result = run("verify", "--checkpoint", kept, "--trail", trail)
    assert result.returncode == 0
    assert b"kept checkpoint: " in result.stdout
    value = answer(run("verify", "--checkpoint", kept, "--trail", trail, "--vkey", VKEY, "--json"))
    assert (value["kept"][0]["ok"], value["kept"][0]["size"], value["events"]) == (True, 143, 446)
    kept.write_bytes(kept.read_bytes().replace(b"\n143\n", b"\n144\n"))
    value = answer(run("verify", "--checkpoint", kept, "--trail", trail, "--json"))
    assert problems(value) == ["checkpoint invalid"]


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5_000_000)])
def test_a_file_that_is_no_checkpoint_is_no(run: Run, trail: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "kept").write_bytes(data)
    value = answer(run("verify", "--checkpoint", tmp_path / "kept", "--trail", trail, "--json"))
    assert problems(value) == ["checkpoint invalid"]


def test_a_checkpoint_that_cannot_be_read(run: Run, trail: Path, tmp_path: Path) -> None:
    for name in (tmp_path / "nowhere", tmp_path):
        assert "--checkpoint: " in one_line(run("verify", "--checkpoint", name, "--trail", trail), 2)


# --- export ---------------------------------------------------------------------------------------------


def test_an_export(run: Run, maker: Maker, trail: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = run("export", "--tiles", log, "--trail", trail)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"143 events of indelible/" in result.stdout
    assert "not empty" in one_line(run("export", "--tiles", log, "--trail", trail), 2)
    maker.delete_file(maker.layout.segments / "00000000000000000061.jsonl")
    result = run("export", "--tiles", tmp_path / "log2", "--trail", trail)
    assert result.returncode == 1
    assert b"seq 61 to 121 cannot be exported" in result.stderr
    value = json.loads(run("export", "--tiles", tmp_path / "log3", "--trail", trail, "--json").stdout)
    assert value["left_out"] == [{"first": 61, "last": 121, "why": "no file has them: deleted, or lost"}]


def test_usage_of_an_export(run: Run, trail: Path, tmp_path: Path) -> None:
    assert "--tiles" in one_line(run("export", "--trail", trail), 2)
    assert "no trail" in one_line(
        run("export", "--tiles", tmp_path / "log", "--trail", tmp_path / "x.jsonl"), 3
    )
    assert not (tmp_path / "log").exists()


def stopped_within(log: Path, trail: Path, home: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start an export, and return it stopped with its first entry bundle written and its checkpoint not."""
    for _ in range(50):
        process = subprocess.Popen([*COMMAND, "export", "--tiles", str(log), "--trail", str(trail)], env=home)
        deadline = time.monotonic() + 60
        while process.poll() is None and not (log / "tile" / "entries" / "000").exists():
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if not (log / "checkpoint").exists():
                return process
            process.send_signal(signal.SIGCONT)
        process.wait(60)
        shutil.rmtree(log)
    pytest.fail("no export could be caught before its end")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_is_cut_off_is_never_taken_for_a_whole_one(
    run: Run, tmp_path: Path, home: dict[str, str], ending: signal.Signals
) -> None:
    trail, log = tmp_path / "audit.jsonl", tmp_path / "log"
    Maker(trail).add_many(20_000).seal()
    process = stopped_within(log, trail, home)
    process.send_signal(ending)
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) != 0
    assert not (log / "checkpoint").exists()
    assert log.exists() is (ending != signal.SIGINT)
    if log.exists():
        assert "cut off" in one_line(run("export", "--tiles", log, "--trail", trail), 2)


def test_beside_a_writer_at_work(run: Run, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    with indelible.open_trail(trail) as recorder:
        with recorder.operation("tools/call", "count"):
            pass
        deadline = time.monotonic() + 60
        while run("prove", "0", "--trail", trail).returncode != 0:
            assert time.monotonic() < deadline, "a writer seals by itself"
        assert run("export", "--tiles", tmp_path / "log", "--trail", trail).returncode == 0
