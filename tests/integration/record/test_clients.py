"""The small clients in examples/: each records through a real service that is killed under it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indelible import verify
from indelible.trail.sharing.wire import WINDOW
from tests.integration.record.serving import LIMIT_S, ROOT, Raw, Service, event, wait_until

CLIENTS = ROOT / "examples" / "clients"
README = ROOT / "examples" / "README.md"
COUNT = 1000
Serve = Callable[..., Service]
Build = Callable[[Path], list[str]]


def python(_: Path) -> list[str]:
    return [sys.executable, str(CLIENTS / "python" / "indelible_client.py")]


def typescript(place: Path) -> list[str]:
    """Do what the page says, in a copy; what `npm install` would bring is here already, of the same versions."""
    about = json.loads((CLIENTS / "typescript" / "package.json").read_text())
    mine = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    assert about["devDependencies"].items() <= mine.items()
    [row] = [line for line in README.read_text().splitlines() if "indelible_client.ts" in line]
    install, build, start = [said.split() for said in re.findall(r"`(npm[^`]*)`", row)]
    assert install == ["npm", "install"]
    assert start[-2:] == ["/run/indelible/record.sock", "1000"]
    folder = place / "typescript"
    shutil.copytree(CLIENTS / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    return ["npm", "--silent", "--prefix", str(folder), *start[1:-2]]


def go(place: Path) -> list[str]:
    program = place / "client"
    subprocess.run(["go", "vet", "."], cwd=CLIENTS / "go", check=True, timeout=120)
    subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", str(program), "."], cwd=CLIENTS / "go", check=True, timeout=120
    )
    return [str(program)]


LANGUAGES: dict[str, Build] = {"python": python, "typescript": typescript, "go": go}


def test_every_example_is_tested() -> None:
    with_programs = {path.parent.name for path in CLIENTS.glob("*/*") if path.suffix in (".py", ".ts", ".go")}
    assert with_programs == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_loses_and_doubles_nothing_when_its_service_dies(
    serve: Serve, tmp_path: Path, language: str
) -> None:
    command = LANGUAGES[language](tmp_path)
    # Slow enough that it cannot be through before the service was killed twice.
    service = serve(record={"max_events_per_second": 250}).start()
    client = subprocess.Popen(
        [*command, str(service.socket), str(COUNT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        recorded = 0
        for more in (100, WINDOW + 50):  # what was on its way at one death is not on its way at the next
            wait_until(lambda least=recorded + more: len(service.of_calls()) > least)  # type: ignore[misc]
            assert client.poll() is None
            service.kill()
            recorded = len(service.of_calls())
            service.start()
        out, err = client.communicate(timeout=LIMIT_S)
    finally:
        client.kill()
        client.wait()
    assert (out, err, client.returncode) == (f"acknowledged {COUNT}, refused 0\n", "", 0)
    assert service.stop() == 0
    found = service.of_calls()
    assert [entry["request"]["args"] for entry in found] == [
        {"number": number, "to": "[EMAIL]"} for number in range(COUNT)
    ]
    assert max(Counter(entry["event_id"] for entry in found).values()) == 1
    assert {entry["source"]["recorder"]["id"] for entry in found} == {f"{language}-example"}
    result = verify(service.path)
    assert result.ok
    assert result.size == len(service.entries())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_that_sends_again_says_where_the_trail_ended(tmp_path: Path, language: str) -> None:
    """Each event by what was said when it was sent first: by `welcome`, by an `ack`, or not at all."""
    command = LANGUAGES[language](tmp_path)
    for size, since in ((7, 7), (0, -1)):
        path = tmp_path / f"{size}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(LIMIT_S)
            listener.bind(str(path))
            listener.listen()
            client = subprocess.Popen([*command, str(path), "3"], stdout=subprocess.PIPE, text=True)
            try:
                lose_twice(listener, size, since)
                out, _ = client.communicate(timeout=LIMIT_S)
            finally:
                client.kill()
                client.wait()
        assert (out, client.returncode) == ("acknowledged 3, refused 0\n", 0)


def lose_twice(listener: socket.socket, size: int, since: int) -> None:
    """Be a holder that hangs up twice; the first two events are sent again twice, the third once."""
    with greeted(listener, size=size) as holder:
        assert [marks(put) for put in holder.hear(2)] == [(False, -1), (False, -1)]
    with greeted(listener, size=8) as holder:
        assert [marks(put) for put in holder.hear(2)] == [(True, since), (True, since)]
        holder.say(t="ack", n=1, size=3000)
        assert [marks(put) for put in holder.hear(1)] == [(False, -1)]
    with greeted(listener, size=9000) as holder:
        assert [marks(put) for put in holder.hear(2)] == [(True, since), (True, 3000)]
        holder.say(t="ack", n=2)
        assert holder.next()["t"] == "bye"


def marks(put: dict[str, Any]) -> tuple[bool, int]:
    return put.get("again", False), put.get("since", -1)


@contextlib.contextmanager
def greeted(listener: socket.socket, **about: Any) -> Iterator[Holder]:
    """Let the next client in; hang up without a good-bye at the end."""
    sock = listener.accept()[0]
    with sock:
        sock.settimeout(LIMIT_S)
        holder = Holder(sock)
        assert holder.next()["t"] == "hello"
        holder.say(
            t="welcome", v=1, origin="o", durability="process", window=2, digest_key="", digest_key_id="",
            life="one", **about,
        )  # fmt: skip
        yield holder


class Holder:
    """A holder that says what a test wants it to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def say(self, **message: Any) -> None:
        data = json.dumps(message).encode()
        self._sock.sendall(len(data).to_bytes(4, "big") + data)

    def next(self) -> dict[str, Any]:
        size = int.from_bytes(self._sock.recv(4, socket.MSG_WAITALL), "big")
        message: dict[str, Any] = json.loads(self._sock.recv(size, socket.MSG_WAITALL))
        return message

    def hear(self, count: int) -> list[dict[str, Any]]:
        """Return so many events."""
        heard = [self.next() for _ in range(count)]
        assert [put["t"] for put in heard] == ["put"] * count
        return heard


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_says_why_it_is_not_let_in(serve: Serve, tmp_path: Path, language: str) -> None:
    command = LANGUAGES[language](tmp_path)
    service = serve(record={"max_connections": 1}).start()
    with Raw(service.socket) as first:
        assert first.asked(event())["t"] == "ack"
        done: subprocess.CompletedProcess[Any] = subprocess.run(
            [*command, str(service.socket), "1"], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    assert done.returncode == 1
    assert "has 1 connections, and may have no more" in done.stderr
