"""VS Code's own parser reads a client's configuration as ours does, before and after it is edited."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from indelible.clients.jsonedit import JsonError, parse
from tests.effort import examples
from tests.unit.clients.test_jsonedit import SOUP, documents, value_of
from tests.unit.clients.test_servers import edited, install

ROOT = Path(__file__).parents[2]
PROGRAM = """
const { parse } = require("jsonc-parser");
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const errors = [];
  const value = parse(JSON.parse(line), errors, { allowTrailingComma: true, allowEmptyContent: true });
  console.log(JSON.stringify({ value: value ?? null, errors: errors.length }));
});
"""

Judge = Callable[[bytes], Any]
REFUSED = object()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Return what reads a text as VS Code does; REFUSED when it has errors."""
    node = shutil.which("node")
    assert node is not None
    with subprocess.Popen(
        [node, "-e", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(data: bytes) -> Any:
            stdin.write(json.dumps(data.decode("utf-8-sig")).encode() + b"\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
            return REFUSED if answer["errors"] else answer["value"]

        yield ask
        stdin.close()


def as_javascript(value: Any) -> Any:
    """Return a value with its numbers as JavaScript has them, and without `__proto__`, which means something there."""
    if isinstance(value, dict):
        return {key: as_javascript(item) for key, item in value.items() if key != "__proto__"}
    if isinstance(value, list):
        return [as_javascript(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


JUDGED = settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@JUDGED
@given(document=documents())
def test_what_is_written_with_comments_is_read_the_same(document: tuple[bytes, Any], judge: Judge) -> None:
    data, value = document
    assert as_javascript(judge(data)) == as_javascript(value)


@JUDGED
@given(text=SOUP)
def test_what_we_take_vs_code_takes_for_the_same(text: str, judge: Judge) -> None:
    data = text.encode()
    try:
        node = parse(data)
    except JsonError:
        return
    expected = None if node is None else value_of(node)
    assert as_javascript(judge(data)) == as_javascript(expected)


@JUDGED
@given(case=edited())
def test_an_edited_configuration_is_read_the_same(
    case: tuple[bytes, list[tuple[str, str]]], judge: Judge
) -> None:
    installed, records = install(case[0])
    read = judge(installed)
    assert read is not REFUSED
    for record in records:
        server = read["mcpServers"][record.at[-1]]
        old = [json.loads(record.original), *(judge(case[0])["mcpServers"][record.at[-1]].get("args") or [])]
        assert [server["command"], *server["args"]] == [record.command, *record.front, *old]
