"""What comes before a writer's first line: place, lock, keys, recovery."""
