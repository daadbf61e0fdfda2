"""SQL over a trail, by DuckDB: what is asked is checked first, and what asks can reach nothing but the trail."""
