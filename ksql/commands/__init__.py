"""The command line's questions about the past, and the way back: a module per group, listed in `past.py`.

Problem: the past must be a one-liner for whoever has kubectl's configuration, on any machine. Decision:
each command is a named GraphQL operation (`graphql/operations/`) sent over HTTPS, and the printing of its
answer; moments, kinds and filters are passed through as text and understood by the server alone, so that
the command line, the UI and a bot mean the same by "10m". Rejected: reading the database directly (a
second door with rules of its own), and parsing moments here (two parsers drift).

Invariants
1. Nothing here imports the server's rooms.
2. Exit code 2 says that the question cannot be asked so, 1 that it could not be answered, 0 that it was.
3. Answers go to standard output, everything else to standard error; colours only where a person looks.
"""
