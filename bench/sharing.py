"""What the other processes of `bench_shared` do: ``python -m bench.sharing WHAT ...``.

produce TRAIL COUNT OUTSTANDING   record so many events from asyncio at `disk`, once a line comes; print when done
through SOCKET COUNT OUTSTANDING  the same through the service that listens there
serve TRAIL                       run `indelible record` at `disk`, at TRAIL.sock, until the input ends
hold TRAIL                        hold a trail at `process` until the input ends
answer SOCKET                     answer messages of `MESSAGE` bytes with `ANSWER` bytes
die TRAIL COUNT                   record so many calls, leave one open, and die of kill -9
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import msgspec

import indelible
from bench.bench_record import NOTHING, make
from indelible import configfile
from indelible.served import Served
from indelible.trail.sharing.sockets import Prepared

MESSAGE = 600
"""Bytes of an event on its way, about."""
WARM_UP = 4
"""Events for each that is outstanding, before it counts: what the first ones load is loaded once a process."""
ANSWER = 22
"""Bytes of its acknowledgement."""


def produce(path: str, count: str, outstanding: str) -> None:
    """Record into a trail that this process or another one holds."""
    with indelible.open_trail(path, durability="disk", on_failure="deny") as recorder:
        produce_into(recorder, count, outstanding)


def through(path: str, count: str, outstanding: str) -> None:
    """Record through a service."""
    with indelible.open_trail(socket=path, on_failure="deny") as recorder:
        produce_into(recorder, count, outstanding)


def produce_into(recorder: indelible.Recorder, count: str, outstanding: str) -> None:
    """Record a little, print ``ready``; then, when a line has come, ``START END BUSY``; go on when the next has.

    `START` and `END` are those of recording; `BUSY` is the CPU that was spent meanwhile on other processes' events.
    """

    async def worker(each: int) -> None:
        for _ in range(each):
            await recorder.arecord(make(NOTHING))

    async def all_of_them(each: int) -> None:
        await asyncio.gather(*(worker(each) for _ in range(int(outstanding))))

    asyncio.run(all_of_them(WARM_UP))
    print("ready", flush=True)
    sys.stdin.readline()
    started, busy = time.monotonic(), served_s()
    asyncio.run(all_of_them(int(count) // int(outstanding)))
    ended = time.monotonic()
    print(started, ended, served_s() - busy, flush=True)
    sys.stdin.readline()


def served_s() -> float:
    """Return the CPU seconds of the threads that serve other processes."""
    idents = [thread.ident for thread in threading.enumerate() if thread.name == "indelible-hub"]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in idents if ident is not None)


def serve(path: str) -> None:
    """Without a rate: what is measured is the way, and not the quota."""
    config, listen = Path(path).with_suffix(".yaml"), Path(f"{path}.sock")
    config.write_text("audit: {durability: disk}\nrecord: {max_events_per_second: 0, max_mb_per_second: 0}\n")
    settings = configfile.load(str(config))
    audit = msgspec.structs.replace(settings.audit, path=path)
    served = Served(msgspec.structs.replace(settings, audit=audit))
    served.listen(Prepared(listen, 0o600, -1).appear())
    print("ready", flush=True)
    sys.stdin.read()
    served.close()


def hold(path: str) -> None:
    """Let others write through this process."""
    with indelible.open_trail(path, durability="process"):
        print("ready", flush=True)
        sys.stdin.read()


def answer(path: str) -> None:
    """The least that a round trip between two processes costs here."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        print("ready", flush=True)
        peer, _ = listener.accept()
        with peer:
            reply = bytes(ANSWER)
            left = MESSAGE
            while data := peer.recv(left):
                left -= len(data)
                if not left:
                    peer.sendall(reply)
                    left = MESSAGE


def die(path: str, count: str) -> None:
    """Leave what a crash leaves: lines that no checkpoint covers, and a call without an outcome."""
    recorder = indelible.open_trail(path, durability="process", config=str(Path(path).with_suffix(".yaml")))
    for _ in range(int(count)):
        with recorder.operation("tools/call", "last", args=NOTHING, user_id="alice"):
            pass
    recorder.operation("tools/call", "open", args=NOTHING, user_id="alice").__enter__()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    what, *about = sys.argv[1:]
    match what:
        case "produce":
            produce(*about)
        case "through":
            through(*about)
        case "serve":
            serve(*about)
        case "hold":
            hold(*about)
        case "answer":
            answer(*about)
        case "die":
            die(*about)
        case _:
            sys.exit(f"sharing: no such thing: {what}")
