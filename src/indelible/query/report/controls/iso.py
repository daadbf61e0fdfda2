"""ISO/IEC 27001: the controls of Annex A that an audit log serves."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

ISO: Final = Framework(
    "iso-27001",
    "ISO/IEC 27001, Annex A",
    "2022",
    "Which controls apply is said by your statement of applicability, and how far by your assessment of risks.",
    (
        Control(
            "A.5.18",
            "Access rights",
            "Rights are given, reviewed, changed and removed by policy.",
            ("identities", "refusals"),
            ("new_callers", "refused"),
            "Rights that were given: only their use, and what was refused.",
        ),
        Control(
            "A.5.25",
            "Assessment and decision on information security events",
            "Events are assessed, and it is decided whether they are incidents.",
            ("alerts", "refusals"),
            ("refused", "busy"),
            "Assessments and decisions.",
        ),
        Control(
            "A.5.26",
            "Response to information security incidents",
            "Incidents are responded to by documented procedures.",
            ("alerts", "gaps"),
            ("gaps", "downtime"),
            "The response.",
        ),
        Control(
            "A.5.28",
            "Collection of evidence",
            "Evidence of events is identified, collected and preserved.",
            ("verified", "removed", "kept"),
            ("gaps",),
            "That a procedure was followed. Bundles of evidence can be made of it, which others check without "
            "trusting you.",
        ),
        Control(
            "A.5.33",
            "Protection of records",
            "Records are protected from loss, destruction, falsification, and access that is not authorized.",
            ("verified", "kept", "removed"),
            ("gaps",),
            "Who may read the files; copies elsewhere; what was never recorded.",
        ),
        Control(
            "A.8.2",
            "Privileged access rights",
            "Privileged access is restricted and managed.",
            ("destructive", "delegation"),
            ("destructive",),
            "Which rights are privileged, and who has them without using them.",
        ),
        Control(
            "A.8.5",
            "Secure authentication",
            "Authentication is as secure as access restrictions and policy ask.",
            ("identities", "rejected"),
            ("rejected",),
            "How secure a method is: only which one was used, and that credentials were refused.",
        ),
        Control(
            "A.8.10",
            "Information deletion",
            "Information that is no longer required is deleted.",
            ("removed", "kept"),
            ("gaps",),
            "Deletion anywhere but in the trail.",
        ),
        Control(
            "A.8.15",
            "Logging",
            "Activities, exceptions, faults and other relevant events are logged; logs are kept, protected "
            "and analysed.",
            ("calls", "content", "failures", "gaps", "verified"),
            ("activity", "errors", "gaps", "downtime"),
            "Systems that no recorder stands before, and that anybody analysed anything.",
        ),
        Control(
            "A.8.16",
            "Monitoring activities",
            "Networks, systems and applications are watched for anomalous behaviour, and something is done "
            "about it.",
            ("calls", "alerts", "refusals"),
            ("busy", "hours", "errors", "refused"),
            "That anybody watched, and what was done.",
        ),
        Control(
            "A.8.17",
            "Clock synchronization",
            "Clocks are synchronized to approved sources of time.",
            ("clock",),
            ("gaps",),
            "Whether a clock is synchronized, and with what; one that is wrong and steady is not seen.",
        ),
        Control(
            "A.8.32",
            "Change management",
            "Changes to systems go through procedures of change management.",
            ("definitions", "runs"),
            ("definitions", "new_tools"),
            "The procedures: only that a tool's definition was another one from then on.",
        ),
    ),
)
