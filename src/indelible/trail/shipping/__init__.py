"""What stands beside a trail of the sinks that it is shipped to, in `cursors/`.

Whoever ships writes here, and holds `cursors/lock`; whoever deletes closed files, erases content or says how the trail
is reads it. `cursor`: how far a sink has got. `state`: how it is. `letters`: what it refused for good. `request`: what
somebody asks of the process that ships.
"""
