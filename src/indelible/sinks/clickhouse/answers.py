"""What ClickHouse's HTTP interface answers to an INSERT.

The rules that live here:

- Taken is what is answered with 2xx, by ClickHouse (its headers say so), with nothing in the body: an INSERT has no
  result. An exception may stand there after a 200, since a server may have said that before it knew.
- What is wrong is said by the exception's code, not by the status: servers of different ages give other statuses.
- Some codes are about a row, and often say which (``at row 3``); that row is sent alone. It is refused for good only by
  a table that takes others: a column of the wrong type refuses every row in the same words.
- All other codes pass, or are mended where the table, the user or the server was set up: nothing is given up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from indelible.sinks.web.answers import Fewer, NotNow, Verdict, about, printable, retry_after, unless_taken

if TYPE_CHECKING:
    from indelible.sinks.web.client import Answer

MAX_ANSWER_BYTES: Final = 64 << 10
"""An exception's text quotes what it could not read, at some length."""

OURS: Final = "x-clickhouse-"
"""What the names of ClickHouse's headers begin with."""

CODE_HEADER: Final = "x-clickhouse-exception-code"

ABOUT_ROWS: Final = {
    6: "CANNOT_PARSE_TEXT",
    25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    130: "CANNOT_READ_ARRAY_FROM_TEXT",
    131: "TOO_LARGE_STRING_SIZE",
    190: "SIZES_OF_ARRAYS_DONT_MATCH",
    306: "TOO_DEEP_RECURSION",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    441: "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
    467: "CANNOT_PARSE_BOOL",
    469: "VIOLATED_CONSTRAINT",
    563: "CANNOT_READ_MAP_FROM_TEXT",
    632: "UNEXPECTED_DATA_AFTER_PARSED_VALUE",
    675: "CANNOT_PARSE_IPV4",
    676: "CANNOT_PARSE_IPV6",
    691: "UNKNOWN_ELEMENT_OF_ENUM",
}
"""ClickHouse's `src/Common/ErrorCodes.cpp`: what one row may be the cause of."""

TABLE_IS_MISSING: Final = "make it: 'indelible schema clickhouse' prints what does"
TABLE_IS_ANOTHER: Final = (
    "does the table have these columns? 'indelible schema clickhouse' prints one that fits lines as they stand"
)
WHO_WE_ARE: Final = "look at the user name and the password"
MAY_WE: Final = "the user needs GRANT INSERT(origin, seq, line), or INSERT, on the table"
SETTINGS: Final = "look at 'settings', and at the profile of the user"
TOO_MANY: Final = "send less often: raise flush_interval and flush_batch_lines"
TOO_MUCH: Final = "lower flush_batch_bytes, or give the user more memory"

HINTS: Final = {
    8: ("THERE_IS_NO_COLUMN", TABLE_IS_ANOTHER),
    10: ("NOT_FOUND_COLUMN_IN_BLOCK", TABLE_IS_ANOTHER),
    16: ("NO_SUCH_COLUMN_IN_TABLE", TABLE_IS_ANOTHER),
    44: ("ILLEGAL_COLUMN", TABLE_IS_ANOTHER),
    47: ("UNKNOWN_IDENTIFIER", TABLE_IS_ANOTHER),
    48: ("NOT_IMPLEMENTED", TABLE_IS_ANOTHER),
    60: ("UNKNOWN_TABLE", TABLE_IS_MISSING),
    81: ("UNKNOWN_DATABASE", TABLE_IS_MISSING),
    115: ("UNKNOWN_SETTING", SETTINGS),
    164: ("READONLY", "the user or the server may only read"),
    192: ("UNKNOWN_USER", WHO_WE_ARE),
    193: ("WRONG_PASSWORD", WHO_WE_ARE),
    194: ("REQUIRED_PASSWORD", WHO_WE_ARE),
    195: ("IP_ADDRESS_NOT_ALLOWED", "the user may not come from this machine"),
    241: ("MEMORY_LIMIT_EXCEEDED", TOO_MUCH),
    252: ("TOO_MANY_PARTS", TOO_MANY),
    291: ("DATABASE_ACCESS_DENIED", MAY_WE),
    452: ("SETTING_CONSTRAINT_VIOLATION", SETTINGS),
    471: ("INVALID_SETTING_VALUE", SETTINGS),
    497: ("ACCESS_DENIED", MAY_WE),
    516: ("AUTHENTICATION_FAILED", WHO_WE_ARE),
}
"""Code → its name, and what to do. Those that are missing here pass by themselves, or say enough."""

PER_PARTITION: Final = b"Too many partitions for single INSERT"
"""A 252 that is about one request: rows of so many months in it."""

_CODE = re.compile(rb"Code: (\d{1,5})\. DB::")
_ROW = re.compile(r"\(at row (\d{1,9})\)")
_FRAME = re.compile(
    r"^(?:.*?Code: \d+\. DB::(?:\w+::)*\w*Exception: )+|: While executing \w+|(?:\. )?\([A-Z][A-Z0-9_]+\)|"
    r"\(version .*$|__exception__\S*|, Stack trace.*$",
    re.DOTALL,
)
"""What stands around an exception's own words."""


class Problem(NamedTuple):
    """An exception of the server's."""

    code: int
    text: str
    """Its own words; it may quote a row."""
    row: int | None
    """Which row it is about, from 1 on."""

    @property
    def name(self) -> str:
        """What ClickHouse calls the code, where we know."""
        return ABOUT_ROWS.get(self.code) or HINTS.get(self.code, ("",))[0]


def verdict(answer: Answer, count: int) -> Verdict:
    """Return what an answer says of a request's rows. Raises Fewer, NotNow."""
    problem = found(answer)
    if problem is not None:
        raise _raised(problem, answer)
    unless_taken(answer)
    if not any(name.startswith(OURS) for name in answer.headers):
        raise NotNow(f"it answers {answer.status}, and not as ClickHouse does{about(answer)}")
    if answer.body.strip():
        raise NotNow(f"it answers {answer.status}, and to an INSERT it says more than nothing{about(answer)}")
    return Verdict(count)


def found(answer: Answer) -> Problem | None:
    """Return the exception that an answer is, or has in it."""
    said = answer.headers.get(CODE_HEADER, "").strip()
    in_body = _CODE.search(answer.body)
    if not (said.isascii() and said.isdigit()) and in_body is None:
        return None
    code = int(said[:5]) if said.isascii() and said.isdigit() else int(in_body[1]) if in_body else 0
    text = answer.body.decode("utf-8", "replace")
    row = _ROW.search(text)
    return Problem(code, printable(_FRAME.sub("", text)), int(row[1]) if row else None)


def _raised(problem: Problem, answer: Answer) -> Fewer | NotNow:
    """Return what an exception means for the rows."""
    name = f" {problem.name}" if problem.name else ""
    reason = f"it answers {problem.code}{name}" + (f": {problem.text}" if problem.text else "")
    if problem.code in ABOUT_ROWS:
        return Fewer(reason, sure=False, first=None if problem.row is None else problem.row - 1)
    if problem.code == 252 and PER_PARTITION in answer.body:
        return Fewer(reason, sure=False)
    return NotNow(reason, retry_after(answer), hint=HINTS.get(problem.code, ("", ""))[1])
