"""One client, as whoever it is run as: ``peer.py SOCKET WHAT ...``; prints one line of JSON.

submit NAME SECONDS COUNT    record events until so many seconds are over, or so many are acknowledged
flood NAME CONNECTIONS       write events as fast as they are taken, and junk, until the input ends
costly NAME COUNT SIZE       write events of COUNT keys in SIZE messages at a time that cost much to look through,
                             until the input ends
try PATH...                  try to read, write and list these
say JSON...                  say hello with the first, then these messages; print what is answered to each put
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

PATH = sys.argv[1]
EVENT = {
    "event_type": "mcp_operation",
    "source": {"caller": "library"},
    "target": {"type": "tool", "method": "tools/call", "capability_name": "t"},
    "outcome": {"status": "success", "kind": "completed", "latency_ms": 1.0},
}


def pack(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


class Peer:
    def __init__(self, name: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(PATH)
        self.sock.sendall(pack({"t": "hello", "v": 1, "recorder": name, "pid": 0}))
        self.stream = self.sock.makefile("rb")
        self.welcome = self.hear()
        self.number = 0

    def hear(self) -> dict[str, Any]:
        head = self.stream.read(4)
        if len(head) < 4:
            return {"t": "end"}
        found: dict[str, Any] = json.loads(self.stream.read(int.from_bytes(head, "big")))
        return found

    def put(self, event: dict[str, Any], **more: Any) -> None:
        self.number += 1
        self.sock.sendall(pack({"t": "put", "n": self.number, "id": event["event_id"], "body": event, **more}))


def fresh() -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {**EVENT, "event_id": str(uuid.uuid4()), "timestamp": now}


def submit(name: str, seconds: str, count: str) -> None:
    """One event at a time; how long each took."""
    peer = Peer(name)
    ids: list[str] = []
    took: list[float] = []
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end and len(ids) < int(count):
        event = fresh()
        started = time.monotonic()
        peer.put(event)
        answer = peer.hear()
        took.append(time.monotonic() - started)
        assert answer["t"] == "ack", answer
        ids.append(event["event_id"])
    print(json.dumps({"ids": ids, "took": took, "welcome": peer.welcome}))


def flood(name: str, connections: str) -> None:
    """Half of the connections send what is taken, as fast as it is; the others junk, half and huge messages."""
    stop = threading.Event()
    acknowledged = [0]

    def honest() -> None:
        peer = Peer(name)
        if peer.welcome["t"] != "welcome":
            return
        waiting = 0
        while not stop.is_set():
            while waiting < peer.welcome["window"]:
                peer.put(fresh())
                waiting += 1
            answer = peer.hear()
            if answer["t"] != "ack":
                return
            acknowledged[0] += 1
            waiting = peer.number - answer["n"]

    def junk() -> None:
        while not stop.is_set():
            try:
                peer = Peer(name)
                for _ in range(50):
                    peer.put({**fresh(), "seq": 1})
                peer.sock.sendall(pack({"t": "put", "n": 51})[:-3])
                peer.sock.close()
                huge = socket.socket(socket.AF_UNIX)
                huge.connect(PATH)
                huge.sendall(b"\x7f\xff\xff\xff" + bytes(1 << 16))
                huge.close()
            except (OSError, ValueError, KeyError):
                continue

    threads = [
        threading.Thread(target=honest if number % 2 == 0 else junk, daemon=True)
        for number in range(int(connections))
    ]
    for thread in threads:
        thread.start()
    print("flooding", flush=True)
    select.select([sys.stdin], [], [])
    stop.set()
    print(json.dumps({"answers": acknowledged[0]}), flush=True)
    os._exit(0)  # threads may wait for ever in a call


def costly(name: str, keys: str, at_once: str) -> None:
    """Each key is an address, so none is known already."""
    peer = Peer(name)

    def flood() -> None:
        waiting, made = 0, 0
        while True:
            while waiting < int(at_once):
                made += int(keys)
                args = {f"k{made - number}@x.io": 4 for number in range(int(keys))}
                peer.put({**fresh(), "request": {"args": args}})
                waiting += 1
            answer = peer.hear()
            if answer["t"] != "ack":
                return
            waiting = peer.number - answer["n"]

    threading.Thread(target=flood, daemon=True).start()
    print("flooding", flush=True)
    select.select([sys.stdin], [], [])
    os._exit(0)


def attempts(paths: list[str]) -> None:
    """What this user can do with these paths."""
    could = []
    for path in paths:
        for what in ("rb", "ab", "list", "remove"):
            try:
                if what == "list":
                    list(Path(path).iterdir())
                elif what == "remove":
                    Path(path).unlink()
                else:
                    Path(path).open(what).close()
            except OSError:
                continue
            could.append(f"{what} {path}")
    print(json.dumps({"could": could, "uid": os.getuid(), "pid": os.getpid()}))


def say(hello: str, *messages: str) -> None:
    """A conversation: what is answered to each message that is one."""
    peer = Peer(json.loads(hello)["recorder"])
    answers = []
    for raw in messages:
        message = json.loads(raw)
        peer.sock.sendall(pack(message))
        answers.append(peer.hear())
        if answers[-1]["t"] == "end":
            break
    print(json.dumps({"welcome": peer.welcome, "answers": answers, "pid": os.getpid()}))


def main() -> None:
    what, args = sys.argv[2], sys.argv[3:]
    if what == "submit":
        submit(*args)
    elif what == "flood":
        flood(*args)
    elif what == "costly":
        costly(*args)
    elif what == "try":
        attempts(args)
    else:
        say(*args)


if __name__ == "__main__":
    main()
