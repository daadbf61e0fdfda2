"""Compressed closed files: read back, and their damage told apart from their end.

What zstandard raises becomes `TrailCorrupt` here and nowhere else, in one line that names the file. The library takes a
frame without its end for the end of the content; the length in the frame's header (RFC 8878, section 3.1.1.1.4) says
that something is missing.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, Final

from indelible.errors import TrailCorrupt

HEADER_BYTES: Final = 18
"""A frame header's greatest length (RFC 8878, section 3.1.1.1)."""


def open_packed(path: Path, buffer_bytes: int) -> BinaryIO:
    """Open a .zst file for reading its content; reading raises TrailCorrupt where that is damaged."""
    return io.BufferedReader(_Content(path), buffer_bytes)


class _Content(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        import zstandard

        self._path = path
        self._raw = path.open("rb")
        self._errors = zstandard.ZstdError
        try:
            size = zstandard.get_frame_parameters(self._raw.read(HEADER_BYTES)).content_size
        except zstandard.ZstdError as exc:
            self._raw.close()
            raise self._corrupt(str(exc)) from exc
        self._raw.seek(0)
        self._missing: int = size if size < zstandard.CONTENTSIZE_ERROR else 0
        self._reader = zstandard.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what BufferedReader hands over
        try:
            count = int(self._reader.readinto(buffer))
        except self._errors as exc:
            raise self._corrupt(str(exc)) from exc
        self._missing -= count
        if not count and self._missing > 0 and len(buffer):
            raise self._corrupt(f"{self._missing} bytes are missing at its end")
        return count

    def _corrupt(self, why: str) -> TrailCorrupt:
        return TrailCorrupt(f"{self._path}: cannot be decompressed: {why}; 'indelible verify' says more")

    def close(self) -> None:
        self._raw.close()
        super().close()
