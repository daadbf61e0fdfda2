"""What shipping over HTTP costs: `python -m bench.bench_http [--json FILE]`.

- How long an event is on the wire, in requests as the sink makes them: of calls no two of which are alike, since what
  repeats itself costs nothing once it is compressed.
- How many events a second `indelible ship` brings to a receiver on this machine, in the words of each API. The receiver
  has a process of its own, which reads a request and answers what its API answers.
"""

from __future__ import annotations

import gzip
import http.server
import json
import multiprocessing
import random
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

from bench import big_trail
from bench.bench_ship import backlog
from bench.report import Goal, Report
from indelible.events import Event, Request, Source, Target, encode_body, format_time, outcome
from indelible.formats.record import Options, Record
from indelible.registry import make_format
from indelible.sink_settings import parse_sinks
from indelible.sink_settings.http import HttpSettings
from indelible.sinks.base import Shipment
from indelible.sinks.http import GZIP_LEVEL
from indelible.sinks.web import apis
from indelible.trail.entry import stamp

EVENTS = 50_000
ROUNDS = 5
LINES = 2000
"""In one request."""

FLAVORS = {"webhook": "lines", "splunk_hec": "array", "elasticsearch": "array", "loki": "array"}
"""API → `body`, which only a webhook has."""

WORDS = [
    "audit",
    "backup",
    "customer",
    "delete",
    "export",
    "find",
    "invoice",
    "join",
    "key",
    "list",
    "mail",
    "note",
    "order",
    "page",
    "query",
    "report",
]


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request, and answers as the API does whose path it has."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    told: Connection

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.send(time.perf_counter())
        answer = b'{"text":"Success","code":0}'
        if "_bulk" in self.path:
            count = gzip.decompress(body).count(b"\n") // 2
            items = b",".join([b'{"create":{"status":201}}'] * count)
            answer = b'{"errors":false,"items":[%b]}' % items
        status = 204 if self.path.startswith("/loki") else 200
        head = f"HTTP/1.1 {status} OK\r\n"
        length = "" if status == 204 else f"Content-Length: {len(answer)}\r\n"
        self.wfile.write((head + length + "\r\n").encode() + (b"" if status == 204 else answer))

    def log_message(self, *_: object) -> None:
        pass


def receive(told: Connection) -> None:
    """Be the receiver, until somebody ends this process."""
    handler = type("Told", (Handler,), {"told": told})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    told.send(server.server_port)
    server.serve_forever()


def shipped(place: Path, port: int, flavor: str) -> None:
    """Ship the whole backlog."""
    shutil.rmtree(place / "audit.jsonl.d" / "cursors", ignore_errors=True)
    sink = {
        "type": "http", "name": "out", "url": f"http://127.0.0.1:{port}", "flavor": flavor, "allow_private": True,
        "gzip": True, "format": "ecs" if flavor == "elasticsearch" else "indelible", "start": "beginning",
        "flush_batch_lines": LINES, "flush_batch_bytes": "8MB", "flush_interval": "0s",
        **({"body": FLAVORS[flavor]} if flavor == "webhook" else {}),
    }  # fmt: skip
    config = place / "ship.yaml"
    config.write_text(
        json.dumps({"audit": {"path": str(place / "audit.jsonl"), "ship": "off", "sinks": [sink]}})
    )
    command = [sys.executable, "-m", "indelible", "ship", "--once", "-c", str(config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def heard(told: Connection) -> float:
    """Return how many seconds passed from the first request to the last."""
    times: list[float] = []
    while told.poll():
        times.append(told.recv())
    return times[-1] - times[0]


def lines(count: int) -> list[bytes]:
    """Return lines of calls no two of which are alike, with what real ones have: ids, digests, words of people."""
    chance = random.Random("bench")
    found = []
    for seq in range(count):
        when = format_time(big_trail.START_NS + seq * big_trail.STEP_NS + chance.randrange(10**6) * 1000)
        words = " ".join(chance.choice(WORDS) for _ in range(12))
        event = Event(
            timestamp=when,
            event_type="mcp_operation",
            event_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            source=Source(
                caller="http", session_id=f"s{chance.randrange(40)}", user_id=f"user{chance.randrange(200)}"
            ),
            target=Target(
                backend="files",
                type="tool",
                capability_name=f"tool_{chance.randrange(20)}",
                method="tools/call",
            ),
            request=Request(
                request_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                args={"path": f"/srv/{chance.randrange(10**6)}.txt", "query": words},
                args_hmac=chance.randbytes(32).hex(),
            ),
            outcome=outcome("completed", round(chance.expovariate(0.1), 3)),
        )
        found.append(stamp(seq, when, encode_body(event)))
    return found


def wire(report: Report) -> None:
    """How long an event is on the wire, in requests as the sink makes them."""
    origin = "indelible/00112233445566778899aabbccddeeff"
    records = [Record(line, origin) for line in lines(LINES)]
    report.add("bytes of a line in the trail", sum(len(one.line) for one in records) / LINES)
    for flavor, body in FLAVORS.items():
        name = "ecs" if flavor == "elasticsearch" else "indelible"
        render = make_format(name, Options()).render
        keys = {"type": "http", "url": "https://x", "flavor": flavor}
        own = HttpSettings.of(parse_sinks([{**keys, **({"body": body} if flavor == "webhook" else {})}])[0].own)
        api = apis.make(own, name)
        parts = [
            api.part(Shipment(render(one), at, one.entry.event_id, "", origin, 1, one.line))
            for at, one in enumerate(records)
        ]
        plain = api.body(parts)
        packed = gzip.compress(plain, GZIP_LEVEL, mtime=0)
        report.add(f"{flavor}: bytes an event, plain", len(plain) / LINES)
        report.add("  with gzip", len(packed) / LINES)
        report.add("  of plain", len(packed) / len(plain), Goal.at_most(0.4))


def main() -> int:
    """Measure, print."""
    report = Report(f"shipping over HTTP, {EVENTS:,} events of 500 bytes, {LINES:,} a request")
    wire(report)
    told, theirs = multiprocessing.Pipe(duplex=False)
    receiver = multiprocessing.Process(target=receive, args=(theirs,), daemon=True)
    receiver.start()
    port = int(told.recv())
    with backlog(EVENTS) as place:
        for flavor in FLAVORS:
            rates = []
            for _ in range(ROUNDS):
                shipped(place, port, flavor)
                rates.append(EVENTS / heard(told))
            report.add(f"{flavor}: events/s", statistics.median(rates))
    receiver.terminate()
    receiver.join()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
