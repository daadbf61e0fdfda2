"""The demo's own MCP server: a help desk whose tools fail in every way that tools do.

Run it as ``python -m indelible.demo.server``; it speaks MCP on stdin and stdout. With a trail's path as its argument it
records its calls itself, and nothing needs to be wrapped around it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import anyio
from fastmcp import FastMCP
from fastmcp.tools import ToolResult
from pydantic import Field

from indelible.fastmcp import AuditMiddleware

Secret = Annotated[str, Field(json_schema_extra={"format": "password"})]
"""A text whose schema marks it as a password, so that it is redacted whatever it is called."""

desk: FastMCP = FastMCP("desk", version="1.0.0", instructions="A help desk that has a bad day.")


@desk.tool(annotations={"readOnlyHint": True})
def list_accounts() -> list[str]:
    """List the accounts' names."""
    return ["ada", "grace", "barbara"]


@desk.tool
def create_account(name: str, contact: dict[str, str], passphrase: Secret) -> str:
    """Make an account."""
    return f"{name} has an account with {len(contact)} ways to be reached and {len(passphrase)} secret letters"


@desk.tool(annotations={"destructiveHint": True})
def delete_account(name: str) -> str:
    """Delete an account, for good."""
    return f"{name} is gone"


@desk.tool
def send_mail(to: str, authorization: str) -> str:
    """Fail as real tools do: with an exception that quotes what it was given."""
    raise RuntimeError(f"the mail server refused {authorization!r} for {to}")


@desk.tool
def charge_card(card_number: str, euros: int) -> ToolResult:
    """Answer with isError, without an exception."""
    return ToolResult(f"{euros} EUR were declined for {card_number}", is_error=True)


@desk.tool(annotations={"readOnlyHint": True})
async def wait_for_approval(ticket: str) -> str:
    """Hang until the caller gives up."""
    await anyio.sleep_forever()
    return ticket


@desk.tool
def crash(reason: str) -> str:
    """Die in the middle of the call, as a server does that the kernel ran out of memory for."""
    os.kill(os.getpid(), signal.SIGKILL)
    return reason


@desk.resource("desk://accounts/{email}", mime_type="text/plain")
def account(email: str) -> str:
    """One account, by its address."""
    return f"account of {email}"


@desk.prompt
def welcome(email: str) -> str:
    """Write a first mail to a new customer."""
    return f"Write a friendly mail to {email}."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        desk.add_middleware(AuditMiddleware(sys.argv[1], backend="inside"))
    desk.run("stdio", show_banner=False)
