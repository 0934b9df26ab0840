"""What `kubectl get` prints: the columns of each kind and the rows of its objects.

`column.py` says what a column is, one module per theme makes the rows, `tables.py` answers with the whole table.
"""
