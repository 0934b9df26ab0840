"""Managed fields and server-side apply: who wrote which field, and what an apply lays down or takes away.

`typed.py` reads schemas as apply sees them, `walks.py` goes over values, `fieldsets.py` is the set of fields as it is
printed, `managers.py` the entries of an object, and `applying.py` the rules over them all. Every function is pure; the
request they serve is met in `verbs.managing`.
"""
