"""MCP traffic to audit events."""
