"""Configurations of MCP clients: where they lie, what servers they name, and how they are changed and given back."""
