"""A configuration is what it was or what was meant, whatever fails or dies, and uninstall gives the bytes back."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indelible.clients import change, ledger
from indelible.clients.change import Plan
from indelible.clients.places import CLIENTS
from indelible.clients.servers import Server
from indelible.errors import ClientConfigError, ConfigError
from indelible.trail import durable
from tests.unit.trail.faults import Crash, Disk, Mode, faulty

CURSOR = CLIENTS["cursor"]
BEFORE = (
    b"\xef\xbb\xbf{\r\n  // mine\r\n"
    b'  "mcpServers": {"a": {"command": "x", "args": ["y",],}, "b": {"command": "z"}}\r\n}\r\n'
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "client" / "mcp.json"
    path.parent.mkdir()
    path.write_bytes(BEFORE)
    return path


def words(server: Server) -> list[str]:
    return ["/bin/indelible", "wrap", "--name", server.name, "--"]


def to_install(path: Path, *only: str) -> Plan:
    return change.plan_install(path, CURSOR.keys, words, frozenset(only))


def to_uninstall(path: Path, *only: str, everything: bool = False) -> Plan:
    return change.plan_uninstall(path, CURSOR, CURSOR.keys, frozenset(only), everything=everything)


def install(path: Path, *only: str) -> Path | None:
    return change.install(CURSOR, to_install(path, *only), lambda: to_install(path, *only))


def uninstall(path: Path, *only: str, everything: bool = False) -> tuple[Path, ...]:
    def plan() -> Plan:
        return to_uninstall(path, *only, everything=everything)

    return change.uninstall(plan(), plan)


def beside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if entry.name != path.name)


def known(tmp_path: Path) -> list[str]:
    directory = tmp_path / "state" / "indelible" / "installed"
    return [entry.name for entry in directory.iterdir() if entry.name != "lock"] if directory.exists() else []


@pytest.fixture
def after(file: Path) -> bytes:
    return to_install(file).result


# --- what is done ---------------------------------------------------------------------------------------------------


def test_the_backup_holds_what_was_there_and_goes_with_the_change(
    file: Path, tmp_path: Path, after: bytes
) -> None:
    backup = install(file)
    assert backup is not None
    assert (file.read_bytes(), backup.read_bytes()) == (after, BEFORE)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert uninstall(file) == ()
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (BEFORE, [], [])


def test_an_edited_file_keeps_its_edits_and_its_backup(file: Path, tmp_path: Path) -> None:
    backup = install(file)
    file.write_bytes(file.read_bytes().replace(b"// mine", b"// yours"))
    assert uninstall(file) == (backup,)
    assert file.read_bytes() == BEFORE.replace(b"// mine", b"// yours")
    assert known(tmp_path) == []


def test_several_installs_are_taken_back_together(file: Path, tmp_path: Path) -> None:
    assert install(file, "b")
    assert install(file)
    assert install(file) is None
    assert len(beside(file)) == 2
    assert uninstall(file) == ()
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (BEFORE, [], [])


def test_one_server_is_taken_back_by_itself(file: Path, tmp_path: Path) -> None:
    install(file)
    uninstall(file, "a")
    assert b'"a": {"command": "x", "args": ["y",],}' in file.read_bytes()
    assert b'"b": {"command": "/bin/indelible"' in file.read_bytes()
    uninstall(file)
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (BEFORE, [], [])


def test_what_others_wrapped_stays_unless_asked_for(file: Path) -> None:
    by_hand = b'{"mcpServers": {"a": {"command": "indelible", "args": ["wrap", "--", "x", "y"]}}}'
    file.write_bytes(by_hand)
    uninstall(file)
    assert file.read_bytes() == by_hand
    uninstall(file, everything=True)
    assert file.read_bytes() == b'{"mcpServers": {"a": {"command": "x", "args": ["y"]}}}'


def test_a_name_that_no_server_has_is_a_mistake(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no server 'c'; there: a, b$"):
        to_install(file, "c")


# --- the file stays the file ----------------------------------------------------------------------------------------


def test_a_link_stays_a_link_and_the_mode_what_it_was(file: Path) -> None:
    file.chmod(0o664)
    link = file.parent / "link.json"
    link.symlink_to("mcp.json")
    backup = install(link)
    assert backup is not None
    assert link.readlink() == Path("mcp.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o664
    assert backup.parent == file.parent
    uninstall(file)  # by whatever name
    assert file.read_bytes() == BEFORE
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


def test_a_backup_may_be_read_by_nobody_who_may_not_read_the_file(file: Path) -> None:
    file.chmod(0o400)
    backup = install(file)
    assert backup is not None
    assert stat.S_IMODE(backup.stat().st_mode) == 0o400


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user: needs root")
def test_the_owner_and_attributes_stay(file: Path) -> None:
    os.chown(file, 12345, 23456)
    os.setxattr(file, "user.note", b"kept")
    install(file)
    about = file.stat()
    assert (about.st_uid, about.st_gid, os.getxattr(file, "user.note")) == (12345, 23456, b"kept")


def test_a_file_with_two_names_is_refused(file: Path, tmp_path: Path) -> None:
    (file.parent / "second").hardlink_to(file)
    with pytest.raises(ClientConfigError, match=r"has 2 names"):
        install(file)
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (BEFORE, ["second"], [])


def test_what_is_no_file_is_refused(file: Path) -> None:
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match=r"is not a file$"):
        to_install(file)
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(ConfigError, match=r"is not a file$"):
        to_install(file)


def test_utf_16_is_named(file: Path) -> None:
    file.write_bytes(BEFORE[3:].decode().encode("utf-16"))
    with pytest.raises(ConfigError, match=r"is UTF-16; save it as UTF-8$"):
        to_install(file)


# --- somebody else writes it ----------------------------------------------------------------------------------------


def written_meanwhile(monkeypatch: pytest.MonkeyPatch, write: Callable[[int], object]) -> list[int]:
    """Let somebody write the file each time when all but the rename is done."""
    real, times = durable.rewrite_file, list[int]()

    def rewrite(path: Path, data: bytes, like: Any, confirm: Callable[[], None]) -> None:
        def look() -> None:
            write(len(times))
            times.append(1)
            confirm()

        real(path, data, like, look)

    monkeypatch.setattr(durable, "rewrite_file", rewrite)
    return times


def test_what_is_written_meanwhile_is_kept(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = BEFORE.replace(b"mine", b"theirs")
    times = written_meanwhile(monkeypatch, lambda count: file.write_bytes(theirs) if not count else None)
    backup = install(file)
    assert backup is not None
    assert (len(times), backup.read_bytes()) == (2, theirs)
    assert uninstall(file) == ()
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (theirs, [], [])


def test_who_writes_all_the_time_is_named_and_not_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = written_meanwhile(monkeypatch, lambda count: file.write_bytes(BEFORE + b" " * (count + 1)))
    with pytest.raises(ClientConfigError, match=r"somebody else changed it meanwhile; close what writes it"):
        install(file)
    assert len(times) == change.ATTEMPTS
    assert (file.read_bytes(), beside(file), known(tmp_path)) == (BEFORE + b"   ", [], [])


def test_what_was_not_agreed_to_is_not_done(file: Path) -> None:
    plan = to_install(file)
    theirs = BEFORE.replace(b'"z"', b'"another"')
    file.write_bytes(theirs)
    with pytest.raises(ClientConfigError, match="meanwhile"):
        change.install(CURSOR, plan, lambda: to_install(file))
    assert file.read_bytes() == theirs


def test_a_file_that_is_deleted_meanwhile_is_not_made_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_meanwhile(monkeypatch, lambda _: file.unlink())
    with pytest.raises(FileNotFoundError):
        install(file)
    assert beside(file) == []


# --- the disk fails, or the machine dies, at each step ----------------------------------------------------------------

MODES: list[Mode] = ["crash", "crash-after", "error", "error-after", "no-space"]


def steps(work: Callable[[], object]) -> int:
    with faulty(Disk("count")) as disk:
        work()
    return len(disk.calls)


def spoil(mode: Mode, at: int, work: Callable[[], object]) -> None:
    with faulty(Disk(mode, at)):
        try:
            work()
        except (Crash, OSError, ClientConfigError):
            pass


@pytest.mark.parametrize("mode", MODES)
def test_an_install_that_dies_anywhere_leaves_the_old_or_the_new(
    mode: Mode, file: Path, tmp_path: Path, after: bytes
) -> None:
    count = steps(lambda: install(file))
    uninstall(file)
    assert count > 10
    for at in range(count):
        spoil(mode, at, lambda: install(file))
        assert file.read_bytes() in (BEFORE, after), at
        if mode in ("error", "error-after") and file.read_bytes() == BEFORE:
            assert (at, beside(file), known(tmp_path)) == (at, [], [])
        if at % 2:  # the next one may be the same again, or its opposite
            install(file)
            assert file.read_bytes() == after
        uninstall(file)
        assert (at, file.read_bytes(), beside(file), known(tmp_path)) == (at, BEFORE, [], [])


@pytest.mark.parametrize("mode", MODES)
def test_an_uninstall_that_dies_anywhere_leaves_the_old_or_the_new(
    mode: Mode, file: Path, tmp_path: Path, after: bytes
) -> None:
    install(file)
    count = steps(lambda: uninstall(file))
    assert count > 5
    for at in range(count):
        install(file)
        spoil(mode, at, lambda: uninstall(file))
        assert file.read_bytes() in (BEFORE, after), at
        uninstall(file)
        assert (at, file.read_bytes(), beside(file), known(tmp_path)) == (at, BEFORE, [], [])


# --- the ledger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"client":"x","file":1}', b"\xff"])
def test_a_ledger_that_is_none_is_named(file: Path, content: bytes) -> None:
    install(file)
    ledger._path(file).write_bytes(content)
    with pytest.raises(ClientConfigError, match=r"is not what install wrote"):
        to_uninstall(file)


def test_a_ledger_of_a_newer_version_is_named(file: Path) -> None:
    install(file)
    path = ledger._path(file)
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(ClientConfigError, match=r"is of a newer Indelible"):
        to_uninstall(file)


def test_a_ledger_can_have_nobody_elses_file_deleted(file: Path, tmp_path: Path) -> None:
    """A backup goes when it is what the ledger says, and nothing else does."""
    backup = install(file)
    assert backup is not None
    backup.write_bytes(b"mine now")
    assert uninstall(file) == (backup,)
    assert backup.read_bytes() == b"mine now"
