"""The command line of `wrap`, which is read by hand, and the names that it finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.cli.naming import server_name
from indelible.cli.wrap import HELP, UsageError, parse


def test_options_end_where_the_command_begins() -> None:
    options = parse(
        ["--name", "n", "-c", "f", "--trail=t", "--actor", "a", "--caller-type", "agent", "--", "x", "--name"]
    )
    assert (options.name, options.config, options.trail, options.actor) == ("n", "f", "t", "a")
    assert options.caller_type == "agent"
    assert options.command == ["x", "--name"]
    assert parse(["npx", "-y", "--help"]).command == ["npx", "-y", "--help"]
    assert parse(["--help", "x"]).help


@pytest.mark.parametrize(
    "words",
    [[], ["--"], ["--name"], ["--name", "--", "x"], ["--name=", "x"], ["--verbose", "x"], ["--caller-type", "x", "y"],
     ["-x", "y"], ["--", ""], ["--trail", "a\0b", "x"], ["--", "a\0"]],
)  # fmt: skip
def test_mistakes_are_one_line(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(max_size=6), max_size=5))
def test_no_words_whatever_raise_anything_else(words: list[str]) -> None:
    try:
        options = parse(words)
    except UsageError:
        return
    assert options.help or options.command


def test_help_shows_every_option_and_examples() -> None:
    for option in ("--name", "--trail", "--config", "-c", "--profile", "--actor", "--caller-type"):
        assert option in HELP
    assert HELP.count("indelible wrap ") >= 3


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("npx -y @modelcontextprotocol/server-filesystem /srv", "server-filesystem"),
        ("npx -y some-server@1.2.3", "some-server"),
        ("npx -p typescript tsc-server", "tsc-server"),
        ("uvx mcp-server-git --repository /x", "mcp-server-git"),
        ("uvx mcp-server-git==1.0", "mcp-server-git"),
        ("uvx --from git+https://x/y mcp-y", "mcp-y"),
        ("uv run --directory /x server.py", "server"),
        ("python -m mcp_server_time", "mcp_server_time"),
        ("python3.11 -u /srv/weather.py", "weather"),
        ("/usr/bin/python -c import-x", "python"),
        ("node /x/server-everything/dist/index.js stdio", "server-everything"),
        ("docker run -i --rm -e TOKEN mcp/fetch", "fetch"),
        ("env A=b /opt/tools/my server", "my"),
        ("./bin/tool", "tool"),
        ("/", "server"),
        ("...", "server"),
        ("näme", "n-me"),
    ],
)
def test_servers_are_named_by_their_most_telling_word(command: str, name: str) -> None:
    assert server_name(command.split()) == name


@given(st.lists(st.text(min_size=1), min_size=1))
def test_every_command_has_a_harmless_name(command: list[str]) -> None:
    name = server_name(command)
    assert 0 < len(name) <= 64
    assert name.isascii()
    assert all(char.isalnum() or char in "._-" for char in name)
    assert name[0] not in ".-"
