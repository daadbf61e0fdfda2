"""How alerts leave the trail: as events of it, by a cursor each, with the shipper's retries and dead letters.

`notice` reads an alert's event; `shapes` and `mail` are the formats, pure; `pagerduty` and `email` the sinks that are
not among `indelible.sinks`; `parts` puts both together for the shipper.
"""
