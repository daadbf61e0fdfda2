"""The call that code runs in: seen by tool code and by ordinary logs, gone when the call is over."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import indelible
from indelible.context import MAX_LOGGED, Inside, loggable


@dataclass
class Call:
    request_id: str


def test_it_is_known_inside_and_only_there() -> None:
    assert indelible.current_request_id() is None
    with Inside(Call("a")):
        assert indelible.current_request_id() == "a"
        with Inside(Call("b")):
            assert indelible.current_request_id() == "b"
        assert indelible.current_request_id() == "a"
    assert indelible.current_request_id() is None


def test_each_task_and_the_threads_that_it_starts_have_their_own() -> None:
    async def tool(name: str) -> list[str | None]:
        with Inside(Call(name)):
            await asyncio.sleep(0)
            there = await asyncio.to_thread(indelible.current_request_id)
            inner = await asyncio.create_task(_later())
            return [indelible.current_request_id(), there, inner]

    async def _later() -> str | None:
        return indelible.current_request_id()

    async def main() -> list[list[str | None]]:
        return await asyncio.gather(*(tool(str(n)) for n in range(50)))

    assert asyncio.run(main()) == [[str(n)] * 3 for n in range(50)]


def test_it_may_be_left_in_another_context() -> None:
    async def stream() -> AsyncGenerator[int, None]:
        with Inside(Call("a")):
            yield 1
            yield 2

    async def main() -> None:
        source = stream()
        await contextvars.copy_context().run(lambda: asyncio.ensure_future(anext(source)))
        await source.aclose()
        assert indelible.current_request_id() is None

    asyncio.run(main())


def logged(*filters: logging.Filter, field: str = "request_id", request_id: str = "r1") -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"%({field})s %(name)s %(message)s"))
    for each in filters:
        handler.addFilter(each)
    logger = logging.getLogger("shop.orders")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning("before")
        with Inside(Call(request_id)):
            logger.warning("within")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    return stream.getvalue().splitlines()


def test_the_filter_adds_it_to_every_record_and_drops_none() -> None:
    assert logged(indelible.RequestIdFilter()) == ["- shop.orders before", "r1 shop.orders within"]
    assert logged(indelible.RequestIdFilter("shop")) == ["- shop.orders before", "r1 shop.orders within"]
    assert logged(indelible.RequestIdFilter("bank")) == ["- shop.orders before", "- shop.orders within"]


def test_the_filter_takes_another_name_for_the_field() -> None:
    found = logged(indelible.RequestIdFilter(attribute="rid"), field="rid")
    assert found == ["- shop.orders before", "r1 shop.orders within"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nroot admin logged in", "a?root?admin?logged?in"),
        ("\x1b[2Ja\r\x00\u2028\u202e\x85é", "?[2Ja??????"),
        ("x" * 5000, "x" * 128),
        ("order-17:a/b+c=@", "order-17:a/b+c=@"),
    ],
)
def test_whatever_a_caller_gave_as_its_id_it_is_one_word_in_a_log(given: str, shown: str) -> None:
    lines = logged(indelible.RequestIdFilter(), request_id=given)
    assert lines == ["- shop.orders before", f"{shown} shop.orders within"]


@given(st.text())
def test_no_id_begins_a_record_of_its_own(given: str) -> None:
    shown = loggable(given)
    assert len(shown) <= MAX_LOGGED
    assert shown.isascii()
    assert not shown or (shown.isprintable() and len(shown.split()) == 1)
