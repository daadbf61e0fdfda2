"""Commands that a message names, for who takes them up: they ask the trail that the message is about.

Messages name commands in quotes, ``'indelible verify'``, wherever they are made; who prints one puts the options behind
that say where the trail is, as they were given. Without any the default trail is meant by both.
"""

from __future__ import annotations

import re
import shlex

from indelible.values import shell_word

_NAMED = re.compile(
    r"'(indelible (?:verify|log|tail|ship|status|sql(?! --columns)|twins|retain|report|hold list|"
    r"keygen --(?:show|rotate|lost))(?: --?[a-z-]+(?: [a-z]+)?)*)'"
)
"""A command about a trail, whole: what has a word in it that stands for something is not to be pasted."""

_options = ""


def options_of(config: str | None, profile: str | None, trail: str | None) -> str:
    """Return the options that name the same trails, as they were given; nothing in them cannot be seen."""
    given = (("-c", config), ("--profile", profile), ("--trail", trail))
    return "".join(
        f" {name} {shlex.quote(value) if value.isprintable() else shell_word(value)}"
        for name, value in given
        if value is not None
    )


def about(config: str | None, profile: str | None, trail: str | None) -> None:
    """Let the commands that are named from now on be about these trails."""
    global _options  # noqa: PLW0603 - what this process was asked about
    _options = options_of(config, profile, trail)


def options() -> str:
    """Return what stands behind a command, with a space before it; empty for the default trail."""
    return _options


def placed(message: str) -> str:
    """Return a message whose commands are about these trails."""
    if not _options or "'indelible " not in message:
        return message
    return _NAMED.sub(lambda found: f"'{found[1]}{_options}'", message)
