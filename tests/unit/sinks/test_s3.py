"""The s3 sink before a bucket: what goes into one object, what it asks for, and what it says when it is refused."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from indelible.registry import make_sink
from indelible.sink_settings import parse_sinks
from indelible.sinks.base import Seal, Shipment, SinkUnavailable, TooScattered
from indelible.sinks.s3 import S3Sink
from indelible.sinks.web.client import Answer, Client
from indelible.trail.entry import stamp
from indelible.trail.proofs.manifest import decode
from tests.trails import ORIGIN, encode, operation
from tests.unit.sinks.buckets import BUCKET, ENV, Bucket, bucket_keys, error
from tests.unit.sinks.web_receivers import HttpReceiver, Reply

pytestmark = pytest.mark.slow

EIGHT = sha256(ORIGIN.encode()).hexdigest()[:8]


MADE: list[S3Sink] = []
"""Closed when a test ends."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def receiver(bucket: Bucket) -> Iterator[HttpReceiver]:
    made = HttpReceiver(bucket)
    yield made
    made.stop()


class Notary:
    """Seals whatever it is asked to, of so many records at the most."""

    def __init__(self, before: int | None = None, most: int = 1 << 30) -> None:
        self._before = before
        self._most = most

    def before(self, origin: str) -> int | None:
        assert origin in (ORIGIN, "another")
        return self._before

    def seal(self, origin: str, shipments: Sequence[Shipment], *, proves: bool) -> Seal | None:
        if len(shipments) > self._most:
            raise TooScattered
        return Seal(f"note of {origin}", "a+00000000+key", (b"p" * 32,) if proves else None)


def sink(receiver: HttpReceiver, notary: Notary | None = None, **keys: Any) -> S3Sink:
    made = make_sink(parse_sinks([bucket_keys(receiver, **keys)])[0])
    assert isinstance(made, S3Sink)
    MADE.append(made)
    if notary is not None:
        made.seal_with(notary)
    return made


def event(seq: int, recorded: str = "2026-11-21T10:00:00.000000Z", **changes: Any) -> Shipment:
    line = stamp(seq, recorded, encode(operation(seq)))
    return structs.replace(Shipment(line, seq, f"e{seq}", origin=ORIGIN, line=line), **changes)


def erased(seq: int) -> Shipment:
    line = json.dumps({"seq": seq, "erased": "x", "leaf": "0" * 64}).encode()
    return Shipment(line, seq, "", origin=ORIGIN, line=line)


# --- objects ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_an_object_and_then_its_manifest(bucket: Bucket, receiver: HttpReceiver) -> None:
    made = sink(receiver, Notary(before=3))
    some = [event(seq) for seq in (4, 5, 7)]
    assert made.send(some).taken == 3
    (key, body, put), (beside, manifest, _) = bucket.puts
    stem = f"a/b/2026/11/21/10/00000000000000000004-00000000000000000007-{EIGHT}"
    assert (key, beside) == (f"{stem}.jsonl.zst", f"{stem}.manifest.json")
    assert bucket.objects() == [(key, [one.record for one in some])]
    assert put.headers["Content-Type"] == "application/zstd"
    assert bucket.manifests() == [
        {
            "manifest": 1,
            "object": key.rpartition("/")[2],
            "format": "indelible",
            "origin": ORIGIN,
            "schema": 1,
            "bytes": len(body),
            "sha256": sha256(body).hexdigest(),
            "lines": 3,
            "first_seq": 4,
            "last_seq": 7,
            "first_time": "2026-11-21T10:00:00.000000Z",
            "last_time": "2026-11-21T10:00:00.000000Z",
            "after": 3,
            "complete": False,
            "checkpoint": f"note of {ORIGIN}",
            "vkey": "a+00000000+key",
            "proof": [base64.b64encode(b"p" * 32).decode()],
        }
    ]
    assert decode(manifest).last_seq == 7


def test_an_hour_a_trail_and_a_schema_end_an_object(bucket: Bucket, receiver: HttpReceiver) -> None:
    some = [
        event(0, "2026-11-21T10:59:59.999999Z"),
        event(1, "2026-11-21T11:00:00.000000Z"),
        event(2, "2026-11-21T11:30:00.000000Z", schema=2),
        event(0, "2026-11-21T11:30:00.000000Z", origin="another"),
    ]
    assert sink(receiver, Notary()).send(some).taken == 4
    assert [key[4:] for key, _ in bucket.objects()] == [
        f"2026/11/21/10/{0:020d}-{0:020d}-{EIGHT}.jsonl.zst",
        f"2026/11/21/11/{1:020d}-{1:020d}-{EIGHT}.jsonl.zst",
        f"2026/11/21/11/{2:020d}-{2:020d}-{EIGHT}.jsonl.zst",
        f"2026/11/21/11/{0:020d}-{0:020d}-{sha256(b'another').hexdigest()[:8]}.jsonl.zst",
    ]
    assert [one["after"] for one in bucket.manifests()] == [None, 0, 1, None]
    assert [one["schema"] for one in bucket.manifests()] == [1, 1, 2, 1]


def test_an_erased_line_stands_with_those_around_it(bucket: Bucket, receiver: HttpReceiver) -> None:
    some = [erased(0), event(1), erased(2), event(3, "2026-11-21T11:00:00.000000Z"), erased(4)]
    sink(receiver, Notary()).send(some)
    assert [[json.loads(line)["seq"] for line in lines] for _, lines in bucket.objects()] == [[0, 1, 2], [3, 4]]
    bucket.puts.clear()
    before = datetime.now(UTC) - timedelta(seconds=1)
    sink(receiver, Notary()).send([erased(9)])
    [said] = bucket.manifests()
    assert (said["first_time"], said["last_time"]) == (None, None)
    hour = datetime.strptime(bucket.puts[0][0][4:17] + " +0000", "%Y/%m/%d/%H %z")
    assert before < hour + timedelta(hours=1)
    assert hour <= datetime.now(UTC)


def test_what_is_too_scattered_for_one_proof_is_divided(bucket: Bucket, receiver: HttpReceiver) -> None:
    hours = [f"2026-11-21T{10 + seq // 6}:00:0{seq % 6}.000000Z" for seq in range(9)]
    some = [erased(0), *(event(seq, hours[seq]) for seq in range(1, 9))]
    assert sink(receiver, Notary(most=2)).send(some).taken == 9
    assert bucket.lines() == [one.record for one in some]
    said = bucket.manifests()
    assert max(one["lines"] for one in said) == 2
    assert [one["after"] for one in said] == [None, *(one["last_seq"] for one in said[:-1])]
    for one in said:
        assert one["first_time"] == (hours[one["first_seq"] or 1] if one["last_seq"] else None)
        assert one["last_time"] == (hours[one["last_seq"]] if one["last_seq"] else None)


@pytest.mark.parametrize(
    ("wire_format", "record", "extension"),
    [("cef", b"CEF:0|x", ".log.zst"), ("ecs", b'{"x":1}', ".jsonl.zst")],
)
def test_of_another_format_no_line_can_be_proved(
    bucket: Bucket, receiver: HttpReceiver, wire_format: str, record: bytes, extension: str
) -> None:
    made = sink(receiver, Notary(), format=wire_format)
    made.send([event(0, record=record)])
    assert bucket.objects()[0][0].endswith(extension)
    assert bucket.objects()[0][1] == [record]
    [said] = bucket.manifests()
    assert (said["format"], "proof" in said) == (wire_format, False)


@pytest.mark.parametrize(
    ("compression", "ending", "kind"),
    [("gzip", ".jsonl.gz", "application/gzip"), ("none", ".jsonl", "application/x-ndjson")],
)
def test_other_compressions(
    bucket: Bucket, receiver: HttpReceiver, compression: str, ending: str, kind: str
) -> None:
    sink(receiver, compression=compression, prefix="").send([event(0)])
    key, _, asked = bucket.puts[0]
    assert key == f"2026/11/21/10/{0:020d}-{0:020d}-{EIGHT}{ending}"
    assert asked.headers["Content-Type"] == kind
    assert bucket.lines() == [event(0).record]


def test_what_nobody_says_is_null(bucket: Bucket, receiver: HttpReceiver) -> None:
    assert sink(receiver).send([event(0)]).taken == 1
    [said] = bucket.manifests()
    assert [said[key] for key in ("after", "checkpoint", "vkey")] == [None, None, None]
    assert not {"proof", "rotations"} & set(said)
    bucket.puts.clear()
    assert sink(receiver).send([event(0, origin="")]).taken == 1
    assert (len(bucket.puts), bucket.manifests()) == (1, [])


# --- failures ---------------------------------------------------------------------------------------------------------


def unavailable(made: S3Sink, some: Sequence[Shipment] = ()) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as raised:
        made.send(some or [event(0)])
    assert str(raised.value).isprintable()
    assert ENV["S3_PASSWORD"] not in str(raised.value)
    return raised.value


def test_what_is_stored_before_a_failure_is_taken_and_what_has_no_manifest_is_not(
    bucket: Bucket, receiver: HttpReceiver
) -> None:
    some = [event(seq, f"2026-11-21T{10 + seq}:00:00.000000Z") for seq in range(3)]
    fine = Reply(200)
    bucket.plan = [fine, fine, fine, error(500, "InternalError", "We encountered an internal error")]
    made = sink(receiver, Notary())
    assert unavailable(made, some).delivery.taken == 1
    assert made.send(some[1:]).taken == 2
    assert [one["first_seq"] for one in bucket.manifests()] == [1, 2]


def test_a_record_that_can_be_in_no_object_is_refused_and_the_others_are_taken(
    bucket: Bucket, receiver: HttpReceiver
) -> None:
    some = [event(0), event(1, record=b"two\nlines"), event(2)]
    delivery = sink(receiver, Notary()).send(some)
    assert (delivery.taken, [index for index, _ in delivery.refused]) == (3, [1])
    assert bucket.lines() == [some[0].record, some[2].record]
    bucket.plan = [error(503, "SlowDown", "Please reduce your request rate")]
    assert unavailable(sink(receiver, Notary()), some).delivery == (0, ())


REFUSALS = [
    (error(404, "NoSuchBucket", "The bucket"), "there is no such bucket: 404 NoSuchBucket, The bucket"),
    (error(403, "InvalidAccessKeyId", "x"), "it knows no such access key: 403"),
    (error(403, "SignatureDoesNotMatch", "x"), "it refuses our secret key: 403"),
    (error(403, "RequestTimeTooSkewed", "x"), "its clock and this machine's are too far apart: 403"),
    (error(400, "ExpiredToken", "x"), "our session token is over: 400"),
    (error(403, "AccessDenied", "Access Denied"), "we may not write there; needed is s3:PutObject, with a lock s3:Put"),
    (error(301, "PermanentRedirect", "x", **{"x-amz-bucket-region": "eu-west-1"}), "see 'region': eu-west-1 (301"),
    (error(400, "AuthorizationHeaderMalformed", "x", "<Region>eu-west-2</Region>"), "see 'region': eu-west-2 (400"),
    (error(307, "TemporaryRedirect", "x", Location="http://127.0.0.1:1/"), "the bucket is elsewhere; see 'region' and"),
    (error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration"), "the bucket has no object lock"),
    (error(400, "InvalidStorageClass", "x"), "see 'storage_class': 400"),
    (error(400, "KMS.NotFoundException", "x"), "see 'kms_key_id': 400"),
    (error(507, "XMinioStorageFull", "x"), "it has no room left: 507"),
    (error(400, "Unheard", "Of &lt;it&gt;."), "it refuses the object: 400 Unheard, Of <it>"),
    (Reply(503, b"<html>"), "it asks us to slow down: 503"),
    (Reply(404, b"nothing here"), "it has no such bucket, or is no object store: 404"),
    (Reply(200, b"", {}, raw=b"SSH-2.0-x\r\n\r\n"), "it does not speak HTTP/1.1"),
    (Reply(then="reset"), "it broke the connection off"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "why"), REFUSALS, ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    bucket: Bucket, receiver: HttpReceiver, reply: Reply, why: str
) -> None:
    bucket.plan = [reply, reply]
    found = unavailable(sink(receiver))
    assert str(found).startswith(f"s3://{BUCKET}/a/b at 127.0.0.1:{receiver.port}: ")
    assert why in str(found)
    assert found.delivery.taken == 0
    assert len([one for one in receiver.asked if one.method == "PUT"]) == 1 + (reply.then == "reset") * 0


def test_it_is_left_alone_for_as_long_as_it_asks(bucket: Bucket, receiver: HttpReceiver) -> None:
    bucket.plan = [error(503, "SlowDown", "Please reduce", **{"Retry-After": "17"}), error(503, "SlowDown")]
    made = sink(receiver)
    assert unavailable(made).retry_after == 17.0
    assert unavailable(made).retry_after is None


def test_what_it_repeats_of_a_record_or_of_our_secret_is_not_said(
    bucket: Bucket, receiver: HttpReceiver
) -> None:
    word = event(0).record.decode()[200:260]
    quoted = word.replace("&", "").replace("<", "")
    bucket.plan = [error(400, "Invalid", f"{quoted} and {ENV['S3_PASSWORD']}")]
    assert quoted not in str(unavailable(sink(receiver)))


@pytest.mark.parametrize(
    ("reply", "lock", "why"),
    [
        (error(404, "NoSuchBucket", "x"), "none", "there is no such bucket"),
        (error(403, "InvalidAccessKeyId", "x"), "none", "it knows no such access key"),
        (error(503, "SlowDown", "x"), "none", "it asks us to slow down"),
        (error(403, "AccessDenied", "x"), "none", ""),
        (error(403, "AccessDenied", "x"), "compliance", ""),
        (error(501, "NotImplemented", "x"), "none", ""),
        (error(501, "NotImplemented", "x"), "compliance", "it does not say that the bucket has an object lock:"),
        (error(404, "ObjectLockConfigurationNotFoundError", "x"), "governance", "the bucket has no object lock"),
        (Reply(200, b"<ObjectLockConfiguration/>"), "governance", ""),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)  # fmt: skip
def test_the_bucket_is_asked_before_anything_is_sent(
    bucket: Bucket, receiver: HttpReceiver, reply: Reply, lock: str, why: str
) -> None:
    bucket.about_lock = reply
    made = sink(receiver, object_lock=lock, retention_days=None if lock == "none" else 9)
    if not why:
        made.open()
        return
    with pytest.raises(SinkUnavailable) as raised:
        made.open()
    assert why in str(raised.value)


def test_how_objects_are_to_be_kept(bucket: Bucket, receiver: HttpReceiver) -> None:
    made = sink(
        receiver,
        Notary(),
        object_lock="COMPLIANCE",
        retention_days=30,
        storage_class="STANDARD_IA",
        sse="aws:kms",
        kms_key_id="alias/audit",
    )
    before = datetime.now(UTC)
    made.send([event(0)])
    assert len(bucket.puts) == 2
    for _, _, asked in bucket.puts:
        assert asked.headers["x-amz-object-lock-mode"] == "COMPLIANCE"
        until = datetime.fromisoformat(asked.headers["x-amz-object-lock-retain-until-date"])
        assert abs(until - before - timedelta(days=30)) < timedelta(minutes=5)
        assert asked.headers["x-amz-storage-class"] == "STANDARD_IA"
        assert asked.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert asked.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/audit"


# --- who is who -------------------------------------------------------------------------------------------------------


def test_credentials_of_the_usual_places(
    bucket: Bucket, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"access_key_env": None, "secret_key_env": None}
    with pytest.raises(
        SinkUnavailable, match="no credentials: give access_key_env and secret_key_env, a profile"
    ):
        sink(receiver, **keys).open()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ENV["S3_USER"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    sink(receiver, **keys).send([event(0)])
    (tmp_path / "credentials").write_text(
        f"[of audit]\naws_access_key_id = {ENV['S3_USER']}\naws_secret_access_key = x\naws_session_token = t\n"
    )
    sink(receiver, **keys, profile="of audit").send([event(1)])
    assert [asked.headers["x-amz-security-token"] for _, _, asked in bucket.puts] == [None] * 2 + ["t"] * 2
    with pytest.raises(SinkUnavailable, match=r"boto3: The config profile \(none\) could not be found"):
        sink(receiver, **keys, profile="none").open()


def test_a_secret_that_is_not_there_and_comes(
    bucket: Bucket, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = sink(receiver, secret_key_env=None, secret_key_file=str(tmp_path / "key"))
    assert f"secret_key_file: {tmp_path / 'key'}: No such file" in str(unavailable(made))
    (tmp_path / "key").write_text("new\n")
    assert made.send([event(0)]).taken == 1


def test_a_name_that_means_a_private_address_is_not_connected_to(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    keys: dict[str, Any] = {"endpoint": f"http://store.example:{receiver.port}", "allow_http": True}
    why = str(unavailable(sink(receiver, **keys, allow_private=False)))
    assert "127.0.0.1 is not a public address; see 'allow_private'" in why
    assert sink(receiver, **keys).send([event(0)]).taken == 1
    assert asked == ["store.example", "store.example"]


def test_an_address_of_amazons_may_be_private_since_in_a_vpc_it_is(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))],
    )
    made = sink(receiver, endpoint=None, allow_private=False, region="eu-central-1")
    assert "it does not speak TLS there" in str(unavailable(made))


@pytest.mark.parametrize(
    ("keys", "named", "url"),
    [
        ({}, False, f"store.example/{BUCKET}/"),
        ({"path_style": False}, False, f"{BUCKET}.store.example/"),
        ({"endpoint": None}, True, f"store.example/{BUCKET}/"),
        ({"endpoint": None, "path_style": False}, True, f"{BUCKET}.store.example/"),
        ({"endpoint": None}, False, f"{BUCKET}.s3.eu-central-1.amazonaws.com/"),
        ({"endpoint": None, "path_style": True}, False, f"s3.eu-central-1.amazonaws.com/{BUCKET}/"),
    ],
)
def test_where_the_bucket_stands_in_a_url(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], named: bool, url: str
) -> None:
    if named:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example")
    asked: list[str] = []

    def ask(client: Client, method: str, target: str, headers: Sequence[tuple[str, str]], *_: object) -> Answer:
        asked.append(dict(headers)["Host"] + target)
        return Answer(200, {}, b"")

    monkeypatch.setattr(Client, "ask", ask)
    given = {"endpoint": "https://store.example", "region": "eu-central-1", "prefix": "", **keys}
    assert sink(receiver, **given).send([event(0, origin="")]).taken == 1
    [found] = asked
    assert found.startswith(f"{url}2026/11/21/10/")
