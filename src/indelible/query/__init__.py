"""Find events in trails: filters, search, following, state."""
