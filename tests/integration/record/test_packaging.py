"""What is in packaging/, handed to systemd's own tools, and held against what the service really does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from indelible.config import RECORD_KEYS, parse
from tests.integration.record.serving import LIMIT_S, ROOT, Raw, Service, event

PACKAGING = ROOT / "packaging"
UNITS = PACKAGING / "systemd"
MOST_EXPOSED = 1.5
"""Of 10: systemd calls what is below 2 safe."""


def judged(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(place: Path) -> Path:
    """Copy the units to where their programs are."""
    place.mkdir()
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]:
        text = unit.read_text().replace("/usr/bin/indelible", str(Path(sys.executable).with_name("indelible")))
        (place / unit.name).write_text(text)
    return place


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = installed(tmp_path / "units")
    for name in ("indelible-record.service", "indelible-record.socket"):
        assert judged("systemd-analyze", "verify", "--man=no", units / name) == ""


def test_the_service_is_hardened(tmp_path: Path) -> None:
    units = installed(tmp_path / "units")
    threshold = f"--threshold={MOST_EXPOSED * 10:.0f}"
    said = judged("systemd-analyze", "security", "--offline=yes", threshold, units / "indelible-record.service")
    exposure = re.search(r"Overall exposure level .*: ([0-9.]+) ", said)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSED


def test_users_and_directories(tmp_path: Path) -> None:
    command = ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(UNITS / "indelible.sysusers.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert "group 'indelible-clients'" in done.stderr
    assert "user 'indelible'" in done.stderr
    (tmp_path / "etc").mkdir(exist_ok=True)
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\nindelible:x:64001:64001::/:/bin/false\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\nindelible:x:64001:\n")
    judged("systemd-tmpfiles", "--create", f"--root={tmp_path}", UNITS / "indelible.tmpfiles.conf")
    trail = tmp_path / "var" / "lib" / "indelible"
    assert trail.stat().st_mode & 0o777 == 0o700


def test_the_configuration_is_one() -> None:
    data = yaml.safe_load((PACKAGING / "indelible.yaml").read_text())
    settings = parse(data, where="indelible.yaml", env={})
    assert settings.audit.path == "/var/lib/indelible/audit.jsonl"
    assert set(data["record"]) <= set(RECORD_KEYS)


def test_the_units_agree_with_each_other() -> None:
    service, sock = ((UNITS / f"indelible-record.{kind}").read_text() for kind in ("service", "socket"))
    assert "Type=notify" in service
    assert re.search(r"^WatchdogSec=\d+s$", service, re.MULTILINE)
    user = re.search(r"^User=(.+)$", service, re.MULTILINE)
    group = re.search(r"^SocketGroup=(.+)$", sock, re.MULTILINE)
    assert user is not None
    assert group is not None
    users = (UNITS / "indelible.sysusers.conf").read_text()
    assert re.search(rf"^u {user[1]} ", users, re.MULTILINE)
    assert re.search(rf"^g {group[1]} ", users, re.MULTILINE)
    listed = (PACKAGING / "README.md").read_text()
    assert all(path.name in listed for path in [*UNITS.iterdir(), PACKAGING / "indelible.yaml"])


def allowed() -> set[str]:
    """Return the system calls that the unit's filter lets through, as systemd itself expands its sets."""
    text = (UNITS / "indelible-record.service").read_text()
    result: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.+)$", text, re.MULTILINE):
        names = expanded(line.lstrip("~").split())
        result = result - names if line.startswith("~") else result | names
    return result


def expanded(words: list[str]) -> set[str]:
    found: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        lines = judged("systemd-analyze", "syscall-filter", word).splitlines()[1:]
        found |= expanded([line.strip() for line in lines if line.strip() and not line.strip().startswith("#")])
    return found


def test_the_filter_lets_through_what_the_service_calls(serve: Callable[..., Service], tmp_path: Path) -> None:
    """A whole life under strace: start, clients, rotation, compression, seals, an end."""
    strace = shutil.which("strace")
    assert strace is not None
    counts = tmp_path / "calls"
    service = serve(audit={"max_size_mb": 0.05, "compress_rotated": True, "durability": "disk"})
    service.under = [strace, "-D", "-f", "-qq", "-o", str(counts)]
    service.start()
    with Raw(service.socket) as client:
        for _ in range(200):
            assert client.asked(event())["t"] == "ack"
    assert service.stop() == 0
    # What comes before the first of our own files is opened is systemd's and the loader's: execve and the like.
    called = {
        match[1] for match in re.finditer(r"^\d+ +(\w+)\(", counts.read_text(errors="replace"), re.MULTILINE)
    }
    assert len(called) > 30
    assert called - allowed() == set()
