"""Batches in an object store, verified by themselves: whatever was done to them is found, and said where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.query.store.check import AS_SEALED, BatchCheck
from indelible.query.store.objects import Listing
from indelible.trail.proofs.checkpoint import Signer, Verifier, parse_vkey
from indelible.trail.proofs.rotation import STRAGGLERS, Rotation
from tests.batches import Batches, FakeBucket, manifest_key, packed, unpacked
from tests.trails import KEY, ORIGIN, VKEY, Maker, operation

PINNED = parse_vkey(VKEY)


@pytest.fixture
def made(tmp_path: Path) -> Batches:
    """Four batches of ten lines under four checkpoints, the last of which covers more."""
    return four(tmp_path / "a.jsonl")


def four(path: Path, bucket: FakeBucket | None = None) -> Batches:
    batches = Batches(Maker(path), bucket or FakeBucket())
    for first in range(0, 40, 10):
        batches.maker.add_many(9 if first == 0 else 10).seal()
        if first == 30:
            batches.maker.add_many(7).seal()
        batches.put(range(first, first + 10))
    return batches


def check(
    bucket: FakeBucket, *keys: Verifier, whole: bool = True, complete: bool = False, pinned: bool = True
) -> BatchCheck:
    listing = Listing()
    for key, size in bucket.keys("", ""):
        listing.add(key, size)
    found = BatchCheck("s3://audit", (keys or (PINNED,)) if pinned else (), whole=whole, complete=complete)
    for chain in listing.chains(bucket):
        found.chain(chain, lambda _block: None)
    found.finish(listing.others)
    return found


def told(found: BatchCheck) -> list[tuple[str, str, int | None, int | None]]:
    """Return (problem, where by its last part, line, seq) of each finding."""
    return [
        (one.problem, (one.file or "").rpartition("/")[2], one.line, one.seq) for one in found.result.findings
    ]


def name(batches: Batches, number: int) -> str:
    return batches.keys[number].rpartition("/")[2]


def manifest_name(batches: Batches, number: int) -> str:
    return manifest_key(batches.keys[number]).rpartition("/")[2]


def test_what_was_stored_is_as_sealed(made: Batches) -> None:
    found = check(made.bucket)
    assert found.result.findings == []
    assert found.result.not_checked == []
    assert (found.counts[AS_SEALED], found.records, found.result.files, found.repeated) == (40, 40, 4, 0)
    assert (found.result.events, found.result.size, found.result.origin) == (40, 47, ORIGIN)
    assert found.chains[0].as_dict() == {
        "origin": ORIGIN, "prefix": "prod/", "vkey": VKEY, "size": 47, "batches": 4, "records": 40,
        "first": 0, "last": 39, "missing": 0, "missing_ranges": [],
    }  # fmt: skip


def test_several_trails_and_prefixes_are_each_by_themselves_and_others_are_counted(
    made: Batches, tmp_path: Path
) -> None:
    other = Signer("indelible/" + "ab" * 16, Ed25519PrivateKey.generate())
    maker = Maker(tmp_path / "other.jsonl", origin=other.verifier.name, signer=other)
    maker.add_many(5).seal()
    Batches(maker, made.bucket).put(range(6))
    Batches(maker, made.bucket, "").put(range(6))
    made.bucket.objects |= {"prod/readme.txt": b"x", "prod/2026/11/21/17/x.jsonl": b"y"}
    found = check(made.bucket, PINNED, other.verifier)
    assert found.result.findings == []
    assert [(chain.origin, chain.batches) for chain in found.chains] == sorted(
        [(ORIGIN, 4), (other.verifier.name, 1), (other.verifier.name, 1)],
        key=lambda one: next(n for n, chain in enumerate(found.chains) if chain.origin == one[0]),
    )
    assert found.result.not_checked == ["2 objects that are no batches"]
    assert found.result.origin is None


def test_a_filter_leaves_seqs_out_and_nothing_is_missing_but_for_who_asks_for_all(tmp_path: Path) -> None:
    batches = Batches(Maker(tmp_path / "a.jsonl"), FakeBucket())
    for first in (3, 33, 66):
        batches.maker.add_many(33).seal()
        batches.put(range(first, min(first + 30, batches.maker.seq), 3))
    found = check(batches.bucket)
    assert found.result.findings == []
    assert found.counts[AS_SEALED] == 30
    assert "61 seqs" in found.result.not_checked[0]
    assert "the checkpoints of 2 batches" in found.result.not_checked[1]
    problems = {problem for problem, *_ in told(check(batches.bucket, complete=True))}
    assert problems == {"records missing"}


# --- whatever was done to it is found ---------------------------------------------------------------------------------


def deleted(batches: Batches) -> Any:
    for key in (batches.keys[1], manifest_key(batches.keys[1])):
        del batches.bucket.objects[key]
    return [("batch missing", manifest_name(batches, 2), None, 10)]


def first_deleted(batches: Batches) -> Any:
    for key in (batches.keys[0], manifest_key(batches.keys[0])):
        del batches.bucket.objects[key]
    return [("batch missing", manifest_name(batches, 1), None, 0)]


def object_deleted(batches: Batches) -> Any:
    del batches.bucket.objects[batches.keys[1]]
    return [("object missing", name(batches, 1), None, 10)]


def manifest_deleted(batches: Batches) -> Any:
    del batches.bucket.objects[manifest_key(batches.keys[1])]
    return [("no manifest", name(batches, 1), None, 10)]


def last_manifest_deleted(batches: Batches) -> Any:
    del batches.bucket.objects[manifest_key(batches.keys[3])]
    return [("no manifest", name(batches, 3), None, 30)]


def altered(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    lines[4] = lines[4].replace(b'"ada"', b'"eve"')
    batches.rewrite(batches.keys[1], lines, fitting=False)
    return [("object altered", name(batches, 1), None, None)]


def altered_to_fit(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    lines[4] = lines[4].replace(b'"ada"', b'"eve"')
    batches.rewrite(batches.keys[1], lines)
    return [("root mismatch", name(batches, 1), None, 10)]


def line_cut_out(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], [*lines[:4], *lines[5:]])
    batches.change(batches.keys[1], lines=9, complete=False)
    return [("root mismatch", name(batches, 1), None, 10)]


def gap_in_a_complete_one(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], [*lines[:4], *lines[5:]])
    return [("line missing", name(batches, 1), 5, 14)]


def end_cut_off(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], lines[:7])
    return [("line missing", name(batches, 1), None, None)]


def object_truncated(batches: Batches) -> Any:
    key = batches.keys[1]
    batches.bucket.objects[key] = batches.bucket.objects[key][:-20]
    return [("object altered", name(batches, 1), None, None)]


def objects_exchanged(batches: Batches) -> Any:
    one, other = batches.keys[1:3]
    objects = batches.bucket.objects
    objects[one], objects[other] = objects[other], objects[one]
    return [
        ("object altered", name(batches, 1), None, None),
        ("line inserted", name(batches, 1), 1, 20),
        ("object altered", name(batches, 2), None, None),
        ("line out of order", name(batches, 2), 1, 10),
    ]


def copied_over(batches: Batches) -> Any:
    one, other = batches.keys[1:3]
    for key in (other, manifest_key(other)):
        new = key.replace(other.rpartition("/")[2].partition(".")[0], one.rpartition("/")[2].partition(".")[0])
        batches.bucket.objects[new] = batches.bucket.objects[key]
    return [("manifest of another batch", manifest_name(batches, 1), None, 10)]


def moved_to_another_hour(batches: Batches) -> Any:
    for key in (batches.keys[3], manifest_key(batches.keys[3])):
        batches.bucket.objects["prod/2026/01/01/00" + key[key.rindex("/") :]] = batches.bucket.objects.pop(key)
    return [("manifest of another batch", manifest_name(batches, 3), None, 30)]


def lines_swapped(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    lines[4], lines[5] = lines[5], lines[4]
    batches.rewrite(batches.keys[1], lines)
    return [("line missing", name(batches, 1), 5, 14)]


def line_doubled(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], [*lines[:5], *lines[4:]])
    return [("line duplicated", name(batches, 1), 6, 14)]


def line_of_the_next(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], [*lines, batches.lines()[20]])
    return [("line inserted", name(batches, 1), 11, 20)]


def something_else(batches: Batches) -> Any:
    lines = unpacked(batches.bucket.objects[batches.keys[1]])
    batches.rewrite(batches.keys[1], [*lines[:3], b"hello", *lines[3:]])
    return [("line malformed", name(batches, 1), 4, None)]


def manifest_garbled(batches: Batches) -> Any:
    key = manifest_key(batches.keys[1])
    batches.bucket.objects[key] = batches.bucket.objects[key][:-40]
    return [("manifest invalid", manifest_name(batches, 1), None, 10)]


def manifest_that_leads_out(batches: Batches) -> Any:
    batches.change(batches.keys[1], object="../../../../../etc/passwd")
    return [("manifest invalid", manifest_name(batches, 1), None, 10)]


def proof_altered(batches: Batches) -> Any:
    proof = json.loads(batches.bucket.objects[manifest_key(batches.keys[1])])["proof"]
    batches.change(batches.keys[1], proof=[*proof[1:], proof[0]])
    return [("root mismatch", name(batches, 1), None, 10)]


def proof_taken_away(batches: Batches) -> Any:
    batches.change(batches.keys[1], proof=None)
    return [("root mismatch", name(batches, 1), None, 10)]


def checkpoint_taken_away(batches: Batches) -> Any:
    batches.change(batches.keys[1], proof=None, checkpoint=None, vkey=None)
    return [("checkpoint missing", manifest_name(batches, 1), None, 10)]


def checkpoint_of_another_batch(batches: Batches) -> Any:
    said = json.loads(batches.bucket.objects[manifest_key(batches.keys[2])])
    batches.change(batches.keys[1], checkpoint=said["checkpoint"])
    return [("root mismatch", name(batches, 1), None, 10)]


def checkpoint_of_an_earlier_one(batches: Batches) -> Any:
    said = json.loads(batches.bucket.objects[manifest_key(batches.keys[0])])
    batches.change(batches.keys[1], checkpoint=said["checkpoint"])
    return [("line not covered yet", manifest_name(batches, 1), None, 10)]


def signature_altered(batches: Batches) -> Any:
    said = json.loads(batches.bucket.objects[manifest_key(batches.keys[1])])
    batches.change(batches.keys[1], checkpoint=said["checkpoint"].replace("\n20\n", "\n21\n"))
    return [("checkpoint invalid", manifest_name(batches, 1), None, 10)]


def key_of_somebody(batches: Batches) -> Any:
    batches.change(batches.keys[1], vkey=Signer(ORIGIN, Ed25519PrivateKey.generate()).verifier.vkey())
    return [("key mismatch", manifest_name(batches, 1), None, 10)]


def no_lines(batches: Batches) -> Any:
    batches.rewrite(batches.keys[1], [])
    return [("line missing", name(batches, 1), None, None)]


TAMPERED = [
    deleted, first_deleted, object_deleted, manifest_deleted, last_manifest_deleted, altered, altered_to_fit,
    line_cut_out, gap_in_a_complete_one, end_cut_off, object_truncated, objects_exchanged, copied_over,
    moved_to_another_hour, lines_swapped, line_doubled, line_of_the_next, something_else, manifest_garbled,
    manifest_that_leads_out, proof_altered, proof_taken_away, checkpoint_taken_away, checkpoint_of_another_batch,
    checkpoint_of_an_earlier_one, signature_altered, key_of_somebody, no_lines,
]  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda tamper: tamper.__name__)
def test_it_is_found_where_it_is(made: Batches, tamper: Any) -> None:
    expected = tamper(made)
    found = check(made.bucket)
    assert told(found) == expected
    assert len(found.chains) == 1


def test_a_trail_whose_signer_tells_two_histories_is_found(tmp_path: Path) -> None:
    """All lines and signatures of the later batches are right; what they say came before is not what was stored."""
    bucket = FakeBucket()
    four(tmp_path / "a.jsonl", bucket)
    for key in sorted(bucket.objects)[2:]:
        del bucket.objects[key]
    again = Batches(Maker(tmp_path / "again.jsonl"), bucket)
    again.maker.add_many(9, lambda seq: operation(seq, source__user_id="eve")).add_many(30).seal()
    again.last = 9
    for first in (10, 20, 30):
        again.put(range(first, first + 10))
    assert told(check(bucket)) == [("forked", manifest_name(again, 0), None, 10)]


def test_two_roots_of_one_size_are_two_histories(tmp_path: Path, made: Batches) -> None:
    other = Batches(
        Maker(tmp_path / "other.jsonl").add_many(9).add_many(10, lambda seq: operation(7)), made.bucket
    )
    other.maker.seal()
    other.last = 4
    other.put(range(5, 20))
    problems = told(check(made.bucket))
    assert {problem for problem, *_ in problems} == {"forked"}


def test_another_key_than_the_pinned_one_is_found_and_without_a_pin_one_key_holds_for_all(
    made: Batches,
) -> None:
    stranger = Signer(ORIGIN, Ed25519PrivateKey.generate()).verifier
    found = check(made.bucket, stranger)
    assert {problem for problem, *_ in told(found)} == {"checkpoint invalid"}
    assert found.counts[AS_SEALED] == 0
    elsewhere = Signer("indelible/" + "cd" * 16, Ed25519PrivateKey.generate()).verifier
    assert told(check(made.bucket, elsewhere)) == [("key mismatch", "audit", None, None)]


# --- what is no fault -------------------------------------------------------------------------------------------------


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_that_were_stored_again_after_a_kill_are_no_finding(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The shipper dies after the object, or after the manifest, and goes on from the same seq to another end."""
    maker = Maker(tmp_path_factory.mktemp("trail") / "a.jsonl")
    batches, first, stored = Batches(maker, FakeBucket()), 0, 0
    for _ in range(data.draw(st.integers(1, 6))):
        before = batches.last
        for _ in range(data.draw(st.integers(0, 2))):
            maker.add_many(data.draw(st.integers(1, 20))).seal()
            last = data.draw(st.integers(first, maker.seq - 1))
            batches.put(range(first, last + 1), manifest=data.draw(st.booleans()))
            batches.last = before
        maker.add_many(data.draw(st.integers(0, 9))).seal()
        reached = max([first, *(int(key.rpartition("/")[2][21:41]) for key in batches.keys)])
        last = data.draw(st.integers(min(reached, maker.seq - 1), maker.seq - 1))
        batches.put(range(first, last + 1))
        first, stored = last + 1, len(batches.bucket.objects)
        maker.add_many(1).seal()
    found = check(batches.bucket)
    assert found.result.findings == []
    assert found.result.events == first
    assert found.result.files * 2 >= stored
    assert found.repeated == found.counts[AS_SEALED] - first


def test_history_that_was_shipped_again_from_further_back_is_no_finding(made: Batches) -> None:
    made.last = None
    made.put(range(5, 23))
    made.put(range(23, 47))
    found = check(made.bucket)
    assert found.result.findings == []
    assert found.result.events == 47
    assert [chain.apart for chain in found.chains] == [1]  # the one that begins in the middle of another


def test_two_chains_of_batches_that_overlap_are_each_one_history(made: Batches) -> None:
    """All of it was shipped again in batches of other sizes, under other checkpoints, from the beginning."""
    made.last = None
    for first in range(0, 40, 8):
        made.maker.add_many(1).seal()
        made.put(range(first, first + 8))
    found = check(made.bucket)
    assert (found.result.findings, found.result.not_checked) == ([], [])
    assert found.repeated == 40


def test_a_day_of_a_store_has_no_beginning_to_miss(made: Batches) -> None:
    for key in (made.keys[0], manifest_key(made.keys[0])):
        del made.bucket.objects[key]
    found = check(made.bucket, whole=False)
    assert found.result.findings == []
    assert "batches up to seq 9 went before it" in found.result.not_checked[0]


def test_erased_lines_count_by_the_leaf_that_they_keep(tmp_path: Path) -> None:
    from tests.trails import erased, erasure

    maker = Maker(tmp_path / "a.jsonl").add_many(20).seal()
    maker.add(erasure(maker, 5))
    maker.seal()
    lines = maker.layout.active.read_bytes().splitlines()
    lines[5] = erased(lines[5], 5)
    maker.layout.active.write_bytes(b"".join(line + b"\n" for line in lines))
    batches = Batches(maker, FakeBucket())
    batches.put(range(22))
    found = check(batches.bucket)
    assert found.result.findings == []
    assert found.result.erased == 1
    assert "1 erased lines" in found.result.not_checked[0]


def test_of_records_in_other_words_the_object_is_checked_and_the_rest_is_named(made: Batches) -> None:
    for key in made.keys:
        made.rewrite(key, [b"CEF:0|a|b|c|d|e|5|x=%d" % number for number in range(10)])
        made.change(key, format="cef")
        said = json.loads(made.bucket.objects[manifest_key(key)])
        del said["proof"]
        made.bucket.objects[manifest_key(key)] = json.dumps(said).encode()
    found = check(made.bucket)
    assert found.result.findings == []
    assert found.counts["as stored"] == 40
    assert "the content of 40 records in 'cef'" in found.result.not_checked[0]
    made.bucket.objects[made.keys[2]] += b"\x28\xb5\x2f\xfd"
    assert told(check(made.bucket)) == [("object altered", name(made, 2), None, None)]
    made.rewrite(made.keys[2], [b"CEF:0|other"] * 10, fitting=False)
    assert told(check(made.bucket)) == [("object altered", name(made, 2), None, None)]


def test_a_batch_that_proves_nothing_among_others_that_do_is_found(made: Batches) -> None:
    """Who altered it would say so of its format: its object fits its manifest, and no proof is asked for."""
    key = made.keys[1]
    made.rewrite(key, [b'{"tool":"read_file","user":"eve"}' for _ in range(10)])
    made.change(key, format="json-lines")
    said = json.loads(made.bucket.objects[manifest_key(key)])
    del said["proof"]
    made.bucket.objects[manifest_key(key)] = json.dumps(said).encode()
    found = check(made.bucket)
    [one] = found.result.findings
    assert (one.problem, one.seq) == ("batch not proven", 10)
    assert (one.expected, one.found) == (
        "format indelible, as of other batches of its trail",
        "format json-lines",
    )
    assert found.counts["as sealed"] == 30
    assert found.counts["as stored"] == 10


def test_a_rest_of_a_kill_in_other_words_is_known_by_its_records(made: Batches) -> None:
    records = [b"CEF:0|a|b|c|d|e|5|x=%d" % number for number in range(10)]
    for key in made.keys:
        made.rewrite(key, records)
        made.change(key, format="cef")
        said = json.loads(made.bucket.objects[manifest_key(key)])
        made.bucket.objects[manifest_key(key)] = json.dumps({**said, "proof": None}).encode()
    rest = made.keys[1].replace(f"{19:020d}", f"{14:020d}")
    made.bucket.objects[rest] = packed(records[:5])
    found = check(made.bucket)
    assert found.result.findings == []
    assert found.result.not_checked[-1].startswith("1 objects without a manifest")
    made.bucket.objects[rest] = packed([b"CEF:0|other"])
    assert told(check(made.bucket)) == [("no manifest", rest.rpartition("/")[2], None, 10)]


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_an_object_that_goes_while_it_is_listed_is_one_finding(made: Batches) -> None:
    gone = made.keys[2]

    def delete(key: str) -> None:
        if key == gone:
            made.bucket.objects.pop(gone, None)

    made.bucket.on_open = delete
    assert told(check(made.bucket)) == [("object missing", name(made, 2), None, None)]


def test_a_bomb_and_a_line_without_end_cost_no_memory(made: Batches) -> None:
    import tracemalloc

    import zstandard

    packer = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join([*(packer.compress(b"a" * (1 << 20)) for _ in range(300)), packer.flush()])
    made.bucket.objects[made.keys[1]] = bomb
    tracemalloc.start()
    found = check(made.bucket)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told(found) == [("object altered", name(made, 1), None, None)]
    assert "unpacks to more than" in found.result.findings[0].detail
    assert peak < 100 << 20


def test_ten_thousand_batches_take_little_memory_and_time(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a.jsonl").add_many(999).seal()
    batches = Batches(maker, FakeBucket())
    key = batches.put(range(1))
    objects = batches.bucket.objects
    body, said = objects.pop(key), objects.pop(manifest_key(key))
    for number in range(10_000):
        new = key.replace(f"{0:020d}", f"{number:020d}")
        objects[new], objects[manifest_key(new)] = body, said
    found = check(batches.bucket)
    assert found.counts["manifest of another batch"] == 9_999
    assert found.counts[AS_SEALED] == 1
    assert len(found.result.findings) + found.result.omitted == 9_999


# --- a key that was changed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", ["the first", "the second", "none"])
@pytest.mark.parametrize("with_notes", [True, False])
def test_a_key_counts_when_notes_lead_to_it_from_the_pinned_one_or_back(
    tmp_path: Path, pin: str, with_notes: bool
) -> None:
    batches = Batches(Maker(tmp_path / "a.jsonl").add_many(9).seal(), FakeBucket())
    batches.put(range(10))
    new = Ed25519PrivateKey.generate()
    second = Signer(ORIGIN, new)
    hand_over = Rotation(PINNED, second.verifier, 10, "2026-11-21T00:00:00.000000Z")
    notes = Signer(ORIGIN, KEY, new).sign(hand_over.text()) if with_notes else None
    batches.maker.signer = second
    for first in (10, 20):
        batches.maker.add_many(10).seal()
        batches.put(range(first, first + 10), rotations=notes)
    pins = {"the first": (PINNED,), "the second": (second.verifier,), "none": ()}
    found = check(batches.bucket, *pins[pin], pinned=pin != "none")
    if with_notes:
        assert told(found) == []
        assert found.counts[AS_SEALED] == 30
        return
    wrong = {"the first": [1, 2], "the second": [0], "none": [0]}[pin]
    assert [(problem, where) for problem, where, *_ in told(found)] == [
        ("checkpoint invalid", manifest_name(batches, number)) for number in wrong
    ]


def test_an_old_key_does_not_sign_what_comes_long_after_its_time(tmp_path: Path) -> None:
    """Who steals a key that was replaced cannot store batches of the time after."""
    batches = Batches(Maker(tmp_path / "a.jsonl").add_many(9).seal(), FakeBucket())
    new = Ed25519PrivateKey.generate()
    second = Signer(ORIGIN, new).verifier
    hand_over = Rotation(PINNED, second, 10, "2026-11-21T00:00:00.000000Z")
    notes = Signer(ORIGIN, KEY, new).sign(hand_over.text())
    batches.maker.add_many(STRAGGLERS + 1).seal()
    batches.put(range(STRAGGLERS, STRAGGLERS + 10), rotations=notes)
    assert told(check(batches.bucket, second)) == [
        ("checkpoint invalid", manifest_name(batches, 0), None, STRAGGLERS)
    ]
