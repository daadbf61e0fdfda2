"""A sealed trail to tamper with."""

import shutil
from pathlib import Path

import pytest

from tests.trails import Maker
from tests.unit.trail.verify.sealed import EVENTS


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a trail of three segments, one of them compressed, and an active file: three tiles of level 0."""
    maker = Maker(tmp_path_factory.mktemp("pristine") / "audit.jsonl")
    for number in range(3):
        maker.add_many(190).rotate(compress=number == 1)
    maker.add_many(EVENTS - maker.seq).seal()
    return maker.layout.active


@pytest.fixture
def trail(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / pristine.name
