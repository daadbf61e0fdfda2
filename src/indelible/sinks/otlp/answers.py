"""What a receiver of OTLP answers (opentelemetry-proto, ExportLogsServiceResponse; google.rpc.Status for a failure).

The rule that lives here: a partial success says how many records were refused, and not which; and it must not be sent
again (OTLP specification, "Partial Success"). So all records of that request become dead letters, with the count in the
reason: what was refused is among them, and nothing is lost in silence.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from indelible.sinks.web.answers import NotNow, Refused, Verdict, printable

MAX_ANSWER: Final = 64 << 10
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


class _Partial(msgspec.Struct, rename="camel"):
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Response(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


class _Status(msgspec.Struct):
    message: str = ""


class Said(NamedTuple):
    """What an answer says of a request that was taken."""

    rejected: int
    message: str


def verdict(said: Said, count: int) -> Verdict:
    """Return what became of a request's records."""
    if said.rejected <= 0:
        return Verdict(count)
    why = f": {printable(said.message)}" if said.message else ""
    if said.rejected >= count:
        reason = f"it refuses {'it' if count == 1 else f'all {count} records of the request'}{why}"
    else:
        reason = (
            f"it refuses {said.rejected} of the {count} records of the request, and does not say which{why}"
        )
    return Verdict(count, [Refused(at, reason, sure=True) for at in range(count)])


def read_json(body: bytes) -> Said:
    """Return what an answer in JSON says. Raises NotNow: it is none of such a receiver."""
    try:
        partial = msgspec.json.decode(body or b"{}", type=_Response).partial_success or _Partial()
        return Said(int(partial.rejected_log_records), partial.error_message)
    except (msgspec.MsgspecError, ValueError):
        raise NotNow(_STRANGE) from None


def read_protobuf(body: bytes) -> Said:
    """Return what an answer in protobuf says. Raises NotNow: it is none of such a receiver."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    try:
        partial = ExportLogsServiceResponse.FromString(body).partial_success
    except DecodeError:
        raise NotNow(_STRANGE) from None
    return Said(partial.rejected_log_records, partial.error_message)


_STRANGE: Final = "what it answers is no answer of an OTLP receiver; is 'endpoint' right?"


def kind(content_type: str) -> str:
    """Return which type of content a header names, without what follows it."""
    return content_type.partition(";")[0].strip().lower()


def failure(body: bytes, content_type: str) -> str:
    """Return the message of a failure's status; empty when there is none."""
    try:
        if kind(content_type) == JSON:
            return msgspec.json.decode(body, type=_Status).message
        if kind(content_type) == PROTOBUF:
            return str(status(body).message)
    except ValueError:  # also msgspec's and protobuf's own
        pass
    return ""


def status(body: bytes) -> Any:
    """Return a google.rpc.Status. Raises ValueError."""
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        return status_pb2.Status.FromString(body)
    except DecodeError as exc:
        raise ValueError(str(exc)) from None


def delay(details: bytes) -> float | None:
    """Return how many seconds a status asks to wait (google.rpc.RetryInfo); None when it does not."""
    from google.rpc import error_details_pb2

    try:
        found = status(details)
    except ValueError:
        return None
    for detail in found.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
