"""One redactor for the tests of redaction, and what it keeps of arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from indelible.redact import Redactor
from tests.redacting import event, make


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    return make()


@pytest.fixture(scope="session")
def args(redactor: Redactor) -> Callable[[Any], Any]:
    """Return what is kept of arguments."""

    def kept(value: Any) -> Any:
        return orjson.loads(redactor.redact(event(value)))["request"]["args"]

    return kept
