"""The page of a bundle of evidence: what it is, what it shows and what not, and the events as people read them.

The rule that lives here: what callers chose is text and nothing else. All of it goes through `_text`, which makes every
invisible character visible and escapes the rest; the page has no script, loads nothing, and forbids a browser both.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from indelible.cli.table import Cells, cells_of
from indelible.cli.text import counted, fit, neutralise
from indelible.query.filters import parse_row

MAX_ROWS: Final = 2_000
"""A page is for people: further lines are in the file of lines, which the page says."""

MAX_CELLS: Final = 400
"""The most of one value that is shown; the line has all of it."""

COLUMNS: Final = (
    ("seq", "Seq"),
    ("time", "Received (UTC)"),
    ("event", "Event"),
    ("user", "Who"),
    ("backend", "Server"),
    ("name", "What"),
    ("args", "Arguments"),
    ("outcome", "Outcome"),
    ("latency", "Took"),
)

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 76rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid #ccc;
  overflow-wrap: anywhere }
thead { display: table-header-group } tr { break-inside: avoid }
code, pre, .log td { font-family: ui-monospace, monospace; font-size: .8rem }
pre { background: #f4f4f4; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere }
.log th { overflow-wrap: normal }
@media (min-width: 60rem) {
  .log th:nth-child(2), .log th:nth-child(3) { min-width: 6.5rem }
  .log th:nth-child(4), .log th:nth-child(5), .log th:nth-child(6), .log th:nth-child(8) { min-width: 5.5rem }
}
.facts th { width: 14rem; font-weight: 600 } .no { border: 2px solid #a00; padding: .5rem 1rem }
td bdi { unicode-bidi: isolate }
"""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def evidence_page(manifest: dict[str, Any], lines: Iterable[bytes]) -> bytes:
    """Return the page, UTF-8, for a manifest (without its files) and the lines that it is about."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>Evidence from an audit trail</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
        "<h1>Evidence from an audit trail</h1>\n",
        _findings(manifest),
        _intro(manifest),
        _facts(manifest),
        _shown(manifest),
        _HOW_TO_CHECK,
        _events(manifest, lines),
        "</body>\n</html>\n",
    ]
    return "".join(parts).encode()


def _text(value: object) -> str:
    """Return what a value shows as: every character visible, none of them markup."""
    return html.escape(fit(neutralise(str(value)), MAX_CELLS))


# --- what it is -----------------------------------------------------------------------------------------------------


def _findings(manifest: dict[str, Any]) -> str:
    findings = manifest["trail"]["findings"]
    if not findings:
        return ""
    items = "".join(f"<li>{_text(_finding(finding))}</li>\n" for finding in findings[:50])
    more = len(findings) - 50 + manifest["trail"]["findings_omitted"]
    others = f"<p>And {more} more: MANIFEST.json.</p>\n" if more > 0 else ""
    return (
        '<div class="no">\n<p><strong>The trail that this was taken from is not what was sealed.</strong> The lines in'
        " this bundle are; others were altered or are missing, and may have been among those that were asked"
        f" for:</p>\n<ul>\n{items}</ul>\n{others}</div>\n"
    )


def _finding(finding: dict[str, Any]) -> str:
    where = ", ".join(
        f"{label}{finding[key]}"
        for key, label in (("file", ""), ("line", "line "), ("seq", "seq "))
        if finding[key] is not None
    )
    return f"{finding['problem']}: {where}"


def _intro(manifest: dict[str, Any]) -> str:
    return (
        "<p>An AI agent's calls to tools went through a recorder, Indelible, that wrote each of them down as one line"
        " of a log: the <em>audit trail</em>. At least once a second the trail is sealed: all of its lines together are"
        " given one fingerprint, which is signed. This bundle holds"
        f" {counted(manifest['lines']['count'], 'line')} of one such trail, as they were written, and what it takes to"
        " check that they were sealed and have not been changed since, without the trail, and without trusting who made"
        " the bundle.</p>\n"
    )


def _facts(manifest: dict[str, Any]) -> str:
    trail, lines, by = manifest["trail"], manifest["lines"], manifest["made_by"]
    rows = [
        ("Asked for", _asked(manifest["asked"])),
        ("Note", manifest["note"] or ""),
        ("Made by", f"{by['login']} on {by['host']}, with {manifest['made_with']}"),
        ("Made at", manifest["made_at"]),
        ("Trail", f"{trail['origin']}, {counted(trail['size'], 'line')} sealed"),
        ("Events in this bundle", str(lines["events"])),
        ("Received", f"{lines['first_time']} to {lines['last_time']}"),
        ("Lines", f"seq {lines['first_seq']} to {lines['last_seq']}, {_holes(lines)}"),
        ("Erased lines", _erased(lines)),
        ("Left out", _left_out(manifest["left_out"])),
    ]
    cells = "".join(
        f"<tr><th>{label}</th><td><bdi>{_text(value)}</bdi></td></tr>\n" for label, value in rows if value
    )
    return f'<table class="facts">\n{cells}</table>\n'


def _asked(asked: dict[str, Any]) -> str:
    said = {"mcp_operation": "calls"}
    events = asked["events"]
    kinds = "all events" if events == "all" else ", ".join(said.get(name, name) for name in events)
    rest = (
        f"{name.replace('_', ' ')} {' or '.join(value) if isinstance(value, list) else value}"
        for name, value in asked.items()
        if name != "events"
    )
    return "; ".join((kinds, *rest))


def _holes(lines: dict[str, Any]) -> str:
    missing = lines["last_seq"] - lines["first_seq"] + 1 - lines["count"]
    return f"of which {missing} in between were not chosen" if missing else "none in between is missing"


def _erased(lines: dict[str, Any]) -> str:
    if not lines["erased"]:
        return ""
    return (
        f"{lines['erased']}: content erased on somebody's order, which is on record in this bundle. Whether they would"
        " be among the events asked for nobody can tell any more"
    )


def _left_out(left: dict[str, Any]) -> str:
    said = []
    if left["unsealed"]:
        said.append(f"{left['unsealed']} that were not sealed yet when the bundle was made")
    if left["not_sealed_so"]:
        said.append(f"{left['not_sealed_so']} that are not as they were sealed")
    return "; ".join(said)


# --- what it shows ----------------------------------------------------------------------------------------------------


_SHOWN: Final = """<h2>What it shows</h2>
<ul>
<li>Each line in <code>lines.jsonl</code> is, byte for byte, at its place (<em>seq</em>) in the trail that the owner of
the key has signed. A line that was altered, added or moved is found.</li>
<li>Seqs count without a hole, in the order in which things were recorded: what has the lower seq was recorded first.
</li>
</ul>
<h2>What it does not show</h2>
<ul>
<li><strong>Whose key it is.</strong> The key came with the bundle. Get it from the trail's owner by another way, and
check with that.</li>
"""

_CHOSEN: Final = """<li><strong>That these are all.</strong> Lines were chosen, by who made the bundle. Nothing here
shows that no other line of the trail fits what was asked for. Ask for a stretch of time with all events: between the
first and the last line of that nothing can be missing unseen.</li>
"""

_NOT_CHOSEN: Final = """<li><strong>What came before the first line and after the last.</strong> In between nothing is
missing.</li>
"""

_NOT_SHOWN: Final = """<li><strong>That the record is true.</strong> It is what the recorder saw: names and times are
those of its machine, and what did not pass through it is not there.</li>
<li><strong>That there is no second history.</strong> Who holds the key can write another trail from the start, and sign
that. Only a checkpoint that was kept elsewhere, or cosigned by a witness, rules it out.</li>
<li><strong>What was taken out before sealing.</strong> Secrets and personal data are redacted as the trail is written
(<code>[REDACTED]</code>), long values cut; what was erased later is marked.</li>
<li><strong>Anything about this page.</strong> It is drawn from the lines, for reading. Page and manifest are the word
of who made the bundle; the lines are what is proved.</li>
</ul>
"""


def _shown(manifest: dict[str, Any]) -> str:
    lines = manifest["lines"]
    whole = lines["count"] == lines["last_seq"] - lines["first_seq"] + 1
    return _SHOWN + (_NOT_CHOSEN if whole else _CHOSEN) + _NOT_SHOWN


_HOW_TO_CHECK: Final = """<h2>How to check it</h2>
<p>With Python 3.8 or later and nothing else, in the folder that the bundle was unpacked to:</p>
<pre>python3 verify.py --vkey KEY</pre>
<p>KEY is the trail's public key from its owner, <code>name+id+key</code>, or a file that holds it. The program prints
OK (exit code 0) or what is wrong (1). It is short enough to be read first. Who does not want to trust the copy in this
bundle takes it from Indelible: <code>indelible export --verifier</code>. To hand on a single line with a proof of its
own, which says nothing about the others: <code>python3 verify.py --line SEQ</code>.</p>
<p>By other means: <code>sha256sum -c SHA256SUMS</code> compares the files. <code>checkpoint</code> is a C2SP signed
note (c2sp.org/tlog-checkpoint) under an Ed25519 key; a leaf is SHA-256 of a zero byte and the line, the tree that of
RFC 6962.</p>
"""


# --- the events -------------------------------------------------------------------------------------------------------


def _events(manifest: dict[str, Any], lines: Iterable[bytes]) -> str:
    head = "".join(f"<th>{label}</th>" for _, label in COLUMNS)
    rows = "".join(_rows(islice(lines, MAX_ROWS)))
    count = manifest["lines"]["count"]
    more = f"<p>The first {MAX_ROWS} of {count} lines; the rest is in <code>lines.jsonl</code>.</p>\n"
    return (
        "<h2>The lines, for reading</h2>\n"
        f"{more if count > MAX_ROWS else ''}"
        f'<table class="log">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n'
    )


def _rows(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        row = parse_row(line)
        cells: Cells = {"seq": "" if row is None else str(row.seq), **cells_of(line)}
        shown = "".join(f"<td><bdi>{html.escape(fit(cells[key], MAX_CELLS))}</bdi></td>" for key, _ in COLUMNS)
        yield f"<tr>{shown}</tr>\n"
