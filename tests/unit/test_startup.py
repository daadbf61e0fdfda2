"""What is imported before anything happens: start-up is paid by every command, and `wrap`'s by every server."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"click", "cryptography", "rich", "yaml", "zstandard", "asyncio", "fastmcp", "mcp"}
PROGRAM = """
import sys
{what}
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


def loaded(what: str) -> set[str]:
    """Return the top-level modules that are there after running `what` in an interpreter of its own."""
    command = [sys.executable, "-c", PROGRAM.format(what=what)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split()) & HEAVY


@pytest.mark.parametrize(
    ("what", "needs"),
    [
        ("import indelible", set[str]()),
        ("from indelible.cli import main; main(['--help'])", {"click"}),
        ("from indelible.cli import main; main(['log', '--help'])", {"click"}),
        ("import indelible.cli.wrap", set[str]()),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(what: str, needs: set[str]) -> None:
    assert loaded(what) == needs


def test_no_public_name_needs_a_framework() -> None:
    """Whoever has none of them installed records calls all the same; FastMCP's middleware is FastMCP's."""
    program = """
import sys
for name in ("anyio", "fastmcp", "mcp", "mcp_types", "pydantic", "starlette"):
    sys.modules[name] = None  # an import of it fails
import indelible
for name in set(indelible.__all__) - {"fastmcp"}:
    getattr(indelible, name)
import indelible.capture.calling
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_fastmcp_its_middleware_says_in_one_line_what_to_install() -> None:
    program = """
import sys
sys.modules["fastmcp"] = None
try:
    from indelible.fastmcp import AuditMiddleware
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == (
        "indelible.fastmcp needs FastMCP, which is not installed: pip install 'indelible[fastmcp]'\n"
    )


@pytest.mark.parametrize(
    ("args", "code"), [(["log"], 3), (["sql", "DROP TABLE logs"], 3), (["log", "--help"], 0)]
)
def test_a_process_that_asks_ends_with_its_code_and_tells_who_wants_to_be_told(
    tmp_path: Path, args: list[str], code: int
) -> None:
    """It ends without the interpreter's own end, which is what calls these."""
    program = """
import atexit, sys
atexit.register(print, "told", file=sys.stderr)
from indelible.cli import entry
sys.stdout.write("said before; ")
entry()
"""
    trail = [] if "--help" in args else ["--trail", str(tmp_path / "none.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", program, *args, *trail], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, "told")
    assert done.stdout.startswith("said before; ")
