"""HTTP to a receiver of records: the client, and for each API how a batch is asked to be taken, and what answers mean.

`client` one connection, one request at a time · `answers` what an
answer means · `credentials` who we are · `signing` Standard Webhooks · `webhook`, `splunk`, `elastic`, `loki` the APIs.
"""
