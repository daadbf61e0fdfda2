"""Redaction: raw events in, bytes that may leave the process out. Pure: no I/O in here."""

from indelible.redact.marks import Marks, compile_marks
from indelible.redact.redactor import Redactor

__all__ = ["Marks", "Redactor", "compile_marks"]
