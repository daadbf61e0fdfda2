"""The script that runs the README's commands takes the right ones, and stops where one fails."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart"

README = """\
# A project

<!-- quickstart -->
```sh
echo first
cd sub
```

Not this one:

```sh
echo never
```

<!-- quickstart -->
```sh
pwd
```
"""


def run(readme: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *options, str(readme)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def write(folder: Path, text: str) -> Path:
    (folder / "sub").mkdir()
    readme = folder / "README.md"
    readme.write_text(text)
    return readme


def test_only_marked_blocks_run_in_order_in_one_shell(tmp_path: Path) -> None:
    done = run(write(tmp_path, README))
    assert done.returncode == 0
    assert done.stdout == f"first\n{tmp_path.resolve()}/sub\n"


def test_list_runs_nothing(tmp_path: Path) -> None:
    assert run(write(tmp_path, README), "--list").stdout == "echo first\ncd sub\npwd\n"


def test_the_first_failure_ends_it(tmp_path: Path) -> None:
    done = run(write(tmp_path, README.replace("cd sub", "(exit 7)\necho after")))
    assert done.returncode == 7
    assert "after" not in done.stdout


def test_a_mark_without_a_block_is_an_error(tmp_path: Path) -> None:
    done = run(write(tmp_path, README + "\n<!-- quickstart -->\nwords\n"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
