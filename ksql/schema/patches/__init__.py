"""Patches of documents: JSON Patch, and strategic merge with the order of its lists.

Merge patch is `base.documents`'. All three are pure, share what they do not change with the document they were given,
and bound what a patch may cost; results are compared with those recorded from Go's own libraries.
"""
