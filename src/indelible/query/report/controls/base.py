"""What a framework of controls is, as data.

The rules that live here:

- A control is named by its own id and title; what it asks is told in our words, never quoted at length.
- Of each it is said what the trail shows, as facts with numbers, and what it does **not** show. There is no control of
  which a log alone shows everything, so `not_shown` is never empty.
- Only controls are listed that an audit log serves; which others a framework has is not our word to give.
"""

from __future__ import annotations

from typing import NamedTuple


class Control(NamedTuple):
    """One control."""

    id: str
    title: str
    asks: str
    """What it is about, in our words."""
    facts: tuple[str, ...]
    """What the trail shows: names of facts."""
    sections: tuple[str, ...]
    """Sections of the report that go into detail."""
    not_shown: str


class Framework(NamedTuple):
    """A framework, in the version whose numbers these are."""

    name: str
    title: str
    version: str
    about: str
    """What is to be known of all of it."""
    controls: tuple[Control, ...]
