"""Every framework, by its name."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Framework
from indelible.query.report.controls.eu import EU
from indelible.query.report.controls.hipaa import HIPAA
from indelible.query.report.controls.iso import ISO
from indelible.query.report.controls.nist import NIST
from indelible.query.report.controls.pci import PCI
from indelible.query.report.controls.soc2 import SOC2

FRAMEWORKS: Final[dict[str, Framework]] = {one.name: one for one in (SOC2, NIST, PCI, HIPAA, EU, ISO)}
