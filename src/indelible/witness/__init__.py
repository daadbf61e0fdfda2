"""A small witness (C2SP tlog-witness): it cosigns a log's checkpoints, and never two that contradict each other.

The rule that lives here: what was cosigned last is on the disk before the cosignature leaves, and is read from there
before the next one is made, under one lock. So a witness that is killed at any moment, or answers two at once, never
signs a rollback or a fork. `decision` (pure) says what a submission is answered, `state` keeps what was cosigned,
`server` speaks HTTP.
"""
