"""Bytes to elsewhere: a module for each kind of transport, found by its type through `indelible.registry`.

A sink knows nothing of trails, formats or cursors: it is given records, and says how many of them its destination has.
"""
