"""What is read back from files: every record that is there, where it stands, whatever else is there."""

from __future__ import annotations

import gzip
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import ConfigError, SourceError
from indelible.query.sources import kafka
from indelible.query.sources.base import LIMIT, Block
from indelible.query.sources.files import FileSource, lines_of
from indelible.query.sources.kafka import KafkaSource
from indelible.query.sources.opening import open_source
from indelible.sink_settings import parse_sinks
from indelible.sinks.broker.client import library

LINES = [
    b'{"seq":%d,"x":"%s"}' % (number, random.Random(number).randbytes(30).hex().encode())
    for number in range(3_000)
]
DATA = b"\n".join(LINES) + b"\n"
HALF = len(DATA) // 2


def read(source: FileSource) -> list[bytes]:
    return [record for block in source.blocks() for record in block.records]


PACKED: dict[str, Callable[[], bytes]] = {
    "plain": lambda: DATA,
    "gzip": lambda: gzip.compress(DATA, 1),
    "gzip of two members, padded": lambda: gzip.compress(DATA[:HALF]) + gzip.compress(DATA[HALF:]) + bytes(512),
    "zstd": lambda: zstandard.compress(DATA),
    "zstd of two frames": lambda: zstandard.compress(DATA[:HALF]) + zstandard.compress(DATA[HALF:]),
    "zstd of unknown length": lambda: zstandard.ZstdCompressor(write_content_size=False).compress(DATA),
}
ALL = pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED.keys())


@ALL
def test_each_line_is_read_whatever_packs_it_and_whatever_the_file_is_called(
    tmp_path: Path, packed: Callable[[], bytes]
) -> None:
    path = tmp_path / "found"
    path.write_bytes(packed())
    source = FileSource(str(path))
    blocks = list(source.blocks())
    assert [record for block in blocks for record in block.records] == LINES
    assert [number for block in blocks for number in block.numbers] == [*range(1, len(LINES) + 1)]
    assert sum(block.size for block in blocks) <= source.size() == path.stat().st_size
    assert source.unread == []


@ALL
def test_what_was_cut_off_hides_nothing_before_it_and_is_told(
    tmp_path: Path, packed: Callable[[], bytes]
) -> None:
    data = packed()
    path = tmp_path / "found"
    path.write_bytes(data[: -(600 if data.endswith(bytes(512)) else 60)])
    source = FileSource(str(path))
    found = read(source)
    whole = found[:-1] if data == DATA else found
    assert whole == LINES[: len(whole)]
    assert len(whole) > 1_000
    assert source.unread if data != DATA else LINES[len(whole)].startswith(found[-1])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "zstd, lines"])
def test_a_bomb_costs_no_memory_and_is_not_read_to_its_end(tmp_path: Path, kind: str) -> None:
    size = 100 << 20
    if kind == "gzip":
        data = gzip.compress(bytes(size), 9)
    else:
        one = b"\n" if "lines" in kind else b"\0"
        packer = zstandard.ZstdCompressor().compressobj()
        data = b"".join(packer.compress(one * (1 << 20)) for _ in range(size >> 20)) + packer.flush()
    assert len(data) < size / 500
    path = tmp_path / "bomb"
    path.write_bytes(data)
    source = FileSource(str(path))
    tracemalloc.start()
    for block in source.blocks():
        assert len(block.records) <= (1 << 20) + 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    assert "more than 500 times its size" in source.unread[0].why


@settings(max_examples=40)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_lines_do_not_depend_on_how_they_come(data: bytes, size: int) -> None:
    rest = [data]

    def some(_most: int) -> bytes:
        piece, rest[0] = rest[0][:size], rest[0][size:]
        return piece

    if data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return
    blocks: list[Block] = list(lines_of("found", some))
    found = [record for block in blocks for record in block.records]
    expected = data.split(b"\n")
    assert found == (expected if expected[-1] else expected[:-1])
    assert [block.torn for block in blocks if block.torn] == ([True] if expected[-1] else [])


def test_a_line_without_end_is_cut_to_what_no_record_has(tmp_path: Path) -> None:
    path = tmp_path / "found"
    path.write_bytes(b"x" * (5 << 20) + b"\n" + LINES[0])
    assert [len(record) for record in read(FileSource(str(path)))] == [LIMIT + 1, len(LINES[0])]


def test_a_file_is_read_with_what_it_was_rotated_to_the_oldest_first(tmp_path: Path) -> None:
    for name, data in (
        ("out.log", b"5\n"),
        ("out.log.1", b"4\n"),
        ("out.log.2.gz", gzip.compress(b"3\n")),
        ("out.log.10.zst", zstandard.compress(b"2\n")),
        ("out.log.bak", b"no\n"),
        ("out.log.1x", b"no\n"),
        ("other.log.1", b"no\n"),
    ):
        (tmp_path / name).write_bytes(data)
    assert read(FileSource(str(tmp_path / "out.log"))) == [b"2", b"3", b"4", b"5"]
    assert read(FileSource(str(tmp_path / "out.log.1"))) == [b"4"]


def test_of_a_directory_all_plain_files_are_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "held"
    (place / "2026" / "11").mkdir(parents=True)
    (place / "2026" / "11" / "a.jsonl.gz").write_bytes(gzip.compress(b"a\n"))
    (place / "b.jsonl").write_bytes(b"b\n")
    (place / "b.jsonl.1").write_bytes(b"b1\n")
    (place / ".hidden").write_bytes(b"no\n")
    (place / "link").symlink_to(place / "b.jsonl")
    (tmp_path / "outside").write_bytes(b"no\n")
    (place / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(place / "pipe")
    (place / "t.jsonl.d" / "segments").mkdir(parents=True)
    (place / "t.jsonl.d" / "segments" / f"{0:020}.jsonl").write_bytes(b"s\n")
    (place / "t.jsonl.d" / "tile").write_bytes(b"no\n")
    source = FileSource(str(place))
    assert sorted(read(source)) == [b"a", b"b", b"b1", b"s"]
    assert sorted(Path(one.where).name for one in source.unread) == ["out", "pipe"]


def test_a_file_is_read_though_what_lies_beside_it_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a directory of mode 0711."""

    def refused(_path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "found").write_bytes(DATA)
    monkeypatch.setattr(os, "listdir", refused)
    source = FileSource(str(tmp_path / "found"))
    assert read(source) == LINES
    [unread] = source.unread
    assert unread == (
        str(tmp_path), "cannot be listed: Permission denied; what found was rotated to is left out"
    )  # fmt: skip


def test_directories_may_be_as_deep_as_a_path_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is deeper is named as not read."""
    top = tmp_path / "top"
    top.mkdir()
    monkeypatch.chdir(top)
    try:
        for depth in range(2_500):
            if depth == 1_200:
                Path("found").write_bytes(DATA)
            Path("d").mkdir()
            os.chdir("d")
        os.chdir(top)
        source = FileSource(str(top))
        assert read(source) == LINES
        [unread] = source.unread
        assert unread.why == "cannot be read: File name too long"
    finally:
        os.chdir(top)
        while Path("d").exists():  # from above: whoever takes it away by its path finds that too long
            if Path("d/d").exists():
                Path("d/d").rename("e")
            Path("d/found").unlink(missing_ok=True)
            Path("d").rmdir()
            if Path("e").exists():
                Path("e").rename("d")


def test_a_pipe_that_is_named_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(DATA),))
    writer.start()
    assert read(FileSource(str(path))) == LINES
    writer.join()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected a file"), ("a\0b", "expected a file"), ("nowhere", "No such file"), ("s4://x/y", "s4://"),
        ("kafka://[::1/x", "expected kafka://HOST:PORT"), ("kafka://a\u2100b/t", "expected kafka://HOST:PORT"),
        ("kafka://ada:s3cret@[::1/x", "no such URL"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_at_all_is_one_line(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        open_source(name)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


class Cluster:
    """A topic of two partitions: one goes on for ever, the other one has nobody who hands it out."""

    def __init__(self, _settings: object, *, logger: object) -> None:
        del logger
        self.paused: set[int] = set()
        self.at = 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=(0, 1))})

    def get_watermark_offsets(self, _place: object, timeout: float) -> tuple[int, int]:
        del timeout
        return 0, 3

    def assign(self, _places: object) -> None: ...

    def pause(self, places: list[Any]) -> None:
        self.paused |= {place.partition for place in places}

    def close(self) -> None: ...

    def poll(self, _timeout: float) -> None: ...

    def consume(self, count: int, _timeout: float) -> list[Any]:
        if 0 in self.paused:
            return []
        self.at += count
        return [Sent(offset) for offset in range(self.at - count, self.at)]


class Sent(NamedTuple):
    at: int

    def partition(self) -> int:
        return 0

    def error(self) -> None: ...

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes:
        return b"%d" % self.at

    def headers(self) -> None: ...


def test_a_partition_that_goes_on_hides_none_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library(), "Consumer", Cluster)
    monkeypatch.setattr(kafka, "SILENCE_S", 0.2)
    source = open_source("kafka://h/t")
    blocks = source.blocks()
    assert [*next(blocks).records] == [b"0", b"1", b"2"]
    with pytest.raises(SourceError, match="cannot be read on: no record came for"):
        next(blocks)


def test_a_sink_says_how_long_a_topic_is_waited_for() -> None:
    slow, quick = parse_sinks(
        [
            {"type": "kafka", "name": str(timeout), "brokers": "h", "topic": "t", "timeout": timeout}
            for timeout in (40, 1)
        ]
    )
    waits = [KafkaSource("kafka://h/t", sink)._timeout for sink in (slow, quick, None)]
    assert waits == [40.0, 10.0, 10.0]
