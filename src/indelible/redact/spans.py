"""Where something was found in a text, by what is no pattern. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """A place, given as `re.Match` gives its own."""

    begin: int
    end: int

    def span(self) -> tuple[int, int]:
        """Return where it begins and ends."""
        return self.begin, self.end
