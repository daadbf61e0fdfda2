"""Endpoint files in MXCP's format: what they mark is hidden, and a mistake in one is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from indelible import configfile, endpoints
from indelible.errors import ConfigError
from indelible.events import Target, outcome
from indelible.redact import Redactor, compile_marks
from indelible.redact.marks import Marks, MarkTree, joined
from indelible.redaction_settings import RedactionSettings
from tests.redacting import event, make

TOOL = """
mxcp: 1
tool:
  name: find_employee
  description: Find an employee.
  tags: [hr]
  annotations: {readOnlyHint: true}
  parameters:
    - {name: badge, type: string, sensitive: true, description: Of the employee}
    - name: filter
      type: object
      properties:
        department: {type: string, enum: [a, b]}
        salary: {type: object, sensitive: true, properties: {from: {type: number}}}
    - name: notes
      type: array
      items: {type: object, properties: {by: {type: string}, text: {type: string, sensitive: true}}}
  return:
    type: array
    items:
      type: object
      properties:
        name: {type: string}
        salary: {type: number, sensitive: true}
  source: {file: ../sql/find.sql}
  policies: {input: [{condition: "user.role != 'hr'", action: deny, reason: HR only}]}
"""
RESOURCE = """
mxcp: "1"
resource:
  uri: employee://{id}/file
  parameters: [{name: id, type: string}]
  return: {type: object, properties: {diagnosis: {type: string, sensitive: true}}}
  source: {code: select 1}
"""
PROMPT = """
prompt:
  name: letter
  parameters: [{name: case, type: string, sensitive: true}, {name: tone, type: string}]
  messages: [{role: user, type: text, prompt: "About {{case}}"}]
"""
PLAIN = "mxcp: 1\ntool: {name: ping, source: {code: select 1}, parameters: [{name: word, type: string}]}\n"


def redactor(*files: str, **more: Any) -> Redactor:
    found = tuple(endpoints.parse(yaml.safe_load(text)) for text in files)
    return make(RedactionSettings(schemas=("*",), endpoints=found), record_results="full", **more)


MADE = redactor(TOOL, RESOURCE, PROMPT, PLAIN)


def line(method: str, name: str, args: Any = None, result: Any = None, made: Redactor = MADE) -> Any:
    target = Target(backend="hr", method=method, type="tool", capability_name=name)
    return orjson.loads(
        made.redact(event(args, target=target, outcome=outcome("completed", 1.0, result=result)))
    )


def test_arguments() -> None:
    args = {
        "badge": 77,
        "filter": {"department": "a", "salary": {"from": 1}},
        "notes": [{"by": "ada", "text": "ill"}, {"by": "eve", "text": "well"}],
    }
    assert line("tools/call", "find_employee", args)["request"]["args"] == {
        "badge": "[REDACTED]",
        "filter": {"department": "a", "salary": "[REDACTED]"},
        "notes": [{"by": "ada", "text": "[REDACTED]"}, {"by": "eve", "text": "[REDACTED]"}],
    }
    assert line("prompts/get", "letter", {"case": "x", "tone": "mild"})["request"]["args"] == {
        "case": "[REDACTED]",
        "tone": "mild",
    }
    assert line("prompts/get", "find_employee", {"badge": 77})["request"]["args"] == {"badge": 77}


def test_who_is_declared_is_known() -> None:
    """Its texts are no digests, though no server has listed it; those of others are."""
    assert line("tools/call", "ping", {"word": "hello"})["request"]["args"] == {"word": "hello"}
    assert line("tools/call", "pong", {"word": "hello"})["request"]["args"]["word"].startswith("[DIGEST hmac:")


def test_results() -> None:
    rows = [{"name": "Ada", "salary": 5}]
    for structured in (rows, {"result": rows}):
        result = {
            "content": [{"type": "text", "text": "Ada 5"}],
            "structuredContent": structured,
            "isError": False,
        }
        kept = line("tools/call", "find_employee", {}, result)["outcome"]["result"]
        assert kept["content"] == [{"type": "text", "text": "[REDACTED]"}]
        assert str(kept["structuredContent"]) == str(structured).replace("5", "'[REDACTED]'")
        assert kept["isError"] is False
    read = {
        "contents": [
            {"uri": "employee://1/file", "mimeType": "application/json", "text": '{"diagnosis":"ill"}'}
        ]
    }
    assert line("resources/read", "employee://1/file", None, read)["outcome"]["result"]["contents"] == [
        {"uri": "employee://1/file", "mimeType": "application/json", "text": "[REDACTED]"}
    ]


def test_a_return_that_refers_to_itself() -> None:
    """MXCP's format has no references; whoever makes an endpoint in Python may have a schema with some."""
    person = {"properties": {"diagnosis": {"sensitive": True}, "boss": {"$ref": "#/$defs/person"}}}
    returns = {"items": {"$ref": "#/$defs/person"}, "$defs": {"person": person}}
    one = endpoints.Endpoint(kind="tool", name="staff", parameters={}, returns=returns)
    made = make(RedactionSettings(schemas=("*",), endpoints=(one,)), record_results="full")
    rows = [{"name": "Ada", "boss": {"diagnosis": "gout"}}]
    for structured in (rows, {"result": rows}):
        result = {"content": [{"type": "text", "text": "Ada: gout"}], "structuredContent": structured}
        kept = line("tools/call", "staff", {}, result, made)["outcome"]["result"]
        assert "gout" not in str(kept)
        assert "Ada" in str(kept["structuredContent"])


def test_a_server_adds_its_marks_and_takes_none_away() -> None:
    made = redactor(TOOL)
    made.learn("hr", "find_employee", compile_marks({"properties": {"extra": {"writeOnly": True}}}))
    args = {"badge": 77, "extra": "x", "other": "y"}
    left = {"badge": "[REDACTED]", "extra": "[REDACTED]", "other": "y"}
    assert line("tools/call", "find_employee", args, made=made)["request"]["args"] == left
    made.learn("hr", "find_employee", compile_marks({}))
    args = {"badge": 77, "other": "y"}
    assert line("tools/call", "find_employee", args, made=made)["request"]["args"]["badge"] == "[REDACTED]"


def test_joined_marks_hold_where_either_does() -> None:
    one = compile_marks({"properties": {"a": {"items": [{"sensitive": True}, {}]}, "b": True}})
    other = compile_marks(
        {
            "patternProperties": {"^c": {"sensitive": True}},
            "additionalProperties": {"contains": {"writeOnly": True}},
        }
    )
    both = MarkTree(joined(one, other))
    for tree, key in ((MarkTree(one), "a"), (MarkTree(other), "c1"), (MarkTree(other), "z")):
        place, marked = tree.member(tree.root, key)
        mine, mine_marked = both.member(both.root, key)
        assert marked <= mine_marked
        assert tree.sensitive(tree.item(place, 0)) <= both.sensitive(both.item(mine, 0))
    assert joined(Marks(), one) is one
    assert joined(one, Marks()) is one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "the file: expected a mapping"),
        ("mxcp: 1", "expected one of tool, resource, prompt, found none"),
        (TOOL + PROMPT, "expected one of tool, resource, prompt, found tool, prompt"),
        ("tol: {}", "unknown key 'tol'; did you mean 'tool'?"),
        ("tool: {name: a, parameter: []}", "unknown key 'tool.parameter'; did you mean 'parameters'?"),
        ("tool: {name: a, parameters: {}}", None),
        ("tool: {name: a, parameters: x}", "tool.parameters: expected a list"),
        ("tool: {name: '', parameters: []}", "tool.name: expected a text that is not empty"),
        ("resource: {name: x}", "resource.uri: expected a text that is not empty"),
        ("tool: {name: a, parameters: [{name: b}]}", "tool.parameters[0].type: expected one of string"),
        (
            "tool: {name: a, parameters: [{name: b, type: string, sensitve: true}]}",
            "unknown key 'tool.parameters[0].sensitve'; did you mean 'sensitive'?",
        ),
        (
            "tool: {name: a, parameters: [{name: b, type: string, sensitive: 'yes'}]}",
            "tool.parameters[0].sensitive: expected true or false, found 'yes'",
        ),
        (
            "tool: {name: a, parameters: [{name: b, type: string}, {name: b, type: string}]}",
            "tool.parameters[1].name: expected a name that no other parameter has, found 'b'",
        ),
        (
            "tool: {name: a, return: {type: object, properties: [x]}}",
            "tool.return.properties: expected a mapping",
        ),
        ("tool: {name: a, return: {type: array, items: 7}}", "tool.return.items: expected a mapping"),
    ],
)
def test_a_mistake_is_one_line(text: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / "end.yml").write_text(text if text is not TOOL + PROMPT else TOOL + PROMPT)
    (tmp_path / "indelible.yaml").write_text("redaction: {schemas: ['*.yml']}\n")
    if said is None:
        configfile.load(str(tmp_path / "indelible.yaml"))
        return
    with pytest.raises(ConfigError) as caught:
        configfile.load(str(tmp_path / "indelible.yaml"))
    assert str(caught.value).startswith(f"{tmp_path / 'end.yml'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_are_found_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("tools/a.yml", TOOL), ("tools/deep/b.yml", PLAIN), ("resources/c.yml", RESOURCE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(
            text.replace("{name: id, type: string}", "{name: id, type: string, sensitive: true}")
        )
    path = tmp_path / "indelible.yaml"
    path.write_text("redaction: {schemas: ['tools/**/*.yml', resources/*.yml]}\n")
    monkeypatch.chdir("/")
    settings = configfile.load(str(path))
    found = [f"{one.kind} {one.name}" for one in settings.redaction.endpoints]
    assert found == ["tool find_employee", "tool ping", "resource employee://{id}/file"]
    [warning] = settings.warnings
    assert "'id': stands in the resource's URI" in warning
    path.write_text("redaction: {schemas: ['tool/*.yml']}\n")
    with pytest.raises(ConfigError, match=r"'tool/\*.yml': there is no such file"):
        configfile.load(str(path))


def test_patterns_without_a_file_are_refused() -> None:
    """A configuration that is no file (`indelible.testing`) would leave everything as it is, silently."""
    with pytest.raises(ConfigError, match=r"redaction\.schemas: read from a configuration file only"):
        make(RedactionSettings(schemas=("*.yml",)))
