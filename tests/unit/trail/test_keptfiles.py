"""Files of kept checkpoints: what is found in them, and that nothing in them is taken for what it is not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.trail.proofs.keptfiles import notes_in
from tests.witnesses import COSIGNER, history

LOG = history(300)
NOTES = [LOG.note(size) for size in (1, 200, 300)]
COSIGNED = NOTES[0] + COSIGNER.line(NOTES[0].decode().partition("\n\n")[0] + "\n", 5).encode()


def line(note: bytes) -> bytes:
    word = base64.b64encode(note)
    return b'Nov 21 12:00:00 host indelible 4711 checkpoint [x@1 a="b"] ' + word + b"\n"


@pytest.mark.parametrize("between", [b"", b"\n", b"\n\n"])
def test_notes_one_after_the_other(between: bytes) -> None:
    data = b"".join(note + between for note in [*NOTES, COSIGNED])
    assert notes_in(data) == ([*NOTES, COSIGNED], 0)


def test_a_file_of_one() -> None:
    assert notes_in(NOTES[0]) == ([NOTES[0]], 0)
    assert notes_in(COSIGNED) == ([COSIGNED], 0)


def test_lines_of_a_log() -> None:
    others = b"Nov 21 12:00:00 host cron: hello\n" + b"x" * 500 + b"\n\n" + base64.b64encode(bytes(200)) + b"\n"
    assert notes_in(others + b"".join(map(line, NOTES))) == (NOTES, 3)


def test_nothing_is_none() -> None:
    assert notes_in(b"") == ([], 0)
    assert notes_in(b"hello\n\nworld") == ([], 2)


@given(st.integers(1, len(NOTES[1]) - 1))
def test_a_torn_note_is_handed_to_who_judges_it(cut: int) -> None:
    """What a crash leaves of the last one neither hides those before it nor passes for one."""
    found = notes_in(NOTES[0] + b"\n" + NOTES[1][:cut]).notes
    assert found[0] == NOTES[0]
    assert NOTES[1] not in found
    ended = notes_in(NOTES[0] + b"\n" + NOTES[1][:cut] + b"\n\n" + NOTES[2] + b"\n").notes
    assert ended[0] == NOTES[0]
    assert ended[-1].endswith(NOTES[2])


@given(st.binary(max_size=500))
def test_no_bytes_whatever_raise(data: bytes) -> None:
    for content in (data, data + NOTES[0], NOTES[0] + data):
        assert isinstance(notes_in(content).notes, list)
