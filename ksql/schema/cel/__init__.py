"""CEL: the one door to the library that runs it, Kubernetes' functions and types, and what a rule may cost.

`programs.py` compiles and runs, so that the library can be changed in one place; `types.py` and `functions.py` say what
expressions may name, `cost.py` estimates before anything runs, and `expressions.py` judges those inside built-in kinds.
"""
