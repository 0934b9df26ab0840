"""Bodies in protobuf, both ways, over one derived table of fields (`fields_protobuf.json`).

The table is data, derived from published binaries (`derive_protobuf.py`), so no message is generated into code. Bytes
come from strangers: `reading.py` bounds depth and size and raises nothing but an `ApiError`; `writing.py` prints what
Go's encoder would, byte by byte.
"""
