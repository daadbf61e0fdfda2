"""What `indelible incident` prints: an incident a block, in order, or all of them as one JSON object."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from indelible.cli import hints
from indelible.cli.common import note, print_json
from indelible.cli.table import STYLES, latency_text
from indelible.cli.text import byte_count, counted, fit, neutralise, one_line, pad, width
from indelible.query.incidents.calls import Call, Recorder, shifted
from indelible.query.incidents.measures import LEAST_SAMPLE, Burst, Unusual, value_of
from indelible.query.incidents.windows import BASELINE_S, REACH_S, Found
from indelible.values import shell_word

if TYPE_CHECKING:
    from indelible.query.incidents.reading import Analysis, Asked

FALLBACK: Final = (80, 24)
LEAST_WIDTH: Final = 52
"""On a narrower terminal rows go on in the next line."""
NAME_CELLS: Final = (12, 36)
"""The fewest and the most cells of a name."""
MOST_OUTCOME: Final = 19
TOOK_CELLS: Final = 11
SIZE_CELLS: Final = 10
LEAST_ARGS: Final = 10
"""With fewer cells no arguments are shown."""
BASELINE: Final = f"{BASELINE_S // 86_400} days"
SHOWN_TOOLS: Final = 5
HINTS: Final = 3
"""So many calls have a command for what is around them."""


def show(analysis: Analysis, asked: Asked, *, as_json: bool) -> None:
    """Print what was found; what could not be read is counted on stderr."""
    from indelible.cli.log import report_corrupt

    if as_json:
        print_json(report(analysis, asked))
    else:
        _print(analysis, asked)
    report_corrupt(analysis.corrupt)
    if analysis.let_go:
        calls = counted(analysis.let_go, "call")
        note(f"{calls} without an outcome could not be followed: more were open at once than memory is for")
    if analysis.unmeasured:
        note(
            f"{counted(analysis.unmeasured, 'call')} of more tools than are measured: of these no percentile is known"
        )


def _print(analysis: Analysis, asked: Asked) -> None:
    columns = max(LEAST_WIDTH, shutil.get_terminal_size(FALLBACK).columns)
    for index, found in enumerate(analysis.found):
        if index:
            click.echo()
        _Block(found, asked, analysis, columns).print()
    if not analysis.found:
        within = " in that time" if asked.since or asked.until else ""
        about = f" about '{one_line(asked.backend)}'" if asked.backend else ""
        note(f"no incident{about} is on record{within}", "INFO")
    elif analysis.more:
        note(f"these are the newest {len(analysis.found)}; -n N shows N, -n 0 all of them", "INFO")


# --- for people -------------------------------------------------------------------------------------------------


class _Block:
    def __init__(self, found: Found, asked: Asked, analysis: Analysis, columns: int) -> None:
        self._found = found
        self._window = found.window
        self._incident = found.window.incident
        self._asked = asked
        self._analysis = analysis
        self._width = columns

    def print(self) -> None:
        self._prose(one_line(f"{_clock(self._incident.at)}  {headline(self._found)}"), indent=0, bold=True)
        for fact in facts(self._found):
            self._prose(fact)
        self._in_flight()
        self._before()
        self._heading("unusual", [_unusual_text(one) for one in self._found.unusual])
        self._heading("errors in a burst", [_burst_text(one) for one in self._found.bursts])
        self._heading("not known", list(unknown(self._found, self._analysis)))
        self._heading("more", list(commands(self._found)), whole=True)

    def _in_flight(self) -> None:
        window = self._window
        count, shown = window.in_flight_count, window.in_flight[: self._asked.keep]
        cut = "" if count == len(shown) else f", the first {len(shown)} of them"
        self._prose(f"in flight: {counted(count, 'call') if count else 'no call'}{cut}", bold=bool(count))
        self._rows(shown)

    def _before(self) -> None:
        window = self._window
        span = _span(self._asked.window_s)
        shown = list(window.before)
        if not shown:
            self._prose(f"before: no call had ended in the {span} before")
            return
        self._prose(f"before: the last {len(shown)} of {counted(window.before_count, 'call')} in {span}")
        self._rows(shown)

    def _heading(self, title: str, texts: list[str], *, whole: bool = False) -> None:
        if not texts:
            return
        click.echo(f"  {title}:")
        for text in texts:
            if whole:
                click.echo(f"    {text}")
            else:
                self._prose(text, indent=4)

    def _prose(self, text: str, indent: int = 2, *, bold: bool = False) -> None:
        shown = neutralise(text)
        cells = self._width if shown.isascii() else self._width // 2  # each character may take two
        lines = textwrap.wrap(
            shown, cells, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2),
            break_on_hyphens=False,
        )  # fmt: skip
        for line in lines:
            click.echo(click.style(line, bold=True) if bold else line)

    def _rows(self, calls: list[Call]) -> None:
        if not calls:
            return
        time = max(len(_short(call.began, self._incident.at)) for call in calls)
        outcomes = [neutralise(call.kind or "no outcome") for call in calls]
        wide = min(MOST_OUTCOME, max(map(width, outcomes)))
        extra = [TOOK_CELLS, SIZE_CELLS]
        while extra and 4 + time + NAME_CELLS[0] + wide + 4 + sum(extra) + 2 * len(extra) > self._width:
            extra.pop()
        rest = self._width - 4 - time - wide - 4 - sum(extra) - 2 * len(extra)
        names = [neutralise(_name(call, self._window.backend)) for call in calls]
        cells = min(max(NAME_CELLS[0], *map(width, names)), NAME_CELLS[1], max(NAME_CELLS[0], rest))
        for call, name, outcome in zip(calls, names, outcomes, strict=True):
            row = [
                pad(_short(call.began, self._incident.at), time),
                pad(fit(name, cells), cells),
                click.style(
                    pad(fit(outcome, wide), wide), fg=STYLES.get(call.kind, "red") if call.kind else "yellow"
                ),
            ]
            row += [
                text.rjust(room)
                for text, room in zip((_took(call), _bytes(call.args_bytes)), extra, strict=False)
            ]
            if rest - cells > LEAST_ARGS:
                row.append(fit(neutralise(call.args.decode("utf-8", "replace")), rest - cells - 2))
            click.echo(("    " + "  ".join(row)).rstrip())


def headline(found: Found) -> str:
    """Return what happened, on a line."""
    incident = found.window.incident
    about = incident.backend or "a server"
    if incident.kind == "server":
        became = {"Failed": "failed", "Degraded": "is degraded"}[incident.became]
        return f"{about} {became}: {incident.why or 'no reason is on record'}"
    if incident.kind == "recorder":
        who = "the recorder" + ("" if incident.recorder is None else _process(incident.recorder))
        return f"{who} died" if incident.noticed else f"{who} died, and nobody has recorded since"
    if incident.kind == "gap":
        lost = counted(incident.lost, "event") if incident.lost else "events"
        return f"{lost} could not be recorded: {incident.why or 'no reason is on record'}"
    if incident.kind == "noted":
        return f"{incident.backend + ': ' if incident.backend else ''}noted from outside: {incident.why}"
    return "no incident is on record around this time"


def facts(found: Found) -> Iterator[str]:
    """Yield what else is known of it, a clause each."""
    incident = found.window.incident
    if incident.count > 1:
        yield (
            f"{incident.count} times, the last at {_clock(incident.last_at)}; what follows is of the first "
            "(--each shows all)"
        )
    if incident.kind == "server":
        yield f"{incident.was or '?'} -> {incident.became}"
    if incident.session:
        yield f"session {incident.session}"
    if incident.kind == "recorder" and incident.noticed:
        if incident.recorder is None:
            yield f"after this last sign of it, and before {_clock(incident.noticed)}, when that was noticed"
        else:
            yield "when the process that holds the trail noticed it"
    if incident.torn:
        yield f"it left {counted(incident.torn, 'torn piece')} of lines, in quarantine"


def _process(who: Recorder) -> str:
    return f" {who.id or '?'}" + ("" if who.pid is None else f" (process {who.pid})")


def unknown(found: Found, analysis: Analysis) -> Iterator[str]:
    """Yield what cannot be known, and why."""
    window, incident = found.window, found.window.incident
    modes = {
        mode for trail, mode in window.intents.items() if incident.kind == "moment" or trail == incident.trail
    }
    if "none" in modes:
        yield "calls that died without an outcome: no intents were recorded (intent: none)"
    elif "writes" in modes:
        yield "read-only calls that died without an outcome: only writes had intents (intent: writes)"
    elif not modes:
        yield "whether calls had intents: the start before is not among the lines that are there"
    if not window.in_flight_count and incident.kind == "recorder" and incident.recorder is None:
        yield "when exactly it died"
    if found.unjudged:
        few = ", ".join(f"{_tool(tool)} ({sample})" for tool, sample in found.unjudged[:SHOWN_TOOLS])
        more = f" and {len(found.unjudged) - SHOWN_TOOLS} more" if len(found.unjudged) > SHOWN_TOOLS else ""
        yield (
            f"what is usual for {few}{more}: too few calls in the {BASELINE} before, a percentile takes {LEAST_SAMPLE}"
        )
    late = [time for time in analysis.oldest.values() if time > window.baseline_since]
    if late and len(late) == len(analysis.oldest):
        yield f"what was called before {_clock(min(late))}: no older line is there"
    if window.older_lines and "none" not in modes and not (incident.kind == "recorder" and incident.noticed):
        lines = counted(window.older_lines, "older line")
        yield (
            f"calls that began more than {BASELINE} before and have no outcome: at most {lines} "
            f"{'is' if window.older_lines == 1 else 'are'} not looked at"
        )
    if incident.kind != "recorder":
        yield f"calls without an intent that went on for more than {_span(REACH_S)}"


def commands(found: Found) -> Iterator[str]:
    """Yield commands that show more."""
    window, incident = found.window, found.window.incident
    trail = f" --trail {shell_word(incident.trail)}" if incident.trail else hints.options()
    backend = f" --backend {shell_word(window.backend)}" if window.backend else ""
    until = shifted(max(incident.at, incident.noticed), 1)
    yield one_line(f"indelible log --since {window.since} --until {until} --events all{trail}")
    if incident.session:
        yield one_line(f"indelible log --session {shell_word(incident.session)}{trail}")
    for call in window.in_flight[:HINTS]:
        if call.request_id:
            yield one_line(
                f"indelible log --around {shell_word(call.request_id)} --trail {shell_word(call.trail)}"
            )
    if incident.count > 1:
        yield one_line(f"indelible incident --each --at {incident.last_at}{backend}{trail}")


def _unusual_text(one: Unusual) -> str:
    calls = one.calls
    if one.measure == "args_bytes":
        what, limit = "arguments", _bytes(one.p99)
        values = [f"{_bytes(call.args_bytes)} at {_time(call.began)}" for call in calls[:3]]
    else:
        what, limit = "latencies", latency_text(one.p99 / 1000)
        values = [f"{_took(call)} at {_time(call.began)}" for call in calls[:3]]
    more = f" and {one.above - len(values)} more" if one.above > len(values) else ""
    return (
        f"{_tool(one.tool)}: {what} of {', '.join(values)}{more}: above {limit}, the 99th percentile of its "
        f"{one.sample} calls in the {BASELINE} before"
    )


def _burst_text(one: Burst) -> str:
    kinds = ", ".join(f"{count} {kind or 'of no kind'}" for kind, count in one.kinds.items())
    share = _percent(one.errors / one.calls)
    usual = (
        f"{_percent(one.rate)} of {one.sample} calls in the {BASELINE} before"
        if one.rate is not None
        else f"too few calls before to say what is usual ({one.sample})"
    )
    return f"{_tool(one.tool)}: {one.errors} of {one.calls} calls failed, {share}; {usual}: {kinds}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _tool(tool: tuple[str, str]) -> str:
    backend, name = tool
    return f"{name or '?'} of {backend}" if backend else name or "?"


def _name(call: Call, backend: str) -> str:
    name = call.name or "?"
    return name if backend or not call.backend else f"{call.backend}: {name}"


def _took(call: Call) -> str:
    return "" if call.took is None else latency_text(call.took / 1000)


def _bytes(size: int | None) -> str:
    return "" if size is None else byte_count(size)


def _clock(time: str) -> str:
    """Return ``2026-11-21 05:38:34.123``."""
    return f"{time[:10]} {time[11:23]}" if time else "?"


def _time(time: str) -> str:
    return time[11:23] or "?"


def _short(time: str, other: str) -> str:
    """Return a time of day, with the date where it is another day's."""
    return _time(time) if time[:10] == other[:10] else _clock(time)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


# --- for programs -----------------------------------------------------------------------------------------------


def report(analysis: Analysis, asked: Asked) -> dict[str, Any]:
    """Return everything as `--json` prints it."""
    return {
        "incidents": [_incident(found, analysis) for found in analysis.found],
        "more": analysis.more,
        "window_s": asked.window_s,
        "baseline_s": BASELINE_S,
        "unreadable": analysis.corrupt.count,
        "not_followed": analysis.let_go,
    }


def _incident(found: Found, analysis: Analysis) -> dict[str, Any]:
    window, incident = found.window, found.window.incident
    recorder = None if incident.recorder is None else incident.recorder._asdict()
    said = {
        "kind": incident.kind, "at": incident.at, "noticed": incident.noticed, "trail": incident.trail,
        "seq": incident.seq, "event_id": incident.event_id, "backend": incident.backend,
        "session_id": incident.session, "recorder": recorder, "from": incident.was, "to": incident.became,
        "reason": incident.why, "lost": incident.lost, "torn": incident.torn,
    }  # fmt: skip
    return {
        **{key: value for key, value in said.items() if value not in ("", None, 0) or key == "seq"},
        "count": incident.count,
        "last_at": incident.last_at or incident.at,
        "in_flight": {"count": window.in_flight_count, "calls": _calls(window.in_flight)},
        "before": {"since": window.since, "count": window.before_count, "calls": _calls(window.before)},
        "unusual": [
            {
                **_of(one.tool), "measure": one.measure, "p99": one.p99, "sample": one.sample, "above": one.above,
                "calls": [{"seq": call.seq, "trail": call.trail, "value": value_of(call, one.measure)}
                          for call in one.calls],
            }
            for one in found.unusual
        ],
        "bursts": [
            {**_of(one.tool), "errors": one.errors, "calls": one.calls, "usual_rate": one.rate,
             "sample": one.sample, "kinds": one.kinds}
            for one in found.bursts
        ],
        "too_few_calls": [{**_of(tool), "sample": sample} for tool, sample in found.unjudged],
        "older_lines": window.older_lines,
        "not_known": list(unknown(found, analysis)),
    }  # fmt: skip


def _of(tool: tuple[str, str]) -> dict[str, str]:
    return {"backend": tool[0], "name": tool[1]}


def _calls(calls: Iterable[Call]) -> list[dict[str, Any]]:
    return [_call(call) for call in calls]


def _call(call: Call) -> dict[str, Any]:
    said: dict[str, Any] = {
        "trail": call.trail, "seq": call.seq, "event_id": call.event_id, "request_id": call.request_id,
        "timestamp": call.began, "recorded_at": call.recorded_at, "backend": call.backend, "name": call.name,
        "session_id": call.session, "user_id": call.user, "kind": call.kind or None,
        "latency_ms": None if call.took is None else call.took / 1000, "args_bytes": call.args_bytes,
    }  # fmt: skip
    try:
        said["args"] = orjson.loads(call.args)
    except orjson.JSONDecodeError:  # none, or cut
        pass
    return said
