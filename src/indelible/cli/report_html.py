"""What every page of a report is made of: its head, its look, its tables.

The rules that live here:

- What callers chose is text and nothing else: all of it goes through `text`, which makes every invisible character
  visible and escapes the rest. The page has no script, loads nothing, and forbids a browser both.
- Nothing is cut off, on a screen or on paper: what is too long is wrapped, and every table has its head on every page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

from indelible.cli.report_charts import share
from indelible.cli.report_values import RIGHT, shown
from indelible.cli.text import neutralise
from indelible.query.report.sections import Column

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #5a5a5a; --line: #ccc; --soft: #f3f3f3;
  --ok: #2b6cb0; --bad: #b3261e; --warn: #8a5a00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181c; --faint: #a8a8a8; --line: #444;
  --soft: #23262b; --ok: #6ea8e5; --bad: #f28b82; --warn: #e6b450 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; font-variant-ligatures: none }
h1 { font-size: 1.6rem; line-height: 1.25 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem } h3 { font-size: 1rem;
  margin: 1.4rem 0 .2rem }
p { margin: .4rem 0 } .faint { color: var(--faint) } a { color: var(--ok) }
table { border-collapse: collapse; width: 100%; font-size: .85rem; margin: .6rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--line) }
thead th { overflow-wrap: normal; border-bottom-width: 2px }
td.n, th.n { text-align: right; overflow-wrap: normal; font-variant-numeric: tabular-nums }
td.n { white-space: nowrap }
td.t { min-width: 5.5em; font-family: ui-monospace, monospace; font-size: .8rem }
td.w { min-width: 6.2em; font-variant-numeric: tabular-nums }
td.bar { width: 16%; min-width: 4em; padding-right: 0 }
caption { text-align: left; color: var(--faint); padding-bottom: .2rem }
.scroll { overflow-x: auto } .short { width: auto } .short td, .short th { padding-right: 2rem }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; margin: .6rem 0 } .tiles div { min-width: 5.5rem }
.tiles dt { color: var(--faint); font-size: .8rem } .tiles dd { margin: 0; font-size: 1.25rem;
  font-variant-numeric: tabular-nums }
.facts { width: auto } .facts th { font-weight: 600; padding-right: 1.5rem; border-bottom: 0; overflow-wrap: normal }
.facts td { border-bottom: 0 }
svg.chart { width: 100%; height: auto; display: block } svg.share { width: 100%; height: .7rem; display: block;
  margin-top: .3rem } svg.key { width: .7rem; height: .7rem; margin-left: .8rem }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif } svg .grid { stroke: var(--line); stroke-width: .6 }
svg .ok { fill: var(--ok) } svg .bad { fill: var(--bad) }
.box { border: 2px solid var(--warn); padding: .3rem 1rem; margin: 1rem 0 } .no { border-color: var(--bad) }
.ok-word { color: var(--ok); font-weight: 700 } .bad-word { color: var(--bad); font-weight: 700 }
pre, code { font-family: ui-monospace, monospace; font-size: .78rem }
pre { background: var(--soft); padding: .5rem .7rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0 }
bdi { unicode-bidi: isolate }
@page { margin: 16mm 14mm }
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --soft: #f3f3f3;
    --ok: #2b6cb0; --bad: #b3261e; --warn: #8a5a00 }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  body { font-size: 9.5pt; line-height: 1.35; max-width: none; margin: 0; padding: 0 }
  table { font-size: 8pt } td.t, pre, code { font-size: 7.5pt } .scroll { overflow: visible }
  h2, h3, h2 + p, caption { break-after: avoid }
  thead { display: table-header-group } tr, figure, svg.chart { break-inside: avoid }
  p { orphans: 2; widows: 2 } a { color: inherit; text-decoration: none }
}
"""


def page(title: str, body: Iterable[str]) -> bytes:
    """Return a page, UTF-8."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
        *body,
        "</body>\n</html>\n",
    ]
    return "".join(parts).encode()


def text(value: object) -> str:
    """Return what a value shows as: every character visible, none of them markup."""
    return html.escape(neutralise(str(value)))


def isolated(value: object) -> str:
    """The same of what a caller chose: text that runs the other way turns nothing beside it around."""
    return f"<bdi>{text(value)}</bdi>"


def paragraph(value: object, kind: str = "") -> str:
    """Return a paragraph of ours."""
    return f"<p{f' class={kind!r}' if kind else ''}>{text(value)}</p>\n"


def table(
    columns: Sequence[Column], rows: Sequence[dict[str, Any]], caption: str, bucket: str, bar: str | None = None
) -> str:
    """Return a table; `bar` is the column of which every row has a bar, too."""
    most = max((float(row[bar] or 0) for row in rows), default=0.0) if bar else 0.0
    heads = "".join(
        f'<th scope="col" class="{_class(column)}">{text(column.heading)}</th>' for column in columns
    )
    heads += "<td></td>" if bar else ""
    drawn = []
    for row in rows:
        cells = "".join(_cell(row[column.name], column, bucket) for column in columns)
        if bar:
            cells += f'<td class="bar">{share(float(row[bar] or 0), most, bad=bar == "percent")}</td>'
        drawn.append(f"<tr>{cells}</tr>\n")
    return (
        f'<div class="scroll">\n<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{''.join(drawn)}</tbody>\n</table>\n</div>\n"
    )


def _class(column: Column) -> str:
    return "n" if column.kind in RIGHT else "w" if column.kind in ("time", "bucket", "truth") else "t"


def _cell(value: Any, column: Column, bucket: str) -> str:
    said = shown(value, column, bucket)
    return f'<td class="{_class(column)}">{isolated(said) if column.kind == "text" else text(said)}</td>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values; the values are markup."""
    cells = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{value}</td></tr>\n' for name, value in rows if value
    )
    return f'<table class="facts">\n<tbody>\n{cells}</tbody>\n</table>\n'


def tiles(rows: Iterable[tuple[str, str]]) -> str:
    """Return figures in large digits, each with its name; an empty one is left out."""
    boxes = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>\n" for name, value in rows if value
    )
    return f'<dl class="tiles">\n{boxes}</dl>\n'
