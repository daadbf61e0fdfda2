"""HIPAA's security rule: the standards that an audit log serves."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

HIPAA: Final = Framework(
    "hipaa",
    "HIPAA Security Rule",
    "45 CFR part 164, subpart C",
    "The rule is about systems with electronic protected health information (ePHI). The trail does not know "
    "which calls "
    "touched any. Its own lines may hold some where redaction did not know a field: treat it as ePHI.",
    (
        Control(
            "164.308(a)(1)(ii)(D)",
            "Information system activity review",
            "Records of activity, such as audit logs and access reports, are reviewed regularly.",
            ("calls", "refusals", "failures"),
            ("busy", "refused", "hours", "errors"),
            "That they were reviewed, by whom, and how often.",
        ),
        Control(
            "164.308(a)(3)(ii)(A)",
            "Authorization and/or supervision",
            "Workforce members who work with ePHI are authorized or supervised.",
            ("identities", "delegation"),
            ("new_callers",),
            "Authorizations. It shows who called, and on whose behalf.",
        ),
        Control(
            "164.308(a)(5)(ii)(C)",
            "Log-in monitoring",
            "Log-in attempts are monitored, discrepancies reported.",
            ("rejected", "refusals"),
            ("rejected", "refused"),
            "Log-ins themselves, which happen elsewhere: it shows credentials that were refused here.",
        ),
        Control(
            "164.308(a)(6)(ii)",
            "Response and reporting",
            "Security incidents are identified, responded to, mitigated and documented.",
            ("alerts", "gaps", "removed"),
            ("gaps", "downtime"),
            "The response and its documentation. It is what they can be founded on.",
        ),
        Control(
            "164.312(a)(2)(i)",
            "Unique user identification",
            "Each user has a name or number of their own.",
            ("identities",),
            (),
            "That a name is one person's: shared accounts look like one caller.",
        ),
        Control(
            "164.312(b)",
            "Audit controls",
            "Mechanisms record and examine activity in systems with ePHI.",
            ("calls", "content", "gaps"),
            ("activity", "gaps", "downtime"),
            "Other systems, and use of the same data by other ways than these servers.",
        ),
        Control(
            "164.312(c)(1)",
            "Integrity",
            "ePHI is protected from improper alteration or destruction.",
            ("destructive", "verified"),
            ("destructive",),
            "The integrity of ePHI: it shows the integrity of the record about its use.",
        ),
        Control(
            "164.312(d)",
            "Person or entity authentication",
            "Whoever seeks access to ePHI is who they claim to be.",
            ("identities", "rejected"),
            ("rejected",),
            "How identities were checked, beyond the method's name.",
        ),
        Control(
            "164.316(b)(2)(i)",
            "Time limit",
            "Required documentation is kept for six years.",
            ("kept", "removed"),
            ("gaps",),
            "Whether logs are such documentation is for your counsel to say; it shows how long lines have "
            "been held.",
        ),
    ),
)
