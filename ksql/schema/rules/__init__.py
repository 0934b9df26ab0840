"""What each built-in kind demands of its documents and of their changes, in kube-apiserver's words.

One module per theme; `table.py` says which function judges which kind, `checks.py` holds the small checks that
rules are made of, `cautions.py` what is allowed and yet warned of. Every rule is pure: it is given a document
(or two) and a list, and adds a `Cause` for each fault it finds.
"""
