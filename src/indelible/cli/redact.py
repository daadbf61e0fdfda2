"""``indelible redact``: what redaction takes out of a text, and what today's rules find in a trail.

The rule that lives here: no value that is taken out or found is ever printed, not even a part of it.
"""

from __future__ import annotations

import codecs
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from indelible.cli.common import Where, echo_json, print_json, read_input, where_options
from indelible.cli.text import counted, one_line, visible_text
from indelible.errors import ConfigError

if TYPE_CHECKING:
    from indelible.redact.explain import Explainer, Found

MAX_INPUT_BYTES: Final = 64 << 20
"""What `redact test` reads at most: it holds all of it."""

_BLANK: Final = b" \t\r\n"

GROUP_EPILOG: Final = """\b
Examples:
  indelible redact test notes.txt
  indelible redact scan /var/log/indelible
"""

TEST_EPILOG: Final = """\b
Examples:
  indelible redact test notes.txt                  which rule takes out what, by line and column
  indelible redact test args.json                  JSON is walked as arguments are; by path
  kubectl logs api | indelible redact test         standard input
  indelible redact test --redacted args.json       what would be recorded of it
  indelible redact test --json notes.txt | jq '.findings[].rule'
  indelible redact test -c indelible.yaml notes.txt

Rules, keys and exceptions of the configuration count, as they do for recorders. What is
taken out is never printed.

Exit code 0: nothing would be taken out; 1: something would; 2: wrong usage or
configuration, or FILE cannot be read.
"""

SCAN_EPILOG: Final = """\b
Examples:
  indelible redact scan                            the configured trail, and those beside it
  indelible redact scan audit.jsonl                one trail: all its files, compressed ones too
  indelible redact scan /var/log/indelible         all trails of a directory
  indelible redact scan --since 7d --json | jq -r 'select(.rule == "EMAIL") | .seq'

The rules are today's: those of this version and this configuration, and the marks that the
tools' schemas have now. What is found is never printed. `indelible erase` takes it out.

Exit code 0: nothing is found in all of it; 1: something is found; 2: wrong usage or
configuration; 3: nothing is found, but something could not be read, or there is no trail.
"""


@click.group("redact", epilog=GROUP_EPILOG)
def command() -> None:
    """Say what redaction takes out of a text, or finds in a trail."""


def explainer_of(where: Where) -> Explainer:
    """Return who explains by the configuration in force. Raises ConfigError, one line."""
    from indelible.redact.explain import Explainer

    return Explainer(where.settings.redaction, os.urandom(32))


# --- test -----------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """A finding, and where it is in the input: a line and column of text, a path of JSON, a line's path of lines."""

    found: Found
    line: int | None
    column: int | None

    def place(self) -> str:
        """Return where it is, for people."""
        if self.column is not None:
            return f"{self.line}:{self.column}"
        key = " (in the key)" if self.found.part == "key" else ""
        line = "" if self.line is None else f"line {self.line} "
        return f"{line}{self.found.path}{key}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        where = {"line": self.line, "column": self.column, "path": self.found.path, "part": self.found.part}
        if self.column is not None:
            del where["path"], where["part"]
        return {
            "rule": self.found.rule,
            **{name: value for name, value in where.items() if value is not None},
            "strategy": self.found.strategy,
            "inside": list(self.found.inside),
            "begin": self.found.begin,
            "end": self.found.end,
        }


@command.command("test", epilog=TEST_EPILOG)
@click.argument("file", metavar="[FILE|-]", default="-")
@click.option("--text", "as_text", is_flag=True, help="Take it as text, even when it is JSON.")
@click.option("--redacted", is_flag=True, help="Print what stays; the findings go to standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and what stays as one JSON object.")
@click.option("-c", "--config", metavar="FILE", help="Read this configuration.")
@click.option("--profile", metavar="NAME", help="Use this profile of it.")
def test(
    file: str,
    as_text: bool,  # noqa: FBT001 - click's signature
    redacted: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    config: str | None,
    profile: str | None,
) -> int:
    """Show what would be taken out of a text or JSON, where, and by which rule."""
    if redacted and as_json:
        raise click.UsageError("--json has what stays, too: not together with --redacted")
    explainer = explainer_of(Where(config, profile))
    data = read_input("FILE", file, MAX_INPUT_BYTES + 1)
    if len(data) > MAX_INPUT_BYTES:
        msg = f"FILE: {file}: longer than {MAX_INPUT_BYTES >> 20} MB; cut it into parts"
        raise ConfigError(msg)
    kind, stays, shown = explain_input(explainer, data, as_text=as_text)
    if as_json:
        print_json({"input": kind, "findings": [one.as_dict() for one in shown], "redacted": stays})
    else:
        if redacted:
            _print_stays(kind, stays)
        _print_found(shown, err=redacted)
    return 1 if shown else 0


def explain_input(explainer: Explainer, data: bytes, *, as_text: bool) -> tuple[str, Any, list[Shown]]:
    """Return what the input is (``json``, ``json lines``, ``text``), what stays of it, and what does not."""
    data = _in_utf8(data)
    documents = None if as_text else _documents(data)
    if documents is None:
        text = data.decode("utf-8", "replace")
        stays, found = explainer.text(text)
        return "text", stays, list(_by_column(text, found))
    if len(documents) == 1 and documents[0][0] is None:
        stays, found = explainer.document(documents[0][1])
        return "json", stays, [Shown(one, None, None) for one in found]
    done = [(line, *explainer.document(value)) for line, value in documents]
    return (
        "json lines",
        [stays for _, stays, _ in done],
        [Shown(one, line, None) for line, _, found in done for one in found],
    )


def _in_utf8(data: bytes) -> bytes:
    """Return the input without its byte order mark, in UTF-8: shells and editors of Windows write UTF-16."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode()
    return data


_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _documents(data: bytes) -> list[tuple[int | None, Any]] | None:
    """Return JSON documents, with the numbers of their lines when there are several; None for what is text."""
    from indelible.redact.explain import parse

    stripped = data.strip(_BLANK)
    if stripped[:1] not in (b"{", b"[", b'"'):
        return None
    try:
        return [(None, parse(stripped))]
    except ValueError:
        pass
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip(_BLANK)]
    if len(lines) < 2 or any(line.strip(_BLANK)[:1] != b"{" for _, line in lines):
        return None
    try:
        return [(number, parse(line)) for number, line in lines]
    except ValueError:
        return None


def _by_column(text: str, found: Iterable[Found]) -> Iterator[Shown]:
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    for one in found:
        begin = one.begin or 0
        line = bisect_right(starts, begin)
        yield Shown(one, line, begin - starts[line - 1] + 1)


def _print_stays(kind: str, stays: Any) -> None:
    import orjson

    if kind == "text":
        # Not click.echo: into a pipe that takes escape sequences out, which are a part of the text.
        sys.stdout.write(visible_text(stays) if sys.stdout.isatty() else stays)
        sys.stdout.flush()
    elif kind == "json":
        echo_json(orjson.dumps(stays, option=orjson.OPT_INDENT_2).decode())
    else:
        for one in stays:
            print_json(one)


def _print_found(shown: list[Shown], *, err: bool) -> None:
    if not shown:
        click.echo("nothing would be taken out", err=err)
        return
    rows = [(one_line(one.place()), _why(one.found), one.found.strategy, _size(one.found)) for one in shown]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1, 2)]
    for place, why, strategy, size in rows:
        line = f"{place:<{widths[0]}}  {why:<{widths[1]}}  {strategy:<{widths[2]}}  {size}"
        click.echo(line.rstrip(), err=err)
    click.echo(f"{counted(len(shown), 'finding')}: all of it would be taken out", err=err)


def _why(found: Found) -> str:
    inside = f" (in {', '.join(found.inside)})" if found.inside else ""
    return one_line(found.rule + inside)


def _size(found: Found) -> str:
    return "" if found.chars is None else counted(found.chars, "character")


# --- scan -----------------------------------------------------------------------------------------------


@command.command("scan", epilog=SCAN_EPILOG)
@click.argument("trail_path", metavar="[TRAIL]", required=False)
@click.option("--since", metavar="TIME", help="Received at or after: 10s, 5m, 2h, 1d ago, a date, or RFC 3339.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a line of JSON for each finding, then one for all."
)
@where_options
def scan(
    where: Where,
    trail_path: str | None,
    since: str | None,
    as_json: bool,  # noqa: FBT001 - click's signature
) -> int:
    """Search a trail with today's rules for what should not be in it."""
    from indelible.cli import redact_scan

    if trail_path is not None:
        if where.trail is not None:
            raise click.UsageError("TRAIL and --trail are the same: give one of them")
        where = Where(where.config, where.profile, trail_path)
    code = redact_scan.search(where, explainer_of(where), since, as_json=as_json)
    sys.stdout.flush()
    return code
