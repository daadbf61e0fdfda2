"""Every cap of a body, with its unit and its reason; and the order in which a body is cut to its line.

The sum of the caps is larger than a line: most events come nowhere near them, and what does is cut in this
order until it fits: results, arguments, metadata, then names to a prefix and a digest.
"""

from __future__ import annotations

from typing import Final

MAX_STRING_CHARS: Final = 500
"""Characters of one text inside arguments, results and metadata; the design's limit."""

PREFIX_CHARS: Final = 200
"""Characters that stay of a text that is longer than that."""

TRUNCATED: Final = " ... [TRUNCATED]"
"""What every cut text carries; size and digest follow it."""

DIGEST_HEX: Final = 32
"""Hex digits of a digest inside a text: 128 bits, and more digits than any number pattern takes."""

MAX_DEPTH: Final = 64
"""Levels of arrays and objects; no tool nests deeper on purpose, and every JSON reader takes it."""

MAX_NESTING: Final = 5
"""Levels of JSON or base64 inside texts that are looked into."""

MAX_NODES: Final = 200_000
"""Values that are looked at when something that is not JSON is made into it: bounds shared structures."""

MAX_ARGS_BYTES: Final = 40_000
"""Redacted arguments, encoded: two thirds of a line."""

MAX_RESULT_BYTES: Final = 40_000
"""Redacted result, encoded."""

MAX_METADATA_BYTES: Final = 12_000
"""Redacted metadata, encoded."""

MIN_PART_BYTES: Final = 256
"""What cutting a result, arguments or metadata to a line leaves of each at least."""

MAX_NAME_CHARS: Final = 512
"""A name that is no protocol constant: a tool, a session, a URI. Long enough for real resource URIs."""

MAX_ID_CHARS: Final = 256
"""An id that somebody made: a request's, a session's, a principal's."""

MAX_WORD_CHARS: Final = 64
"""A word of a fixed vocabulary (`kind`, `caller`) that turned out to be another text."""

MAX_ERROR_CHARS: Final = 500
"""`outcome.error` and other free texts; the design's limit."""

MAX_LIST: Final = 64
"""Members of `roles` and `on_behalf_of`."""

CUT_NAME_CHARS: Final = 48
"""What stays of a name when a body is still too large after everything else was cut."""

CUT_LIST: Final = 8
"""Members that stay of a list then."""

NAME_CACHE: Final = 2_048
"""Names (keys, tools, clients) whose redaction is remembered; at most `CACHED_CHARS` characters each."""

CACHED_CHARS: Final = 128

SHORT_STRINGS_BYTES: Final = 160
"""Bytes of the small strings of a call together, encoded; within this none of them can be over its cap."""
