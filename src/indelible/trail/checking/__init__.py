"""Judges a whole trail; never writes, and trusts nothing."""
