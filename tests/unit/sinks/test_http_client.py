"""The client against whatever may come over the wire: an answer, or one kind of error, and nothing without a bound."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.sinks.waits import Waits
from indelible.sinks.web.answers import printable, retry_after
from indelible.sinks.web.client import Answer, Client, Origin, split_url

MOST = 1000


def _no_tls() -> ssl.SSLContext:
    raise AssertionError("nothing is connected to here")


def read(pieces: list[bytes]) -> Answer:
    """Return what a client makes of pieces that come one after the other, and then the end."""
    client = Client(Origin("https", "x", 443), Waits(1.0), forbidden=lambda _: "", tls=_no_tls)
    client._asked("POST", "/", [("Host", "x"), ("Content-Length", "0")], b"")
    left = [piece for piece in pieces if piece]
    return client._answer(lambda: left.pop(0) if left else b"", MOST)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[one:other] for one, other in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
def test_whatever_comes_is_an_answer_or_an_oserror(pieces: list[bytes], is_http: bool) -> None:
    if is_http:
        pieces = [b"HTTP/1.1 200 OK\r\n", *pieces]
    try:
        answer = read(pieces)
    except OSError:
        return
    assert len(answer.body) <= MOST


@given(st.binary(max_size=3 * MOST), st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
def test_how_an_answer_is_cut_changes_nothing(body: bytes, places: list[int], chunked: bool) -> None:
    if chunked:
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 No\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        data = head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    else:
        data = b"HTTP/1.1 413 No\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    answer = read(cut(data, places))
    assert (answer.status, answer.headers["x-a"]) == (413, "1")
    assert (answer.body, answer.is_whole) == (body[:MOST], len(body) <= MOST)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("120", 120.0), ("99999999999999999999", 999999999.0), ("", None), ("-1", None), ("\u0661", None),
        ("tomorrow", None), ("Sat, 21 Nov 2026 05:39:34 GMT", 60.0), ("Sat, 21 Nov 2026 05:37:34 GMT", 0.0),
        ("Sat, 99 Nov 99999 05:37:34 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    headers = {"retry-after": text, "date": "Sat, 21 Nov 2026 05:38:34 GMT"}
    assert retry_after(Answer(503, headers, b"")) == seconds


@given(st.text(max_size=900))
def test_what_a_receiver_says_is_part_of_one_line(text: str) -> None:
    said = printable(text)
    assert said.isprintable()
    assert len(said) <= 201


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://Host.example", "https://host.example", "/"),
        ("https://host.example:443/a?b", "https://host.example", "/a?b"),
        ("http://[::1]:80/", "http://[::1]", "/"),
        ("http://h:8080/x", "http://h:8080", "/x"),
    ],
)
def test_whom_a_url_names(url: str, origin: str, path: str) -> None:
    found, rest = split_url(url)
    assert (str(found), rest) == (origin, path)


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("/b", "/b"), ("b?c", "/b?c"), ("https://x/b", "/b"), ("https://x:443/b", "/b"), ("HTTPS://X/b", "/b"),
        ("http://x/b", None), ("https://x:444/b", None), ("https://y/b", None), ("//y/b", None), ("", None),
        ("https://x@y/b", None), ("https://[", None), ("/a b", None), ("/é", None), ("javascript:1", None),
    ],
)  # fmt: skip
def test_which_redirections_are_followed(location: str, followed: str | None) -> None:
    client = Client(Origin("https", "x", 443), Waits(1.0), forbidden=lambda _: "", tls=_no_tls)
    assert client._followed("/a", Answer(307, {"location": location}, b"")) == followed
    assert client._followed("/a", Answer(302, {"location": location}, b"")) is None
