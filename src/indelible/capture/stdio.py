"""The tap between a client on our stdin and stdout and a server that is our child.

One thread, poll() on raw descriptors, no line changed; how it waits is in `looking`. The rules:

- a line is forwarded only when the audit has had it (see `correlate`), except before the audit is ready: then one
  request that is provably ``initialize`` may pass, and whatever the server says, since no call has reached it yet;
- nobody is waited for without a bound: a reader that is slow stops its own writer, and only it;
- what one side does with its pipes the other side sees: a closed stdin, a closed stdout, an exit code, a signal;
- nothing of the child's group outlives us.

Time limits, once the session ends: after the client has closed our stdin the server has `EOF_GRACE_S` to end by
itself, or `ANSWER_GRACE_S` without a word while calls are outstanding, or held until the audit is ready (then the
time begins anew); then SIGTERM, and after
`child.TERM_GRACE_S` SIGKILL. SIGTERM to us, or the death of our parent, begin with that SIGTERM. When the child
has ended, its stdout is read for `DRAIN_S` more at most: a process that it has left behind may hold it open.

Standard library only: see `child`.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time

from indelible.capture.child import TERM_GRACE_S
from indelible.capture.lanes import MAX_QUEUE, READ_BYTES, CutLine, Lines, Outlet, Part
from indelible.capture.ourselves import TO_GROUP, replace_with_null, watch_process
from indelible.looking import Looking, processors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Protocol

    from indelible.capture.child import Child

    class Audit(Protocol):
        """What the tap asks before it forwards; None for "forward it", else what the client gets in its place."""

        @property
        def outstanding(self) -> int:
            """How many calls wait for their answer."""

        def client(self, line: bytes, now: int, mono: int) -> bytes | None:
            """Take a line from the client; what is returned goes back to it, and nothing to the server."""

        def server(self, line: bytes, now: int, mono: int) -> bytes | None:
            """Take a line from the server; what is returned goes to the client in its place."""

        def ahead(self) -> None:
            """Lines from the client have been forwarded: do what can be done before their answers come."""

        def client_cut(self, line: CutLine, now: int, mono: int) -> bytes | None:
            """Take the end of a long line from the client."""

        def server_cut(self, line: CutLine, now: int, mono: int) -> bytes | None:
            """Take the end of a long line from the server."""

        def client_gone(self, why: str) -> None:
            """No answer reaches the client any more."""

        def server_gone(self, why: str, *, crashed: bool) -> None:
            """No answer comes from the server any more; `crashed` when that was not because the session ended."""

        def closing(self, why: str) -> None:
            """The session ends, in an orderly way."""


EOF_GRACE_S: Final = 5.0
ANSWER_GRACE_S: Final = 60.0
DRAIN_S: Final = 2.0
HURRIED_DRAIN_S: Final = 0.2
"""The same after SIGTERM: whoever sent it will not wait for long."""

PARENT_POLL_S: Final = 1.0
"""How often the parent is looked for where the kernel does not tell (macOS, Linux before 5.3)."""

MAX_HELD: Final = 1024 * 1024
"""Bytes that are held while the audit is not ready; then the client is no longer read from."""

MAX_REPLIES: Final = 16 * MAX_QUEUE
"""Bytes for the client beyond which it is not read from either: what it gets may be answers of our own."""

_CLIENT, _SERVER = 0, 1
_METHOD: Final = re.compile(rb'"method"', re.IGNORECASE)
_INITIALIZE: Final = re.compile(rb'"method"\s*:\s*"(?:initialize|server/discover)"')


def is_only_initialize(line: bytes) -> bool:
    """Tell whether no parser whatever can read anything but one ``initialize`` (or ``server/discover``) there.

    No backslash can spell another key, and there is one ``method`` in any case of letters.
    """
    return (
        line[:1] == b"{"
        and line[-1:] == b"\n"
        and len(line) <= READ_BYTES
        and b"\\" not in line
        and len(_METHOD.findall(line)) == 1
        and _INITIALIZE.search(line) is not None
    )


class Tap:
    """Forwards between our own stdin and stdout and a child, until the child is gone."""

    def __init__(self, child: Child, *, wake: tuple[int, int], parent: int, enabled: bool = True) -> None:
        """`wake` is the pipe that signals write to, `parent` the pid that must stay our parent.

        With `enabled`, lines wait for `attach`.
        """
        self._child = child
        self._wake = wake[0]
        self._parent = parent
        self._audit: Audit | None = None
        self._booting = enabled
        self._held: list[tuple[int, bytes | CutLine, int, int, bool]] = []
        self._held_bytes = 0
        self._early = True
        self._in = (Lines(), Lines())
        self._fds = [0, child.stdout]
        self._open = [True, True]
        self._to_server = Outlet(child.stdin, shared=False)
        self._to_client = Outlet(1, shared=True)
        self._feeds_child = True
        self._answers = True
        self._poll = select.poll()
        self._masks: dict[int, int] = {}
        self._deadline: float | None = None
        self._at_deadline = self._terminate
        self._parent_fd = watch_process(parent)
        self._last = _CLIENT
        """Whose bytes were the last to come."""
        self._hurry = False
        self._closing: str | None = None
        self.on_wake: Any = None
        """Called in the loop after another thread has called `wake`."""

    # --- the loop ---

    def run(self) -> None:
        """Forward until the child has ended and all that it said has been handed on."""
        self._poll.register(self._wake, select.POLLIN)
        if self._parent_fd is not None:
            self._poll.register(self._parent_fd, select.POLLIN)
        self._settle()
        looking = Looking(self._poll.poll, 2, processors=processors())
        while not self._is_done():
            idle = self._deadline is None and self._parent_fd is not None
            events = looking.wait(None if idle else self._timeout(), self._last)
            settled = True
            for descriptor, event in events:
                settled = self._handle(descriptor, event) and settled
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._deadline = None
                self._at_deadline()
                settled = False
            if not settled or self._to_server.size or self._to_client.size or not events:
                self._settle()
        self._end_calls("the server ended")

    def _handle(self, descriptor: int, event: int) -> bool:
        """Handle one event; True when nothing about what to wait for can have changed."""
        fds = self._fds
        if descriptor == fds[_CLIENT]:
            return self._read(_CLIENT)
        if descriptor == fds[_SERVER]:
            return self._read(_SERVER)
        if descriptor == self._child.stdin:
            self._flush(self._to_server, event)
        elif descriptor == 1:
            self._flush(self._to_client, event)
        elif descriptor == self._wake:
            self._woken()
        elif descriptor == self._parent_fd:
            self._parent_died()
        return False

    def _timeout(self) -> int | None:
        limits = []
        if self._deadline is not None:
            limits.append(max(0.0, self._deadline - time.monotonic()))
        if self._parent_fd is None:
            limits.append(PARENT_POLL_S)
            if self._parent > 1 and os.getppid() != self._parent:
                self._parent_died()
        return int(min(limits) * 1000) + 1 if limits else None

    def _is_done(self) -> bool:
        if self._child.status is None or self._booting:
            return False
        return not self._open[_SERVER] and not self._to_client.size

    def _settle(self) -> None:
        """Bring what is waited for in line with what can be done."""
        if self._feeds_child and not self._open[_CLIENT] and not self._to_server.size and not self._booting:
            self._close_child_stdin()
        reads_client = (
            self._open[_CLIENT] and self._to_server.size < MAX_QUEUE and self._to_client.size < MAX_REPLIES
        )
        if self._booting and self._held_bytes + self._in[_CLIENT].size > MAX_HELD:
            reads_client = False
        reads_server = self._open[_SERVER] and self._to_client.size < MAX_QUEUE
        if self._booting and self._held_bytes > MAX_HELD:
            reads_server = False
        self._want(self._fds[_CLIENT], select.POLLIN if reads_client else None)
        self._want(self._fds[_SERVER], select.POLLIN if reads_server else None)
        feeds, answers = self._feeds_child, self._answers
        self._want(self._child.stdin, (select.POLLOUT if self._to_server.size else 0) if feeds else None)
        self._want(1, (select.POLLOUT if self._to_client.size else 0) if answers else None)

    def _want(self, descriptor: int, mask: int | None) -> None:
        if self._masks.get(descriptor) == mask:
            return
        if mask is None:
            self._poll.unregister(descriptor)
            del self._masks[descriptor]
        else:
            self._poll.register(descriptor, mask)
            self._masks[descriptor] = mask

    # --- lines ---

    def _read(self, side: int) -> bool:
        try:
            chunk = os.read(self._fds[side], READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            chunk = b""
        now, mono = time.time_ns(), time.monotonic_ns()
        self._last = side
        if not chunk:
            self._take(side, self._in[side].finish(), now, mono)
            self._open[side] = False
            self._want(self._fds[side], None)
            if side == _CLIENT:
                self._client_closed("the client closed its side")
            else:
                self._server_closed("the server closed its stdout")
            return False
        lines = self._in[side].feed(chunk)
        if lines:
            self._take(side, lines, now, mono)
        return self._deadline is None and not self._booting

    def _take(self, side: int, lines: list[bytes | Part | CutLine], now: int, mono: int) -> None:
        for line in lines:
            if type(line) is bytes and not self._booting:
                self._pass(side, line, now, mono)
            elif isinstance(line, Part):
                self._forward(side, line.data)
            elif self._booting:
                self._hold(side, line, now, mono)
            else:
                self._pass(side, line, now, mono)
        if side == _CLIENT and self._audit is not None and not self._to_server.size:
            self._audit.ahead()
        if side == _SERVER and self._deadline is not None and self._at_deadline == self._terminate:
            self._grant_time()  # it still has something to say

    def _pass(self, side: int, line: bytes | CutLine, now: int, mono: int) -> None:
        """Forward one line, as the audit says."""
        audit = self._audit
        if isinstance(line, CutLine):
            self._pass_cut(side, line, now, mono)
            return
        if audit is None:
            instead = None
        else:
            instead = audit.client(line, now, mono) if side == _CLIENT else audit.server(line, now, mono)
        if instead is None:
            self._forward(side, line)
        else:
            self._to_client.write(instead)

    def _pass_cut(self, side: int, line: CutLine, now: int, mono: int) -> None:
        audit = self._audit
        instead = None
        if audit is not None:
            instead = (
                audit.client_cut(line, now, mono) if side == _CLIENT else audit.server_cut(line, now, mono)
            )
        if instead is None:
            self._forward(side, line.data)
        else:
            self._break_line(side)
            self._to_client.write(instead)

    def _forward(self, side: int, data: bytes) -> None:
        if side == _CLIENT:
            self._to_server.write(data)
        else:
            self._to_client.write(data)

    def _break_line(self, side: int) -> None:
        """The beginning of a long line has been forwarded, its end must not be: leave nothing that can be read."""
        if side == _CLIENT:
            self._to_server.abandon()
            self._close_child_stdin()
        else:
            self._to_client.write(b"\n")

    # --- before the audit is ready ---

    def _hold(self, side: int, line: bytes | CutLine, now: int, mono: int) -> None:
        passes = side == _SERVER and not isinstance(line, CutLine)
        if side == _CLIENT and self._early and isinstance(line, bytes) and is_only_initialize(line):
            passes = True
        if side == _CLIENT:
            self._early = False  # only the first line
        if passes and isinstance(line, bytes):
            self._forward(side, line)
        self._held.append((side, line, now, mono, passes))
        self._held_bytes += len(line.data if isinstance(line, CutLine) else line)

    def attach(self, audit: Audit | None) -> None:
        """The audit is ready (None: there is none): let it have what was held, then everything else."""
        self._audit, self._booting = audit, False
        held, self._held = self._held, []
        for side, line, now, mono, passed in held:
            if not passed:
                self._pass(side, line, now, mono)
            elif audit is not None and isinstance(line, bytes):
                if side == _CLIENT:
                    audit.client(line, now, mono)
                else:
                    audit.server(line, now, mono)
        if audit is not None:
            if self._closing is not None:
                audit.closing(self._closing)
            if not self._answers:
                audit.client_gone("the client closed its side")
            if not self._open[_SERVER]:
                self._end_calls("the server closed its stdout")
        if self._deadline is not None and self._at_deadline == self._terminate:
            self._grant_time()  # only now the server has what was held
        self._settle()

    # --- ends ---

    def _client_closed(self, why: str) -> None:
        self._say_closing(why)
        self._grant_time()

    def _say_closing(self, why: str) -> None:
        if self._closing is None and self._child.status is None:
            self._closing = why
            if self._audit is not None:
                self._audit.closing(why)

    def _grant_time(self) -> None:
        if self._hurry or (self._child.status is not None and self._open[_SERVER]):
            return  # it, or what it has left behind, has its time already
        outstanding = bool(self._held) if self._audit is None else self._audit.outstanding > 0
        waits = outstanding and not self._to_client.broken
        self._set_deadline(ANSWER_GRACE_S if waits else EOF_GRACE_S, self._terminate)

    def _set_deadline(self, seconds: float, action: Any) -> None:
        self._deadline = time.monotonic() + seconds
        self._at_deadline = action

    def _terminate(self) -> None:
        self._child.signal(signal.SIGTERM, group=True)
        self._hurry_up()

    def _hurry_up(self) -> None:
        """Somebody will not wait for long: so much is left to the server, or to what it has left behind."""
        if self._hurry and self._deadline is not None:
            return  # the second time gives no more
        self._hurry = True
        if self._child.status is None:
            self._set_deadline(TERM_GRACE_S, self._kill)
        else:
            self._set_deadline(HURRIED_DRAIN_S, self._give_up)

    def _kill(self) -> None:
        self._child.signal(signal.SIGKILL, group=True)
        self._to_client.abandon()
        self._set_deadline(DRAIN_S, self._give_up)

    def _give_up(self) -> None:
        """The child has ended, but something holds its stdout open, or nobody reads ours."""
        if self._hurry:
            self._to_client.abandon()
        if self._open[_SERVER]:
            self._open[_SERVER] = False
            self._want(self._fds[_SERVER], None)
            self._server_closed("the server ended")

    def _close_child_stdin(self) -> None:
        if self._feeds_child:
            self._feeds_child = False
            self._want(self._child.stdin, None)
            os.close(self._child.stdin)
            self._to_server.abandon()

    def _server_closed(self, why: str) -> None:
        # Where the client had left before, how the server ends tells whether it was the reason.
        if self._child.reap() or self._closing is None:
            self._end_calls(why)
        if not self._to_client.size:
            self._close_our_stdout()

    def _end_calls(self, why: str) -> None:
        if self._audit is not None:
            ended = self._child.status is not None
            crashed = self._closing is None or (ended and self._child.status != 0 and not self._hurry)
            self._audit.server_gone(
                f"the server {self._child.describe_end()}" if ended else why, crashed=crashed
            )

    def _close_our_stdout(self) -> None:
        """Let the client see the end of the server's output. Descriptor 1 stays taken: no file may get it."""
        if self._answers:
            self._answers = False
            self._want(1, None)
            replace_with_null(1, os.O_WRONLY)

    def _flush(self, outlet: Outlet, event: int) -> None:
        if event & (select.POLLERR | select.POLLNVAL) or (
            event & select.POLLHUP and not event & select.POLLOUT
        ):
            outlet.abandon()
        else:
            outlet.flush()
        if not outlet.broken:
            if outlet is self._to_client and not outlet.size and not self._open[_SERVER]:
                self._close_our_stdout()
        elif outlet is self._to_server:
            self._server_deaf()
        else:
            self._client_deaf()

    def _server_deaf(self) -> None:
        """The server closed its stdin: our client sees its own pipe close, as it would without us."""
        self._close_child_stdin()
        if self._open[_CLIENT]:
            self._open[_CLIENT] = False
            self._want(0, None)
            replace_with_null(0, os.O_RDONLY)

    def _client_deaf(self) -> None:
        """The client closed our stdout: the server sees its own pipe close, as it would without us."""
        self._answers = False
        self._want(1, None)
        if self._audit is not None:
            self._audit.client_gone("the client closed its side")
        if self._open[_SERVER]:
            self._open[_SERVER] = False
            self._want(self._fds[_SERVER], None)
            os.close(self._fds[_SERVER])
            self._fds[_SERVER] = -1

    # --- signals ---

    def _woken(self) -> None:
        for number in os.read(self._wake, 256):
            if number == 0:
                if self.on_wake is not None:
                    self.on_wake()
            elif number == signal.SIGCHLD:
                self._child_changed()
            else:
                self._pass_on(number)

    def _child_changed(self) -> None:
        if self._child.status is None and self._child.reap():
            self._close_child_stdin()
            self._set_deadline(HURRIED_DRAIN_S if self._hurry else DRAIN_S, self._give_up)

    def _pass_on(self, number: int) -> None:
        if number in TO_GROUP:
            self._child.signal(number, group=True)
        else:
            self._child.signal(number, group=False)
        if number == signal.SIGTERM:
            self._say_closing("SIGTERM")
            self._hurry_up()
        elif number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _parent_died(self) -> None:
        if self._parent_fd is not None:
            self._poll.unregister(self._parent_fd)
            os.close(self._parent_fd)
        self._parent, self._parent_fd = 0, None
        self._say_closing("the parent process died")
        self._terminate()

    def stop(self) -> None:
        """End the session at once: the audit cannot be had. What was held is dropped."""
        self._booting = False
        self._held = []
        self._open[_CLIENT] = False
        self._want(0, None)
        self._terminate()
