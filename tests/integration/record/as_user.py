"""Run `indelible`, or a client, as another user: ``as_user.py UID GID GROUPS WHAT ARGUMENT...``; started by root.

What is needed is imported before the user changes: the checkout, and Python itself, may lie where that user cannot
read. WHAT is ``indelible`` or the path of a Python program. UID 0 changes nothing.
"""

from __future__ import annotations

import codecs
import importlib
import os
import pkgutil
import sys


def import_everything(*, indelible_too: bool) -> None:
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "idna"):
        codecs.lookup(encoding)
    for name in (
        "collections",
        "datetime",
        "json",
        "pathlib",
        "random",
        "select",
        "socket",
        "threading",
        "typing",
        "uuid",
    ):
        importlib.import_module(name)
    if not indelible_too:
        return
    import indelible

    for module in pkgutil.walk_packages(indelible.__path__, "indelible."):
        if not module.name.startswith(("indelible.demo", "indelible.__main__")):
            importlib.import_module(module.name)
    for name in ("cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.hazmat.primitives.kdf.hkdf",
                 "yaml", "zstandard", "rich.table", "json", "socket", "uuid"):  # fmt: skip
        importlib.import_module(name)


def become(uid: int, gid: int, groups: list[int]) -> None:
    if uid:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)


def main() -> int:
    uid, gid, groups, what, *args = sys.argv[1:]
    import_everything(indelible_too=what == "indelible")
    code = None
    if what != "indelible":
        with open(what, encoding="utf-8") as program:  # noqa: PTH123 - one import less
            code = compile(program.read(), what, "exec")
    become(int(uid), int(gid), [int(group) for group in groups.split(",") if group])
    if code is None:
        from indelible.cli import main as command

        return command(args)
    sys.argv = [what, *args]
    exec(code, {"__name__": "__main__", "__file__": what})
    return 0


if __name__ == "__main__":
    sys.exit(main())
