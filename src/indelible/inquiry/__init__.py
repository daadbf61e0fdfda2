"""The trail as an MCP server: what an agent may ask of it, and how it is answered."""
