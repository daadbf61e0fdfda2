"""A real rsyslog, as docs/how-to/ship-to-rsyslog.md has it."""

from __future__ import annotations

import re

from tests.integration.sinks.syslogd import Syslogd, page_config


class Rsyslog(Syslogd):
    def configuration(self) -> str:
        text = self.in_folder(page_config("ship-to-rsyslog.md", "imtcp"), "/var/log/", "/etc/pki/")
        for name, port in (("imudp", self.udp), ("imtcp", self.tcp)):
            text, count = re.subn(rf'(type="{name}" port=")514"', rf'\g<1>{port}" address="127.0.0.1"', text)
            assert count == 1
        text, count = re.subn(r'port="6514"', f'port="{self.tls}" address="127.0.0.1"', text)
        assert count == 1
        return f'global(workDirectory="{self.folder}")\n{text}'

    def command(self) -> list[str]:
        return ["/usr/sbin/rsyslogd", "-n", "-i", "NONE", "-f", str(self.config)]
