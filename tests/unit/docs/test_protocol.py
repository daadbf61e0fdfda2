"""The page about `writer.sock` has every message of `wire`, with every key, and nothing else."""

import json
import types
import typing
from typing import Any, get_args

import msgspec
import pytest

from indelible.trail.sharing import wire
from tests.unit.docs.pages import DOCS, Block, blocks, codes, headings, rows, section

PAGE = DOCS / "reference" / "protocol.md"
TO_HOLDER = set(get_args(wire.ToHolder))
TO_RECORDER = set(get_args(wire.ToRecorder))
MESSAGES: dict[str, type[msgspec.Struct]] = {
    str(struct.__struct_config__.tag): struct for struct in TO_HOLDER | TO_RECORDER
}
SENT_BY = {
    "What a recorder sends": TO_HOLDER - TO_RECORDER,
    "What the holder sends": TO_RECORDER - TO_HOLDER,
    "What both send": TO_HOLDER & TO_RECORDER,
}
WORDS = {
    int: "integer",
    str: "text",
    float: "number",
    bool: "boolean",
    msgspec.Raw: "object",
    list[wire.RecorderState]: "list of objects",
    list[wire.UserState]: "list of objects",
    list[str]: "list of texts",
}


def keys(struct: type[msgspec.Struct]) -> list[list[str]]:
    """Return the rows that a struct's keys should have: name, type, default as JSON."""
    hints = typing.get_type_hints(struct)
    return [
        [
            field.encode_name,
            WORDS[hints[field.name]],
            "" if field.required else json.dumps(default_of(field)),
        ]
        for field in msgspec.structs.fields(struct)
    ]


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def documented(table: list[list[str]]) -> list[list[str]]:
    return [[codes(name)[0], kind, "".join(codes(default))] for name, kind, default, _ in table]


def under(heading: str) -> set[str]:
    """Return the messages that have a heading below this one."""
    found: dict[str, set[str]] = {}
    for level, text in headings(PAGE):
        if level == 2:
            found[text] = set()
        elif level == 3:
            found[list(found)[-1]].update(codes(text))
    return found[heading]


@pytest.mark.parametrize("heading", SENT_BY)
def test_every_message_stands_under_who_sends_it(heading: str) -> None:
    assert under(heading) == {struct.__struct_config__.tag for struct in SENT_BY[heading]}


@pytest.mark.parametrize("tag", sorted(MESSAGES))
def test_every_key_is_documented_with_type_and_default(tag: str) -> None:
    text = section(PAGE, f"`{tag}`")
    own, _, within = text.partition("A recorder in it:")
    within, _, users = within.partition("A user in it:")
    assert documented(rows(own)) == keys(MESSAGES[tag])
    if MESSAGES[tag] is wire.HolderState:
        assert documented(rows(within)) == keys(wire.RecorderState)
        assert documented(rows(users)) == keys(wire.UserState)
    else:
        assert not within
    assert ("No keys." in own) == (not msgspec.structs.fields(MESSAGES[tag]))


EXAMPLES = [block for block in blocks(PAGE) if block.language == "json"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.name)
def test_an_example_is_a_message_as_it_is_sent(block: Block) -> None:
    value: dict[str, Any] = json.loads(block.text)
    union = wire.ToHolder if MESSAGES[value["t"]] in TO_HOLDER else wire.ToRecorder
    assert isinstance(union, types.UnionType)
    message = msgspec.json.decode(block.text, type=union)
    again = json.loads(wire.pack(message)[wire.LENGTH_BYTES :])
    assert again == value
    assert list(again) == list(value)


def test_an_example_of_an_event_is_one_that_is_taken() -> None:
    said = {json.loads(block.text)["t"]: block.text for block in EXAMPLES}
    hello, put = wire.decode_to_holder(said["hello"]), json.loads(said["put"])
    assert isinstance(hello, wire.Hello)
    uid = put["body"]["source"]["recorder"]["uid"]
    message = wire.decode_to_holder(json.dumps(put, separators=(",", ":")).encode())
    assert isinstance(message, wire.Put)
    assert wire.check_body(message, hello.recorder, uid, hello.pid) is None
