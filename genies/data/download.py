"""Archives from the network."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from genies.data.limits import CHUNK_BYTES, DEFAULT_LIMITS, Limits, printable
from genies.errors import DataError


def download(url: str, folder: Path, *, limits: Limits = DEFAULT_LIMITS) -> Path:
    """Path in ``folder`` of the file at ``url``, fetched unless it is there; an interrupted download starts again.

    Raises:
        DataError: the URL is not of http or https, or cannot be fetched whole.
    """
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise DataError(f"{printable(url)}: only http and https are downloaded; fetch the archive and give its path")
    import pooch

    # pooch would advise, at level INFO, to pin the archive's digest; its files' digests are checked instead.
    pooch.get_logger().setLevel("WARNING")
    place = downloaded(url, folder)
    downloader = pooch.HTTPDownloader(progressbar=_Progress(url, limits.total_bytes), chunk_size=CHUNK_BYTES)
    try:
        return Path(pooch.retrieve(url, known_hash=None, fname=place.name, path=place.parent, downloader=downloader))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{printable(url)}: download failed ({reason}); try again, or give a local path") from None


def downloaded(url: str, folder: Path) -> Path:
    """Where in ``folder`` the file at ``url`` lies once it was downloaded."""
    return Path(folder) / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.tar"


class _Progress:
    """A progress bar that ends a download which exceeds ``limit`` bytes. Its methods are those that pooch calls."""

    def __init__(self, url: str, limit: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=f"download {url.rsplit('/', 1)[-1][:40]}", unit="B", unit_scale=True, delay=0.5, mininterval=0.5
        )
        self._url = url
        self._limit = limit

    @property
    def total(self) -> float | None:
        return self._bar.total

    @total.setter
    def total(self, value: float) -> None:
        self._bar.total = value

    def update(self, count: int) -> None:
        self._bar.update(count)
        if self._bar.n > self._limit + CHUNK_BYTES:
            raise DataError(f"{printable(self._url)}: more than {self._limit} bytes; give the URL of the data archive")

    def reset(self) -> None:
        self._bar.reset()

    def close(self) -> None:
        self._bar.close()
