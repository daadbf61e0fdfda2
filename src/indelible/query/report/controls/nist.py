"""NIST SP 800-53, revision 5: the controls that an audit log serves."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

_OTHERS: Final = "Of other parts of the system nothing."

NIST: Final = Framework(
    "nist-800-53",
    "NIST SP 800-53, Security and Privacy Controls",
    "revision 5",
    "Controls are chosen in baselines and tailored, with values that your organization assigns. Which events, "
    "how often and "
    "how long is assigned there, and not known here.",
    (
        Control(
            "AC-2(4)",
            "Account Management | Automated Audit Actions",
            "Creation, change, enabling, disabling and removal of accounts is audited.",
            ("identities",),
            ("new_callers",),
            "Accounts: they are kept elsewhere. It shows the first and the last use of a name.",
        ),
        Control(
            "AC-2(12)",
            "Account Management | Account Monitoring for Atypical Usage",
            "Accounts are watched for use that is not typical.",
            ("calls", "destructive"),
            ("hours", "busy", "new_tools"),
            "Whether anybody was told, and use of accounts elsewhere. What is typical is decided by the "
            "thresholds of this "
            "report.",
        ),
        Control(
            "AC-6(9)",
            "Least Privilege | Log Use of Privileged Functions",
            "The use of privileged functions is logged.",
            ("destructive", "delegation"),
            ("destructive",),
            "Which functions you call privileged. Destructive is what a tool says of itself, or your "
            "configuration of it.",
        ),
        Control(
            "AU-2",
            "Event Logging",
            "Which types of events are logged is decided, justified and reviewed.",
            ("calls", "runs"),
            ("activity",),
            "The decision and its reasons. The trail has the event types of its documentation, and those of "
            "MCP alone.",
        ),
        Control(
            "AU-3",
            "Content of Audit Records",
            "Records say what happened, when, where, from where, with which outcome, and who was involved.",
            ("content", "inputs"),
            (),
            "What was taken out by redaction, and what a recorder could not know: over stdio there is no "
            "address, and no "
            "identity but the login.",
        ),
        Control(
            "AU-5",
            "Response to Audit Logging Process Failures",
            "When logging fails somebody is alerted, and something is done.",
            ("gaps", "alerts"),
            ("gaps", "downtime", "silences"),
            "Who was alerted. A failure of which not even a count was left shows as a time when nobody "
            "recorded.",
        ),
        Control(
            "AU-6",
            "Audit Record Review, Analysis, and Reporting",
            "Records are reviewed and analyzed, findings are reported.",
            ("calls", "failures", "refusals"),
            ("busy", "errors", "refused", "hours"),
            "The review. This report is something to review; that somebody did is not in the trail.",
        ),
        Control(
            "AU-7",
            "Audit Record Reduction and Report Generation",
            "Records can be searched, sorted and reported on without being changed.",
            ("kept", "verified"),
            (),
            "Nothing further than that it was done: this report was made from the records, read only, and "
            "each figure "
            "names its query.",
        ),
        Control(
            "AU-8",
            "Time Stamps",
            "Time stamps come from internal clocks, to a granularity that is assigned, with UTC or an offset.",
            ("clock",),
            ("gaps",),
            "That the clock was right. Steps of more than 2 s are on record; a clock that is wrong and steady "
            "is not seen.",
        ),
        Control(
            "AU-9",
            "Protection of Audit Information",
            "Records and tools are protected from access, change and deletion that is not authorized.",
            ("verified", "removed"),
            ("gaps",),
            "Who may read the files, and what the machine's administrator could do before a checkpoint had "
            "left it.",
        ),
        Control(
            "AU-9(3)",
            "Protection of Audit Information | Cryptographic Protection",
            "Cryptography protects the integrity of records and tools.",
            ("verified",),
            (),
            "How the key is kept. Who holds it can sign another history, which only checkpoints kept "
            "elsewhere tell apart.",
        ),
        Control(
            "AU-10",
            "Non-repudiation",
            "There is evidence that somebody did something, which cannot be denied.",
            ("identities", "verified"),
            (),
            "That the named person did it: an identity is as good as its authentication, and calls are not "
            "signed by their "
            "callers.",
        ),
        Control(
            "AU-11",
            "Audit Record Retention",
            "Records are kept as long as is assigned.",
            ("kept", "removed"),
            ("gaps",),
            "How long you must keep them, and copies in sinks and buckets.",
        ),
        Control(
            "AU-12",
            "Audit Record Generation",
            "Components can generate records of the chosen events, and authorized people choose.",
            ("calls", "content", "gaps"),
            ("activity", "downtime"),
            f"Components that no recorder stands before. {_OTHERS}",
        ),
        Control(
            "CM-3",
            "Configuration Change Control",
            "Changes are proposed, reviewed, decided, documented and monitored.",
            ("definitions", "runs"),
            ("definitions", "new_tools"),
            "Who proposed, reviewed and approved a change.",
        ),
        Control(
            "IR-4",
            "Incident Handling",
            "Incidents are prepared for, detected, analyzed, contained and recovered from.",
            ("alerts", "gaps"),
            ("downtime",),
            "The handling. The trail serves detection and analysis.",
        ),
        Control(
            "SI-4",
            "System Monitoring",
            "The system is monitored for attacks and for connections and use that are not authorized.",
            ("refusals", "rejected", "alerts"),
            ("busy", "hours", "refused", "rejected"),
            f"Networks, hosts, and what does not pass through these servers. {_OTHERS}",
        ),
        Control(
            "SI-7",
            "Software, Firmware, and Information Integrity",
            "Changes of software and information that are not authorized are found.",
            ("verified", "definitions"),
            ("definitions",),
            "The integrity of programs, and of any information but the trail itself.",
        ),
    ),
)
