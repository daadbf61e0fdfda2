"""What the pages of docs/ show is run, in order, and prints what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import indelible
from tests.unit.docs.pages import ROOT, Block, blocks, named, pages

BIN = Path(sys.executable).parent
END = "--- end of block ---"
HOME = "/home/ada"
"""Where the reader of the pages is."""


def runs(block: Block) -> bool:
    return block.mark == "run" or (block.language == "python" and not block.mark)


def writes(block: Block) -> bool:
    return block.mark.startswith("file: ")


PAGES = [page for page in pages() if any(runs(block) or writes(block) for block in blocks(page))]


def make_trail() -> None:
    """Record an hour of two people's work into the default trail; the pages' output is about this."""
    with indelible.open_trail() as trail:

        def call(
            method: str, name: str, backend: str, user: str, effects: Any, **args: object
        ) -> indelible.Operation:
            kind: Any = "agent" if user == "ada" else "human"
            return trail.operation(
                method,
                name,
                args=args or None,
                backend=backend,
                user_id=user,
                caller_type=kind,
                effects=effects,
            )

        with call("tools/call", "read_file", "files", "ada", "read_only", path="/srv/notes.txt") as op:
            op.result({"content": [{"type": "text", "text": "buy milk"}]})
        with call(
            "tools/call", "write_file", "files", "ada", "destructive", path="/srv/notes.txt", content="milk"
        ):
            pass
        with (
            pytest.raises(PermissionError),
            call("tools/call", "delete_file", "files", "ada", "destructive", path="/"),
        ):
            raise PermissionError("not allowed: /")
        with (
            pytest.raises(TimeoutError),
            call("tools/call", "search", "web", "bob", "read_only", query="weather"),
        ):
            raise TimeoutError
        with call("resources/read", "file:///srv/readme.md", "files", "bob", "read_only"):
            pass
        with call("tools/call", "send_mail", "mail", "bob", "write", to="eve@example.com", body="Hi") as op:
            op.finish("denied", error="not to strangers")


def environment(folder: Path) -> dict[str, str]:
    keep = {"LANG", "LC_ALL", "TZ", "SHELL", "TERM"}
    env = {name: value for name, value in os.environ.items() if name in keep}
    path = os.pathsep.join([str(BIN), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]])
    return {**env, "HOME": str(folder), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory with a trail, and the checkout's examples beside it."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "INDELIBLE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "ada"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    (home / "examples").symlink_to(ROOT / "examples")
    return home


def script(block: Block) -> str:
    """Return a block as the page's shell runs it."""
    if writes(block):
        name = shlex.quote(block.mark.removeprefix("file: "))
        return f"cat > {name} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n"
    if block.language == "python":
        return f"python - <<'END-OF-PYTHON'\n{block.text}END-OF-PYTHON\n"
    return block.text


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_does_what_it_shows(page: Path, here: Path) -> None:
    if named(page) != "tutorial.md":
        make_trail()
    ran = [block for block in blocks(page) if runs(block) or writes(block)]
    program = "set -euo pipefail\n" + "".join(f"{script(block)}\necho '{END}'\n" for block in ran)
    done = subprocess.run(
        ["bash", "-c", program], cwd=here, env=environment(here), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=150,
    )  # fmt: skip
    printed = done.stdout.split(f"{END}\n")
    assert done.returncode == 0, f"{ran[len(printed) - 1].name}:\n{printed[-1]}"
    by_block = dict(zip((block.line for block in ran), printed, strict=False))
    wrong = [
        f"{block.name}: expected\n{comparable(block.text)}\n\nfound\n{comparable(plain(by_block[before.line], here))}"
        for before, block in zip([None, *blocks(page)], blocks(page), strict=False)
        if block.mark == "output" and before is not None
        if not prints(block, plain(by_block[before.line], here))
    ]
    assert wrong == [], "\n\n".join(wrong)


CHANGING = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "DIGEST"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"[A-Za-z0-9+/]{43,}={0,2}"), "BASE64"),
    (re.compile(r"\b[\d.]+ (ms|s|kB|MB|GB)\b"), "AMOUNT"),
    (re.compile(r"\b\d+\.\d{6} +\d+\.\d{3}\b"), "BEGUN TOOK"),
    (re.compile(r'"latency_ms":\s*[\d.]+'), "LATENCY"),
    (re.compile(r"process \d+"), "PROCESS"),
    (re.compile(r'"(uid|pid)":\s*\d+'), "NUMBER"),
    (re.compile(r"[ \t]+"), " "),
]
"""What differs from one run to the next, and what takes its place; columns are as wide as what is in them."""


def plain(text: str, home: Path) -> str:
    """Return what was printed as it is for the reader of the page."""
    return text.replace(str(home), HOME)


def comparable(text: str) -> str:
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def prints(block: Block, printed: str) -> bool:
    expected = comparable(block.text)
    parts = [
        re.escape(part).replace("…", "[^\n]*") for part in re.split(r"^\s*…$", expected, flags=re.MULTILINE)
    ]
    return re.fullmatch("(?:.*)".join(parts), comparable(printed), re.DOTALL) is not None


def test_python_in_the_pages_passes_the_strict_type_checker(tmp_path: Path) -> None:
    """Each block by itself, as a reader takes it."""
    for page in pages():
        for block in blocks(page):
            if block.language == "python":
                (tmp_path / f"{page.stem.replace('-', '_')}_{block.line}.py").write_text(block.text)
                if writes(block):  # that a later block imports
                    (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text)
    assert len(list(tmp_path.iterdir())) > 10
    cache = ROOT / ".mypy_cache" / "docs"  # kept: the first run takes 20 s, the next ones 2
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=",
        "--strict",
        "--no-error-summary",
        f"--cache-dir={cache}",
    ]
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, check=False, timeout=150, cwd=tmp_path
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
