"""The servers of a client's configuration, and the edits that put `indelible wrap` before them and take it away. Pure.

The rule that lives here: of a server only the value of ``command`` and the front of ``args`` are touched. The old
command and its arguments stay in ``args`` as the very bytes that they were; what is put in stands before them in one
piece. So taking it out again gives back what was there, and whatever was changed elsewhere meanwhile, in the same
arguments even, stays as it was changed.

    "command": OLD, "args": [X, Y]     ⇄     "command": US, "args": ["wrap", …, "--", OLD, X, Y]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from indelible.clients.jsonedit import Edit, JsonError, Member, Node, check_unique, encode, is_space, removed

Pointer = tuple[str, ...]
"""The keys from the top of a file to a server."""

EVERY: Final = "*"
"""In the place of a key: whatever stands there (the directories of ``projects`` in Claude Code's file)."""

REMOTE_TYPES: Final = frozenset({"http", "sse", "streamable-http", "streamablehttp", "streamable_http", "ws"})
REMOTE_KEYS: Final = ("url", "serverUrl", "httpUrl")

State = Literal["open", "wrapped", "remote", "odd"]
Put = Literal["front", "member", "value"]
"""How the words came into ``args``: before what it held, as a member that was not there, in the place of ``null``."""


class Server(NamedTuple):
    """A server as the file has it."""

    at: Pointer
    node: Node
    state: State
    words: list[str]
    """Its command and arguments, of one that is a process."""
    why: str = ""
    """What keeps an odd one from being wrapped."""

    @property
    def name(self) -> str:
        """What the client calls it."""
        return self.at[-1]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was put before a server: enough to take it away again."""

    at: Pointer
    original: str
    """The old value of ``command``, as it stood in the file (JSON)."""
    command: str
    """Its new value, decoded."""
    front: tuple[str, ...]
    """What stands in ``args`` before the old command, decoded."""
    put: Put


class Change(NamedTuple):
    """A server before and after."""

    at: Pointer
    before: list[str]
    after: list[str]
    edits: list[Edit]
    args: bool
    """Whether it has ``args`` afterwards."""
    note: str = ""


# --- what there is --------------------------------------------------------------------------------------------


def find(data: bytes, root: Node | None, places: Iterable[Pointer]) -> list[Server]:
    """Return the servers in these places of a file, each once. Raises JsonError for what cannot be told for sure."""
    found: dict[Pointer, Server] = {}
    if root is not None:
        if root.kind != "object":
            raise JsonError("line 1: expected an object, with '{' first")
        for place in places:
            for at, holder in _holders(data, root, place, ()):
                for member in _members(data, holder):
                    key = (*at, member.key.text)
                    found.setdefault(key, _server(data, key, member.value))
    return list(found.values())


def _holders(data: bytes, node: Node, place: Pointer, at: Pointer) -> Iterator[tuple[Pointer, Node]]:
    if not place:
        if node.kind != "object":
            raise JsonError(f"{'.'.join(at)}: expected an object with servers")
        yield at, node
        return
    key, *rest = place
    for member in _members(data, node):
        if key in (EVERY, member.key.text):
            yield from _holders(data, member.value, tuple(rest), (*at, member.key.text))


def _members(data: bytes, node: Node) -> list[Member]:
    check_unique(data, node)
    return node.members


def _server(data: bytes, at: Pointer, node: Node) -> Server:
    if node.kind != "object":
        return Server(at, node, "odd", [], "it is not an object")
    check_unique(data, node)
    kind = node.get("type")
    command, args = node.get("command"), node.get("args")
    if (kind is not None and kind.value.text in REMOTE_TYPES) or (
        command is None and any(node.get(key) for key in REMOTE_KEYS)
    ):
        return Server(at, node, "remote", [])
    if command is None:
        return Server(at, node, "odd", [], "it has no command")
    if command.value.kind != "string" or not command.value.text:
        return Server(at, node, "odd", [], "its command is not a text")
    more = [] if args is None or args.value.is_null else args.value.strings()
    if more is None:
        return Server(at, node, "odd", [], "its args are not an array of texts")
    words = [command.value.text, *more]
    if not all(map(_can_be_said, (*at, *words))):
        return Server(at, node, "odd", [], "its name or command holds a NUL or half a character")
    return Server(at, node, "open" if command_index(words) is None else "wrapped", words)


def _can_be_said(word: str) -> bool:
    return "\0" not in word and word == word.encode("utf-8", "replace").decode()


def command_index(words: list[str]) -> int | None:
    """Return where the command begins that ``indelible wrap`` runs; None for a command that is another.

    Whatever starts `indelible` may stand before it (``uvx indelible wrap``, ``python -m indelible wrap``). Every option
    of `wrap` takes a value.
    """
    for index in range(1, len(words)):
        if words[index] == "wrap" and _is_indelible(words[index - 1]):
            return _after_options(words, index + 1)
    return None


def _is_indelible(word: str) -> bool:
    name = word.replace("\\", "/").rpartition("/")[2]
    return name.partition("@")[0].removesuffix(".exe") == "indelible"


def _after_options(words: list[str], index: int) -> int:
    while index < len(words):
        word = words[index]
        if word == "--":
            return index + 1
        if not word.startswith("-") or word == "-":
            return index
        index += 1 if "=" in word else 2
    return len(words)


# --- putting it before ------------------------------------------------------------------------------------------


def wrap(data: bytes, server: Server, words: list[str]) -> tuple[Change, Record]:
    """Return what puts ``words`` (``indelible wrap … --``) before a server's command."""
    command, args = _command(server.node), server.node.get("args")
    old = data[command.value.start : command.value.end]
    first, *front = words
    texts = [*map(encode, front), old]
    put: Put = "front"
    if args is None:
        put = "member"
        edit = _member(data, server.node, texts)
    elif args.value.is_null:
        put = "value"
        edit = Edit(args.value.start, args.value.end, b"[" + b", ".join(texts) + b"]")
    else:
        edit = _front(data, args.value, texts)
    record = Record(at=server.at, original=old.decode(), command=first, front=tuple(front), put=put)
    edits = [Edit(command.value.start, command.value.end, encode(first)), edit]
    return Change(server.at, server.words, [*words, *server.words], edits, args=True), record


def _command(node: Node) -> Member:
    command = node.get("command")
    if command is None:  # `_server` has seen one
        raise ValueError("no command")
    return command


def _front(data: bytes, array: Node, texts: list[bytes]) -> Edit:
    """Put texts before the items of an array, one a line where its items stand so."""
    if not array.items:
        return Edit(array.start + 1, array.start + 1, b", ".join(texts))
    start = array.items[0].start
    lead = data[array.start + 1 : start]
    between = b"," + lead if b"\n" in lead and is_space(lead) else b", "
    return Edit(start, start, between.join(texts) + between)


def _member(data: bytes, node: Node, texts: list[bytes]) -> Edit:
    """Put ``args`` after the command, indented as that is."""
    command = _command(node)
    before = command.comma + 1 if command.comma >= 0 else node.start + 1
    lead, colon = data[before : command.key.start], data[command.key.end : command.value.start]
    colon = colon if is_space(colon.replace(b":", b"", 1)) else b": "
    if not is_space(lead) or (not lead and colon != b":"):
        lead = b" "
    value = b"[" + (b", " if lead else b",").join(texts) + b"]"
    return Edit(command.value.end, command.value.end, b"," + lead + b'"args"' + colon + value)


# --- taking it away ---------------------------------------------------------------------------------------------


def unwrap(data: bytes, server: Server, record: Record | None) -> Change | None:
    """Return what takes ``indelible wrap … --`` away; None when there is nothing behind it.

    Without a record (somebody else has put it there) an ``args`` that this leaves empty stays, empty.
    """
    index = command_index(server.words)
    args = server.node.get("args")
    if index is None or index >= len(server.words) or args is None:
        return None
    command, items = _command(server.node), args.value.items
    inner = items[index - 1]
    original = data[inner.start : inner.end]
    note = ""
    if record is not None:
        if inner.text == json.loads(record.original):
            original = record.original.encode()
        if (record.command, *record.front) != tuple(server.words[:index]):
            note = "what stood before its command had been changed by hand; that is gone, too"
    edits = [Edit(command.value.start, command.value.end, original)]
    put = record.put if record is not None else "front"
    rest = items[index:]
    if rest:
        edits.append(Edit(items[0].start, rest[0].start, b""))
    elif put == "member":
        edits += removed(data, server.node, args)
    elif put == "value":
        edits.append(Edit(args.value.start, args.value.end, b"null"))
    else:
        edits.append(Edit(items[0].start, max(items[-1].end, args.value.last_comma + 1), b""))
    has_args = bool(rest) or put == "front"
    return Change(server.at, server.words, server.words[index:], edits, args=has_args, note=note)


def match(servers: Iterable[Server], records: Iterable[Record]) -> dict[Pointer, Record]:
    """Return the record of each wrapped server that has one: by its place, else (it was renamed) by what it holds."""
    wrapped = {server.at: server for server in servers if server.state == "wrapped"}
    known = {record.at: record for record in records}
    found = {at: known[at] for at in wrapped if at in known}
    there = {server.at for server in servers}
    for record in known.values():
        if record.at in there:
            continue
        mine = [record.command, *record.front]
        moved = (s.at for s in wrapped.values() if s.at not in found and s.words[: len(mine)] == mine)
        if (at := next(moved, None)) is not None:
            found[at] = record
    return found


# --- nothing else has changed -----------------------------------------------------------------------------------


def differs(before: Node | None, after: Node | None, changes: Iterable[Change]) -> str | None:
    """Return where a changed file differs from what was meant, of which this module's caller makes a refusal; or None.

    The two are compared as values: all that is not a changed server's ``command`` or ``args`` is the same, and those
    two are what the change says.
    """
    meant = {change.at: change for change in changes}
    if not _same(before, after, _tree(meant)):
        return "something else would change"
    for at, change in meant.items():
        node = _at(after, at)
        args = None if node is None else node.get("args")
        command = None if node is None else node.get("command")
        has_args = args is not None and not args.value.is_null
        words = [command.value.text if command else "", *((args.value.strings() or []) if args else [])]
        if words != change.after or has_args != change.args:
            return f"{at[-1]} would not become what was meant"
    return None


def _at(node: Node | None, at: Pointer) -> Node | None:
    for key in at:
        member = None if node is None else node.get(key)
        node = None if member is None else member.value
    return node


_Tree = dict[str, Any]
"""The changed servers by their keys, level by level; below a server's own keys, None under the empty one."""


def _tree(pointers: Iterable[Pointer]) -> _Tree:
    tree: _Tree = {}
    for at in pointers:
        below = tree
        for key in at:
            below = below.setdefault("/" + key, {})
        below[""] = None
    return tree


def _same(one: Node | None, other: Node | None, tree: _Tree) -> bool:
    """Tell whether two values are the same, but for ``command`` and ``args`` of the servers in the tree."""
    if one is None or other is None:
        return one is other
    if one.kind != other.kind or one.text != other.text or len(one.items) != len(other.items):
        return False
    if not all(_same(*pair, _NOWHERE) for pair in zip(one.items, other.items, strict=True)):
        return False
    ours, theirs = one.members, other.members
    if "" in tree:
        ours, theirs = ([m for m in members if m.key.text not in _CHANGED] for members in (ours, theirs))
    return len(ours) == len(theirs) and all(
        a.key.text == b.key.text
        and _same(a.value, b.value, tree.get("/" + a.key.text, _NOWHERE) if tree else tree)
        for a, b in zip(ours, theirs, strict=True)
    )


_NOWHERE: Final[_Tree] = {}
_CHANGED: Final = ("command", "args")
