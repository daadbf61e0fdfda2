"""The shipper: follows a trail, and takes its events to every sink that is configured.

The rules that live here:

- Only what is under the trail's published checkpoint is shipped, in the order of the seqs, and it is read from the
  trail's own files. Nothing is queued: what is not shipped yet is in the trail.
- A sink's cursor is moved after the destination's word, never before (`trail.shipping.cursor`): whatever dies, nothing
  is missing; what was under way comes twice, and its seq tells.
- Each sink has a thread, a file and a cursor of its own: one that hangs, lies or is gone holds up no
  other, and no call.
- One shipper a trail: it holds `cursors/lock`.

`pace` and `choice` are pure: when to try again, and which events a sink gets. `route` finds the trail that a cursor is
in, `feed` reads it, `lane` takes what it reads to one sink, `shipper` runs the lanes.
"""
