"""Names and texts inside SQL, whatever is in them. Pure."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Return a name of a database, table or column as SQL has it (ClickHouse, "Syntax", "Identifiers")."""
    return "`" + _escaped(name, "`") + "`"


def literal(text: str) -> str:
    """Return a text as SQL has it (ClickHouse, "Syntax", "String")."""
    return "'" + _escaped(text, "'") + "'"


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
