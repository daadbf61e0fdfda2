"""On a narrow terminal a table gives way, and still fits and says when what happened."""

import io

import pytest

from indelible.cli.table import TablePrinter, latency_text
from indelible.query.filters import parse_row
from indelible.query.search import Hit
from indelible.trail.entry import stamp
from tests.trails import at, encode, operation


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
def test_a_table_fits_the_terminal(columns: int, events: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stored = [stamp(seq, at(seq), encode(operation(seq))) for seq in range(3)]
    hits = [Hit(line, row) for line in stored if (row := parse_row(line)) is not None]
    out = io.StringIO()
    TablePrinter(out, events=events, terminal=True).print(hits)
    shown = out.getvalue().splitlines()
    assert len(shown) == len(hits) + 1
    assert max(map(len, shown)) <= columns
    for hit, line in zip(hits, shown[1:], strict=True):
        when = hit.row.timestamp[:23].replace("T", " ")
        assert line.split("  ")[0] in (when, when[:19], when[5:19])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.25, "1.25 ms"), (12_345, "12.35 s"), (-5, "-5.00 ms"), (10**400, "1" + "0" * 400),
        (-(10**30), "-1" + "0" * 30), (1e300, "1e+300"), (True, ""), ("5", ""), (None, ""),
    ],
)  # fmt: skip
def test_a_latency_that_nothing_measured_is_shown_as_it_stands(value: object, shown: str) -> None:
    assert latency_text(value) == shown
