"""Go's habits that clients can see: how its decoder complains, how it prints values, which zeroes it leaves out.

Clients and suites compare these texts, so they are facts to keep, gathered here so that nothing else need know them.
"""
