"""Several processes, one trail."""
