"""What a sink has stored in a real object store, read back there: listed, and verified with and without its trail."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import objects
from tests.batches import manifest_key, packed, unpacked
from tests.integration.ship.shipped import COMMAND, LIMIT_S, configure, run
from tests.objects import ENV, PASSWORD, PLAIN, USER, Store
from tests.trails import VKEY, Maker, erased, erasure, operation

CALLS = 2_000


class Shipped:
    """A trail, where it was shipped to, and commands about it."""

    def __init__(self, folder: Path, store: Store, **sink: Any) -> None:
        self.folder = folder
        self.store = store
        self.maker = Maker(folder / "a.jsonl")
        self.keys = objects.keys(store, flush_batch_lines=500, **sink)
        self.url = f"s3://{PLAIN}/{self.keys['prefix']}"
        configure(folder, self.keys)

    def ship(self) -> None:
        done = run(self.folder, "--once")
        assert done.returncode == 0, done.stderr

    def command(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a command; a bucket is come to by what AWS's own tools take, unless `env` says otherwise."""
        ours = {
            "AWS_ENDPOINT_URL": self.store.url,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        return subprocess.run(
            [*COMMAND, *args], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S,
            check=False, env={**os.environ, **(ours if env is None else env)},
        )  # fmt: skip

    def verified(self, *args: str) -> dict[str, Any]:
        done = self.command("verify", self.url, *args, "--json")
        assert done.stderr == b""
        value: dict[str, Any] = json.loads(done.stdout)
        assert value["ok"] is (done.returncode == 0)
        return value

    def objects(self) -> dict[str, bytes]:
        return {one.key: one.data for one in self.store.versions(PLAIN, self.keys["prefix"])}

    def batches(self) -> list[str]:
        return sorted(key for key in self.objects() if not key.endswith(".json"))

    def put(self, key: str, data: bytes) -> None:
        self.store.client().put_object(PLAIN, key, io.BytesIO(data), len(data))

    def delete(self, key: str) -> None:
        self.store.client().remove_object(PLAIN, key)


@pytest.fixture(scope="module", autouse=True)
def secrets() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENV.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Shipped:
    """Ship a trail of some hours in two runs; nothing is changed there afterwards."""
    made = Shipped(tmp_path_factory.mktemp("shipped"), store)
    made.maker.add_many(CALLS // 2, lambda seq: operation(seq, source__session_id=f"s{seq % 7}")).seal()
    made.ship()
    made.maker.add_many(CALLS // 2).seal()
    made.ship()
    return made


def test_a_bucket_is_verified_with_nothing_else_at_hand(shipped: Shipped, tmp_path: Path) -> None:
    pinned = tmp_path / "trail.vkey"
    pinned.write_text(VKEY)
    found = shipped.verified("--vkey", str(pinned), "--complete")
    assert found["findings"] == []
    assert (found["events"], found["records"], found["checkpoint"]["size"]) == (CALLS + 1,) * 3
    assert (found["batches"][0]["first"], found["batches"][0]["last"]) == (0, CALLS)
    assert found["files"] == found["batches"][0]["batches"] == len(shipped.batches())
    assert [text.split(":")[0] for text in found["not_checked"]] == ["whether batches were cut off at the end"]
    unpinned = shipped.command("verify", "--from", shipped.url)
    assert b"ok: 2001 records are as sealed, of 1 trail in" in unpinned.stdout
    assert b"not checked: key not pinned" in unpinned.stdout


def test_with_the_trail_at_hand_its_tiles_are_asked_too(shipped: Shipped) -> None:
    found = shipped.verified("--trail", "a.jsonl")
    assert found["findings"] == []
    assert (found["records"], found["counts"]) == (CALLS + 1, {"as sealed": CALLS + 1})
    assert found["origins"][0]["missing"] == 0


def test_it_is_listed_as_the_trail_is(shipped: Shipped) -> None:
    filters = ("--session", "s3", "-n", "0", "--format", "mxcp")
    here = shipped.command("log", "--trail", "a.jsonl", *filters)
    there = shipped.command("log", "--from", shipped.url, *filters)
    assert (there.stdout, there.stderr) == (here.stdout, b"")
    day = json.loads(shipped.maker.layout.active.read_bytes().splitlines()[-1])["recorded_at"][:13] + ":00:00Z"
    here, there = (
        shipped.command("log", *place, "--since", day, "-n", "0", "--json")
        for place in (("--trail", "a.jsonl"), ("--from", shipped.url))
    )
    assert there.stdout == here.stdout
    assert here.stdout


def test_a_sink_of_the_configuration_says_how_to_come_in(shipped: Shipped) -> None:
    come = ("-c", "indelible.yaml", "--sink", "store")
    done = shipped.command("verify", shipped.url, *come, env=ENV)
    assert (done.returncode, done.stderr) == (0, b"")
    wrong = shipped.command("verify", shipped.url, *come, env={**ENV, "STORE_PASSWORD": "not-the-0ne"})
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count(b"\n")) == (3, b"", 1)
    assert b"it refuses our secret key" in wrong.stderr
    assert b"not-the-0ne" not in wrong.stderr


def test_what_cannot_be_read_is_one_line(shipped: Shipped) -> None:
    for args, code, said in (
        (("verify", "s3://nowhere-at-all/x"), 3, "there is no such bucket"),
        (("log", "--from", "s3://key:secret@x/y"), 2, "no key, password, host or port stands in it"),
        (("verify", "a.jsonl"), 2, "a trail is named with --trail"),
        (("verify", "--sink", "store"), 2, "name that, too"),
        (("verify", shipped.url, "--line", "x"), 2, "not together with --line"),
    ):
        done = shipped.command(*args)
        assert (done.returncode, done.stdout) == (code, b"")
        assert done.stderr.count(b"\n") == 1
        assert said in done.stderr.decode()
        assert b"secret@" not in done.stderr
    nothing = shipped.command("verify", f"s3://{PLAIN}/nothing-here", "--json")
    assert nothing.returncode == 1
    assert json.loads(nothing.stdout)["findings"][0]["problem"] == "not a record"


def test_what_was_done_to_a_bucket_is_found(tmp_path: Path, store: Store) -> None:
    made = Shipped(tmp_path, store)
    made.maker.add_many(CALLS).seal()
    made.ship()
    first, second, third, *_ = made.batches()
    there = made.objects()
    lines = unpacked(there[first])
    made.put(first, packed([line.replace(b'"ada"', b'"eve"') for line in lines]))
    made.delete(second)
    made.delete(third)
    made.delete(manifest_key(third))
    made.put(made.keys["prefix"] + "/notes.txt", b"not ours")
    found = made.verified()
    assert [(one["problem"], one["file"].rpartition("/")[2]) for one in found["findings"]] == [
        ("object altered", first.rpartition("/")[2]),
        ("object missing", second.rpartition("/")[2]),
        ("batch missing", manifest_key(made.batches()[1]).rpartition("/")[2]),
    ]
    assert "1 objects that are no batches" in found["not_checked"]
    with_trail = made.verified("--trail", "a.jsonl")
    altered = [one for one in with_trail["findings"] if one["problem"] == "line altered"]
    assert [one["line"] for one in altered[:3]] == [2, 3, 4]
    listed = made.command("log", "--from", made.url, "-n", "0", "--json")
    assert listed.returncode == 0
    assert b"is not there" in listed.stderr


def test_what_the_trail_has_erased_since_still_stands_there_and_is_named(tmp_path: Path, store: Store) -> None:
    made = Shipped(tmp_path, store)
    made.maker.add_many(50).seal()
    made.ship()
    made.maker.add(erasure(made.maker, 7, 9))
    made.maker.seal()
    active = made.maker.layout.active
    lines = active.read_bytes().splitlines()
    for seq in (7, 9):
        lines[seq] = erased(lines[seq], seq)
    active.write_bytes(b"".join(line + b"\n" for line in lines))
    found = made.verified("--trail", "a.jsonl")
    assert found["findings"] == []
    assert any("whether 2 lines should still be here" in text for text in found["not_checked"])


def test_records_in_other_words_are_compared_with_the_trail(tmp_path: Path, store: Store) -> None:
    made = Shipped(tmp_path, store, format="cef", compression="gzip")
    made.maker.add_many(40).seal()
    made.ship()
    alone = made.verified()
    assert alone["counts"] == {"as stored": 40}
    assert any("the content of 40 records in 'cef'" in text for text in alone["not_checked"])
    found = made.verified("--trail", "a.jsonl")
    assert (found["findings"], found["counts"]) == ([], {"as sealed": 40})
