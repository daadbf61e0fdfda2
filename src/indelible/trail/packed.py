"""Compressed closed files: read back, and their damage told apart from their end.

What zstandard raises becomes `TrailCorrupt` here and nowhere else, in one line. The library takes a frame without its
end for the end of the content, and an empty file for empty content; the length in the frame's header (RFC 8878, section
3.1.1.1.4) says that something is missing.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, Final

from indelible.errors import TrailCorrupt

HEADER_BYTES: Final = 18
"""A frame header's greatest length (RFC 8878, section 3.1.1.1)."""


def content_size(path: Path) -> int | None:
    """Return how long a .zst file's content is, as its header says; None when it does not. Raises OSError."""
    import zstandard

    with path.open("rb") as file:
        try:
            size: int = zstandard.get_frame_parameters(file.read(HEADER_BYTES)).content_size
        except zstandard.ZstdError:
            return None
    return size if size < zstandard.CONTENTSIZE_ERROR else None


def unpack(raw: BinaryIO, path: Path | None = None) -> io.RawIOBase:
    """Return the content of an open .zst file, and own that file; reading raises TrailCorrupt where it is damaged.

    The error names `path` and says who says more, or, without one, leaves both to whoever reports it.
    """
    return _Content(raw, path)


class _Content(io.RawIOBase):
    def __init__(self, raw: BinaryIO, path: Path | None) -> None:
        self._raw = raw
        self._path = path
        self._reader: Any = None
        self._missing = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what io hands over
        import zstandard

        try:
            if self._reader is None:  # not before: who opens a damaged file has not read it yet
                self._begin()
            count = int(self._reader.readinto(buffer))
        except zstandard.ZstdError as exc:
            raise self._corrupt(str(exc)) from exc
        self._missing -= count
        if not count and self._missing > 0 and len(buffer):
            raise self._corrupt(f"{self._missing} bytes are missing at its end")
        return count

    def _begin(self) -> None:
        import zstandard

        size = zstandard.get_frame_parameters(self._raw.read(HEADER_BYTES)).content_size
        self._raw.seek(0)
        self._missing = size if size < zstandard.CONTENTSIZE_ERROR else 0
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)

    def _corrupt(self, why: str) -> TrailCorrupt:
        if self._path is None:
            return TrailCorrupt(f"cannot be decompressed: {why}")
        return TrailCorrupt(f"{self._path}: cannot be decompressed: {why}; 'indelible verify' says more")

    def close(self) -> None:
        self._raw.close()
        super().close()
