"""Bodies of HTTP: what a server might carry out is read, in whatever form it comes, and no body grows in memory."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.capture import asgi_headers, meta
from indelible.capture.asgi_body import answers_of, incoming_of, judge_status, reason_of, requests_of
from indelible.capture.bodies import Body, body_of
from indelible.capture.kept import MAX_KEPT, Kept
from indelible.capture.outcomes import Verdict
from tests.effort import examples

CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "pay", "arguments": {"a": "é"}}}
PLAIN = json.dumps(CALL).encode()


def body(data: bytes, coding: str | None = None, cuts: tuple[int, ...] = ()) -> Body:
    made = body_of(coding.encode() if coding else None)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        made.add(data[start:end])
    return made


def called(made: Body, *, certainly: bool = False) -> list[tuple[str, str | None]]:
    found = []
    for message, text in requests_of(made, certainly=certainly):
        incoming = incoming_of(message, text, meta.read(message), {}, None)
        found.append((incoming.method, incoming.name))
    return found


FORMS = {
    "plain": (PLAIN, None),
    "a BOM": (b"\xef\xbb\xbf" + PLAIN, None),
    "white space": (b"\r\n  " + PLAIN + b"\n", None),
    "UTF-16": (json.dumps(CALL, ensure_ascii=False).encode("utf-16"), None),
    "UTF-16-LE": (json.dumps(CALL).encode("utf-16-le"), None),
    "UTF-32": (json.dumps(CALL).encode("utf-32"), None),
    "escaped keys": (
        PLAIN.replace(b"jsonrpc", b"\\u006asonrpc").replace(b"method", b"meth\\u006fd"),
        None,
    ),
    "gzip": (gzip.compress(PLAIN), "gzip"),
    "deflate": (zlib.compress(PLAIN), " Deflate "),
    "zstd": (zstandard.compress(PLAIN), "zstd"),
    "several": (gzip.compress(zstandard.compress(PLAIN)), "zstd, identity, GZIP"),
}


@settings(deadline=None, max_examples=examples(200))
@given(st.sampled_from(sorted(FORMS)), st.tuples(st.integers(0, 500), st.integers(0, 500)))
def test_a_call_is_seen_in_every_form_and_however_it_is_cut(form: str, cuts: tuple[int, int]) -> None:
    data, coding = FORMS[form]
    assert called(body(data, coding, cuts)) == [("tools/call", "pay")]


@pytest.mark.parametrize("data", [b"", b"a=1&b=2", b'{"id":1,"method":"PUT"}', b"\0\xff", b"[]", b'"jsonrpc"'])
def test_what_is_not_mcp_is_left_alone(data: bytes) -> None:
    assert called(body(data)) == []


def test_on_a_path_of_mcp_a_body_without_jsonrpc_counts() -> None:
    assert called(body(b'{"id":1,"method":"tools/call","params":{"name":"x"}}'), certainly=True) == [
        ("tools/call", "x")
    ]


def test_of_a_body_that_is_too_long_the_ends_are_read_and_memory_stays() -> None:
    tracemalloc.start()
    try:
        made = body_of(None)
        made.add(PLAIN[:-3])
        for _ in range(60):
            made.add(b"x" * 1_000_000)
        made.add(b'"}}}')
        [found] = called(made)
        assert found == ("tools/call", "pay")
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_KEPT
    finally:
        tracemalloc.stop()


def test_a_bomb_is_made_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50_000_000), compresslevel=1)
    tracemalloc.start()
    try:
        made = body_of(b"gzip")
        made.add(bomb)
        assert made.size == 50_000_000
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_KEPT
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=examples(200))
@given(st.binary(max_size=100), st.sampled_from([None, "gzip", "deflate", "br", "zstd", "zstd, gzip"]))
def test_no_body_raises(data: bytes, coding: str | None) -> None:
    made = body(data, coding)
    for message, text in requests_of(made, certainly=True):
        if isinstance(message.method, str):
            incoming_of(message, text, meta.read(message), {b"traceparent": b"x"}, None)
    answers_of(made)
    reason_of(made, data.decode("latin-1"))


def test_a_coding_that_is_not_known_is_said_to_be_unreadable() -> None:
    assert not body(b"...", "br").readable
    assert not body(b"not gzip", "gzip").readable
    assert body(PLAIN, "identity").readable
    assert body(b"...", "br").unread == "content-encoding br"
    assert body(b"", "br").unread is body(PLAIN).unread is None


@pytest.mark.parametrize(
    ("status", "said", "kind", "error", "code"),
    [
        (401, None, "unauthenticated", "invalid_token", None),
        (403, Verdict("protocol_error", "not you", -32600), "denied", "not you", -32600),
        (404, Verdict("protocol_error", "no session", -32600), "protocol_error", "no session", -32600),
        (429, None, "denied", "invalid_token", None),
        (500, None, "protocol_error", "invalid_token", None),
        (502, None, "backend_unavailable", "invalid_token", None),
        (504, None, "timed_out", "invalid_token", None),
        (200, Verdict("protocol_error", "parse error", -32700), "protocol_error", "parse error", -32700),
    ],
)
def test_what_a_status_says(status: int, said: Verdict | None, kind: str, error: str, code: int | None) -> None:
    verdict = judge_status(status, said, "invalid_token")
    assert (verdict.kind, verdict.error, verdict.error_code) == (kind, error, code)


@pytest.mark.parametrize(
    ("page", "challenge", "reason"),
    [
        (b'{"error":"invalid_token","error_description":"expired"}', None, "invalid_token (expired)"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Bad Host"}}', None, "Bad Host"),
        (b'{"detail":"Not authenticated"}', None, "Not authenticated"),
        (
            b"<html>",
            'Bearer error="insufficient_scope", error_description="needs buy"',
            "insufficient_scope (needs buy)",
        ),
        (b"<html>", "Basic", None),
        (b"", None, None),
    ],
)
def test_why_a_credential_was_refused(page: bytes, challenge: str | None, reason: str | None) -> None:
    kept = Kept()
    kept.add(page)
    assert reason_of(kept, challenge) == reason


def test_ids_are_taken_from_the_message_else_from_the_headers() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {b"x-request-id": b"from-header", b"traceparent": trace.encode()}
    [(message, text)] = requests_of(body(PLAIN), certainly=False)
    incoming = incoming_of(message, text, meta.read(message), headers, None)
    assert (incoming.request_id, incoming.trace_id, incoming.span_id) == (
        "from-header", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331",
    )  # fmt: skip
    told = {**CALL, "params": {"name": "pay", "_meta": {"request_id": "mine", "traceparent": "rubbish"}}}
    [(message, text)] = requests_of(body(json.dumps(told).encode()), certainly=False)
    incoming = incoming_of(message, text, meta.read(message), headers, None)
    assert (incoming.request_id, incoming.trace_id) == ("mine", "0af7651916cd43dd8448eb211c80319c")
    assert asgi_headers.correlation_of({b"x-request-id": b"not good: a space"})[0] is None
