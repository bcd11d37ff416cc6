"""How much is taken from outside, and names from outside as they may be printed."""

from __future__ import annotations

from dataclasses import dataclass

from genies.data.strict import MAX_FILE_BYTES

CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Limits:
    """What an archive may ask for. The published data are 183 files of 98 MiB, packed 14 times smaller by xz."""

    members: int = 100_000
    """Entries of the archive, whether they are taken or not."""
    file_bytes: int = MAX_FILE_BYTES
    """Size of a file that is taken."""
    total_bytes: int = 8 * 2**30
    """Size of the archive, both as downloaded and after decompression."""
    ratio: int = 200
    """Decompressed bytes per compressed byte, once a MiB has been read."""
    header_bytes: int = 2**16
    """Size of an extension header (long names, attributes)."""


DEFAULT_LIMITS = Limits()


def printable(text: str) -> str:
    """Text from outside, made fit for one line of a message."""
    text = text if len(text) <= 200 else f"{text[:200]}…"
    return text if text.isprintable() else repr(text)
