"""Records to a syslog receiver over TCP (RFC 6587) or TLS (RFC 5425); over datagrams see `datagram`.

The rules that live here. Syslog has no acknowledgement, so three things together make one:

- The first batch after a failure, and the first one of all, is taken when the receiver has shown that it read it: the
  connection is ended, and it ends its side in good order (`Connection.finish`). A receiver that accepts and never
  reads, or that refuses our certificate once hands are shaken, has taken nothing.
- After that, a batch is taken when all of it is with the receiver's system. Until the receiver shows that it has read
  that, too, a copy is kept here: at most UNREAD_BYTES of them, before which the connection is ended and made anew, as
  it is after IDLE_S without a record.
- A connection that breaks, or that the receiver ends, is made anew, and what was not seen to be read goes first.

So records come twice after a receiver was restarted, and recognisably so (`seq`); none is missing, as long as not
both die: what is lost then is what the receiver's system had and its program had not read. What a receiver has read
and loses, and what a proxy in between has taken, nobody knows here.

Framing is octet counting (RFC 6587, section 3.4.1) unless it is told to be lines, in which a record with a line end
would be two: such a one is refused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigError
from indelible.sink_settings import TlsSettings
from indelible.sink_settings.syslog import SyslogSettings
from indelible.sinks import reasons
from indelible.sinks.base import Delivery, Shipment, Sink, SinkUnavailable, delivered
from indelible.sinks.connection import CAN_SETTLE, Connection, Ended, connect
from indelible.sinks.datagram import DatagramSink
from indelible.sinks.waits import Waits

if TYPE_CHECKING:
    import ssl

    from indelible.sink_settings import SinkSettings

UNREAD_BYTES: Final = 4 << 20
"""So much is kept of what the receiver has not shown to have read."""

IDLE_S: Final = 60.0
"""After so long firewalls begin to forget connections, and receivers to close them."""

PART_BYTES: Final = 256 << 10
"""So much is written before it is waited for."""

LINE_END: Final = "holds a line end, which would make two records of it with 'framing: lf'"


def syslog_sink(settings: SinkSettings) -> Sink:
    """Return the sink for the protocol of the settings."""
    if SyslogSettings.of(settings.own).protocol == "udp":
        return DatagramSink(settings)
    return StreamedSyslogSink(settings)


class StreamedSyslogSink:
    """Sends records over a connection."""

    def __init__(self, settings: SinkSettings) -> None:
        """`settings.own` is `SyslogSettings`, its protocol tcp or tls."""
        own = SyslogSettings.of(settings.own)
        self._address = own.address
        self._host, self._port = own.place
        self._by_lines = own.framing == "lf"
        self._tls = (own.tls or TlsSettings()) if own.protocol == "tls" else None
        self._context: ssl.SSLContext | None = None
        self._waits = Waits(settings.timeout)
        self._connection: Connection | None = None
        self._trusted = False
        """It has shown that it reads, and nothing went wrong since."""
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._unread_is_left = False
        """It was left with the receiver's system when this was closed: a hung one is not given it at each attempt."""
        self._used = 0.0

    def open(self) -> None:
        """See `Sink`."""
        self._waits.check()
        try:
            self._connected()
        except OSError as exc:
            self._drop()
            raise SinkUnavailable(self._said(exc)) from exc

    def send(self, shipments: Sequence[Shipment]) -> Delivery:
        """See `Sink`."""
        refused = self._refused(shipments)
        at = 0
        try:
            self._waits.check()
            self._see_idle()
            for data, upto in self._parts(shipments, {index for index, _ in refused}):
                self._carry(data)
                at = upto
            self._used = time.monotonic()
        except SinkUnavailable as exc:  # it was stopped: what is on its way may arrive
            self._let_go()
            self._trusted = False
            exc.delivery = delivered(at, refused)
            raise
        except (OSError, ConfigError) as exc:
            said = self._said(exc)
            self._drop()
            raise SinkUnavailable(said, delivered(at, refused)) from exc
        return delivered(len(shipments), refused)

    def close(self) -> None:
        """See `Sink`. What was not seen to be read is seen to now, as far as the time-out and `stop` allow."""
        tries = 0 if self._unread_is_left or not self._unread else 1 if self._connection is None else 2
        for _ in range(tries):
            try:
                self._finish()
                break
            except (OSError, SinkUnavailable, ConfigError):
                self._let_go()
                self._trusted, self._unread_is_left = False, True
        self._let_go()
        self._waits.close()

    def stop(self) -> None:
        """See `Sink`."""
        self._waits.stop()

    # --- framing ----------------------------------------------------------------------------------------------

    def _refused(self, shipments: Sequence[Shipment]) -> list[tuple[int, str]]:
        return [
            (index, LINE_END if item.record else "is empty")
            for index, item in enumerate(shipments)
            if not item.record or (self._by_lines and b"\n" in item.record)
        ]

    def _parts(self, shipments: Sequence[Shipment], refused: set[int]) -> Iterator[tuple[bytes, int]]:
        """Yield framed records in parts, each with the index behind its last one."""
        parts: list[bytes] = []
        size = 0
        for index, shipment in enumerate(shipments):
            if index in refused:
                continue
            record = shipment.record
            parts.append(record + b"\n" if self._by_lines else b"%d %b" % (len(record), record))
            size += len(record)
            if size >= PART_BYTES:
                yield b"".join(parts), index + 1
                parts, size = [], 0
        if parts:
            yield b"".join(parts), len(shipments)

    # --- the connection ---------------------------------------------------------------------------------------

    def _carry(self, data: bytes) -> None:
        """Have the receiver take framed records; see the module's rules."""
        try:
            self._try(data)
        except Ended:  # it has closed a connection that it had: it may take another one
            if not self._trusted:
                raise
            self._drop()
            self._try(data)

    def _try(self, data: bytes) -> None:
        connection = self._connected()
        connection.look()
        connection.write(data)
        connection.settle()
        if self._trusted and self._unread_bytes + len(data) < UNREAD_BYTES:
            self._unread.append(data)
            self._unread_bytes += len(data)
        else:
            self._finish()

    def _see_idle(self) -> None:
        """End a connection that nobody has used for long, before somebody on the way forgets it."""
        if self._connection is not None and time.monotonic() - self._used > IDLE_S:
            try:
                self._finish()
            except Ended:  # somebody was faster
                self._drop()

    def _finish(self) -> None:
        """See that the receiver has read everything, on this connection or on another one."""
        self._connected().finish()
        self._let_go()
        self._unread.clear()
        self._unread_bytes = 0
        self._unread_is_left = False
        self._trusted = CAN_SETTLE

    def _connected(self) -> Connection:
        """Return the connection; a new one begins with what the receiver was not seen to read."""
        if self._connection is None:
            if (
                self._unread and not self._trusted
            ):  # a receiver that hangs gets no more than this at each attempt
                self._prove(self._unread[0])
                self._unread_bytes -= len(self._unread.popleft())
                self._trusted = CAN_SETTLE
            made = self._connect()
            try:
                for data in self._unread:
                    made.write(data)
                    made.settle()
            except BaseException:
                made.abort()
                raise
            self._connection, self._used = made, time.monotonic()
        return self._connection

    def _prove(self, data: bytes) -> None:
        """See that the receiver reads, by what it was not seen to read."""
        made = self._connect()
        try:
            made.write(data)
            made.settle()
            made.finish()
        except BaseException:
            made.abort()
            raise
        made.close()

    def _connect(self) -> Connection:
        made = connect(self._host, self._port, self._waits)
        try:
            if self._tls is not None:
                made.start_tls(self._tls_context(), self._tls.server_name or self._host)
        except BaseException:
            made.abort()
            raise
        return made

    def _tls_context(self) -> ssl.SSLContext:
        from indelible.sinks import tls

        if self._context is None:
            self._context = tls.context(self._tls or TlsSettings())
        return self._context

    def _drop(self) -> None:
        """After a failure what is on its way is given up, files are read again, and trust is gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._trusted = False
        self._context = None

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _said(self, exc: Exception) -> str:
        said = f"{self._address}: {reasons.of(exc)}"
        if self._tls is not None and self._connection is not None and not self._trusted and _is_over(exc):
            said += ", though TLS came about; does it accept our certificate?"  # some say so by nothing else
        return said


def _is_over(exc: Exception) -> bool:
    return isinstance(exc, Ended | ConnectionResetError)
