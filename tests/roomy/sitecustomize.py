"""A machine whose disk is nearly full: every trail of a test would say so, and above 95 % record nothing.

`tests/conftest.py` puts this directory on the path of every Python that a test starts, when that is so. Then the file
system of the temporary directory looks as if half of it were free; others, such as those that tests mount, look as they
are.
"""

from __future__ import annotations

import os
import tempfile

_real = os.statvfs
_device = os.stat(tempfile.gettempdir()).st_dev  # noqa: PTH116 - run at the start of each Python


def _statvfs(path: int | str | os.PathLike[str]) -> os.statvfs_result:
    about = _real(path)
    if os.stat(path).st_dev != _device:  # noqa: PTH116
        return about
    fields = list(about)
    fields[3] = fields[4] = about.f_blocks // 2
    fields[6] = fields[7] = about.f_files // 2
    return os.statvfs_result(fields)


os.statvfs = _statvfs  # type: ignore[assignment,unused-ignore]
