"""What receivers take, after their own documentation: each judge reads requests strictly, and keeps what it took.

They are written without a line of the sink's, and stand in for servers that do not run here.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.unit.sinks.web_receivers import Asked, Reply, said

Refuses = Callable[[bytes], bool]


def takes_all(_record: bytes) -> bool:
    return False


class Judge:
    """Answers requests; `records` is what it took, as it was before it was put into a request."""

    def __init__(self, refuses: Refuses = takes_all, **keys: Any) -> None:
        self.refuses = refuses
        self.keys = keys
        self.records: list[bytes] = []

    def __call__(self, asked: Asked) -> Reply:
        raise NotImplementedError


class Webhook(Judge):
    def __call__(self, asked: Asked) -> Reply:
        shape = self.keys.get("body", "array")
        assert asked.path == "/"
        if shape == "lines":
            assert asked.headers["Content-Type"] == "application/x-ndjson"
            *records, rest = asked.body.split(b"\n")
            assert rest == b""
        else:
            assert asked.headers["Content-Type"] == "application/json"
            value = json.loads(asked.body)
            records = [_record(item) for item in (value if shape == "array" else [value])]
        if any(map(self.refuses, records)):
            return Reply(400, b"one of them is not welcome")
        self.records += records
        return Reply(204)


class Splunk(Judge):
    """Splunk, "Format events for HTTP Event Collector" and "HTTP Event Collector REST API endpoints"."""

    KEYS = frozenset({"time", "host", "source", "sourcetype", "index", "fields", "event"})

    def __init__(self, refuses: Refuses = takes_all, **keys: Any) -> None:
        """With `indexed`, the token asks for acknowledgement: that is called with each number that is asked for."""
        super().__init__(refuses, **keys)
        self.events: list[dict[str, Any]] = []
        self.indexed: Callable[[int], bool] | None = keys.get("indexed")
        self.channels: dict[str, int] = {}
        """Of each, how many numbers it has."""

    def __call__(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        channel = asked.headers["X-Splunk-Request-Channel"]
        if path == "/services/collector/ack":
            return self._acknowledge(asked, channel, query)
        assert asked.path == "/services/collector/event"
        if self.indexed is not None and not channel:
            return said(400, {"text": "Data channel is missing", "code": 10})
        if not asked.body:
            return said(400, {"text": "No data", "code": 5})
        events = []
        for number, event in enumerate(_concatenated(asked.body.decode())):
            if not isinstance(event, dict) or not set(event) <= self.KEYS or "event" not in event:
                return _invalid(12, "Event field is required", number)
            if event["event"] in ("", None):
                return _invalid(13, "Event field cannot be blank", number)
            if not all(isinstance(value, str) for value in event["fields"].values()):
                return _invalid(15, "Error in handling indexed fields", number)
            if self.refuses(_record(event["event"])):
                return _invalid(6, "Invalid data format", number)
            events.append(event)
        self.events += events
        self.records += [_record(event["event"]) for event in events]
        number = self.channels[channel] = self.channels.get(channel, -1) + 1
        return said(200, {"text": "Success", "code": 0} | ({"ackId": number} if self.indexed else {}))

    def _acknowledge(self, asked: Asked, channel: str, query: str) -> Reply:
        """Splunk, "About HTTP Event Collector Indexer Acknowledgment"."""
        if self.indexed is None:
            return said(400, {"text": "ACK is disabled", "code": 14})
        assert query == f"channel={channel}"
        assert str(uuid.UUID(channel)) == channel
        known = range(self.channels.get(channel, -1) + 1)
        numbers = json.loads(asked.body)["acks"]
        return said(200, {"acks": {str(one): one in known and self.indexed(one) for one in numbers}})


class Elastic(Judge):
    """Elasticsearch reference, "Bulk API"; the same in OpenSearch."""

    def __init__(self, refuses: Refuses = takes_all, **keys: Any) -> None:
        super().__init__(refuses, **keys)
        self.documents: dict[str, dict[str, Any]] = {}
        self.index = keys.get("index", "logs-indelible.audit-default")

    def __call__(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        assert path == f"/{self.index}/_bulk"
        assert query.startswith("filter_path=")
        assert asked.headers["Content-Type"] == "application/x-ndjson"
        if not asked.body.endswith(b"\n"):
            return said(
                400, _failed("illegal_argument_exception", "The bulk request must be terminated by a newline")
            )
        lines = asked.body.split(b"\n")[:-1]
        assert len(lines) % 2 == 0
        items = [self._item(json.loads(one), other) for one, other in zip(lines[::2], lines[1::2], strict=True)]
        errors = any(item["create"]["status"] >= 300 for item in items)
        return said(200, {"errors": errors, "items": items})

    def _item(self, action: dict[str, Any], line: bytes) -> dict[str, Any]:
        assert list(action) == ["create"]
        known_by = action["create"]["_id"]
        assert isinstance(known_by, str)
        assert 0 < len(known_by.encode()) <= 512
        document = json.loads(line)
        assert isinstance(document, dict)
        record = document["message"].encode() if set(document) <= {"@timestamp", "message", "event"} else line
        if known_by in self.documents:
            reason = f"[{known_by}]: version conflict, document already exists (current version [1])"
            return {"create": {"status": 409, **_failed("version_conflict_engine_exception", reason)}}
        if self.refuses(record):
            reason = "failed to parse field [indelible.seq] of type [long]"
            return {"create": {"status": 400, **_failed("document_parsing_exception", reason)}}
        self.documents[known_by] = document
        self.records.append(record)
        return {"create": {"status": 201}}


class Loki(Judge):
    """Grafana Loki, "HTTP API", "Ingest logs"; the texts are those of pkg/validation."""

    def __init__(self, refuses: Refuses = takes_all, **keys: Any) -> None:
        super().__init__(refuses, **keys)
        self.labels: list[dict[str, str]] = []
        self.times: list[int] = []
        self._had: set[tuple[str, str]] = set()

    def __call__(self, asked: Asked) -> Reply:
        assert asked.path == "/loki/api/v1/push"
        assert asked.headers["Content-Type"] == "application/json"
        pushed = json.loads(asked.body)
        assert list(pushed) == ["streams"]
        refused = ""
        for stream in pushed["streams"]:
            assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in stream["stream"])
            self.labels.append(stream["stream"])
            for time, line in stream["values"]:
                assert re.fullmatch("[0-9]{19}", time)
                if self.refuses(line.encode()):
                    refused = f"entry for stream '{{}}' has timestamp too old: {time}"
                elif (time, line) not in self._had:  # what it can take it takes, and a repetition it drops
                    self._had.add((time, line))
                    self.records.append(line.encode())
                    self.times.append(int(time))
        return Reply(400, refused.encode()) if refused else Reply(204)


JUDGES: dict[str, Callable[..., Judge]] = {
    "webhook": Webhook,
    "splunk_hec": Splunk,
    "elasticsearch": Elastic,
    "loki": Loki,
}


def _record(value: Any) -> bytes:
    """Return a record that stood in JSON: text as it was, an object as our formats write one."""
    return value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()


def _concatenated(text: str) -> list[Any]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        while text[at].isspace():
            at += 1
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def _invalid(code: int, text: str, number: int) -> Reply:
    return said(400, {"text": text, "code": code, "invalid-event-number": number})


def _failed(kind: str, reason: str) -> dict[str, Any]:
    return {"error": {"type": kind, "reason": reason}}
