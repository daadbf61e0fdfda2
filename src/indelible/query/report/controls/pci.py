"""PCI DSS: the requirements that an audit log serves, which are number 10 above all."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

_OTHER_COMPONENTS: Final = "Other system components: the requirement is about all of them."

PCI: Final = Framework(
    "pci-dss",
    "PCI DSS, Payment Card Industry Data Security Standard",
    "v4.0.1",
    "Requirement 10 is about every component in scope; this trail is about calls to MCP servers. Card numbers "
    "that appear in "
    "arguments are redacted before they are written, which is not a promise that none is missed.",
    (
        Control(
            "10.2.1",
            "Audit logs are enabled and active",
            "Logging is on for all system components and cardholder data.",
            ("calls", "runs", "gaps"),
            ("activity", "downtime", "silences"),
            _OTHER_COMPONENTS,
        ),
        Control(
            "10.2.1.1",
            "Individual user access to cardholder data",
            "Every access of an individual to cardholder data is logged.",
            ("calls", "identities"),
            (),
            "Which calls touched cardholder data: the trail does not know what is cardholder data. Calls that "
            "name nobody "
            "are no individual's.",
        ),
        Control(
            "10.2.1.2",
            "Actions taken with administrative access",
            "What is done with administrative access is logged, also by applications and system accounts.",
            ("destructive", "delegation"),
            ("destructive",),
            "Which accounts are administrative; what they do elsewhere than through these servers.",
        ),
        Control(
            "10.2.1.3",
            "Access to audit logs",
            "Access to audit logs is logged.",
            ("removed",),
            (),
            "Who read the trail: reading a file leaves no line in it. Deletions, erasures and holds are on "
            "record.",
        ),
        Control(
            "10.2.1.4",
            "Invalid logical access attempts",
            "Attempts that were refused are logged.",
            ("refusals", "rejected"),
            ("refused", "rejected"),
            "Attempts that failed before they came to a server that is recorded.",
        ),
        Control(
            "10.2.1.5",
            "Changes to identification and authentication credentials",
            "New accounts, elevated privileges and changes of administrative accounts are logged.",
            ("identities",),
            ("new_callers",),
            "Such changes: accounts are kept elsewhere. It shows when a name was first used.",
        ),
        Control(
            "10.2.1.6",
            "Initialization, starting, stopping, pausing of audit logs",
            "The beginning and the end of logging are logged.",
            ("runs", "gaps"),
            ("downtime", "silences"),
            "Who started or stopped a recorder.",
        ),
        Control(
            "10.2.1.7",
            "Creation and deletion of system-level objects",
            "Creation and deletion of system-level objects is logged.",
            ("destructive", "definitions"),
            ("destructive", "new_tools"),
            "What a tool does on its system: only that it was called, and what it is said to be.",
        ),
        Control(
            "10.2.2",
            "Details of each event",
            "Each record has user, type, date and time, success or failure, origin, and what was affected.",
            ("content", "clock"),
            (),
            "What a recorder could not know, such as the address of a caller over stdio.",
        ),
        Control(
            "10.3.1",
            "Read access to audit logs is limited",
            "Only those who need it for their job may read the logs.",
            ("verified",),
            (),
            "Who may read the files, and did. They are made for their owner alone (0600) unless a group is "
            "configured.",
        ),
        Control(
            "10.3.2",
            "Protection from modification",
            "Logs are protected from changes by individuals.",
            ("verified", "removed"),
            ("gaps",),
            "That nobody could: it shows whether anybody did, up to the newest checkpoint that was kept "
            "elsewhere.",
        ),
        Control(
            "10.3.3",
            "Prompt backup",
            "Logs are promptly backed up to central, internal servers or other media that are hard to change.",
            ("kept",),
            (),
            "Where copies are, and whether they are whole: `indelible status` says how far each sink has got.",
        ),
        Control(
            "10.3.4",
            "Change detection on audit logs",
            "Integrity monitoring makes sure that existing log data cannot be changed without alerts.",
            ("verified",),
            ("gaps",),
            "That an alert is raised when it happens: that takes a verification that runs regularly, and "
            "somebody who is told.",
        ),
        Control(
            "10.4.1",
            "Daily review",
            "Certain logs are reviewed at least once a day, by automated means (10.4.1.1).",
            ("refusals", "alerts"),
            ("destructive", "refused", "busy"),
            "The review. A report can be made every night; that somebody reads it is not in the trail.",
        ),
        Control(
            "10.5.1",
            "Retention for 12 months",
            "Logs are kept for at least 12 months, the latest three at hand.",
            ("kept", "removed"),
            ("gaps",),
            "Logs of other components, and what will be deleted next: `indelible retain --dry-run` says that.",
        ),
        Control(
            "10.6",
            "Time synchronization",
            "Clocks are synchronized, and time settings protected (10.6.1 to 10.6.3).",
            ("clock",),
            ("gaps",),
            "Whether the clock is synchronized, and with what; a clock that is wrong and steady is not seen.",
        ),
        Control(
            "10.7",
            "Failures of critical security controls",
            "Failures, also of audit logging, are detected, reported and responded to promptly (10.7.1 to "
            "10.7.3).",
            ("gaps", "alerts"),
            ("gaps", "downtime", "silences"),
            "The response, and failures of other controls.",
        ),
    ),
)
