"""What `kubectl get` prints: the columns of each kind and the rows of its objects, as kube-apiserver has them.

`column.py` says what a column is, one module per theme makes the rows, `tables.py` answers with the whole table. Cells
are functions of the document and one moment, so that a list of ten thousand is printed without asking anyone else.
"""
