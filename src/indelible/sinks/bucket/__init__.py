"""Batches as objects in a bucket: what they are called, what is in them, and how they get there."""
