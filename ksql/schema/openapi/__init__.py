"""What is served, told in OpenAPI: version 3 by group-version; version 2 whole, in JSON or gnostic's protobuf.

The third version (`v3.py`) is made from the catalogue, the second (`v2.py`) from the third, so that they cannot differ;
`gnostic.py` writes the form that older clients of kubectl read. Bytes are made once and kept until a kind changes.
"""
