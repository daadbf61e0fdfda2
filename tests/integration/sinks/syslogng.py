"""A real syslog-ng, as docs/how-to/ship-to-syslog-ng.md has it; unpacked, not installed (see `make setup`)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration.sinks.syslogd import Syslogd, page_config

ROOT = Path(__file__).parents[3] / ".tools" / "syslog-ng"


class SyslogNg(Syslogd):
    def configuration(self) -> str:
        text = self.in_folder(page_config("ship-to-syslog-ng.md", "source mcp"), "/var/log/", "/etc/pki/")
        for there, here in (("514", self.udp), ("601", self.tcp), ("6514", self.tls)):
            assert text.count(f"port({there})") == 1
            text = text.replace(f"port({there})", f'ip("127.0.0.1") port({here})')
        return f"@version: 3.38\n{text}"

    def command(self) -> list[str]:
        assert ROOT.is_dir(), "syslog-ng is not unpacked: run make setup"
        [modules] = (ROOT / "usr/lib/syslog-ng").glob("[0-9]*")
        own = {name: str(self.folder / name) for name in ("pidfile", "control", "persist-file")}
        return [
            str(ROOT / "usr/sbin/syslog-ng"), "--foreground", "--no-caps", f"--cfgfile={self.config}",
            f"--module-path={modules}", *(f"--{name}={path}" for name, path in own.items()),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(ROOT / "usr/lib/syslog-ng")}
