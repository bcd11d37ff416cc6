"""Archives of distributions: downloaded, verified file by file and laid out, or not at all.

An archive is a tar file, plain or compressed with xz, gzip or bzip2 (told by its content), that holds
``distributions/<id>/train.json`` and so on at its top or below one top folder. It may come from anywhere, so nothing
in it is trusted: only files that a list of SHA-256 digests names are taken, their bytes are checked before they are
put in place, and no name, link or size from the archive reaches the file system.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from genies.data.download import download
from genies.data.limits import CHUNK_BYTES, DEFAULT_LIMITS, Limits, printable
from genies.errors import DataError, disk_full
from genies.files import partial_folder, sync_file, sync_folder


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


_OPENERS: dict[bytes, Callable[[BinaryIO], _Readable]] = {
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
}
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError)
REMEDY = "give an archive of the published data"
_EXTENSION_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def published_digests() -> dict[str, str]:
    """SHA-256 of each file of the 61 published distributions, by path (``distributions/<id>/<file>``)."""
    lines = Path(__file__).with_name("genies.sha256").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def published_distributions() -> list[str]:
    """Names of the 61 published distributions, sorted."""
    return sorted({name.split("/")[1] for name in published_digests()})


def unpack(
    source: str, destination: Path, digests: Mapping[str, str], *, downloads: Path, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Lay out the files that ``digests`` names from an archive below ``destination``.

    Everything is verified in a temporary folder beside ``destination`` first; nothing is laid out unless all is right.
    What ``digests`` does not name is ignored.

    Args:
        source: path of a tar archive, or its http or https URL.
        destination: folder that receives ``distributions/<id>/…``; files that are there are replaced.
        digests: SHA-256 (hexadecimal) by path in the archive, without the top folder.
        downloads: folder that keeps downloaded archives. One that turns out to be wrong is deleted.
        limits: what the archive may ask for.

    Raises:
        DataError: the archive cannot be fetched or read, is hostile, or lacks a file; or a file has another digest.
    """
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        _unpack_file(Path(source), source, Path(destination), digests, limits)
        return
    archive = download(source, downloads, limits=limits)
    try:
        _unpack_file(archive, source, Path(destination), digests, limits)
    except DataError as error:
        # Kept, it would be taken for the archive for ever after.
        archive.unlink(missing_ok=True)
        raise DataError(f"{error} (the download was deleted)") from None


def read_listed(
    archive: Path, digests: Mapping[str, str], *, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file that ``digests`` names, from an archive that is not unpacked; nothing is written.

    Args:
        archive: tar archive.
        digests: SHA-256 (hexadecimal) by path in the archive, without the top folder.
        limits: what the archive may ask for.

    Raises:
        DataError: as ``unpack``. A file comes only after its digest was compared.
    """
    shown = printable(str(archive))
    _check_file(Path(archive), shown)
    with damage_told(shown):
        for tar, member, name in _listed_members(Path(archive), shown, digests, limits):
            yield name, b"".join(_verified(tar, member, shown, digests[name], limits))


def _check_file(archive: Path, shown: str) -> None:
    if not archive.is_file():
        problem = "is a folder, not an archive" if archive.is_dir() else "no such file"
        raise DataError(f"{shown}: {problem}; give the path or URL of a tar archive of distributions")


def _unpack_file(archive: Path, source: str, destination: Path, digests: Mapping[str, str], limits: Limits) -> None:
    shown = printable(source)
    _check_file(archive, shown)
    destination = destination.resolve()
    with damage_told(shown), partial_folder(destination) as partial:
        _extract(archive, shown, partial, digests, limits)
        _lay_out(partial, destination, digests)


@contextmanager
def damage_told(shown: str) -> Iterator[None]:
    """Raise what goes wrong while an archive is read as a DataError that names it; a full disk stays what it is."""
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{shown}: not a whole tar archive ({error}); fetch it again") from None
    except OSError as error:
        if error.errno is None:  # from a decompressor, not from the system
            raise DataError(f"{shown}: not a whole tar archive ({error}); fetch it again") from None
        if disk_full(error):
            raise
        raise DataError(f"{error.filename or shown}: {error.strerror} while {shown} was read") from None


def read_members(archive: Path, shown: str, limits: Limits) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member of an archive with the archive, from which it can be read until the next one is asked for.

    Args:
        archive: tar file, plain or compressed with xz, gzip or bzip2.
        shown: its name in messages.
        limits: what it may ask for; sizes of files that are taken are left to the caller.

    Raises:
        DataError: it exceeds ``limits``. Damage is raised as it is met; see ``damage_told``.
    """
    with archive.open("rb") as raw:
        reader = _LimitedReader(raw, shown, limits)
        header = _limited_header(shown, limits)
        # A stream is only read from; the stubs ask for a file that can also be written.
        with tarfile.open(fileobj=reader, mode="r|", tarinfo=header) as tar:  # type: ignore[call-overload]
            for number, member in enumerate(iter(tar.next, None), start=1):
                if number > limits.members:
                    raise DataError(f"{shown}: more than {limits.members} members; {REMEDY}")
                yield tar, member
                tar.members.clear()  # tarfile would keep every header


def member_stream(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The content of a regular file of an archive, to be read."""
    stream = tar.extractfile(member)
    if stream is None:
        raise ValueError(f"{member.name}: is not a regular file")
    return stream


def _extract(archive: Path, shown: str, folder: Path, digests: Mapping[str, str], limits: Limits) -> None:
    """Write every listed file to ``folder``, verified."""
    for tar, member, name in _listed_members(archive, shown, digests, limits):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in _verified(tar, member, shown, digests[name], limits):
                file.write(chunk)
        sync_file(path)


def _listed_members(
    archive: Path, shown: str, digests: Mapping[str, str], limits: Limits
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """Every member that ``digests`` lists, each once and below one top folder, with the archive and its listed path.

    Raises:
        DataError: a member is hostile or comes twice; in the end, one is missing.
    """
    found: dict[str, str] = {}
    tops: set[str] = set()
    for tar, member in read_members(archive, shown, limits):
        name, top = _listed_name(member, shown, digests)
        if name is None:
            continue
        tops.add(top)
        if name in found or len(tops) > 1:
            rivals = f"{printable(found.get(name, next(iter(found.values()))))} and {printable(member.name)}"
            raise DataError(f"{shown}: members {rivals} stand for the same data; keep one of them")
        found[name] = member.name
        yield tar, member, name
    missing = sorted(digests.keys() - found.keys())
    if missing:
        count = f"{len(missing)} of {len(digests)} files are missing, the first is {missing[0]}"
        raise DataError(f"{shown}: {count}; the archive is cut short or is not the one that the digests describe")


def _listed_name(member: tarfile.TarInfo, shown: str, digests: Mapping[str, str]) -> tuple[str | None, str]:
    """The listed path that a member stands for (None: ignore it), and the top folder it lies below.

    Raises:
        DataError: the member is hostile.
    """
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    offence = None
    if member.name.startswith("/") or ".." in parts:
        offence = "lies outside the archive's folder"
    elif (member.issym() or member.islnk()) and _leads_outside(member):
        offence = "is a link that leads outside the archive's folder"
    elif member.isdev():
        offence = "is a device or a pipe"
    names = ("/".join(parts), "/".join(parts[1:]))
    listed = next((number for number, name in enumerate(names) if name in digests), None)
    regular = member.isreg() and not member.issparse()
    if listed is not None and not regular:
        offence = offence or "is not a regular file"
    elif not (regular or member.isdir()) and _holds_listed(names, digests):
        offence = offence or "is not a folder"
    if offence:
        raise DataError(f"{shown}: member {printable(member.name)} {offence}; the archive is not to be trusted")
    return (None, "") if listed is None else (names[listed], "/".join(parts[:listed]))


def _holds_listed(names: tuple[str, ...], digests: Mapping[str, str]) -> bool:
    return any(listed.startswith(f"{name}/") for listed in digests for name in names if name)


def _leads_outside(member: tarfile.TarInfo) -> bool:
    # A symbolic link starts from its own folder, a hard link from the top of the archive.
    start = posixpath.dirname(member.name) if member.issym() else ""
    target = posixpath.normpath(posixpath.join(start, member.linkname))
    return target.startswith("/") or target.split("/")[0] == ".."


def _verified(
    tar: tarfile.TarFile, member: tarfile.TarInfo, shown: str, expected: str, limits: Limits
) -> Iterator[bytes]:
    """The content of a member in pieces; to be relied on only when the last one has come.

    Raises:
        DataError: it is too large, or in the end, has another digest.
    """
    shown = f"{shown}: member {printable(member.name)}"
    if member.size > limits.file_bytes:
        raise DataError(f"{shown} has more than {limits.file_bytes} bytes; give an archive of distributions")
    digest = hashlib.sha256()
    stream = member_stream(tar, member)
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != expected.lower():
        raise DataError(f"{shown} has SHA-256 {digest.hexdigest()}, expected {expected}; fetch the archive again")


def _lay_out(partial: Path, destination: Path, digests: Mapping[str, str]) -> None:
    for name in sorted(digests):
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(destination / name)
    for folder in {(destination / name).parent for name in digests}:
        sync_folder(folder)


class _LimitedReader:
    """The decompressed bytes of an archive, within ``limits``."""

    def __init__(self, raw: BinaryIO, shown: str, limits: Limits) -> None:
        start = raw.read(6)
        raw.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
        self._stream: _Readable = opener(raw) if opener else raw
        self._raw = raw
        self._shown = shown
        self._limits = limits
        self._bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._bytes += len(data)
        limits = self._limits
        if self._bytes > min(limits.total_bytes, limits.ratio * max(self._raw.tell(), 2**20)):
            many = f"unpacks to more than {limits.total_bytes} bytes or {limits.ratio} times its size"
            raise DataError(f"{self._shown}: {many}; {REMEDY}")
        return data


def _limited_header(shown: str, limits: Limits) -> type[tarfile.TarInfo]:
    """A header class that checks sizes before tarfile acts on them.

    tarfile reads extension headers whole into memory, and seeks by whatever size a header states.
    """

    class Header(tarfile.TarInfo):
        def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
            limit = limits.header_bytes if self.type in _EXTENSION_TYPES else limits.total_bytes
            check(self, limit)
            member = super()._proc_member(archive)  # type: ignore[misc]  # the stubs leave private methods out
            check(member, limits.total_bytes)  # an extension header can state another size
            return member

        def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
            raise self._refused()

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise self._refused()

        def _refused(self) -> DataError:
            # Maps of sparse files have no size that could be checked, and are kept whole in memory.
            return DataError(f"{shown}: member {printable(self.name)} is a sparse file; {REMEDY}")

    def check(header: tarfile.TarInfo, limit: int) -> None:
        if not 0 <= header.size <= limit:
            raise DataError(
                f"{shown}: member {printable(header.name)} states a size of {header.size} bytes; fetch it again"
            )

    return Header
