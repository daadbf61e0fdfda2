"""The audit of a wrapped server, put together: recorder, what is known of its tools, who is behind the calls."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from indelible.capture.audit import Auditor
from indelible.capture.calls import Peers, Session
from indelible.capture.correlate import Correlator
from indelible.events import new_id
from indelible.opening import open_recorder
from indelible.recorder import Recorder

if TYPE_CHECKING:
    from indelible.config import Settings
    from indelible.events import CallerType


def open_audit(
    settings: Settings, *, name: str, actor: str | None, caller_type: CallerType
) -> tuple[Recorder, Auditor]:
    """Open the trail for the server `name`; raises ConfigError or TrailError."""
    on_failure = settings.audit.on_failure or "allow"
    recorder = open_recorder(settings, caller="stdio", on_failure=on_failure, label=name)
    session = Session(
        caller="stdio",
        backend=name,
        session_id=new_id(),
        user_id=actor or login(),
        caller_type=caller_type,
        auth_method="os",
        server_version=os.environ.get("SERVER_VERSION") or None,
        intent=settings.audit.intent,
        trust_annotations=settings.audit.trust_annotations,
    )
    correlator = Correlator(session, recorder.recall(name), recorder.prepare, recorder.word)
    return recorder, Auditor(recorder, correlator, session, Peers(session).source, on_failure)


def login() -> str:
    """Return the operating system's name for who runs us; the number of one that has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
