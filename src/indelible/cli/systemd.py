"""What a service says to whoever supervises it: sd_notify(3), without its library. Elsewhere it says nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Final

LEAST_S: Final = 0.1
"""A shorter watchdog would only be a load."""


def notify(*lines: str) -> None:
    """Send a state, such as ``READY=1``; what cannot be sent is nobody's loss."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1.0)
            sock.sendto("\n".join(lines).encode(), address)
    except OSError:
        pass


def watchdog_s() -> float | None:
    """Return how often the supervisor wants to hear from this process; None: it does not."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isascii() or not usec.isdigit() or pid not in ("", str(os.getpid())):
        return None
    return max(LEAST_S, int(usec) / 1e6) if int(usec) else None


class Watchdog:
    """Pings while all is well, from a thread of its own: where that hangs, so does the ping."""

    def __init__(
        self, every_s: float, check: Callable[[float], None], failed: Callable[[Exception], None]
    ) -> None:
        """`check` raises when something is not well; `failed` is told, once each time that it begins."""
        self._every_s = every_s / 3
        self._check = check
        self._failed = failed
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="indelible-watchdog", daemon=True).start()

    def _run(self) -> None:
        well = True
        while not self._stopped.wait(self._every_s):
            try:
                self._check(self._every_s)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is not well
                if well and not self._stopped.is_set():
                    self._failed(exc)
                well = False
            else:
                well = True
                notify("WATCHDOG=1")

    def stop(self) -> None:
        """Ping no more."""
        self._stopped.set()
