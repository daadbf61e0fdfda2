"""What goes out of a trail as evidence, and comes back to it."""
