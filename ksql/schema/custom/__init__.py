"""Custom kinds: what a CustomResourceDefinition defines, and how documents of such a kind are judged and printed.

`definitions.py` reads a CRD into versions for the catalogue; `structural*.py` are its schemas, compiled and walked;
`bodies.py` brings documents in and out, `values.py` judges them, `conversion.py` speaks with webhooks, and `columns.py`
and `openapi.py` tell clients of them.
"""
