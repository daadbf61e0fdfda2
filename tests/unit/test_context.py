"""The call that code runs in: seen by tool code and by ordinary logs, gone when the call is over."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import indelible
from indelible.context import Inside


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


def logged(*filters: logging.Filter, field: str = "request_id") -> list[str]:
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
        with Inside(Call("r1")):
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
