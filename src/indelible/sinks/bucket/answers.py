"""What a store says when it does not do what it is asked, in one line for people.

Its words are those of Amazon S3's API ("Error responses"): a status, and XML with a code and a message, which other
stores have, too. Nothing in it is about a record: an object is refused for who we are, for where it goes, or for how it
is to be kept, and all of that is mended elsewhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from indelible.sinks.web.answers import printable, retry_after

if TYPE_CHECKING:
    from indelible.sinks.web.client import Answer

_ELEMENT: Final = r"<{0}>([^<]{{1,2000}})</{0}>"
_CODE, _MESSAGE, _REGION = (re.compile(_ELEMENT.format(name)) for name in ("Code", "Message", "Region"))

_WHOSE: Final = "it knows no such access key"
_EXPIRED: Final = "our session token is over"
_AWAY: Final = "it asks us to slow down"
_NO_ROOM: Final = "it has no room left"
_BROKEN: Final = "something is wrong there"

MEANINGS: Final = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "it takes no bucket of that name",
    "InvalidAccessKeyId": _WHOSE,
    "SignatureDoesNotMatch": "it refuses our secret key",
    "RequestTimeTooSkewed": "its clock and this machine's are too far apart",
    "RequestExpired": "its clock and this machine's are too far apart",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidToken": "it does not take our session token",
    "InvalidTokenId": "it does not take our session token",
    "AccountProblem": "it does not serve our account",
    "AllAccessDisabled": "it does not serve our account",
    "NotSignedUp": "it does not serve our account",
    "AccessDenied": "we may not write there; needed is s3:PutObject, with a lock s3:PutObjectRetention, too",
    "KMS.DisabledException": "its KMS key is disabled; see 'kms_key_id'",
    "KMS.NotFoundException": "it finds no such KMS key; see 'kms_key_id'",
    "KMSKeyDisabled": "its KMS key is disabled; see 'kms_key_id'",
    "InvalidStorageClass": "it has no such storage class; see 'storage_class'",
    "EntityTooLarge": "it takes no object that large; see 'flush_batch_bytes'",
    "SlowDown": _AWAY,
    "SlowDownRead": _AWAY,
    "SlowDownWrite": _AWAY,
    "RequestLimitExceeded": _AWAY,
    "Throttling": _AWAY,
    "ThrottlingException": _AWAY,
    "XMinioStorageFull": _NO_ROOM,
    "QuotaExceeded": _NO_ROOM,
    "XMinioAdminBucketQuotaExceeded": _NO_ROOM,
    "InsufficientStorage": _NO_ROOM,
    "NotImplemented": "it does not have what is asked of it",
    "InternalError": _BROKEN,
}
"""Code → what it means to whoever configured the sink."""

ELSEWHERE: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "TemporaryRedirect",
        "Redirect",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
    }
)
"""Codes of a request that came to another region than the bucket's."""

NO_LOCK: Final = "ObjectLockConfigurationNotFoundError"
DENIED: Final = "AccessDenied"

STATUSES: Final = {
    401: "it refuses our credentials",
    403: "it refuses our credentials, or what we may do",
    404: "it has no such bucket, or is no object store",
    405: "is it an object store?",
    429: _AWAY,
    501: MEANINGS["NotImplemented"],
    503: _AWAY,
    507: _NO_ROOM,
}
"""Status → what it may mean where nothing else is said."""

ALWAYS: Final = frozenset(
    {code for code, meaning in MEANINGS.items() if meaning != MEANINGS["NotImplemented"]} - {DENIED}
)
"""Codes that tell of more than the request at hand: no other one would fare better."""


class NotTaken(Exception):  # noqa: N818 - a state, and it passes
    """A store has not done what it was asked."""

    def __init__(self, why: str, status: int, code: str, asked: float | None = None) -> None:
        """`asked` is how many seconds it wants to be left alone."""
        super().__init__(why)
        self.status = status
        self.code = code
        self.retry_after = asked

    @property
    def is_lasting(self) -> bool:
        """Whether another request would fare no better."""
        return (
            self.code in ALWAYS or self.code in ELSEWHERE
            or self.status in (401, 429) or self.status >= 502 or 300 <= self.status < 400
        )  # fmt: skip


class _Said(NamedTuple):
    code: str
    message: str
    region: str


def not_taken(answer: Answer) -> NotTaken:
    """Return what an answer that is no success means."""
    said = _said(answer)
    return NotTaken(_why(answer.status, said), answer.status, said.code, retry_after(answer))


def refused(response: Mapping[str, Any]) -> NotTaken:
    """Return the same of what boto3 has read of an answer (`ClientError.response`)."""
    error, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    headers = about.get("HTTPHeaders", {})
    status = int(about.get("HTTPStatusCode", 0))
    region = headers.get("x-amz-bucket-region", "") or str(error.get("Region", ""))
    code = str(error.get("Code", ""))
    said = _Said(
        "" if code.isdigit() else printable(code),  # of an answer without a body: the status
        printable(str(error.get("Message", ""))).rstrip("."),
        printable(region),
    )
    return NotTaken(_why(status, said), status, said.code)


def _said(answer: Answer) -> _Said:
    text = answer.body.decode("utf-8", "replace")
    code, message, region = (
        html.unescape(match[1]) if (match := pattern.search(text)) else ""
        for pattern in (_CODE, _MESSAGE, _REGION)
    )
    region = answer.headers.get("x-amz-bucket-region", "") or region
    return _Said(printable(code), printable(message).rstrip("."), printable(region))


def _why(status: int, said: _Said) -> str:
    if said.code in ELSEWHERE or (300 <= status < 400):
        if said.region:
            return f"the bucket is in another region; see 'region': {said.region} ({status} {said.code})"
        return f"the bucket is elsewhere; see 'region' and 'endpoint'{_detail(status, said)}"
    if said.code == NO_LOCK or "object lock" in said.message.lower():
        return (
            f"the bucket has no object lock, which is best given when a bucket is made{_detail(status, said)}"
        )
    meaning = MEANINGS.get(said.code) or ("" if said.code else STATUSES.get(status, ""))
    if not meaning and said.code.startswith("KMS."):
        meaning = "it cannot use its KMS key; see 'kms_key_id'"
    return f"{meaning or 'it refuses the object'}{_detail(status, said)}"


def _detail(status: int, said: _Said) -> str:
    """Return what it said itself, after a colon: see `carrying.unquoted`."""
    named = f"{status} {said.code}".strip()
    return f": {named}, {said.message}" if said.message else f": {named}"
