"""Sealed batches in an object store: read, and verified by themselves."""
