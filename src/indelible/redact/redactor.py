"""The redactor: a raw event in, the body of a line out. Nothing else turns events into bytes.

The rule that lives here: **a body leaves only when everything a caller could have put into it has been looked
at**, by the prefilter (which is certain when it says "nothing here") or by the rules themselves. Whatever goes
wrong, something is recorded: `redact` never raises, and its last resort is an event without any content.

Order of a payload (arguments, result): size and digest of the original; marks, key names, value patterns,
truncation; then the cap of its field; then the line's.

What `metadata` is told, under keys of our own: ``replaced_surrogates`` (lone surrogates became U+FFFD),
``args_digest``/``result_digest`` (the digest is over something other than compact JSON with sorted keys:
``as received`` or ``as converted``), ``cut`` (parts that were cut to fit the line).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import orjson

from indelible.config import RecordMode, RecordRules, RedactionSettings
from indelible.events import (
    MAX_BODY_BYTES,
    Cost,
    Event,
    Kind,
    Outcome,
    Policy,
    RecorderId,
    Request,
    Source,
    State,
    Target,
    encode_body,
)
from indelible.redact import calls, fields, ordinary
from indelible.redact.digest import Digester
from indelible.redact.limits import (
    MAX_ARGS_BYTES,
    MAX_ERROR_CHARS,
    MAX_METADATA_BYTES,
    MAX_RESULT_BYTES,
)
from indelible.redact.marks import Marks, MarkTree
from indelible.redact.parts import Parts
from indelible.redact.payload import ABSENT, Payload, Payloads, as_raw
from indelible.redact.plain import Plain
from indelible.redact.rules import Modes
from indelible.redact.schemas import Schemas
from indelible.redact.shrink import shrink
from indelible.redact.strategies import REDACTED, Strategies
from indelible.redact.texts import Texts
from indelible.redact.values import Values


class Prepared(msgspec.Struct, gc=False):
    """Arguments that are redacted already; it stands in the place of the raw ones in the events of their call."""

    args: Any
    target: Target | None
    learned: object
    payload: Payload
    asked: bytes | None = None
    """As `ordinary.asked` writes them, once somebody has needed that."""

    def fits(self, target: Target | None, learned: object) -> bool:
        """Tell whether it is the same tool, of which nothing new is known."""
        return self.target is target and self.learned is learned


class _About(NamedTuple):
    """Who called what, as objects, which are known again by identity, and as they stand in a line."""

    source: Source | None
    target: Target | None
    encoded: bytes
    learned: object
    """What was known of tools then, with what followed from it for this one."""
    tree: MarkTree | None
    digest: bool
    args_mode: RecordMode
    result_mode: RecordMode
    result_tree: MarkTree | None

    def fits(self, source: Source | None, target: Target | None, learned: object) -> bool:
        """Tell whether it is the same pair, of which nothing new is known."""
        return self.source is source and self.target is target and self.learned is learned


class Redactor:
    """Redacts events by one configuration and one recorder's key; safe to use from several threads."""

    def __init__(
        self,
        settings: RedactionSettings,
        *,
        hmac_key: bytes,
        hmac_key_id: str,
        record_args: RecordMode | RecordRules | Modes = "full",
        record_results: RecordMode | RecordRules | Modes = "digest",
        recorder: RecorderId | None = None,
        texts: Texts | None = None,
        token_key: bytes = b"",
    ) -> None:
        """Compile the configuration. `recorder` is stamped into every event's source.

        `texts` is what the same settings were compiled to before; `token_key` is that of the tokens, the same for all
        recorders of a trail: without one there are none. Raises ConfigError, one line, for a pattern that RE2 does not
        take.
        """
        strategies = Strategies(settings, hmac_key, token_key)
        self._values = Values(
            texts or Texts(settings), Digester(hmac_key), strategies, custom=bool(settings.patterns)
        )
        self._texts = self._values.texts
        self._payloads = Payloads(self._texts, self._values, Digester(hmac_key))
        self._key_id = hmac_key_id
        self._key_id_json = orjson.dumps(hmac_key_id)
        self._record_args = record_args if isinstance(record_args, Modes) else Modes(record_args)
        self._record_results = record_results if isinstance(record_results, Modes) else Modes(record_results)
        self._recorder = _recorder(recorder, self._values)
        self._schemas = Schemas(settings)
        self._last_source: tuple[Source | None, msgspec.Raw | None] = (None, None)
        self._about: dict[int, _About] = {}
        self._targets = Parts(Target, fields.TARGET)
        self._policies = Parts(Policy, fields.POLICY, decision=calls.UNKNOWN)
        self._states = Parts(State, fields.STATE)

    # --- what servers say of their tools ----------------------------------------------------------------

    def learn(self, backend: str, tool: str, marks: Marks, results: Marks = Marks()) -> None:  # noqa: B008 - frozen
        """Take the marks of a tool that `backend` has listed; later calls and results of it are redacted by them."""
        self._schemas.learn(backend, tool, marks, results)

    def forget(self, backend: str) -> None:
        """Forget every tool of a backend: they count as never listed until they are learned again."""
        self._schemas.forget(backend)

    # --- redaction --------------------------------------------------------------------------------------

    def text(self, text: str, limit: int = MAX_ERROR_CHARS) -> str:
        """Return one free text redacted and then cut to `limit` characters; never raises."""
        try:
            return self._values.short(Plain().text(text), limit)
        except Exception as exc:  # noqa: BLE001 - a text that cannot be looked at cannot be kept
            return f"[REDACTED] {type(exc).__name__}"[:limit]

    def word(self, key: str, text: str) -> str:
        """Return what may be kept of a text that stands under `key` in a tool's definition; never raises."""
        try:
            if key and self._values.redact({key: "x"}) != {key: "x"}:
                return REDACTED
        except Exception:  # noqa: BLE001 - as for a text
            return REDACTED
        return self.text(text, MAX_WORD)

    def redact(self, event: Event) -> bytes:
        """Return the body of an event: one JSON object, compact UTF-8, at most `MAX_BODY_BYTES`; never raises."""
        try:
            try:
                body = self._ordinary(event)
            except (TypeError, ValueError):  # a lone surrogate in an id, a type that is no text at all
                body = None
            if body is None:
                body = encode_body(self._redacted(event))
            if len(body) <= MAX_BODY_BYTES:
                return body
            return shrink(body, self._values)
        except Exception as exc:  # noqa: BLE001 - see the rule of this module
            return self._last_resort(event, exc)

    def _ordinary(self, event: Event) -> bytes | None:
        """Make the body of an event that has nothing unusual about it, the short way; None: take the long one."""
        request, outcome = event.request, event.outcome
        about = self._about.get(id(event.target))
        if (
            request is None
            or about is None
            or event.target is not about.target
            or event.source is not about.source
            or not ordinary.plain(event, request, outcome)
        ):
            return None
        policy = None if event.policy is None else self._policies.known(event.policy)
        if policy is None and event.policy is not None:
            return None
        head = ordinary.head(event, request)
        if head is None:
            return None
        parts, names = head
        parts[ordinary.SOURCE_AND_TARGET] = about.encoded
        args = result = ABSENT
        if request.args is not None:
            args = self._args(request.args, event.target, event.source, names, about)
            if args.unusual:
                return None
            ordinary.request(parts, args, self._key_id_json)
        if policy is None:
            parts.append(b"}")
        else:
            parts += (b'},"policy":', policy)
        if outcome is None:
            parts.append(b"}")
        else:
            if outcome.result is not None:
                result = self._result(outcome.result, event.target)
            if not ordinary.ended(parts, outcome, result) or result.unusual:
                return None
        if names and not args.beside_clean and self._texts.flagged(names):
            return None
        return b"".join(parts)

    def started(self, call: ordinary.Told, event_id: str) -> bytes | None:
        """Return the body of the intent of a call, for which no event was made; None: make one, and `redact` it.

        Like `concluded`, and never raises either.
        """
        try:
            about = self._known(call)
            arguments = None if about is None else self._arguments(call.args, about)
            if about is None or arguments is None:
                return None
            body = ordinary.started(call, event_id, about.encoded, arguments)
        except Exception:  # noqa: BLE001 - `redact` meets it again, and knows what to do
            return None
        return body if body is not None and len(body) <= MAX_BODY_BYTES else None

    def concluded(
        self, call: ordinary.Told, event_id: str, kind: Kind, latency_ms: float, result: Any
    ) -> bytes | None:
        """Return the body of the outcome of a call, for which no event was made; None: make one, and `redact` it.

        The shortest way, for a call with nothing unusual about it; never raises.
        """
        try:
            about = self._known(call)
            if about is None:
                return None
            arguments, seen = self._arguments(call.args, about), ABSENT
            if result is not None:
                seen = self._payloads.take(result, about.result_mode, MAX_RESULT_BYTES, about.result_tree)
            if arguments is None or seen.unusual:
                return None
            became = ordinary.became(seen)
            body = ordinary.concluded(call, event_id, kind, latency_ms, about.encoded, arguments, became)
        except Exception:  # noqa: BLE001 - `redact` meets it again, and knows what to do
            return None
        return body if body is not None and len(body) <= MAX_BODY_BYTES else None

    def _known(self, call: ordinary.Told) -> _About | None:
        """Return what is known just now of who called what; None for nothing."""
        about = self._about.get(id(call.target))
        if about is None or about.target is not call.target or about.source is not call.source:
            return None
        if about.learned is not self._schemas.learned:
            about = self._about[id(call.target)] = self._all_about(call.source, call.target, about.encoded)
        return about

    def _redacted(self, event: Event) -> Event:
        notes: dict[str, Any] = {}
        room = fields.Room(self._values)
        request, outcome = self._call(event, room, notes)
        source, target = event.source, event.target
        last, done = self._last_source
        if source is None or source is not last:
            done = self._source(source, room)
        policy, cost, state, metadata = event.policy, event.cost, event.state, event.metadata
        if metadata is not None:
            metadata = self._metadata(metadata, notes)
        timestamp, event_type, event_id = fields.head(room, event)
        about = None if target is None else self._targets.redacted(target, room)
        if room.replaced_surrogates:
            notes["replaced_surrogates"] = True
        elif type(done) is type(about) is msgspec.Raw and not self._texts.custom:
            self._know(source, target, done, about)
        return Event(
            timestamp=timestamp,
            event_type=event_type,
            event_id=event_id,
            source=done,  # type: ignore[arg-type]  # encoded already
            target=about,
            request=request,
            policy=None if policy is None else self._policies.redacted(policy, room),
            outcome=outcome,
            cost=None if cost is None else Cost(**fields.apply(room, cost, fields.COST)),
            state=None if state is None else self._states.redacted(state, room),
            metadata=_merged(metadata, notes) if notes else metadata,
        )

    def _know(self, source: Source | None, target: Target | None, *encoded: msgspec.Raw) -> None:
        """Remember what a pair that a capture uses again and again looks like in a line; see `_ordinary`."""
        about = self._about.get(id(target))
        if about is not None and about.fits(source, target, self._schemas.learned):
            return
        if len(self._about) >= _MAX_ABOUT:
            self._about.clear()
        self._about[id(target)] = self._all_about(source, target, b'","source":%b,"target":%b' % encoded)

    def _all_about(self, source: Source | None, target: Target | None, encoded: bytes) -> _About:
        """Return what follows for a pair from what is known of tools just now."""
        learned = self._schemas.learned
        return _About(
            source,
            target,
            encoded,
            learned,
            *self._schemas.of_args(target, source, learned),
            self._record_args.of(target),
            self._record_results.of(target),
            self._schemas.of_result(target),
        )

    def _source(self, source: Source | None, room: fields.Room) -> Any:
        """Redact and encode a source. A capture uses one again and again: the last is known by identity."""
        if source is None:
            return None if self._recorder is None else Source(recorder=self._recorder)
        kept = fields.apply(room, source, fields.SOURCE)
        done = Source(**kept, recorder=self._recorder or _recorder(source.recorder, self._values))
        encoded = msgspec.Raw(_encoder.encode(done))
        if not room.replaced_surrogates:
            self._last_source = (source, encoded)
        return encoded

    def _call(
        self, event: Event, room: fields.Room, notes: dict[str, Any]
    ) -> tuple[Request | None, Outcome | None]:
        """Redact what differs in every call. One search over all of it answers for most calls."""
        request, outcome = event.request, event.outcome
        names = calls.strings_of(request, outcome)
        args = ABSENT
        if request is not None and request.args is not None:
            args = self._args(request.args, event.target, event.source, names or b"")
            _note(notes, "args_digest", args)
        result = ABSENT
        if outcome is not None and outcome.result is not None:
            result = self._result(outcome.result, event.target)
            _note(notes, "result_digest", result)
        clean = names is not None and (args.beside_clean or self._clean(names))
        return (
            None if request is None else calls.request_of(request, args, None if clean else room, self._key_id),
            None if outcome is None else calls.outcome_of(outcome, result, None if clean else room),
        )

    def _clean(self, names: bytes) -> bool:
        """Tell whether nothing in the small strings of a call has to be redacted; False may be wrong."""
        return (fields.ordinary(names) is not None and not self._texts.custom) or not self._texts.flagged(names)

    def _arguments(self, args: Any, about: _About) -> bytes | None:
        """Return a call's arguments as `ordinary.asked` writes them; None when they are unusual."""
        if type(args) is Prepared:
            if args.fits(about.target, about.learned):
                if args.asked is None and not args.payload.unusual:
                    args.asked = ordinary.asked(args.payload, self._key_id_json)
                return args.asked
            args = args.args
        kept = ABSENT
        if args is not None:
            kept = self._payloads.take(args, about.args_mode, MAX_ARGS_BYTES, about.tree, about.digest)
        return None if kept.unusual else ordinary.asked(kept, self._key_id_json)

    def _args(
        self,
        args: Any,
        target: Target | None,
        source: Source | None,
        beside: bytes,
        about: _About | None = None,
    ) -> Payload:
        """Redact a call's arguments, or find that done."""
        if type(args) is Prepared:
            if args.fits(target, self._schemas.learned):
                return args.payload
            args = args.args
        if about is not None and about.learned is self._schemas.learned:
            mode, tree, digest = about.args_mode, about.tree, about.digest
        else:
            mode = self._record_args.of(target)
            tree, digest = self._schemas.of_args(target, source, self._schemas.learned)
        return self._payloads.take(args, mode, MAX_ARGS_BYTES, tree, digest, beside)

    def _result(self, result: Any, target: Target | None) -> Payload:
        """Redact a result, or find that done."""
        if type(result) is Prepared:
            return result.payload
        tree = self._schemas.of_result(target)
        return self._payloads.take(result, self._record_results.of(target), MAX_RESULT_BYTES, tree)

    def prepare(self, args: Any, target: Target | None, source: Source | None) -> Any:
        """Redact the arguments of a call for all of its events; never raises.

        What is returned stands for `args` in events with the very same `target`. Only bytes from the wire are done
        ahead: other objects may change, and are returned as they are.
        """
        if type(args) is not msgspec.Raw:
            return args
        try:
            learned = self._schemas.learned
            about = self._about.get(id(target))
            fits = about is not None and about.fits(source, target, learned)
            done = self._args(args, target, source, b"", about if fits else None)
            return Prepared(args, target, learned, done)
        except Exception:  # noqa: BLE001 - `redact` meets it again, and knows what to do
            return args

    def _metadata(self, metadata: Any, notes: dict[str, Any]) -> Any:
        kept = self._payloads.take(metadata, "full", MAX_METADATA_BYTES)
        if kept.replaced_surrogates:
            notes["replaced_surrogates"] = True
        if kept.kept is None or kept.kept[:1] == b"{":
            return as_raw(kept.kept)
        return {"value": as_raw(kept.kept)}

    def _last_resort(self, event: object, exc: Exception) -> bytes:
        """Return an event that says only that there was one, and that it could not be looked at."""
        head = {"timestamp": _EPOCH, "event_type": "alert", "event_id": _NIL}
        try:
            head.update(fields.proper_head(event))
        except Exception:  # noqa: BLE001 - whatever stands there, it is not kept
            head["event_type"] = "alert"
        reason = type(exc).__name__
        return orjson.dumps({**head, "metadata": {"redaction_failed": reason if reason.isascii() else "error"}})


MAX_WORD: Final = 4000
"""Characters of one text of a tool's definition (as `definitions` has it, which is above this package)."""

_encoder: Final = msgspec.json.Encoder()
_MAX_ABOUT: Final = 256
"""How many pairs of a source and a target are known again by identity."""
_EPOCH: Final = "1970-01-01T00:00:00.000000Z"
_NIL: Final = "00000000-0000-0000-0000-000000000000"


def _note(notes: dict[str, Any], key: str, payload: Payload) -> None:
    if payload.digested is not None and payload.hmac is not None:
        notes[key] = payload.digested
    if payload.replaced_surrogates:
        notes["replaced_surrogates"] = True


def _merged(metadata: Any, notes: dict[str, Any]) -> dict[str, Any]:
    if metadata is None:
        return notes
    return {**(metadata if isinstance(metadata, dict) else orjson.loads(bytes(metadata))), **notes}


def _recorder(recorder: Any, values: Values) -> RecorderId | None:
    if recorder is None:
        return None
    kept = fields.apply(fields.Room(values), recorder, fields.RECORDER)
    return RecorderId(**{"id": "", **kept})
