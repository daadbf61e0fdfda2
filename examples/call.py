"""Call one tool of an MCP server from the shell: ``python call.py TOOL key=value … -- COMMAND…``.

It speaks to the command's stdin and stdout, as any MCP client does, so `indelible wrap` can stand in front.
"""

import os
import sys

import anyio
from mcp import Client, StdioServerParameters


async def call(tool: str, arguments: dict[str, str], command: list[str]) -> int:
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with Client(server) as client:
        await client.list_tools()
        result = await client.call_tool(tool, arguments)
    for block in result.content:
        print(getattr(block, "text", f"({block.type})"))
    return 1 if result.is_error else 0


def main(words: list[str]) -> int:
    split = words.index("--") if "--" in words else 0
    tool, pairs, command = words[:1], words[1:split], words[split + 1 :]
    if not (split and command and all("=" in pair for pair in pairs)):
        print("usage: python call.py TOOL [key=value …] -- COMMAND [ARGUMENT …]", file=sys.stderr)
        return 2
    return anyio.run(call, tool[0], dict(pair.split("=", 1) for pair in pairs), command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
