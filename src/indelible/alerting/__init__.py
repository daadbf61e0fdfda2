"""Alerts: rules that look at the trail's sealed events, and whom they tell.

`engine` is pure: events in, in the trail's order, alerts out; its clock is the events' `recorded_at`. So what is live,
what `--once` finds and what `--replay` says a rule would have done are one code. `facts` what a rule sees of an event,
`windows` what is counted, `rules` and `cel` when a rule fires, `words` what an alert says. Around it: `watch` reads the
trail, has alerts recorded in it and keeps the place and the windows beside it (`store`); `probes` looks at what is no
event; `channels/` are the formats and sinks by which alerts leave the trail again, as events.
"""
