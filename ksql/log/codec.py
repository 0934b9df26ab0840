"""Bytes on disk: zstd with a trained dictionary, behind a codec number that leaves room for others.

Objects of a cluster resemble each other far more than any text resembles itself, so a dictionary shared by
all makes 2 KB into about 100 bytes, and the smaller write is also the faster one. What a dictionary cannot
foresee is chance: an object's own uid and name, which its stream's row holds already. Before compression
each becomes one byte that no JSON contains; that alone saves a sixth.

Dictionaries are rows that never change: an old page is read with the dictionary it was written with. What
is compressed together is told in `pages.py`; what typical objects look like before a log has its own, in
`samples.py`; who trains anew, in `training.py`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final

import zstandard

RAW: Final = 0
ZSTD: Final = 1

# Control characters stand in JSON only as escapes, so these bytes are free.
_UID, _NAME = b"\x01", b"\x02"

# Level 3 is where zstd's own default stands: above it each byte saved costs several times the time. Its
# tables are made smaller than the level's own, so that they stay in the processor's cache between batches:
# a fifth of the time for nothing in size.
LEVEL: Final = 3
_HASH_LOG, _CHAIN_LOG, _WINDOW_LOG = 15, 14, 18
# Typical objects come out no shorter with the 112 KiB that zstd's authors recommend.
DICTIONARY_BYTES: Final = 64 * 1024
# A body may have 3 MiB; anything beyond this is damage and must not make the reader ask for the memory.
TEXT_BYTES_MAX: Final = 64 * 1024 * 1024

# Before the bytes: the codec, and the dictionary where there is one.
_HEADER = struct.Struct(">BH")
HEADER_BYTES: Final = _HEADER.size


class PayloadError(ValueError):
    """The stored bytes are no payload: unknown codec, missing dictionary, damage."""


class Codec:
    """Encodes with the newest dictionary, decodes with any.

    `fetch` finds a dictionary this process has not seen (another server trained it). One instance
    belongs to one thread: zstd's contexts are not shared.
    """

    def __init__(self, fetch: Callable[[int], bytes | None]) -> None:
        self._fetch = fetch
        self._decoders: dict[int, zstandard.ZstdDecompressor] = {}
        # Both at once, since a dictionary may be changed while another thread writes.
        self._writing: tuple[zstandard.ZstdCompressor, bytes] | None = None
        self.dictionary = 0

    def use(self, dictionary: int, data: bytes) -> None:
        """Write with this dictionary from now on."""
        # Neither magic number nor dictionary number: the header says it in fewer bytes.
        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=1, write_dict_id=0,
            hash_log=_HASH_LOG, chain_log=_CHAIN_LOG, window_log=_WINDOW_LOG,
        )  # fmt: skip
        prepared = zstandard.ZstdCompressionDict(data)
        prepared.precompute_compress(compression_params=parameters)
        self._decoders[dictionary] = _decoder(data)
        encoder = zstandard.ZstdCompressor(dict_data=prepared, compression_params=parameters)
        self._writing = encoder, _HEADER.pack(ZSTD, dictionary)
        self.dictionary = dictionary

    def encode(self, text: bytes) -> bytes:
        """The text as short as it gets."""
        if self._writing is not None:
            encoder, header = self._writing
            packed = encoder.compress(text)
            if len(packed) + len(header) <= len(text):
                return header + packed
        return verbatim(text)

    def decode(self, data: bytes) -> bytes:
        """The text that was encoded; `PayloadError` when that cannot be had."""
        codec = data[0] if data else -1
        if codec == RAW:
            return data[1:]
        if codec != ZSTD or len(data) < _HEADER.size:
            raise PayloadError(f"codec {codec} is not known to this version" if data else "nothing is stored")
        dictionary = dictionary_of(data)
        decoder = self._decoders.get(dictionary) or self._load(dictionary)
        try:
            return decoder.decompress(data[_HEADER.size :], max_output_size=TEXT_BYTES_MAX)
        except zstandard.ZstdError as error:
            raise PayloadError(str(error)) from error

    def _load(self, dictionary: int) -> zstandard.ZstdDecompressor:
        data = self._fetch(dictionary)
        if data is None:
            raise PayloadError(f"dictionary {dictionary} is missing")
        decoder = self._decoders[dictionary] = _decoder(data)
        return decoder


def verbatim(text: bytes) -> bytes:
    """The text as `decode` takes it, not compressed."""
    return bytes((RAW,)) + text


def dictionary_of(data: bytes) -> int:
    """Which dictionary reads these bytes; 0 for none."""
    return int(_HEADER.unpack_from(data)[1]) if data[:1] == bytes((ZSTD,)) and len(data) >= _HEADER.size else 0


def shortened(payload: bytes, uid: str, name: str) -> bytes:
    """The first whole strings that are the object's uid and name become one byte each.

    Once is enough: a second one is a repetition, which is what compression is good at, and looking for it
    would cost more than the compression."""
    return payload.replace(b'"%b"' % uid.encode(), _UID, 1).replace(b'"%b"' % name.encode(), _NAME, 1)


def restored(text: bytes, uid: str, name: str) -> bytes:
    """The inverse of `shortened`."""
    return text.replace(_NAME, b'"%b"' % name.encode()).replace(_UID, b'"%b"' % uid.encode())


def can_shorten(payload: bytes) -> bool:
    """Whether the bytes that stand for uid and name are free in it, as they are in all JSON."""
    return _UID not in payload and _NAME not in payload


def _decoder(data: bytes) -> zstandard.ZstdDecompressor:
    prepared = zstandard.ZstdCompressionDict(data)
    return zstandard.ZstdDecompressor(dict_data=prepared, format=zstandard.FORMAT_ZSTD1_MAGICLESS)


def train(samples: Sequence[bytes]) -> bytes:
    """A dictionary from payloads. Blocking (about a second): never on the write path."""
    return zstandard.train_dictionary(DICTIONARY_BYTES, list(samples)).as_bytes()
