"""What is put before a server and taken away again leaves everything else as it was, whatever is edited meanwhile."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.cli.wrap import parse as parse_wrap
from indelible.clients import jsonedit, servers
from indelible.clients.places import CLIENTS
from indelible.clients.servers import EVERY, Change, Record, Server
from tests.effort import examples

EXAMPLES = Path(__file__).parents[3] / "examples" / "clients"
PLACE = ("mcpServers",)


def found(data: bytes, *places: tuple[str, ...]) -> list[Server]:
    return servers.find(data, jsonedit.parse(data), places or [PLACE])


def words(server: Server) -> list[str]:
    return ["/opt/bin/indelible", "wrap", "--name", server.name, "--actor", "a b", "--"]


def install(data: bytes) -> tuple[bytes, list[Record]]:
    done = [servers.wrap(data, server, words(server)) for server in found(data) if server.state == "open"]
    changes = [change for change, _ in done]
    return changed(data, changes), [record for _, record in done]


def uninstall(data: bytes, records: list[Record]) -> bytes:
    there = found(data)
    matched = servers.match(there, records)
    changes = [servers.unwrap(data, server, matched.get(server.at)) for server in there if server.at in matched]
    return changed(data, [change for change in changes if change is not None])


def changed(data: bytes, changes: list[Change]) -> bytes:
    after = jsonedit.apply(data, (edit for change in changes for edit in change.edits))
    assert servers.differs(jsonedit.parse(data), jsonedit.parse(after), changes) is None
    return after


# --- install, edits by somebody, uninstall: as if only the edits had been made --------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
SPACES = st.sampled_from(["", " ", "\n    ", "\r\n\t", "  "])


class Writer:
    """Writes a file with places in it where somebody may edit: comments that are unique, values that are unique."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.marks: list[str] = []
        self.values: list[str] = []
        self.names: list[str] = []

    def gap(self) -> str:
        if self._draw(st.integers(0, 2)):
            return self._draw(SPACES)
        mark = f"/*mark{len(self.marks)}*/"
        self.marks.append(mark)
        return self._draw(SPACES) + mark + self._draw(SPACES)

    def value(self) -> str:
        """Return a text that stands nowhere else."""
        text = json.dumps(
            f"value{len(self.values)}. {self._draw(TEXT)}", ensure_ascii=self._draw(st.booleans())
        )
        self.values.append(text)
        return text

    def object(self, members: list[tuple[str, str]]) -> str:
        inner = ",".join(
            f"{self.gap()}{key}{self.gap()}:{self.gap()}{value}{self.gap()}" for key, value in members
        )
        return "{" + (inner or self.gap()) + self._last(members) + "}"

    def array(self, items: list[str]) -> str:
        inner = ",".join(f"{self.gap()}{item}{self.gap()}" for item in items)
        return "[" + (inner or self.gap()) + self._last(items) + "]"

    def _last(self, inner: list[Any]) -> str:
        comma: bool = self._draw(st.booleans())
        return "," + self.gap() if inner and comma else ""

    def server(self) -> str:
        members = []
        if self._draw(st.integers(0, 5)):
            members.append(('"command"', self.value()))
            kind = self._draw(st.sampled_from(["none", "null", "some", "some"]))
            if kind == "null":
                members.append(('"args"', "null"))
            elif kind == "some":
                members.append(
                    ('"args"', self.array([self.value() for _ in range(self._draw(st.integers(0, 3)))]))
                )
        else:
            members.append(('"url"', self.value()))
        for key in self._draw(st.sets(st.sampled_from(["env", "cwd", "disabled", "co\\u006dment"]))):
            members.append(
                (
                    f'"{key}"',
                    self._draw(st.sampled_from(["true", "1.50e1", "{}"])) if key != "cwd" else self.value(),
                )
            )
        return self.object(self._draw(st.permutations(members)))

    def file(self) -> str:
        self.names = [f'"server{index}"' for index in range(self._draw(st.integers(0, 4)))]
        top = [('"mcpServers"', self.object([(name, self.server()) for name in self.names]))]
        if self._draw(st.booleans()):
            top.insert(self._draw(st.integers(0, 1)), ('"other"', self.array([self.value(), "01e"[:1]])))
        front = "\ufeff" if self._draw(st.booleans()) else ""
        return front + self.gap() + self.object(top) + self.gap()


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """Return a file, and what somebody replaces in it by what."""
    writer = Writer(draw)
    text = writer.file()
    edits = [
        (rf"{name}(?=(?:\s|/\*.*?\*/)*:)", f'"renamed {name[1:]}')
        for name in writer.names
        if not draw(st.integers(0, 3))
    ]
    edits += [
        (re.escape(value), json.dumps(draw(TEXT))) for value in writer.values if not draw(st.integers(0, 3))
    ]
    edits += [
        (
            re.escape(mark),
            draw(st.sampled_from(["", "\n", " // now\n", "/* longer than before */", "\r\n\r\n"])),
        )
        for mark in writer.marks
        if draw(st.booleans())
    ]
    return text.encode(), edits


def edit(data: bytes, edits: list[tuple[str, str]]) -> bytes:
    text = data.decode()
    for old, new in edits:
        text, count = re.subn(old, lambda _, new=new: new, text, flags=re.DOTALL)  # type: ignore[misc]
        assert count == 1, old
    return text.encode()


@settings(max_examples=examples(120))
@given(edited())
def test_uninstall_after_edits_gives_the_file_with_just_the_edits(
    case: tuple[bytes, list[tuple[str, str]]],
) -> None:
    data, edits = case
    installed, records = install(data)
    assert uninstall(installed, records) == data
    assert uninstall(edit(installed, edits), records) == edit(data, edits)


@settings(max_examples=examples(40))
@given(edited(), st.sampled_from([None, 1, 4]))
def test_a_client_that_writes_its_file_anew_in_its_own_way_loses_nothing(
    case: tuple[bytes, list[tuple[str, str]]], indent: int | None
) -> None:
    """Claude Code and Cursor do: the bytes cannot be known then, but every value is what it was."""
    plain = json.loads(
        re.sub(r",(?=\s*[}\]])", "", re.sub(r"/\*.*?\*/", "", case[0].decode().removeprefix("\ufeff")))
    )
    data = json.dumps(plain, indent=indent).encode()
    installed, records = install(data)
    rewritten = json.dumps(json.loads(installed), indent=3, separators=(" ,", ": ")).encode()
    assert json.loads(uninstall(rewritten, records)) == plain


# --- what is put in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{"command": "npx", "args": ["-y", "x"]}',
            '{"command": "US", "args": ["wrap", "--", "npx", "-y", "x"]}',
        ),
        ('{"command":"npx","args":[]}', '{"command":"US","args":["wrap", "--", "npx"]}'),
        (
            '{\n  "command": "npx",\n  "args": [\n    "-y"\n  ]\n}',
            '{\n  "command": "US",\n  "args": [\n    "wrap",\n    "--",\n    "npx",\n    "-y"\n  ]\n}',
        ),
        ('{\r\n\t"command": "npx"\r\n}', '{\r\n\t"command": "US",\r\n\t"args": ["wrap", "--", "npx"]\r\n}'),
        ('{"command":"npx"}', '{"command":"US","args":["wrap","--","npx"]}'),
        ('{"args": null, "command": "\\u0061",}', '{"args": ["wrap", "--", "\\u0061"], "command": "US",}'),
        ('{"command": "a" /* b */, }', '{"command": "US", "args": ["wrap", "--", "a"] /* b */, }'),
        (
            '{"command": "a", "args": [ // one\n "b"]}',
            '{"command": "US", "args": [ // one\n "wrap", "--", "a", "b"]}',
        ),
    ],
)
def test_what_is_put_in_looks_like_what_is_around(before: str, after: str) -> None:
    data = f'{{"mcpServers": {{"s": {before}}}}}'.encode()
    [server] = found(data)
    change, _ = servers.wrap(data, server, ["US", "wrap", "--"])
    assert changed(data, [change]).decode() == f'{{"mcpServers": {{"s": {after}}}}}'


@pytest.mark.parametrize(
    "client", sorted(path.name for path in EXAMPLES.iterdir() if list(path.glob("*.before.json")))
)
def test_the_examples_are_what_it_does(client: str) -> None:
    [before], [after] = ((EXAMPLES / client).glob(f"*.{when}.json") for when in ("before", "after"))
    data = before.read_bytes()
    there = servers.find(data, jsonedit.parse(data), CLIENTS[client].keys)
    done = [servers.wrap(data, one, ["indelible", "wrap", "--name", one.name, "--"])[0] for one in there]
    assert changed(data, done) == after.read_bytes()


@pytest.mark.parametrize(
    ("server", "state"),
    [
        ({"command": "x"}, "open"),
        ({"type": "stdio", "command": "x", "disabled": True}, "open"),
        ({"command": "indelible", "args": ["wrap", "--", "x"]}, "wrapped"),
        ({"command": "/a/indelible", "args": ["wrap", "x"]}, "wrapped"),
        ({"command": "uvx", "args": ["indelible@0.3", "wrap", "--name", "x", "--", "y"]}, "wrapped"),
        ({"command": "python", "args": ["-m", "indelible", "wrap", "--", "y"]}, "wrapped"),
        ({"command": "indelible", "args": ["log"]}, "open"),
        ({"url": "https://x"}, "remote"),
        ({"serverUrl": "https://x"}, "remote"),
        ({"type": "sse", "url": "https://x", "command": "x"}, "remote"),
        ({"command": ["x"]}, "odd"),
        ({"command": ""}, "odd"),
        ({"command": "x", "args": "y"}, "odd"),
        ({"command": "x", "args": [1]}, "odd"),
        ({"command": "x", "args": ["\0"]}, "odd"),
        ({"command": "\ud800"}, "odd"),
        ({}, "odd"),
        ("x", "odd"),
    ],
)
def test_which_servers_can_be_wrapped(server: object, state: str) -> None:
    [one] = found(json.dumps({"mcpServers": {"s": server}}).encode())
    assert one.state == state
    assert bool(one.why) == (state == "odd")


@given(
    st.lists(
        st.sampled_from(["--name", "--name=x", "-c", "--trail", "--", "-", "x", "wrap", "/indelible"]),
        max_size=6,
    )
)
def test_the_command_behind_wrap_is_found_where_wrap_finds_it(line: list[str]) -> None:
    try:
        options = parse_wrap(line)
    except Exception:  # noqa: BLE001 - not a command line that runs anything
        return
    index = servers.command_index(["indelible", "wrap", *line])
    assert index is not None
    assert ["indelible", "wrap", *line][index:] == options.command


def test_a_server_called_in_no_text_is_left_alone() -> None:
    [one] = found(b'{"mcpServers": {"\\ud800": {"command": "x"}}}')
    assert one.state == "odd"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[]", "line 1: expected an object, with '{' first"),
        (b'{"mcpServers": []}', "mcpServers: expected an object with servers"),
        (b'{"mcpServers": {}, "mcpServers": {}}', 'line 1, column 20: the key "mcpServers" stands there twice'),
        (b'{"mcpServers": {"a": {}, "a": {}}}', 'line 1, column 26: the key "a" stands there twice'),
        (
            b'{"mcpServers": {"a": {"args": [], "args": []}}}',
            'line 1, column 35: the key "args" stands there twice',
        ),
    ],
)
def test_what_cannot_be_told_for_sure_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(jsonedit.JsonError) as caught:
        found(data)
    assert str(caught.value) == said


def test_servers_of_several_places_are_found_once() -> None:
    data = b'{"mcpServers": {"a": {}}, "projects": {"/x": {"mcpServers": {"b": {}}}, "/y": {"n": 1}, "/z": 3}}'
    every = found(data, PLACE, ("projects", EVERY, "mcpServers"), ("projects", "/x", "mcpServers"))
    assert [server.at for server in every] == [("mcpServers", "a"), ("projects", "/x", "mcpServers", "b")]


# --- what was changed by hand ---------------------------------------------------------------------------------------


def file_of(**server: object) -> bytes:
    return json.dumps({"mcpServers": {"s": server}}).encode()


@pytest.mark.parametrize(
    ("original", "now", "left", "noted"),
    [
        (  # options changed by hand go, too
            {"command": "x", "args": ["y"]},
            {"command": "indelible", "args": ["wrap", "--actor", "bob", "--", "x", "y"]},
            {"command": "x", "args": ["y"]},
            True,
        ),
        (  # another command behind it stays another one
            {"command": "x", "args": ["y"]},
            {"command": "US", "args": ["wrap", "--", "z", "y"]},
            {"command": "z", "args": ["y"]},
            False,
        ),
        (  # arguments that are new
            {"command": "x"},
            {"command": "US", "args": ["wrap", "--", "x", "new"]},
            {"command": "x", "args": ["new"]},
            False,
        ),
        (  # another order
            {"command": "x"},
            {"args": ["wrap", "--", "x"], "command": "US"},
            {"command": "x"},
            False,
        ),
        (  # arguments that are gone
            {"command": "x", "args": ["y"]},
            {"command": "US", "args": ["wrap", "--", "x"]},
            {"command": "x", "args": []},
            False,
        ),
    ],
)
def test_what_was_changed_by_hand_behind_wrap_stays(
    original: dict[str, Any], now: dict[str, Any], left: dict[str, Any], noted: bool
) -> None:
    data = file_of(**original)
    [server] = found(data)
    _, record = servers.wrap(data, server, ["/bin/indelible", "wrap", "--"])
    data = file_of(**{**now, "command": now["command"].replace("US", "/bin/indelible")})
    [server] = found(data)
    change = servers.unwrap(data, server, record)
    assert change is not None
    assert json.loads(changed(data, [change])) == {"mcpServers": {"s": left}}
    assert bool(change.note) == noted


def test_a_wrap_with_nothing_behind_it_is_left() -> None:
    data = file_of(command="indelible", args=["wrap", "--name", "x", "--"])
    [server] = found(data)
    assert servers.unwrap(data, server, None) is None
