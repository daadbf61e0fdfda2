"""Records in an object store, read back: which objects are opened, and what becomes of those that cannot be read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from indelible.errors import ConfigError, SourceError
from indelible.query.filters import Filter
from indelible.query.readback import Readback
from indelible.query.sources.opening import open_source
from indelible.query.sources.s3 import S3Source
from indelible.sink_settings.sinks import parse_sinks
from indelible.trail.proofs.manifest import SUFFIX, batch_stem
from tests.batches import Batches, FakeBucket, manifest_key
from tests.stores import SmallStore, small_store
from tests.trails import ORIGIN, Body, Maker, at, operation

HOURS = 3


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallStore]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    with small_store() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-ours")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield made


@pytest.fixture
def batches(tmp_path: Path, store: SmallStore) -> Batches:
    """A batch an hour, each of ten lines."""
    bucket = FakeBucket()
    bucket.objects = store.objects
    made = Batches(Maker(tmp_path / "a.jsonl"), bucket)
    for hour in range(HOURS):
        made.maker.clock = 3_600 * hour
        made.maker.add_many(9 if not hour else 10, body=partial(_call, at(3_600 * hour))).seal()
        made.put(range(10 * hour, 10 * hour + 10))
    return made


def _call(time: str, seq: int) -> Body:
    return operation(seq, timestamp=time)


def listed(source: S3Source, **wanted: object) -> list[bytes]:
    everything = {"events": None, **wanted}
    hits = list(Readback([source], Filter(**everything)).all())  # type: ignore[arg-type] # some of its fields
    assert {hit.origin for hit in hits} <= {ORIGIN}
    return [hit.line for hit in hits]


def test_every_line_comes_once_and_in_its_order(batches: Batches, store: SmallStore) -> None:
    batches.last = None
    batches.put(range(5, 25), manifest=False)
    store.objects["prod/notes.txt"] = b"not ours"
    source = S3Source("s3://audit/prod/")
    assert listed(source) == batches.lines()
    assert (source.others, source.unclaimed, source.files, source.unread) == (1, 1, 4, [])
    assert source.size() == sum(len(store.objects[key]) for key in batches.keys)
    assert source.name == "s3://audit/prod"


def test_what_was_recorded_before_since_is_neither_listed_nor_opened(
    batches: Batches, store: SmallStore
) -> None:
    since = at(2 * 3_600)
    source = S3Source("s3://audit/prod", since=since)
    assert listed(source, since=since) == batches.lines()[20:]
    opened = [key for key in store.asked if key.endswith(".zst")]
    assert opened == batches.keys[1:]  # an hour more, in case a clock was set
    assert any("start-after=prod%2F2026" in asked for asked in store.asked)


def test_hours_of_a_prefix_below_are_passed_over_where_a_listing_cannot_begin_late(
    batches: Batches, store: SmallStore
) -> None:
    since = at(2 * 3_600)
    assert listed(S3Source("s3://audit", since=since), since=since) == batches.lines()[20:]
    assert [key for key in store.asked if key.endswith(".zst")] == batches.keys[1:]
    assert not any("start-after" in asked for asked in store.asked)


@pytest.mark.parametrize("ending", [".jsonl.zst", SUFFIX])
def test_one_batch_by_its_object_or_its_manifest(batches: Batches, ending: str) -> None:
    source = S3Source("s3://audit/" + batches.keys[1].removesuffix(".jsonl.zst") + ending)
    assert listed(source) == batches.lines()[10:20]
    assert not source.is_whole


@pytest.mark.parametrize(
    ("prefix", "whole"),
    [
        ("", True),
        ("prod", True),
        ("a2026", True),
        ("2026", False),
        ("prod/2026/11", False),
        ("2026/11/21/17", False),
    ],
)
def test_a_part_of_the_hours_is_told_from_the_whole(prefix: str, whole: bool) -> None:
    assert S3Source(f"s3://audit/{prefix}").is_whole is whole


def test_prefixes_do_not_run_into_each_other(batches: Batches, store: SmallStore) -> None:
    key = batches.keys[0]
    store.objects["prod2" + key.removeprefix("prod")] = store.objects[key]
    assert len(listed(S3Source("s3://audit/prod"))) == 30


def test_ten_thousand_objects_are_listed_a_page_at_a_time(batches: Batches, store: SmallStore) -> None:
    directory = batches.keys[0].rpartition("/")[0]
    for number in range(100, 10_100):
        store.objects[f"{directory}/{batch_stem(ORIGIN, number, number)}.jsonl.zst"] = b""
    source = S3Source("s3://audit/prod")
    assert source.bucket.directories("") == ["prod"]  # what boto3 takes is taken now
    tracemalloc.start()
    assert source.size() > 0
    assert tracemalloc.get_traced_memory()[0] < 6 << 20
    tracemalloc.stop()
    assert sum("list-type" in asked and "delimiter" not in asked for asked in store.asked) == 11


def test_a_stream_that_breaks_is_taken_up_where_it_broke(batches: Batches, store: SmallStore) -> None:
    store.breaks = [10_000, 100, 0]  # the first is the manifest, which gives the trail's name
    assert listed(S3Source("s3://audit/prod")) == batches.lines()
    assert store.asked.count(batches.keys[0]) == 3


def test_one_that_breaks_for_ever_is_an_error_and_never_an_end(batches: Batches, store: SmallStore) -> None:
    store.breaks = [10_000, *[0] * 20]
    with pytest.raises(SourceError, match="cannot be read on"):
        listed(S3Source("s3://audit/prod"))


def test_what_one_object_is_to_blame_for_ends_nothing_else(batches: Batches, store: SmallStore) -> None:
    store.refuses = {batches.keys[0]: (403, "InvalidObjectState"), batches.keys[1]: (403, "AccessDenied")}
    store.objects[batches.keys[2]] = store.objects[batches.keys[2]][:-9]
    source = S3Source("s3://audit/prod")
    assert len(listed(source)) < 10
    said = {one.where.rpartition("/")[2]: one.why for one in source.unread}
    assert list(said) == [key.rpartition("/")[2] for key in batches.keys]
    told = list(said.values())
    assert "it is archived: restore it first" in told[0]
    assert "s3:GetObject" in told[1]
    assert "its end is missing" in told[2]


def test_an_object_that_goes_after_the_listing_and_one_that_is_only_spoken_of_are_named(
    batches: Batches, store: SmallStore
) -> None:
    source = S3Source("s3://audit/prod")
    del store.objects[batches.keys[2]]
    assert source.size() > 0
    del store.objects[batches.keys[1]]
    assert listed(source) == batches.lines()[:10]
    assert [one.why for one in source.unread] == [
        "it is gone since it was listed",
        "the object that it speaks of is not there",
    ]


def test_without_manifests_lines_are_read_all_the_same(batches: Batches, store: SmallStore) -> None:
    for key in batches.keys:
        del store.objects[manifest_key(key)]
    source = S3Source("s3://audit/prod")
    hits = list(Readback([source], Filter(events=None)).all())
    assert [hit.line for hit in hits] == batches.lines()
    assert source.unclaimed == HOURS


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "NoSuchBucket", "there is no such bucket"),
        (403, "AccessDenied", "s3:ListBucket"),
        (403, "SignatureDoesNotMatch", "it refuses our secret key"),
        (403, "RequestTimeTooSkewed", "clock"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (418, "Teapot\n\x1b[31m", "418"),
    ],
)
def test_what_a_store_says_is_one_line(store: SmallStore, status: int, code: str, said: str) -> None:
    store.refuses = {"?": (status, code)}
    with pytest.raises(SourceError) as caught:
        S3Source("s3://audit/prod").size()
    text = str(caught.value)
    assert text.startswith("s3://audit: cannot be read: ")
    assert said in text
    assert text.isprintable()
    assert "a-secret-of-ours" not in text


def test_nobody_there_no_such_name_and_no_tls_are_said(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url, said in (
        ("http://127.0.0.1:1", "nothing listens there"),
        (store.url.replace("http", "https"), "it does not speak TLS there"),
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(SourceError, match=said):
            S3Source("s3://audit/prod").size()


def test_without_credentials_it_says_where_they_may_come_from(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigError, match="no credentials: name a sink with --sink"):
        S3Source("s3://audit/prod").size()
    monkeypatch.setenv("AWS_PROFILE", "nobody's")
    with pytest.raises(ConfigError, match="nobody's"):
        S3Source("s3://audit/prod").size()


def test_a_sink_says_how_to_come_in_and_the_url_where_to(
    batches: Batches, store: SmallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    item = {
        "type": "s3", "bucket": "other", "prefix": "elsewhere", "endpoint": store.url, "allow_private": True,
        "access_key_env": "AWS_ACCESS_KEY_ID", "secret_key_env": "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip
    sink = parse_sinks([item])[0]
    source = open_source("s3://audit/prod", sink)
    assert isinstance(source, S3Source)
    assert listed(source) == batches.lines()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "expected s3://BUCKET"),
        ("s3://UPPER/x", "a bucket's name"),
        ("s3://key:secret@audit/x", "no key, password, host or port"),
        ("s3://audit/" + "x" * 1_025, "no prefix of any key"),
        ("s3://audit/\x1b[31m", "no prefix of any key"),
    ],
)
def test_what_is_no_such_url_is_one_line(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(url)
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_sink_of_another_type_is_none(tmp_path: Path) -> None:
    sink = parse_sinks([{"type": "file", "path": str(tmp_path / "out"), "name": "out"}])[0]
    with pytest.raises(ConfigError, match="it is of type file, not s3"):
        open_source("s3://audit/prod", sink)


def test_a_sink_that_expects_another_name_in_a_certificate_is_none() -> None:
    """The client that reads goes by the endpoint's name: it would say that the certificate is wrong."""
    item = {
        "type": "s3", "name": "store", "bucket": "audit", "endpoint": "https://store.example.org",
        "tls": {"server_name": "minio.internal"},
    }  # fmt: skip
    with pytest.raises(ConfigError, match="--sink store: its 'tls: server_name' cannot be kept while reading"):
        open_source("s3://audit/prod", parse_sinks([item])[0])
