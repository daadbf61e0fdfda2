"""The import contracts say something, and say it about everything that is here."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "indelible"
LINT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: list[dict[str, Any]] = LINT["contracts"]

# The design names these as pure, each from the day it exists; so is every module that says of itself that it is.
DESIGNED = {
    "errors", "config", "events", "redact", "capture.correlate", "query.filters",
    "trail.entry", "trail.proofs.merkle", "trail.proofs.checkpoint", "trail.checking.verify", "trail.layout",
}  # fmt: skip
SAYS_PURE = re.compile(r"^Pure\b|[.:] Pure\b", re.MULTILINE)
IO_BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint"}


def modules() -> dict[str, ast.Module]:
    """Return every module of the package, by its dotted name below it; a package has its own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()


def is_pure(name: str, tree: ast.Module) -> bool:
    """Tell whether the design or the module itself says that it does no I/O."""
    designed = name in DESIGNED or name.partition(".")[0] in DESIGNED
    return designed or bool(SAYS_PURE.search(ast.get_docstring(tree) or ""))


PURE = [name for name, tree in MODULES.items() if is_pure(name, tree)]


def contracts(kind: str) -> list[dict[str, Any]]:
    return [contract for contract in CONTRACTS if contract["type"] == kind]


def test_there_are_contracts_of_both_kinds() -> None:
    assert LINT["root_package"] == "indelible"
    assert len(contracts("layers")) == 1
    assert len(contracts("forbidden")) == 4
    assert all(
        contract["forbidden_modules"] and contract["source_modules"] for contract in contracts("forbidden")
    )


def test_every_module_has_a_layer() -> None:
    [layers] = contracts("layers")
    assert layers["exhaustive"] is True
    named = {name.strip(" ()") for layer in layers["layers"] for name in layer.replace(":", "|").split("|")}
    present = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    present -= {"__init__", "__pycache__", *layers["exhaustive_ignores"]}
    assert present <= named


def test_the_pure_core_is_found() -> None:
    assert {"events", "config", "trail.proofs.merkle", "trail.proofs.checkpoint", "redact"} <= set(PURE)


@pytest.mark.parametrize("module", PURE)
def test_every_pure_module_is_under_the_contract(module: str) -> None:
    strict, direct, *_ = contracts("forbidden")
    assert {"socket", "subprocess", "threading", "asyncio", "select"} <= set(strict["forbidden_modules"])
    assert {"os", "time"} <= set(direct["forbidden_modules"])
    covering = {f"indelible.{module}", f"indelible.{module.partition('.')[0]}"}
    assert covering & set(strict["source_modules"])
    assert covering & set(direct["source_modules"]) or module == "events"


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_call_no_builtin_that_does_io(module: str) -> None:
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IO_BUILTINS, f"{module}:{node.lineno}"
