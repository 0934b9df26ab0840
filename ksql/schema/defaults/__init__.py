"""What kube-apiserver fills in where a document says nothing.

The engine (`engine.py`, over `filling.py`) is one, the defaults are data (`groups.py`, `pods.py`); `gated.py` names
the fields that are taken and dropped, since the feature behind them is off by default.
"""
