"""Archives: laid out whole and verified, or refused in one line with nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
import socket
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.data.archive import published_digests, published_distributions, unpack
from genies.data.distributions import validate_folder
from genies.data.download import download
from genies.data.limits import Limits
from genies.errors import DataError

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "genies-datasets.tar.xz"

FILES = {
    "distributions/alpha/metadata.json": b"{}",
    "distributions/alpha/test.json": b"test of alpha",
    "distributions/alpha/train.json": bytes(range(256)) * 100,
    "distributions/beta/train.json": b"",
}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
LAYOUTS = ["", "./", "GENIES-70bd2ea/", "./any name/"]


def header(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def tar_bytes(files: dict[str, bytes], *others: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of ``others`` and then ``files``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for member in others:
            tar.addfile(member)
        for name, data in files.items():
            tar.addfile(header(name, size=len(data)), io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that holds the destination and whatever is left beside it."""
    return tmp_path / "resources"


def unpack_bytes(data: bytes, place: Path, digests: dict[str, str] = DIGESTS, limits: Limits | None = None) -> None:
    archive = place.parent / "archive.bin"
    archive.write_bytes(data)
    unpack(str(archive), place / "genies", digests, downloads=place.parent / "downloads", limits=limits or Limits())


def laid_out(place: Path) -> dict[str, bytes]:
    """Every file below the destination's parent, by path; leftovers count."""
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if not path.is_dir()}


def refusal(data: bytes, place: Path, digests: dict[str, str] = DIGESTS, limits: Limits | None = None) -> str:
    """The one line with which an archive is refused, nothing being left behind; without the archive's path."""
    with pytest.raises(DataError) as caught:
        unpack_bytes(data, place, digests, limits)
    assert laid_out(place) == {}
    assert not list(place.iterdir())
    text = str(caught.value)
    assert "\n" not in text
    start = f"{place.parent / 'archive.bin'}: "
    assert text.startswith(start)
    return text.removeprefix(start)


EXPECTED = {f"genies/{name}": data for name, data in FILES.items()}


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("top", LAYOUTS)
def test_every_compression_and_layout_is_laid_out_alike(place, compress, top):
    unpack_bytes(compress(tar_bytes({top + name: data for name, data in FILES.items()})), place)
    assert laid_out(place) == EXPECTED


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_every_tar_format(place, form):
    name = f"distributions/{'long' * 20}/train.json"
    digests = {name: hashlib.sha256(b"x").hexdigest()}
    unpack_bytes(tar_bytes({f"{'top' * 20}/{name}": b"x"}, form=form), place, digests)
    assert laid_out(place) == {f"genies/{name}": b"x"}


def test_what_the_digests_do_not_name_is_ignored(place):
    strays = {
        "GENIES/README.md": b"read me",
        "GENIES/distributions/alpha/test copy.json": b"stray",
        "GENIES/distributions/alpha/._train.json": b"stray",
        "GENIES/distributions/alpha/hps/train.json": b"stray",
        "GENIES/distributions/gamma/train.json": b"unused",
        "deeper/GENIES/distributions/alpha/train.json": b"too deep",
    }
    others = [
        header("GENIES", tarfile.DIRTYPE),
        header("GENIES/distributions/alpha", tarfile.DIRTYPE),
        header("GENIES/docs/latest", tarfile.SYMTYPE, "../README.md"),
        header("GENIES/docs/same", tarfile.LNKTYPE, "GENIES/README.md"),
    ]
    files = {**strays, **{f"GENIES/{name}": data for name, data in FILES.items()}}
    unpack_bytes(tar_bytes(files, *others), place)
    assert laid_out(place) == EXPECTED


def test_part_of_the_digests_lays_out_that_part_and_keeps_other_files(place):
    name = "distributions/alpha/test.json"
    kept = place / "genies" / "distributions" / "own" / "train.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"own")
    unpack_bytes(tar_bytes(FILES), place, {name: DIGESTS[name]})
    assert laid_out(place) == {f"genies/{name}": FILES[name], "genies/distributions/own/train.json": b"own"}


def test_files_laid_out_before_are_replaced_only_by_a_right_archive(place):
    old = place / "genies" / "distributions" / "alpha" / "train.json"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    with pytest.raises(DataError, match="SHA-256"):
        unpack_bytes(tar_bytes({**FILES, "distributions/beta/train.json": b"tampered"}), place)
    assert laid_out(place) == {"genies/distributions/alpha/train.json": b"old"}
    unpack_bytes(tar_bytes(FILES), place)
    assert laid_out(place) == EXPECTED


HOSTILE = {
    "parent folder": (header("../evil"), "../evil lies outside"),
    "parent inside": (header("distributions/../../evil"), "lies outside"),
    "hidden parent": (header("distributions/alpha/../beta/train.json"), "lies outside"),
    "parent as folder": (header("a/..", tarfile.DIRTYPE), "lies outside"),
    "absolute": (header("/etc/evil"), "lies outside"),
    "absolute listed": (header("/distributions/alpha/train.json"), "lies outside"),
    "listed as symbolic link": (
        header("distributions/alpha/train.json", tarfile.SYMTYPE, "test.json"),
        "is not a regular file",
    ),
    "listed as hard link": (
        header("distributions/alpha/train.json", tarfile.LNKTYPE, "distributions/alpha/test.json"),
        "is not a regular file",
    ),
    "listed as folder": (header("distributions/alpha/train.json", tarfile.DIRTYPE), "is not a regular file"),
    "folder as link": (header("top/distributions/alpha", tarfile.SYMTYPE, "beta"), "is not a folder"),
    "top as link": (header("distributions", tarfile.SYMTYPE, "elsewhere"), "is not a folder"),
    "link to an absolute path": (header("top/notes", tarfile.SYMTYPE, "/etc/passwd"), "leads outside"),
    "link to a parent": (header("top/notes", tarfile.SYMTYPE, "../../x"), "leads outside"),
    "hard link to a parent": (header("top/notes", tarfile.LNKTYPE, "../x"), "leads outside"),
    "hard link to an absolute path": (header("top/notes", tarfile.LNKTYPE, "/etc/passwd"), "leads outside"),
    "character device": (header("top/zero", tarfile.CHRTYPE), "is a device or a pipe"),
    "block device": (header("top/disk", tarfile.BLKTYPE), "is a device or a pipe"),
    "pipe": (header("distributions/alpha/train.json", tarfile.FIFOTYPE), "is a device or a pipe"),
    "line break": (header("../a\nb"), r"'../a\nb' lies outside"),
}


@pytest.mark.parametrize(("member", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_member_is_named_and_nothing_is_laid_out(place, member, problem):
    text = refusal(tar_bytes(FILES, member), place)
    assert text.startswith("member ")
    assert problem in text
    assert repr(member.name)[1:-1] in text


def test_listed_file_that_comes_twice_is_refused(place):
    assert "members distributions/beta/train.json and ./distributions/beta/train.json stand for the same" in refusal(
        tar_bytes({**FILES, "./distributions/beta/train.json": b""}), place
    )


def test_two_top_folders_are_refused(place):
    files = {"a/distributions/alpha/test.json": b"test of alpha", "b/distributions/beta/train.json": b""}
    text = refusal(tar_bytes(files), place, {name[2:]: DIGESTS[name[2:]] for name in files})
    assert "members a/distributions/alpha/test.json and b/distributions/beta/train.json stand for the same" in text


def test_wrong_digest_is_told_with_both_digests(place):
    text = refusal(tar_bytes({**FILES, "distributions/beta/train.json": b"tampered"}), place)
    assert text.startswith("member distributions/beta/train.json has SHA-256 ")
    assert hashlib.sha256(b"tampered").hexdigest() in text
    assert f"expected {DIGESTS['distributions/beta/train.json']}" in text


def test_missing_files_are_counted_and_the_first_is_named(place):
    files = {name: data for name, data in FILES.items() if "alpha" not in name}
    text = refusal(tar_bytes(files), place)
    assert "3 of 4 files are missing, the first is distributions/alpha/metadata.json" in text


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.8])
def test_truncated_archive_is_refused(place, compress, share):
    data = compress(tar_bytes({**FILES, "distributions/beta/train.json": bytes(range(256)) * 40}))
    digests = {**DIGESTS, "distributions/beta/train.json": hashlib.sha256(bytes(range(256)) * 40).hexdigest()}
    refusal(data[: int(share * len(data))], place, digests)


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", b"<html>" * 500, b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00junk"]
)
def test_other_files_are_no_archives(place, content):
    refusal(content, place)


def test_missing_archive_and_folder_in_its_place_are_named(tmp_path):
    for source, problem in ((tmp_path / "none.tar", "no such file"), (tmp_path, "is a folder, not an archive")):
        with pytest.raises(DataError, match=re.escape(f"{source}: {problem}")):
            unpack(str(source), tmp_path / "genies", DIGESTS, downloads=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_destination_that_is_a_file_is_told(tmp_path):
    (tmp_path / "archive.tar").write_bytes(tar_bytes(FILES))
    (tmp_path / "genies").write_bytes(b"")
    with pytest.raises(DataError, match=r"genies/distributions/alpha: Not a directory"):
        unpack(str(tmp_path / "archive.tar"), tmp_path / "genies", DIGESTS, downloads=tmp_path)


LIMITED = {
    "members": (tar_bytes(FILES), Limits(members=3), "more than 3 members"),
    "bytes of a file": (tar_bytes(FILES), Limits(file_bytes=20_000), "train.json has more than 20000 bytes"),
    "total": (tar_bytes(FILES), Limits(total_bytes=30_000), "unpacks to more than 30000 bytes"),
    "ratio": (lzma.compress(tar_bytes({**FILES, "zeros": bytes(2**23)})), Limits(ratio=5), "or 5 times its size"),
    "extension header": (
        tar_bytes({f"{'x' * 5000}/a": b"", **FILES}),
        Limits(header_bytes=4096),
        "states a size of",
    ),
}


@pytest.mark.parametrize(("data", "limits", "problem"), LIMITED.values(), ids=LIMITED)
def test_archive_that_asks_for_too_much_is_refused(place, data, limits, problem):
    assert problem in refusal(data, place, limits=limits)


def raw_member(name: bytes, kind: bytes, data: bytes, size: bytes | None = None) -> bytes:
    """A member's header and data, with any size field."""
    fields = [name.ljust(100, b"\0"), b"0000644\0", b"0000000\0" * 2, size or b"%011o\0" % len(data), b"0" * 11 + b"\0"]
    start, end = b"".join(fields), kind + bytes(100) + b"ustar\x0000" + bytes(247)
    checksum = b"%06o\0 " % sum(start + b" " * 8 + end)
    return start + checksum + end + data + bytes(-len(data) % 512)


CRAFTED = {
    "endless size": raw_member(b"notes", b"0", b"", b"\x80" + (2**62).to_bytes(11, "big")),
    "negative size": raw_member(b"notes", b"0", b"", b"\xff" * 12),
    "negative size of a name": raw_member(b"long", b"L", b"", b"\xff" * 12),
    "negative size by extension": raw_member(b"pax", b"x", b"13 size=-512\n") + raw_member(b"notes", b"0", b""),
    "endless chain of long names": raw_member(b"long", b"L", b"x\0") * 5000,
    "sparse file": raw_member(b"distributions/alpha/train.json", b"S", b""),
}


@pytest.mark.parametrize("start", CRAFTED.values(), ids=CRAFTED)
def test_crafted_headers_are_refused(place, start):
    refusal(start + tar_bytes(FILES), place)


@pytest.mark.long
@settings(max_examples=tries(200, 500))
@given(
    packed=st.sampled_from([compress(tar_bytes(FILES)) for compress in COMPRESSIONS.values()]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=4),
    share=st.just(1.0) | st.floats(0, 1),
)
def test_damaged_archive_is_laid_out_right_or_refused(tmp_path_factory, packed, changes, share):
    data = bytearray(packed[: round(share * len(packed))])
    for position, new in changes:
        start = int(position * len(data))
        data[start : start + len(new)] = new
    place = tmp_path_factory.mktemp("fuzz") / "resources"
    try:
        unpack_bytes(bytes(data), place)
    except DataError as error:
        assert "\n" not in str(error)
        assert laid_out(place) == {}
    else:
        assert laid_out(place) == EXPECTED


class Server(ThreadingHTTPServer):
    """Serves ``body`` under every path but /none, and counts the requests."""

    body = b""
    stated_length: int | None = None
    requests = 0

    def url(self, path: str = "/archive.tar") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.stated_length or len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, place: Path) -> None:
    unpack(server.url(), place / "genies", DIGESTS, downloads=place.parent / "downloads")


def fetch_refusal(server: Server, place: Path) -> str:
    with pytest.raises(DataError) as caught:
        fetch(server, place)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{server.url()}: ")
    assert laid_out(place) == {}
    assert not list((place.parent / "downloads").iterdir())
    return str(caught.value)


def test_archive_is_downloaded_once(server, place, capfd):
    server.body = gzip.compress(tar_bytes({f"GENIES/{name}": data for name, data in FILES.items()}))
    fetch(server, place)
    fetch(server, place)
    assert laid_out(place) == EXPECTED
    assert server.requests == 1
    assert "known_hash" not in capfd.readouterr().err


def test_interrupted_download_never_looks_whole_and_starts_again(server, place):
    server.body = tar_bytes(FILES)
    server.stated_length = len(server.body) + 1
    assert "download failed" in fetch_refusal(server, place)
    server.stated_length = None
    fetch(server, place)
    assert laid_out(place) == EXPECTED


@pytest.mark.parametrize("body", [b"<html>sorry</html>", tar_bytes({**FILES, "distributions/beta/train.json": b"x"})])
def test_wrong_download_is_deleted_and_fetched_again(server, place, body):
    server.body = body
    assert fetch_refusal(server, place).endswith("(the download was deleted)")
    server.body = tar_bytes(FILES)
    fetch(server, place)
    assert laid_out(place) == EXPECTED


def test_refused_and_missing_downloads_are_told_in_one_line(server, tmp_path):
    with pytest.raises(
        DataError, match=r"/none: download failed \(404 .*\); try again, or give a local path"
    ) as caught:
        download(server.url("/none"), tmp_path / "downloads")
    assert "\n" not in str(caught.value)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        with pytest.raises(DataError, match=r"download failed \(.*refused.*\); try again"):
            download(f"http://127.0.0.1:{unused.getsockname()[1]}/archive.tar", tmp_path / "downloads")
    assert not list((tmp_path / "downloads").iterdir())


def test_endless_download_is_ended(server, tmp_path):
    server.body = bytes(2**23)
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        download(server.url(), tmp_path / "downloads", limits=Limits(total_bytes=1_000_000))
    assert not list((tmp_path / "downloads").iterdir())


@pytest.mark.parametrize("url", ["ftp://host/a.tar", "file:///etc/passwd", "http://[broken", "http://"])
def test_urls_that_cannot_be_fetched_are_named(tmp_path, url):
    with pytest.raises(DataError, match=re.escape(f"{url}: ")) as caught:
        unpack(url, tmp_path / "genies", DIGESTS, downloads=tmp_path / "downloads")
    assert "\n" not in str(caught.value)


def test_published_digests_name_three_files_of_each_of_61_distributions():
    digests = published_digests()
    names = published_distributions()
    assert len(names) == 61
    assert names == sorted(names)
    files = ("metadata.json", "test.json", "train.json")
    assert set(digests) == {f"distributions/{name}/{file}" for name in names for file in files}
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests.values())
    assert max(Counter(digests.values()).values()) == 1


def test_published_digests_load_no_downloader():
    code = (
        "import sys; from genies.data.archive import published_digests; published_digests();"
        "assert not {'pooch', 'requests', 'tqdm', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.long
def test_published_archive_is_laid_out_and_all_its_distributions_are_valid(tmp_path):
    if not PUBLISHED.is_file():
        pytest.skip(f"the published data are not at {PUBLISHED.relative_to(ROOT.parent)} beside the repository")
    unpack(str(PUBLISHED), tmp_path / "genies", published_digests(), downloads=tmp_path / "downloads")
    folders = sorted((tmp_path / "genies" / "distributions").iterdir())
    assert [folder.name for folder in folders] == published_distributions()
    summaries = [validate_folder(folder) for folder in folders]
    sizes = Counter((summary.train.examples, summary.test.examples) for summary in summaries)
    assert sizes.most_common(1)[0][0] == (600, 250)
