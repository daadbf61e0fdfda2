"""Trails that are shipped to a real object store: what another client reads there, locks, kills, and what is said."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from minio.commonconfig import COMPLIANCE, GOVERNANCE
from minio.error import S3Error
from minio.retention import Retention

from indelible.trail.proofs.checkpoint import open_note, parse, parse_vkey
from indelible.trail.proofs.manifest import decode
from indelible.trail.proofs.merkle import leaf_hash
from indelible.trail.proofs.subset import show_subset
from tests.effort import LONG
from tests.integration.ship.shipped import configure, end, next_of, run, start, until
from tests.integration.ship.topics import add
from tests.objects import ENV, LOCKED, PLAIN, Store, Stored, keys, manifests
from tests.servers import PATIENCE_S, running
from tests.trails import ORIGIN, VKEY, Maker, at
from tests.unit.docs.test_s3_page import policy as policy_of_the_page

KILLS = 200 if LONG else 6


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def lines_of(found: list[Stored]) -> list[bytes]:
    """Return the lines of all objects, in the order of their keys."""
    packed = [one.data for one in found if one.key.endswith(".jsonl.zst")]
    unpacked = b"".join(zstandard.ZstdDecompressor().decompress(data) for data in packed)
    return unpacked.split(b"\n")[:-1]


def seqs_of(lines: list[bytes]) -> list[int]:
    return [int(line[len(b'{"seq":') :].split(b",", 1)[0]) for line in lines]


def is_proved(one: Stored, data: bytes) -> bool:
    """Judge an object by its manifest alone."""
    said = decode(one.data)
    assert (sha256(data).hexdigest(), len(data)) == (said.sha256, said.size)
    lines = zstandard.ZstdDecompressor().decompress(data).split(b"\n")[:-1]
    assert (said.lines, said.vkey, said.origin) == (len(lines), VKEY, ORIGIN)
    assert said.checkpoint is not None
    assert said.proof is not None
    checkpoint = parse(open_note(said.checkpoint.encode(), [parse_vkey(VKEY)]))
    leaves = zip(seqs_of(lines), map(leaf_hash, lines), strict=True)
    return show_subset(checkpoint.size, leaves, said.proof).root == checkpoint.root


def all_are_proved(found: list[Stored]) -> None:
    """Each object has its manifest, and is what that says; batches that do not overlap follow on each other."""
    objects = {one.key: one.data for one in found if not one.key.endswith(".json")}
    beside = [one for one in found if one.key.endswith(".json")]
    for one in beside:
        assert is_proved(one, objects[f"{one.key.rpartition('/')[0]}/{json.loads(one.data)['object']}"])
    assert len(manifests(beside)) == len(objects)


def stand(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "a.jsonl.d" / "cursors" / "store.state").read_bytes())
    except FileNotFoundError:
        return {"state": None, "error": None}
    return found


# --- what is there ----------------------------------------------------------------------------------------------------


def test_what_another_client_reads_is_the_trail_to_the_byte(store: Store, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    maker.add_many(300)
    maker.rotate(compress=True)
    maker.clock += 3600
    maker.add_many(400)
    maker.seal()
    sink = keys(store, flush_batch_lines=250)
    configure(tmp_path, sink)
    done = run(tmp_path, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    found = list(store.versions(PLAIN, sink["prefix"]))
    with zstandard.open(next(maker.layout.segments.iterdir())) as first:
        expected = first.read() + maker.layout.active.read_bytes()
    assert b"".join(line + b"\n" for line in lines_of(found)) == expected
    all_are_proved(found)
    hours = sorted({at(0)[:13], at(3700)[:13]})
    assert sorted({one.key.split("/")[-2] for one in found}) == [hour[-2:] for hour in hours]
    said = sorted(manifests(found).values(), key=lambda one: one["first_seq"])
    assert [one["first_seq"] for one in said] == [0, 250, 302, 500]
    assert [one["after"] for one in said] == [None, *(one["last_seq"] for one in said[:-1])]
    assert all(one["complete"] for one in said)


def test_little_waits_for_its_interval_and_is_sent_when_the_shipper_ends(store: Store, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(5).seal()
    sink = keys(store, flush_interval="1h")
    configure(tmp_path, sink)
    process = start(tmp_path)
    until(lambda: next_of(tmp_path, "store") == 6, "the first object")
    maker.add_many(3).seal()
    until(lambda: stand(tmp_path)["state"] == "waiting", "the state")
    assert next_of(tmp_path, "store") == 6
    code, said = end(process)
    assert (code, said) == (0, "")
    assert next_of(tmp_path, "store") == 9
    found = list(store.versions(PLAIN, sink["prefix"]))
    assert seqs_of(lines_of(found)) == list(range(9))
    all_are_proved(found)


# --- a lock -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [COMPLIANCE, GOVERNANCE])
def test_what_is_locked_cannot_be_deleted_or_be_kept_for_less_long(
    store: Store, tmp_path: Path, mode: str
) -> None:
    Maker(tmp_path / "a.jsonl").add_many(9).seal()
    sink = keys(store, bucket=LOCKED, object_lock=mode, retention_days=30)
    configure(tmp_path, sink)
    assert run(tmp_path, "--once").returncode == 0
    found = list(store.versions(LOCKED, sink["prefix"]))
    assert [one.key.split(".", 1)[1] for one in found] == ["jsonl.zst", "manifest.json"]
    all_are_proved(found)
    client, soon = store.client(), datetime.now(UTC) + timedelta(days=1)
    for one in found:
        held = client.get_object_retention(LOCKED, one.key, one.version)
        assert held is not None
        assert held.mode == mode
        assert abs(held.retain_until_date - soon - timedelta(days=29)) < timedelta(hours=1)
        with pytest.raises(S3Error, match="WORM protected"):
            client.remove_object(LOCKED, one.key, one.version)
        for shorter in (COMPLIANCE, GOVERNANCE):
            with pytest.raises(S3Error, match="WORM protected"):
                client.set_object_retention(LOCKED, one.key, Retention(shorter, soon), one.version)
    client.remove_object(LOCKED, found[0].key)  # a marker that says it is gone, and takes nothing away
    again = list(store.client().list_objects(LOCKED, sink["prefix"], recursive=True, include_version=True))
    assert {one.version for one in found} < {str(one.version_id) for one in again}


@pytest.mark.parametrize("statements", [2, 1])
def test_with_nothing_but_the_permissions_that_the_page_names(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statements: int
) -> None:
    policy = policy_of_the_page()
    policy["Statement"] = policy["Statement"][:statements]
    prefix = f"t/{uuid.uuid4().hex[:8]}"
    allowed = json.loads(
        json.dumps(policy).replace("acme-audit", LOCKED).replace(f"{LOCKED}/mcp", f"{LOCKED}/{prefix}")
    )
    store.add_user(f"writer{statements}", "a password of its own", allowed)
    monkeypatch.setenv("STORE_USER", f"writer{statements}")
    monkeypatch.setenv("STORE_PASSWORD", "a password of its own")
    Maker(tmp_path / "a.jsonl").add_many(9).seal()
    locked = {"bucket": LOCKED, "object_lock": "compliance", "retention_days": 1}
    configure(tmp_path, keys(store, **locked, prefix=prefix))
    done = run(tmp_path, "--once", "--timeout", "1s")
    assert (done.returncode, done.stderr) == (0, "")
    found = list(store.versions(LOCKED, prefix))
    assert seqs_of(lines_of(found)) == list(range(10))
    configure(tmp_path, keys(store, **locked, name="elsewhere", prefix="another"))
    done = run(tmp_path, "--once", "--timeout", "1s")
    assert done.returncode == 3
    assert "we may not write there; needed is s3:PutObject" in done.stderr


def test_a_lock_that_the_bucket_has_not(store: Store, tmp_path: Path) -> None:
    Maker(tmp_path / "a.jsonl").add_many(9).seal()
    sink = keys(store, object_lock="compliance", retention_days=30)
    configure(tmp_path, sink)
    done = run(tmp_path, "--once", "--timeout", "1s")
    assert done.returncode == 3
    assert "the bucket has no object lock" in done.stderr
    assert next_of(tmp_path, "store") == 0
    assert not list(store.versions(PLAIN, sink["prefix"]))


# --- what is wrong is said --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """Give the address of somebody who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"bucket": "nowhere"}, "there is no such bucket"),
        ({"region": "us-west-2"}, "the bucket is in another region; see 'region': eu-test-1"),
        ({"access_key_env": "HOME"}, "it knows no such access key"),
        ({"secret_key_env": "HOME"}, "it refuses our secret key"),
        ({"secret_key_env": "NOT_SET"}, "secret_key_env: environment variable NOT_SET is not set"),
        ({"endpoint": "http://127.0.0.1:9"}, "nothing listens there"),
        ({"endpoint": "SILENT"}, "it does not answer within"),
        ({"endpoint": "https://127.0.0.1:PORT"}, "it does not speak TLS there"),
        ({"endpoint": "http://nowhere.invalid:9000", "allow_http": True}, "the name cannot be resolved"),
        ({"storage_class": "COLD"}, "it has no such storage class; see 'storage_class'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_one_line(
    store: Store, tmp_path: Path, silent: str, more: dict[str, Any], why: str
) -> None:
    Maker(tmp_path / "a.jsonl").add_many(3).seal()
    if "endpoint" in more:
        more = {"endpoint": more["endpoint"].replace("SILENT", silent).replace("PORT", str(store.port))}
        more |= {"allow_http": True}
    configure(tmp_path, keys(store, **more))
    process = start(tmp_path)
    until(lambda: stand(tmp_path)["error"], "the error")
    found = stand(tmp_path)
    code, said = end(process)
    assert why in found["error"]
    assert (code, len(said.splitlines())) == (0, 1)
    assert why in said
    assert ENV["STORE_PASSWORD"] not in said
    assert next_of(tmp_path, "store") == 0


def test_over_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    Maker(tmp_path / "a.jsonl").add_many(5).seal()
    (tmp_path / "store").mkdir()
    made = Store(tmp_path / "store", tls=True)
    with running(made):
        assert made.authority is not None
        configure(tmp_path, keys(made))
        done = run(tmp_path, "--once", "--timeout", "1s")
        assert done.returncode == 3
        assert "its certificate is not accepted" in done.stderr
        sink = keys(made, tls={"ca_file": str(made.authority.file)})
        configure(tmp_path, sink)
        assert run(tmp_path, "--once").returncode == 0
        assert seqs_of(lines_of(list(made.versions(PLAIN, sink["prefix"])))) == list(range(6))


# --- kills ------------------------------------------------------------------------------------------------------------


def test_a_store_that_is_killed_in_the_middle_and_was_absent_at_the_start(store: Store, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl")
    add(maker, 20_000)
    sink = keys(store, flush_batch_lines=200)
    configure(tmp_path, sink)
    store.stop(signal.SIGKILL)
    try:
        process = start(tmp_path)
        until(lambda: stand(tmp_path)["state"] == "unavailable", "the state")
        assert next_of(tmp_path, "store") == 0
        store.start()
        until(lambda: (next_of(tmp_path, "store") or 0) > 1000, "some")
        store.stop(signal.SIGKILL)
        until(lambda: stand(tmp_path)["state"] == "unavailable", "the state")
        stood = next_of(tmp_path, "store") or 0
        assert stood < maker.seq, "it was killed too late"
    finally:
        if store.process is None:
            store.start()
    until(lambda: next_of(tmp_path, "store") == maker.seq, "the rest")
    code, said = end(process)
    assert code == 0
    assert len(said.splitlines()) <= 6, said
    found = list(store.versions(PLAIN, sink["prefix"]))
    assert sorted(set(seqs_of(lines_of(found)))) == list(range(maker.seq))
    all_are_proved(found)


def test_a_shipper_that_is_killed_again_and_again(store: Store, tmp_path: Path) -> None:
    """What was on its way comes again, recognisably; an object whose manifest was not stored is no harm."""
    maker = Maker(tmp_path / "a.jsonl")
    add(maker, 2_000 * KILLS)
    sink = keys(store, flush_batch_lines=100)
    configure(tmp_path, sink)
    chance = random.Random() if LONG else random.Random("s3")
    for _ in range(KILLS):
        process = start(tmp_path)
        goal = (next_of(tmp_path, "store") or 0) + chance.randrange(2_000)
        until(lambda: (next_of(tmp_path, "store") or 0) >= min(goal, maker.seq), "a batch")  # noqa: B023
        time.sleep(chance.random() / 50)  # anywhere between two cursors: nothing is waited for
        process.kill()
        process.communicate()
    done = run(tmp_path, "--once")
    assert done.returncode == 0, done.stderr
    found = list(store.versions(PLAIN, sink["prefix"]))
    with_manifest = set(manifests(found))
    counted = [one for one in found if one.key in with_manifest]
    assert sorted(set(seqs_of(lines_of(counted)))) == list(range(maker.seq))
    all_are_proved([one for one in found if one.key in with_manifest or one.key.endswith(".json")])
    others = {one.key for one in found if not one.key.endswith(".json")} - with_manifest
    assert len(others) <= KILLS
    follows_on(sorted(manifests(found).values(), key=lambda one: (one["first_seq"], one["last_seq"])))


def follows_on(said: list[dict[str, Any]]) -> None:
    """Whatever a manifest says came before it is there."""
    ends = {one["last_seq"] for one in said}
    assert {one["after"] for one in said} <= ends | {None}
    assert said[0]["after"] is None


def fill(disk: Path, filler: Path) -> bool:
    """Take what is free: a store also frees what it had, so that once is not enough."""
    with filler.open("ab") as file:
        free = os.statvfs(disk)
        with contextlib.suppress(OSError):  # it was quicker
            os.posix_fallocate(file.fileno(), file.tell(), max(free.f_bavail, 1) * free.f_frsize)
    return True


def test_a_disk_that_is_full_and_not_any_more(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    folder = tmp_path / "store"
    folder.mkdir()
    made = Store(folder, disk=disk / "data")
    filler = disk / "filler"
    try:
        with running(made):
            maker = Maker(tmp_path / "a.jsonl")
            add(maker, 3_000)
            sink = keys(made)
            configure(tmp_path, sink)
            fill(disk, filler)
            process = start(tmp_path)
            try:
                until(
                    lambda: fill(disk, filler) and "no room left" in str(stand(tmp_path)["error"]), "the error"
                )
                filler.unlink()
                until(lambda: next_of(tmp_path, "store") == maker.seq, "the rest")
            finally:
                code, _ = end(process)
            assert code == 0
            found = list(made.versions(PLAIN, sink["prefix"]))
            assert seqs_of(lines_of(found)) == list(range(maker.seq))
            all_are_proved(found)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=PATIENCE_S)
