"""A real syslog daemon that writes what it understood as JSON lines.

What it runs with is the configuration of a page, as it stands there but for folders and ports.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.certificates import Authority
from tests.servers import Server, free_port
from tests.unit.docs.pages import DOCS, blocks


def page_config(page: str, has: str) -> str:
    """Return the receiver's configuration that a page shows: the one that has this word."""
    whole = blocks(DOCS / "how-to" / page)
    [text] = [block.text for block in whole if has in block.text and block.language == "text"]
    return text


class Syslogd(Server):
    """One that listens on UDP, TCP and TLS, and lets in whom the test's authority has signed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "mcp-audit.jsonl")
        self.authority = Authority(folder)
        self.authority.file.rename(folder / "ca.pem")
        self.ca = folder / "ca.pem"
        self.authority.issue("server", "127.0.0.1")
        self.client = self.authority.issue("client")
        self.udp, self.tcp, self.tls = free_port(socket.SOCK_DGRAM), free_port(), free_port()
        self.config = folder / "syslogd.conf"
        self.config.write_text(self.configuration())

    def configuration(self) -> str:
        """Return its page's configuration, adapted to the folder and the ports."""
        raise NotImplementedError

    def listening(self) -> Sequence[int]:
        return (self.tcp, self.tls)

    def in_folder(self, text: str, *folders: str) -> str:
        """Return a configuration whose files are in the test's folder."""
        for there in folders:
            assert there in text
            text = text.replace(there, f"{self.folder}/")
        return text
