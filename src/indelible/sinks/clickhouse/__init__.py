"""ClickHouse: rows of a table, over its HTTP interface.

`sink.py` inserts them, `answers.py` is what a server says of them; pure are `schema.py` and its parts, what
`indelible schema clickhouse` prints.
"""
