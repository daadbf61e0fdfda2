"""What stands in fenced blocks is what it says: JSON, YAML that the configuration takes, Python, shell."""

import ast
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from indelible import config
from indelible.redact.patterns import custom
from tests.unit.docs.pages import Block, blocks, named, pages

LANGUAGES = {"sh", "python", "js", "yaml", "json", "text"}
ALL = [block for page in pages() for block in blocks(page)]


class AnyEnvironment(dict[str, str]):
    """Every variable is set: whether the reader's is, is not the page's business."""

    def __missing__(self, name: str) -> str:
        return f"{len(name)}"  # which is a text, a number and a port


def of(language: str) -> list[Block]:
    return [block for block in ALL if block.language == language]


def test_there_are_blocks_of_every_language() -> None:
    assert {block.language for block in ALL} == LANGUAGES


@pytest.mark.parametrize("block", of("json"), ids=lambda block: block.name)
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.name)
def test_yaml_is_a_configuration(block: Block) -> None:
    settings = config.parse(yaml.safe_load(block.text), where=block.name, env=AnyEnvironment())
    custom(settings.redaction.patterns)


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.name)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text, block.name)


@pytest.mark.parametrize("block", of("sh"), ids=lambda block: block.name)
def test_shell_is_run_or_says_why_not_and_parses(block: Block) -> None:
    assert block.mark, f"{block.name}: mark it with 'run', or with 'not run:' and the reason"
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False, timeout=10
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", pages(), ids=named)
def test_output_follows_what_printed_it(page: Path) -> None:
    found = blocks(page)
    for before, block in zip([None, *found], found, strict=False):
        if block.mark == "output":
            assert block.language == "text"
            assert before is not None
            assert before.mark == "run" or (before.language == "python" and not before.mark), block.name
