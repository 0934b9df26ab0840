"""What any program needs and Kubernetes knows nothing of: time, tasks, JSON documents.

Time, randomness and input/output are arguments everywhere above this package: a cluster under the
virtual clock with a seed writes the same events byte for byte. That only holds while nothing outside
`clock.py` asks the machine for the time or for a random number, and a test reads the sources for it.

Rejected: a dependency-injection framework (arguments suffice), deep copies of documents (73 µs each;
documents are immutable and share their parts instead).

Invariants
1. No module outside `clock.py` calls `time`, `datetime.now`, `random`, `uuid4` or `secrets`.
2. A document that has been handed to another function is never changed in place.
3. A background task that dies is never silent.
"""
