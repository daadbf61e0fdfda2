"""A table and JSON for one benchmark: figures, and the goals that some of them have."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple


class Goal(NamedTuple):
    """A bound that a figure is held against."""

    bound: float
    at_most_: bool

    @classmethod
    def at_most(cls, bound: float) -> Goal:
        """The figure must not be above."""
        return cls(bound, at_most_=True)

    @classmethod
    def at_least(cls, bound: float) -> Goal:
        """The figure must not be below."""
        return cls(bound, at_most_=False)

    def met(self, value: float) -> bool:
        """Tell whether `value` keeps to the bound."""
        return value <= self.bound if self.at_most_ else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most_ else '≥'} {self.bound:g}"


class Row(NamedTuple):
    """One figure."""

    name: str
    value: float
    goal: Goal | None


class Report:
    """Collects figures; `finish` prints them."""

    def __init__(self, title: str, **options: str) -> None:
        """`options` are further ones, each with its help; what they were given stands in `said`."""
        parser = argparse.ArgumentParser(description=f"Measure {title}; prints a table.")
        parser.add_argument("--json", metavar="FILE", help="write the figures as JSON, too")
        for name, help_ in options.items():
            parser.add_argument(f"--{name}", help=help_)
        self.said = parser.parse_args()
        self._json = self.said.json
        self._title = title
        self._rows: list[Row] = []

    def add(self, name: str, value: float, goal: Goal | None = None) -> None:
        """Add one figure."""
        self._rows.append(Row(name, value, goal))
        print(".", end="", file=sys.stderr, flush=True)

    def finish(self) -> int:
        """Print the table, write the JSON; return 1 when a goal is missed."""
        print(file=sys.stderr)
        width = max(len(row.name) for row in self._rows)
        print(f"{self._title}\n")
        for row in self._rows:
            verdict = (
                "" if row.goal is None else f"{row.goal!s:>8}  {'met' if row.goal.met(row.value) else 'MISSED'}"
            )
            print(f"{row.name:<{width}}  {row.value:>12,.2f}  {verdict}".rstrip())
        if self._json:
            figures = [
                {
                    "name": row.name.strip(),
                    "value": row.value,
                    "goal": str(row.goal) if row.goal else None,
                    "met": row.goal.met(row.value) if row.goal else None,
                }
                for row in self._rows
            ]
            Path(self._json).write_text(json.dumps({"title": self._title, "figures": figures}, indent=2) + "\n")
        return int(any(row.goal is not None and not row.goal.met(row.value) for row in self._rows))
