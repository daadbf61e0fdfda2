"""SOC 2: the trust services criteria that an audit log serves."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

SOC2: Final = Framework(
    "soc2",
    "SOC 2, Trust Services Criteria",
    "2017, with the points of focus revised in 2022",
    "A SOC 2 report is an auditor's opinion on controls that you describe. What follows may be evidence for "
    "it, where your "
    "description says that this log is one of your controls.",
    (
        Control(
            "CC4.1",
            "Ongoing and separate evaluations",
            "Evaluations that show whether controls are there and work.",
            ("calls", "refusals", "verified"),
            ("refused", "gaps"),
            "That anybody evaluated anything, on what schedule, and what followed. A report that is filed "
            "away is no "
            "evaluation.",
        ),
        Control(
            "CC6.1",
            "Logical access security",
            "Software and architecture that protect information assets from access that is not allowed.",
            ("identities", "refusals", "rejected"),
            ("refused", "rejected"),
            "Who has access without using it, how identities are managed, and access by any other way than "
            "these servers.",
        ),
        Control(
            "CC6.2",
            "Registration and removal of users",
            "Users are registered and authorized before they are given credentials, which are taken back "
            "later.",
            ("identities", "calls"),
            ("new_callers",),
            "When somebody was authorized, by whom, and when access ended: only that a name was first used "
            "then, and used "
            "last.",
        ),
        Control(
            "CC6.3",
            "Access by role and least privilege",
            "Access is given, changed and removed by role, with least privilege and separated duties in mind.",
            ("destructive", "delegation", "refusals"),
            ("destructive", "refused"),
            "Which rights somebody had: only those that were used, or refused.",
        ),
        Control(
            "CC6.6",
            "Threats from outside the system's boundaries",
            "Measures against access from outside.",
            ("rejected", "identities"),
            ("rejected",),
            "Networks, firewalls, and requests that never reached a server that is recorded.",
        ),
        Control(
            "CC7.1",
            "Detection of changes and new vulnerabilities",
            "Procedures that find changes of configuration that bring vulnerabilities.",
            ("definitions", "runs"),
            ("definitions", "new_tools"),
            "Vulnerabilities, and what a server does behind a definition that stays as it was.",
        ),
        Control(
            "CC7.2",
            "Monitoring for anomalies",
            "Components and their operation are watched for signs of malicious acts, disasters and errors.",
            ("calls", "failures", "destructive", "alerts"),
            ("busy", "errors", "hours", "slow", "new_callers"),
            "That anybody looked, and what is normal for you; what did not pass through a recorder.",
        ),
        Control(
            "CC7.3",
            "Evaluation of security events",
            "Events are judged: could they mean, or have they meant, that objectives are missed.",
            ("alerts", "refusals", "gaps"),
            ("refused", "gaps"),
            "The judgement itself: who decided what, and why. That stands in your tickets.",
        ),
        Control(
            "CC7.4",
            "Response to incidents",
            "A response to incidents that is defined and carried out.",
            ("alerts", "removed", "verified"),
            ("gaps", "downtime"),
            "The response. The trail is what a response can be built on: sessions, timelines, evidence with "
            "proof.",
        ),
        Control(
            "CC8.1",
            "Change management",
            "Changes are authorized, designed, tested, approved and put in place.",
            ("definitions", "runs"),
            ("definitions",),
            "Authorization, tests and approval of a change: only that a tool's definition was another one "
            "from then on.",
        ),
    ),
)
