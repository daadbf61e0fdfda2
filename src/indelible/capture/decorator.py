"""``@indelible.audited``: every call of a function leaves one `mcp_operation`, whatever kind of function it is.

- A generator is one call, from the first item that is asked for to its end; only the number of its items is kept.
- A function that returns a future has begun something: the call ends when that does.
- The call is the current one (`indelible.current_request_id`) while the function's own code runs: not between two
  items, when somebody else's does.
- A function that a capture calls as the tool of its own name is that capture's call already: it is recorded once.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar, cast, overload

import msgspec

from indelible import context
from indelible.capture.attach import program
from indelible.capture.calling import Audited, Incoming, OpenCall, Peer, Trail, inside
from indelible.capture.calls import Call
from indelible.capture.incoming import Handled, dumped
from indelible.capture.outcomes import INVALID_PARAMS, Verdict, judge_exception, judge_result
from indelible.capture.recorders import known_or_asked
from indelible.errors import ConfigError, TrailUnavailable
from indelible.events import Effects
from indelible.trail.reentry import stands_on_a_call_of_ours

METHOD: Final = "tools/call"

F = TypeVar("F", bound=Callable[..., Any])


@overload
def audited(fn: F) -> F: ...


@overload
def audited(
    *,
    name: str | None = None,
    trail: Trail = None,
    backend: str | None = None,
    effects: Effects | None = None,
    args: Literal["bound", "none"] = "bound",
) -> Callable[[F], F]: ...


def audited(
    fn: Any = None,
    *,
    name: str | None = None,
    trail: Trail = None,
    backend: str | None = None,
    effects: Effects | None = None,
    args: Literal["bound", "none"] = "bound",
) -> Any:
    """Record every call of a function: plain, async, a generator, an async generator; of methods of each kind, too.

    `name` is the capability's, by default the function's own; `trail` an open recorder, a path, or None for the
    configured trail, which is opened at the first call; `backend` by default the program. `effects="read_only"` saves
    the intent. `args="none"` records no arguments. Raises ConfigError for what is no function; a call raises what
    opening a trail does, and under ``deny`` TrailUnavailable when it cannot be recorded.
    """
    if args not in ("bound", "none"):
        msg = f"audited: args is bound or none, and this is {args!r}"
        raise ConfigError(msg)
    if fn is None:
        return functools.partial(audited, name=name, trail=trail, backend=backend, effects=effects, args=args)
    if isinstance(fn, staticmethod | classmethod):
        inner = audited(name=name, trail=trail, backend=backend, effects=effects, args=args)
        return type(fn)(inner(fn.__func__))
    if not callable(fn) or isinstance(fn, type):
        msg = f"audited takes a function, and this is a {type(fn).__qualname__}"
        raise ConfigError(msg)
    return _wrapped(_Function(fn, name, trail, backend, effects, keep_args=args == "bound"))


class _Function:
    """A function whose calls are recorded."""

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None,
        trail: Trail,
        backend: str | None,
        effects: Effects | None,
        *,
        keep_args: bool,
    ) -> None:
        self.fn = fn
        self._name = name or getattr(fn, "__name__", None) or _named(fn)
        self._trail = trail
        self._backend = backend or program()
        self._effects = effects
        self._signature = _signature(fn) if keep_args else None
        self._skipped = _receiver(fn, self._signature)
        self._keep_args = keep_args
        self._audited: _Functions | None = None
        self._making = threading.Lock()

    @property
    def audited(self) -> Audited:
        """Who makes the events; made at the first call, which is when the trail is opened."""
        known = self._audited
        if known is None:
            with self._making:
                known = self._audited
                if known is None:
                    known = self._audited = _Functions(known_or_asked(self._trail), backend=self._backend)
        return known

    def claimed(self) -> _Joined | None:
        """Return what stands for a capture's call that is open just now, and is this one: of the tool of this name.

        A call of ours is another one, whatever its name: functions call themselves, and methods their namesakes.
        """
        call = context.here()
        what: Incoming | Call
        if isinstance(call, OpenCall) and not isinstance(call.audited, _Functions):
            what = call.incoming
        elif isinstance(call, Handled):
            what = call.call
        else:
            return None
        if call.closed or what.method != METHOD or what.name != self._name:
            return None
        recorder = call.recorder if isinstance(call, Handled) else call.audited.recorder
        return _Joined(call) if self.audited.recorder.shares(recorder) else None

    def incoming(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Incoming, Peer]:
        """Return what `Audited.begin` takes. A call from within another one is of the same caller."""
        outer = context.here()
        peer, metadata = _LIBRARY, None
        if outer is not None:
            metadata = {"within": outer.request_id}
            if isinstance(outer, OpenCall | Handled):
                peer = msgspec.structs.replace(outer.peer, caller="library", protocol_version=None)
        given = self._arguments(args, kwargs) if self._keep_args else None
        asked = Incoming(method=METHOD, name=self._name, args=given, metadata=metadata, effects=self._effects)
        return asked, peer

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; by position those that have none."""
        if self._signature is None:
            return {"args": list(args), **kwargs}
        try:
            given = self._signature.bind(*args, **kwargs).arguments
        except TypeError:  # the function will say so itself
            given = _named_arguments(self._signature, args, kwargs)
        return {key: value for key, value in given.items() if key != self._skipped}

    def failed(self, exc: BaseException) -> Verdict:
        """Return what an exception says of the call."""
        if type(exc) is TypeError and inspect.isfunction(self.fn) and _never_entered(exc):
            return Verdict("protocol_error", error=str(exc), error_code=INVALID_PARAMS, error_type="TypeError")
        return judge_exception(exc, method=METHOD)


_LIBRARY: Final = Peer(caller="library")


class _Functions(Audited):
    """Who makes the events of a function's calls; by its class they are told from a capture's."""


class _Joined:
    """Stands for a capture's call within the function that it is: what that calls again is calls of its own."""

    __slots__ = ("request_id",)

    def __init__(self, call: context.Named) -> None:
        self.request_id = call.request_id


def _wrapped(function: _Function) -> Callable[..., Any]:
    """Return the function's stand-in, of the same kind: frameworks look at that."""
    fn = function.fn
    called = fn if inspect.isroutine(fn) or isinstance(fn, functools.partial) else type(fn).__call__
    stand_in: Callable[..., Any]
    if inspect.isasyncgenfunction(called):
        stand_in = _async_generator(function)
    elif inspect.isgeneratorfunction(called):
        stand_in = _generator(function)
    elif inspect.iscoroutinefunction(called):
        stand_in = _coroutine(function)
    else:
        stand_in = _plain(function)
    return functools.wraps(fn)(stand_in)


def _plain(function: _Function) -> Callable[..., Any]:
    fn = function.fn

    def call(*args: Any, **kwargs: Any) -> Any:
        joined = function.claimed()
        if joined is not None:
            with inside(joined):
                return fn(*args, **kwargs)
        opened = function.audited.begin(*function.incoming(args, kwargs))
        try:
            with inside(opened):
                result = fn(*args, **kwargs)
        except BaseException as exc:
            _end(opened, exc, function.failed(exc))
            raise
        if inspect.iscoroutine(result):  # a function that only looks plain
            return _awaited(function, opened, result)
        if _is_future(result):
            result.add_done_callback(functools.partial(_done, function, opened))
            return result
        opened.finish(_verdict(result))
        return result

    return call


def _coroutine(function: _Function) -> Callable[..., Any]:
    fn = function.fn

    async def call(*args: Any, **kwargs: Any) -> Any:
        joined = function.claimed()
        if joined is not None:
            with inside(joined):
                return await fn(*args, **kwargs)
        opened = await function.audited.abegin(*function.incoming(args, kwargs))
        try:
            with inside(opened):
                made = fn(*args, **kwargs)
        except BaseException as exc:
            _end(opened, exc, function.failed(exc))
            raise
        return await _awaited(function, opened, made)

    return call


async def _awaited(function: _Function, opened: OpenCall, made: Coroutine[Any, Any, Any]) -> Any:
    try:
        with inside(opened):
            result = await made
    except Exception as exc:
        await opened.afinish(function.failed(exc))
        raise
    except BaseException as exc:  # cancelled: nothing is awaited any more
        _end(opened, exc, function.failed(exc))
        raise
    await opened.afinish(_verdict(result))
    return result


def _is_future(result: Any) -> bool:
    """Tell whether something is a future, of asyncio's or of a pool's; who never imported these has none."""
    loops, pools = sys.modules.get("asyncio"), sys.modules.get("concurrent.futures")
    return (loops is not None and loops.isfuture(result)) or (
        pools is not None and isinstance(result, pools.Future)
    )


def _done(function: _Function, opened: OpenCall, future: Any) -> None:
    """Record how a future ended. Who has it waits for nobody, so what cannot be recorded now is owed."""
    if future.cancelled():
        opened.finish_unasked(Verdict("cancelled"))
        return
    exc = future.exception()
    opened.finish_unasked(_verdict(future.result()) if exc is None else function.failed(exc))


def _end(opened: OpenCall, exc: BaseException, verdict: Verdict) -> None:
    """Record how a call failed. Raises TrailUnavailable, but not over what ends a task or the process."""
    if isinstance(exc, Exception):
        opened.finish(verdict)
    else:
        with suppress(TrailUnavailable):  # owed by now
            opened.finish(verdict)


# --- generators ---------------------------------------------------------------------------------------------------
# The loops do what `yield from` does (PEP 380), by hand: the function's code runs inside the call, its user's not.


def _generator(function: _Function) -> Callable[..., Any]:
    fn = function.fn

    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        joined = function.claimed()
        opened = function.audited.begin(*function.incoming(args, kwargs)) if joined is None else None
        here = cast("context.Named", joined or opened)
        items = 0
        try:
            with inside(here):
                made = fn(*args, **kwargs)
            resume: Callable[[], Any] = functools.partial(next, made)
            while True:
                try:
                    with inside(here):
                        item = resume()
                except StopIteration as stop:
                    if opened is not None:
                        opened.finish(_counted(_verdict(stop.value), items))
                    return stop.value
                items += 1
                try:
                    sent = yield item
                except GeneratorExit:
                    with inside(here):
                        made.close()
                    raise
                except BaseException as exc:  # noqa: BLE001 - goes to whom it was thrown at
                    resume = functools.partial(made.throw, exc)
                else:
                    resume = (
                        functools.partial(next, made) if sent is None else functools.partial(made.send, sent)
                    )
        except BaseException as exc:
            if opened is not None:
                _left(function, opened, exc, items)
            raise

    return call


def _async_generator(function: _Function) -> Callable[..., Any]:
    fn = function.fn

    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        joined = function.claimed()
        opened = await function.audited.abegin(*function.incoming(args, kwargs)) if joined is None else None
        here = cast("context.Named", joined or opened)
        items = 0
        try:
            with inside(here):
                made = fn(*args, **kwargs)
            resume: Callable[[], Any] = made.__anext__
            while True:
                try:
                    with inside(here):
                        item = await resume()
                except StopAsyncIteration:
                    if opened is not None:
                        await opened.afinish(_counted(Verdict("completed"), items))
                    return
                items += 1
                try:
                    sent = yield item
                except GeneratorExit:
                    with inside(here):
                        await made.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001 - goes to whom it was thrown at
                    resume = functools.partial(made.athrow, exc)
                else:
                    resume = functools.partial(made.asend, sent)
        except BaseException as exc:
            if opened is not None:
                _left(function, opened, exc, items)
            raise

    return call


def _left(function: _Function, opened: OpenCall, exc: BaseException, items: int) -> None:
    """Record a generator that did not come to its end.

    One that nobody holds any more may be collected on top of an append, which would wait for itself.
    """
    verdict = function.failed(exc)
    if isinstance(exc, GeneratorExit):
        verdict = Verdict("cancelled", error="closed before its end")
    _counted(verdict, items)
    if isinstance(exc, GeneratorExit) and stands_on_a_call_of_ours():
        threading.Thread(target=_end, args=(opened, exc, verdict), name="indelible-audited").start()
    else:
        _end(opened, exc, verdict)


def _counted(verdict: Verdict, items: int) -> Verdict:
    verdict.metadata = {"items": items, **(verdict.metadata or {})}
    return verdict


# --- small parts --------------------------------------------------------------------------------------------------


def _verdict(result: Any) -> Verdict:
    """Return what a function's return value says; a result in MCP's own form may say that it failed."""
    if isinstance(result, Mapping):
        return judge_result(result)
    if not hasattr(result, "model_dump") or isinstance(result, type):
        return Verdict("completed", result=result)
    try:
        return judge_result(dumped(result))
    except Exception:  # noqa: BLE001 - a class of anybody's
        return Verdict("completed", result=result)


def _named(fn: Any) -> str:
    return _named(fn.func) if isinstance(fn, functools.partial) else getattr(fn, "__name__", type(fn).__name__)


def _signature(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):  # some built-in functions have none
        return None


def _named_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return arguments that do not fit, by the names that they would have: a password is known by its name.

    What there is no parameter for stands under ``args``; what is given twice is both values, in a list.
    """
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, parameter in signature.parameters.items() if parameter.kind in by_place]
    given: dict[str, Any] = dict(zip(names, args, strict=False))
    more = dict(kwargs, args=list(args[len(names) :])) if len(args) > len(names) else kwargs
    for name, value in more.items():
        given[name] = [given[name], value] if name in given else value
    return given


def _receiver(fn: Any, signature: inspect.Signature | None) -> str | None:
    """Return the name of the parameter that is the object itself: no argument of anybody's."""
    first = next(iter(signature.parameters), None) if signature is not None else None
    local = getattr(fn, "__qualname__", "").rpartition(".")[0]
    is_method = inspect.isfunction(fn) and local and not local.endswith("<locals>")
    return first if is_method and first in ("self", "cls") else None


def _never_entered(exc: TypeError) -> bool:
    """Tell whether Python itself refused the arguments: no frame of the function is on the way of the exception."""
    trace = exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") != __name__:
            return False
        trace = trace.tb_next
    return True
