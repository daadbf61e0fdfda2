"""Frameworks of controls, as data: which of them an audit log serves, what a trail shows of each, and what not."""
