"""What `indelible demo` plays: real MCP servers, a scripted agent, and secrets that must not be found again."""
