"""Exports: the events of a search as files that other tools open."""
