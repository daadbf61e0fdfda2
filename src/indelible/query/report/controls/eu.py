"""The EU AI Act: the articles that an audit log serves."""

from __future__ import annotations

from typing import Final

from indelible.query.report.controls.base import Control, Framework

EU: Final = Framework(
    "eu-ai-act",
    "EU AI Act",
    "Regulation (EU) 2024/1689",
    "These articles are about high-risk AI systems, their providers and deployers. Whether you are one, and "
    "from when on they "
    "apply to you, is for your counsel to say. The trail holds calls that an agent made to tools; of the "
    "model's own input, "
    "output and reasoning it holds nothing.",
    (
        Control(
            "Article 12(1)",
            "Record-keeping: automatic recording",
            "The system allows events to be recorded automatically over its lifetime.",
            ("calls", "runs", "gaps"),
            ("activity", "downtime", "silences"),
            "Events within the model and the application; the lifetime before the trail began.",
        ),
        Control(
            "Article 12(2)",
            "Record-keeping: traceability",
            "The recorded events help to identify risks and substantial modifications, to monitor after "
            "marketing, and to "
            "monitor operation.",
            ("content", "definitions", "failures"),
            ("errors", "definitions", "new_tools"),
            "Whether what happened was a risk or a substantial modification; changes of the model.",
        ),
        Control(
            "Article 12(3)",
            "Record-keeping: remote biometric identification",
            "For such systems: the period of each use, the database, the input that matched, and who verified "
            "the result.",
            ("content", "inputs"),
            (),
            "The reference database and the people who verified a result, unless a call's arguments name them.",
        ),
        Control(
            "Article 14",
            "Human oversight",
            "People can oversee the system while it is used.",
            ("delegation", "asked", "refusals"),
            ("refused",),
            "Who watched, what they understood, and whether they could have stopped it: only where a call was "
            "refused, or "
            "a server asked.",
        ),
        Control(
            "Article 15",
            "Accuracy, robustness and cybersecurity",
            "The system withstands errors, and attempts to alter its use or behaviour.",
            ("failures", "definitions", "rejected"),
            ("errors", "definitions", "rejected"),
            "Accuracy, and attacks on the model, such as an instruction that came in with data.",
        ),
        Control(
            "Article 19",
            "Automatically generated logs (providers)",
            "Providers keep the logs under their control as long as the purpose asks, six months at the least.",
            ("kept", "removed", "verified"),
            ("gaps",),
            "Logs of other parts of the system, and which period your purpose asks for.",
        ),
        Control(
            "Article 21",
            "Cooperation with competent authorities",
            "Providers give authorities, on a reasoned request, information and access to the logs.",
            ("verified", "kept"),
            (),
            "That it was done: `indelible export --evidence` makes what can be handed over, with proof.",
        ),
        Control(
            "Article 26(5)",
            "Monitoring by deployers",
            "Deployers monitor operation, inform the provider of risks, and report serious incidents.",
            ("calls", "failures", "alerts"),
            ("busy", "errors", "hours"),
            "That anybody monitored, or was informed.",
        ),
        Control(
            "Article 26(6)",
            "Logs kept by deployers",
            "Deployers keep the logs under their control as long as the purpose asks, six months at the least.",
            ("kept", "removed"),
            ("gaps",),
            "Logs that somebody else controls, and other law that asks for more, or for less.",
        ),
        Control(
            "Article 72",
            "Post-market monitoring",
            "Providers collect and analyse data on performance throughout the lifetime, by a plan.",
            ("calls", "failures", "definitions"),
            ("errors", "slow", "cost"),
            "The plan, its evaluation, and what users say.",
        ),
        Control(
            "Article 73",
            "Reporting of serious incidents",
            "Providers report serious incidents to market surveillance authorities.",
            ("alerts", "gaps"),
            ("gaps", "downtime"),
            "Whether an incident was serious, and the report.",
        ),
    ),
)
