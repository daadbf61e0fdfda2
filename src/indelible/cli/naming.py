"""What to call a server that nobody has named: its command's most telling word."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_NAME: Final = 64

_RUNNERS: Final = frozenset(
    {
        "npx", "npm", "pnpm", "yarn", "bunx", "bun", "node", "deno", "tsx", "uvx", "uv", "pipx", "python", "python3",
        "py", "poetry", "docker", "podman", "java", "ruby", "sh", "bash", "env", "dotnet", "go", "cargo", "mise",
        "exec", "run", "tool", "dlx", "sudo", "nice", "php", "perl",
    }
)  # fmt: skip
"""Words that run something else."""

_GENERIC: Final = frozenset(
    {"index", "main", "server", "dist", "build", "src", "bin", "lib", "app", "__main__", "out"}
)
"""File names that say nothing; the directory above says more."""

_WITH_VALUE: Final = frozenset(
    {"-e", "--env", "-v", "--volume", "--mount", "--network", "--directory", "--from", "--with", "-p", "--package",
     "--python", "-C", "--cwd", "--prefix", "--project", "-r", "--require", "-w", "--workdir", "--user",
     "--name", "--env-file"}
)  # fmt: skip
"""Options of those runners that take the next word."""

_VERSION: Final = re.compile(r"python[0-9.]*|node[0-9.]*|ruby[0-9.]*")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=(?!=)")
_SUFFIX: Final = re.compile(r"\.(?:[cm]?[jt]s|py|rb|jar|sh|exe|dll|php|pl|go)$", re.IGNORECASE)


def server_name(command: list[str]) -> str:
    """Return a name for the server that `command` starts: letters, digits, ``.``, ``_`` and ``-``, never empty."""
    word = _telling_word(command)
    if "/" in word and (word.startswith("@") or "://" in word):
        word = word.rstrip("/").rpartition("/")[2]  # a scoped package, an address
    parts = [part for part in word.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    name = ""
    while parts:
        name = _SUFFIX.sub("", parts.pop())
        if name.lower() not in _GENERIC:
            break
    return clean(re.sub(r"(?<=.)[@:=<>~].*$", "", name)) or "server"


def _telling_word(command: list[str]) -> str:
    skip = False
    words = iter(enumerate(command))
    for index, word in words:
        if skip:
            skip = False
        elif word == "-m" and index + 1 < len(command):
            return command[index + 1].replace(".", "/")
        elif word in ("-c", "-e", "--eval") and index and _is_runner(command[0]) and "docker" not in command[0]:
            break  # a program on the command line: nothing in it is a name
        elif word.startswith("-"):
            skip = word in _WITH_VALUE
        elif not _is_runner(word) and not (index and _ASSIGNMENT.match(word)):
            return word
    return os.path.basename(command[0])  # noqa: PTH119 - pathlib is not imported this early


def _is_runner(word: str) -> bool:
    base = os.path.basename(word).lower()  # noqa: PTH119
    return base in _RUNNERS or _VERSION.fullmatch(base) is not None


def clean(name: str) -> str:
    """Return a name with nothing in it that a path, a terminal or a table could stumble over."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MAX_NAME].strip("-.")
