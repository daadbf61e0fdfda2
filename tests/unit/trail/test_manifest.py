"""What is said of an object of lines: written, read back, and refused for whatever is not that."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.errors import NoteError
from indelible.trail.proofs.manifest import (
    MAX_BYTES,
    MAX_HASHES,
    MAX_SEQ,
    Manifest,
    batch_stem,
    decode,
    encode,
    hour_directory,
    parse_key,
    trail_digits,
)
from tests.trails import ORIGIN, VKEY

GOOD = Manifest(
    manifest=1,
    name="00000000000000000100-00000000000000000199-0011aabb.jsonl.zst",
    format="indelible",
    origin=ORIGIN,
    schema=1,
    size=12_345,
    sha256="ab" * 32,
    lines=100,
    first_seq=100,
    last_seq=199,
    first_time="2026-11-21T17:59:59.000001Z",
    last_time="2026-11-21T18:00:00.000000Z",
    after=99,
    complete=True,
    checkpoint=f"{ORIGIN}\n200\nroot\n\n— {ORIGIN} sig\n",
    vkey=VKEY,
    proof=(b"\1" * 32, b"\2" * 32),
    rotations="notes\n",
)
SAID: dict[str, Any] = json.loads(encode(GOOD))


def changed(**values: Any) -> bytes:
    return json.dumps({**SAID, **values}).encode()


def test_the_keys_stand_in_their_order_one_a_line() -> None:
    data = encode(GOOD)
    assert list(json.loads(data)) == list(Manifest.__struct_encode_fields__)
    assert data.splitlines()[1:3] == [b' "manifest": 1,', f' "object": "{GOOD.name}",'.encode()]
    assert data.endswith(b"}\n")


counts = st.integers(0, MAX_SEQ)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    first = draw(st.integers(0, 2**40))
    last = draw(st.integers(first, first + 10_000))
    lines = draw(st.integers(1, last - first + 1))
    ours = draw(st.booleans())
    return msgspec.structs.replace(
        GOOD,
        format="indelible" if ours else draw(st.sampled_from(["cef", "my-own_1", "mxcp"])),
        origin=draw(
            st.text(st.characters(exclude_categories=["Cs", "Z", "C"], exclude_characters="+"), min_size=1)
        ),
        size=draw(counts),
        lines=lines,
        first_seq=first,
        last_seq=last,
        after=None if not first else draw(st.one_of(st.none(), st.integers(0, first - 1))),
        complete=lines == last - first + 1,
        checkpoint=draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
        proof=tuple(draw(st.lists(st.binary(min_size=32, max_size=32), max_size=80))) if ours else None,
    )


@given(manifests())
def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    assert decode(encode(manifest)) == manifest
    assert ("proof" in json.loads(encode(manifest))) is (manifest.format == "indelible")


def test_what_nobody_knows_is_null() -> None:
    found = decode(changed(first_time=None, last_time=None, after=None, checkpoint=None, vkey=None, proof=None))
    assert (found.first_time, found.after, found.checkpoint, found.proof) == (None, None, None, None)
    said = json.loads(encode(found))
    assert said["checkpoint"] is None
    assert "proof" not in said


def test_keys_that_are_not_known_yet_are_passed_over() -> None:
    assert decode(changed(witness="later", more={"a": [1]})) == GOOD


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"manifest": 2}, "not a manifest that is known here: expected version 1, found 2"),
        ({"manifest": True}, "not a manifest that is known here: expected version 1, found True"),
        ({"manifest": "1"}, "not a manifest that is known here: expected version 1, found '1'"),
        ({"object": "../other.jsonl"}, "`$.object`"),
        ({"object": "a/b.jsonl"}, "`$.object`"),
        ({"object": ".hidden"}, "`$.object`"),
        ({"object": "a.jsonl\n"}, "`$.object`"),
        ({"object": ""}, "`$.object`"),
        ({"object": "a" * 201}, "`$.object`"),
        ({"object": None}, "Expected `str`, got `null` - at `$.object`"),
        ({"format": "in delible"}, "`$.format`"),
        ({"origin": "two words"}, "`$.origin`"),
        ({"origin": ""}, "`$.origin`"),
        ({"schema": -1}, "`$.schema`"),
        ({"bytes": 2**53}, "`$.bytes`"),
        ({"bytes": 1.5}, "Expected `int`, got `float` - at `$.bytes`"),
        ({"bytes": True}, "Expected `int`, got `bool` - at `$.bytes`"),
        ({"sha256": "AB" * 32}, "`$.sha256`"),
        ({"sha256": "ab" * 32 + "\n"}, "`$.sha256`"),
        ({"lines": 0}, "`$.lines`"),
        ({"lines": 1_000_001, "last_seq": 2_000_000, "complete": False}, "`$.lines`"),
        ({"lines": 101}, "101 lines from seq 100 to 199"),
        ({"first_seq": 200}, "100 lines from seq 200 to 199"),
        ({"lines": 99}, "complete: true, with 99 of 100 seqs"),
        ({"complete": False}, "complete: false, with 100 of 100 seqs"),
        ({"complete": 1}, "Expected `bool`, got `int` - at `$.complete`"),
        ({"after": 100}, "after: 100, which is not before first_seq 100"),
        ({"after": -1}, "`$.after`"),
        ({"first_time": "2026-11-21 17:59:59Z"}, "`$.first_time`"),
        ({"last_time": "now"}, "`$.last_time`"),
        ({"checkpoint": ["a"]}, "`$.checkpoint`"),
        ({"checkpoint": "x" * 100_001}, "`$.checkpoint`"),
        ({"vkey": ""}, "`$.vkey`"),
        ({"checkpoint": None}, "a proof or a key without a checkpoint"),
        ({"checkpoint": None, "proof": None}, "a proof or a key without a checkpoint"),
        ({"format": "cef"}, "format cef with a proof"),
        ({"proof": {}}, "`$.proof`"),
        ({"proof": ["AAAA"]}, "hash 1 of the proof is none"),
        ({"proof": ["!"]}, "`$.proof[0]`"),
        ({"proof": [SAID["proof"][0], SAID["proof"][1][:-2] + "J="]}, "hash 2 of the proof is none"),
        ({"proof": [SAID["proof"][0]] * (MAX_HASHES + 1)}, f"a proof of {MAX_HASHES + 1} hashes"),
        ({"rotations": ""}, "`$.rotations`"),
        ({"more": "\ud800"}, "invalid UTF-8"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(NoteError) as caught:
        decode(changed(**values))
    assert str(caught.value).startswith("not a manifest")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [key for key in SAID if key != "manifest"])
def test_a_key_that_is_missing_is_named(key: str) -> None:
    rest = {name: value for name, value in SAID.items() if name != key}
    data = json.dumps(rest).encode()
    if key in ("proof", "rotations"):
        assert getattr(decode(data), key) is None
        return
    with pytest.raises(NoteError, match=f"required field `{key}`"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "Expecting value"),
        (b"\xff", "invalid UTF-8"),
        (b"[1]", "no JSON object"),
        (b"{}", "expected version 1, found None"),
        (b'{"manifest":1,"manifest":1}', "a key stands twice in it"),
        (encode(GOOD).replace(b'"bytes"', b'"bytes": 1, "bytes"'), "a key stands twice in it"),
        (b'{"manifest":1,"bytes":NaN}', "NaN is no number in JSON"),
        (b'{"manifest":1,"bytes":' + b"9" * 5_000 + b"}", "integer string conversion"),
        (b'{"manifest":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b" " * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
        (b"\xef\xbb\xbf" + encode(GOOD), "BOM"),
    ],
)
def test_what_is_no_such_json_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(NoteError) as caught:
        decode(data)
    assert said in str(caught.value)


@given(st.data())
def test_any_bytes_are_refused_or_read_and_never_anything_else(data: st.DataObject) -> None:
    good = encode(GOOD)
    at = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(at, len(good)))
    try:
        found = decode(good[:at] + data.draw(st.binary(max_size=40)) + good[cut:])
    except NoteError:
        return
    assert decode(encode(found)) == found


# --- names ------------------------------------------------------------------------------------------------------------


@given(counts, counts, st.sampled_from(["", "a/", "a b/2026/01/02/03/", "é/\n/"]))
def test_a_key_says_what_its_batch_is(one: int, other: int, prefix: str) -> None:
    first, last = sorted((one, other))
    directory = f"{prefix}{hour_directory('2026-11-21T17:59:59.000001Z')}/"
    stem = batch_stem(ORIGIN, first, last)
    for ending, is_manifest in ((".jsonl.zst", False), (".log", False), (".manifest.json", True)):
        found = parse_key(directory + stem + ending)
        assert found is not None
        assert (found.first_seq, found.last_seq, found.hour) == (first, last, "2026/11/21/17")
        assert (found.prefix, found.directory, found.stem) == (prefix, directory, stem)
        assert (found.name, found.is_manifest) == (stem + ending, is_manifest)
        assert found.trail == trail_digits(ORIGIN)


STEM = batch_stem(ORIGIN, 5, 9)


@pytest.mark.parametrize(
    "key",
    [
        "",
        STEM + ".jsonl",
        f"2026/11/21/{STEM}.jsonl",
        f"2026/11/21/17/{STEM}",
        f"2026/11/21/17/{STEM}.",
        f"2026/11/21/17/{STEM}.jsonl/",
        f"2026/11/21/17/../{STEM}.jsonl",
        f"2026/11/21/17/{batch_stem(ORIGIN, 9, 5)}.jsonl",
        f"2026/11/21/17/{99999999999999999999}-{99999999999999999999}-00112233.jsonl",
        f"2026/11/21/17/{STEM}.JSONL",
        "2026/11/21/17/" + STEM.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}") + ".jsonl",
        f"2026/11/21/17/{STEM}.jsonl\n",
    ],
)
def test_other_keys_are_none_of_ours(key: str) -> None:
    assert parse_key(key) is None
