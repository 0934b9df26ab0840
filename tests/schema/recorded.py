"""Reads the golden vectors: what Kubernetes' own code answered, kept as inputs and outputs.

The documents are of our own making, from seeded generators over the schemas of 1.35; the answers were
recorded from the libraries and the API server of Kubernetes 1.36.2, the server with `--emulated-version=1.35`
and structured-merge-diff's removal as 1.35 has it. What that code answered differently from one run to
the next is left out, as is what only the newer minor knows.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

FOLDER = Path(__file__).parent / "golden"


def vectors(area: str) -> Iterator[Any]:
    """The lines of one area, parsed one at a time: the larger areas hold some twelve megabytes."""
    with (FOLDER / f"{area}.jsonl.zst").open("rb") as packed:
        reader = zstandard.ZstdDecompressor().stream_reader(packed)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield json.loads(line)
