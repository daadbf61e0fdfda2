"""What a client says went wrong, in one line for people. Pure.

Its words are librdkafka's: an error's name, and a text such as
``sasl_ssl://host:9093/bootstrap: SASL authentication error: … (after 5ms in state AUTH_REQ)``.
"""

from __future__ import annotations

import re
from typing import Final

REFUSED: Final = {
    "MSG_SIZE_TOO_LARGE": "it is larger than what the topic takes",
    "RECORD_LIST_TOO_LARGE": "it is larger than what the topic takes",
    "INVALID_RECORD": "the topic does not take such a record",
    "POLICY_VIOLATION": "a policy of the brokers forbids it",
}
"""Errors of a record that will never be taken as it is, and what they mean."""

NO_ANSWER: Final = "it does not answer in time"
_PERMANENT: Final = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "_SSL")
_OF_CONNECTIONS: Final = ("_TRANSPORT", "_FAIL")
_MEANINGS: Final = {
    "UNKNOWN_TOPIC_OR_PART": "there is no such topic",
    "_UNKNOWN_TOPIC": "there is no such topic",
    "_UNKNOWN_PARTITION": "a partition is not there any more",
    "TOPIC_AUTHORIZATION_FAILED": "we may not write to the topic",
    "CLUSTER_AUTHORIZATION_FAILED": "we may not write idempotently: allow IdempotentWrite",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "we may not write idempotently",
    "LEADER_NOT_AVAILABLE": "the topic has no leader yet",
    "NOT_ENOUGH_REPLICAS": "too few replicas of the topic are in sync",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": "too few replicas of the topic are in sync",
    "KAFKA_STORAGE_ERROR": "the broker cannot write to its disk",
    "_TIMED_OUT": NO_ANSWER,
    "_MSG_TIMED_OUT": "no broker has taken it in time",
    "_ALL_BROKERS_DOWN": NO_ANSWER,  # what says more, such as a connection that was refused, is told instead
    "INVALID_TOPIC_EXCEPTION": "the brokers do not take the topic's name",
    "INVALID_TIMESTAMP": "it does not take messages of this time: is this machine's clock right?",
    "UNSUPPORTED_COMPRESSION_TYPE": "the brokers do not take this 'compression'",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": "the brokers do not take headers: they are older than Kafka 0.11",
}  # fmt: skip

_PLACE = re.compile(r"(?:\w+://)?([^/\s]+)/(?:bootstrap|\d+): (.*)", re.DOTALL)
_AFTER = re.compile(r"\s*\(after \d+ms in state .*?\)\s*$", re.DOTALL)
MAX_CHARS: Final = 300
MAX_TEXT: Final = 4000
"""Of what the client says, so much is looked at."""


class Troubles:
    """What went wrong since it was well: the cause that says most is told."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, str]] = {}
        """The last text for each error's name, and each broker that it is of."""

    def note(self, name: str, text: str) -> None:
        """Add what the client says; of time-outs nothing, as who waits has one, too, and one of them is enough."""
        if name in _OF_CONNECTIONS and "timed out" in text.lower():
            return
        match = _PLACE.match(text.strip())
        self._found.setdefault(name, {})[match[1] if match else ""] = text

    def add(self, others: Troubles) -> None:
        """Add what others know."""
        for name, texts in others._found.items():
            self._found.setdefault(name, {}).update(texts)

    def somebody_is_up(self) -> None:
        """That none could be reached is over."""
        self._found.pop("_ALL_BROKERS_DOWN", None)

    def clear(self) -> None:
        """All is well."""
        self._found.clear()

    @property
    def are_lasting(self) -> bool:
        """Whether waiting will not help: somebody has to change something."""
        return any(name in self._found for name in _PERMANENT)

    @property
    def none_is_up(self) -> bool:
        """Whether no broker could be reached."""
        return "_ALL_BROKERS_DOWN" in self._found

    def said(self) -> str | None:
        """Return the cause in one line; None when nothing is known.

        Of several brokers the same one is named each time: the order in which they were tried makes no other line.
        """
        if not self._found:
            return None
        name, texts = min(self._found.items(), key=lambda item: _rank(item[0]))
        return said(name, texts[min(texts)])


_RANKS: Final = {
    **dict.fromkeys(("_PURGE_QUEUE", "_PURGE_INFLIGHT", "_GAPLESS_GUARANTEE", "_FATAL"), 6),  # of another's fault
    "_TIMED_OUT": 5, "_ALL_BROKERS_DOWN": 4, "_FAIL": 3, "_TRANSPORT": 2, "_RESOLVE": 1,
}  # fmt: skip
"""What says little of the cause: the higher, the less."""


def _rank(name: str) -> int:
    return _RANKS.get(name, 0)


def said(name: str, text: str) -> str:
    """Return one line for an error."""
    shown = "".join(sign if sign.isprintable() or sign.isspace() else "�" for sign in text[:MAX_TEXT])
    match = _PLACE.fullmatch(shown.strip())
    place, detail = (f"{match[1]}: ", match[2]) if match else ("", shown)
    if name in _OF_CONNECTIONS:
        return f"{place}{_of_connection(' '.join(detail.split()))}"[:MAX_CHARS]
    return f"{place}{_meaning(name, _without_state(detail))}"[:MAX_CHARS]


def _without_state(detail: str) -> str:
    return " ".join(_AFTER.sub("", detail).split())


def _meaning(name: str, detail: str) -> str:
    if name in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM"):
        return f"it refuses our user name, password or mechanism: {detail.removeprefix('SASL authentication error: ')}"
    if name == "_SSL":
        return _of_tls(detail)
    if name == "_RESOLVE":
        return "the name cannot be resolved"
    return _MEANINGS.get(name) or detail or name


def _of_tls(detail: str) -> str:
    low = detail.lower()
    if "certificate verify failed" in low:
        return "its certificate is not accepted; look at tls: ca_file, and at the name in the certificate"
    if "alert" in low and "certificate" in low:
        return "it refuses our certificate; look at tls: cert_file"
    if "wrong version number" in low or "http request" in low or "packet length too long" in low:
        return "it does not speak TLS there"
    return f"TLS failed: {detail}"


def _of_connection(detail: str) -> str:
    low = detail.lower()
    if "connection refused" in low:
        return "nothing listens there"
    if "timed out" in low:
        return "it does not answer"
    if "alert" in low and "certificate" in low:
        return "it refuses our certificate; look at tls: cert_file"
    if "disconnected" in low:
        early = "apiversion" in low or "ssl" in low
        return f"it closed the connection{'; does it expect TLS, a certificate or a password there?' * early}"
    return _without_state(detail)
