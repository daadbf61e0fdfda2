"""The whole trail, verified: what `indelible verify` says, as an answer.

The rule that lives here: a finding's expected and found values may quote a line. Only who sees all of the trail gets
more of a finding than what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from indelible.inquiry.answers import Shown, fitting, json_value, noted
from indelible.inquiry.explaining import key_of
from indelible.inquiry.roles import Role
from indelible.trail.checking.check import verify_trail
from indelible.trail.findings import Finding, VerifyResult
from indelible.trail.layout import Layout
from indelible.trail.reader import origin_of

MAX_FINDINGS: Final = 20

NOT_GIVEN: Final = "none of the keys that were given is this trail's: it was judged by the one beside it"


def verify(paths: Sequence[Path], role: Role, vkeys: Sequence[str], room: int) -> tuple[Shown, str]:
    """Check trails against their checkpoints. Raises TrailError when one cannot be read."""
    trails: list[Shown] = []
    for path in paths:
        key = key_of(origin_of(Layout(path)), vkeys, only=len(paths) == 1)
        result = verify_trail(path, None if key is None else key.vkey())
        trails.append(
            _shown(result, role, room // max(len(paths), 1), given=bool(vkeys), pinned=key is not None)
        )
    ok = all(trail["ok"] for trail in trails)
    events = sum(trail["events"] for trail in trails)
    kept = fitting(sorted(trails, key=lambda trail: bool(trail["ok"])), room)
    body = noted(ok=ok, trails=kept, more_trails=len(trails) - len(kept))
    return body, f"{'ok' if ok else 'NOT OK'}: {events} events in {len(trails)} trails"


def _shown(result: VerifyResult, role: Role, room: int, *, given: bool, pinned: bool) -> Shown:
    said = result.as_dict()
    wrong_key = given and not pinned
    found = fitting([_finding(one, role) for one in result.findings[:MAX_FINDINGS]], room // 2)
    notes = [*([NOT_GIVEN] if wrong_key else []), *said["not_checked"]]
    return {
        "trail": json_value(said["trail"]),
        "origin": json_value(said["origin"]),
        "ok": said["ok"] and not wrong_key,
        **{name: said[name] for name in ("events", "files", "erased", "pruned", "unsealed")},
        "checkpoint": said["checkpoint"],
        "key_pinned": pinned,
        "findings": found,
        "more_findings": len(result.findings) - len(found) + said["findings_omitted"],
        "not_checked": fitting([json_value(text) for text in notes], room // 4),
    }


def _finding(finding: Finding, role: Role) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "problem": finding.problem,
        "file": json_value(finding.file),
        "line": finding.line,
        "seq": finding.seq,
    }
    if role.sees_all:
        parts = (("", finding.detail), ("expected ", finding.expected), ("found ", finding.found))
        shown["detail"] = json_value("; ".join(f"{word}{text}" for word, text in parts if text))
    return shown
