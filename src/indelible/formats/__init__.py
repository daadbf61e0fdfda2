"""Events in the words of other systems: a line of the trail in, one record's bytes out. Pure.

`record` reads the line, `names` says what an event is called and how grave it is, `times` when it was; `text` holds
what the textual formats share, `shapes` what the JSON ones do. Each format has a module of its own, found by its name
through `indelible.registry`.

The rules that live here:

- One event makes one record, whatever is in it: no text that a caller controls begins another record, header or field.
- A record carries what its line can be checked with: `event_id`, `seq`, origin and leaf hash.
- The same line makes the same bytes, now or in a year: nothing of a record comes from the clock or the machine that
  renders it, but what is configured.
"""
