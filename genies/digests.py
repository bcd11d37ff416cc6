"""Digests that decide what is computed again: of values, of files, and of the code that a stage runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from genies import own, syntax
from genies.own import absolute, homes, is_file

PACKAGE_FOLDER = Path(__file__).parent
DIGEST_LENGTH = 32
"""Hexadecimal digits kept of a SHA-256 (128 bits)."""
NOT_COMPUTING = {
    "genies.costs": "tells what work takes, and refuses what would not fit",
    "genies.data.distributions": "reads examples; names hold by value what is taken of them",
    "genies.data.framing": "makes questions of them, likewise by value",
    "genies.data.options": "says how splits are read, whose texts and pairs names hold by value",
    "genies.data.prompts": "makes the texts that are shown; names hold them by value",
    "genies.data.reading": "draws pairs of splits; names hold them by value",
    "genies.data.records": "reads examples, likewise",
    "genies.data.strict": "reads JSON",
    "genies.data.texts": "says which texts are read; names hold them by value",
    "genies.digests": "makes the names themselves",
    "genies.errors": "words",
    "genies.evaluation.evaluations": "writes and reads what was judged",
    "genies.files": "writes and reads whole files",
    "genies.interventions.training.loaded": "keeps a model for who asks for the same one next",
    "genies.locks": "waits",
    "genies.making": "states what was computed with what",
    "genies.models.adapters": "merges adapters into models whose digests names hold",
    "genies.models.conversions": "keeps models that were converted, likewise",
    "genies.models.files": "finds and hashes the files that names hold by their digests",
    "genies.models.find": "finds a model by its identifier, likewise",
    "genies.models.gguf": "converts files into models whose digests names hold",
    "genies.models.merging": "merges them, likewise",
    "genies.models.trial": "tries tokenizers, and throws away what comes out",
    "genies.options": "declares options and their limits; names hold their values",
    "genies.spent": "notes what work takes",
    "genies.stopping": "ends a job, which goes on later",
    "genies.store.blocks": "checks what is read against its checksums",
    "genies.store.statistics": "counts tokens and passes",
}
"""Packages and modules of genies that decide no number of what is kept under a name, and why. All others count."""
TELLING = ("genies.costs",)
"""Packages of which no result depends: they tell what work takes, and refuse what would not fit."""
LOADING = ("genies.api", "genies.interventions.registry")
"""Modules that load interventions by their names."""
LISTING = ("genies.evaluation.tables", "genies.report.figures")
"""Packages that import whatever modules lie in their folders."""
COMPUTING = {
    **{name: name for name in ("numpy", "peft", "scipy", "tokenizers", "torch", "transformers")},
    "sklearn": "scikit-learn",
}
"""Libraries that compute, by the name under which they are imported."""


def value_digest(value: Any) -> str:
    """Digest of a JSON value; the order of keys plays no part. Shape: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest(*modules: str | Path) -> str:
    """Digest of the code that ``modules`` run, and of the versions (major.minor) of the libraries that compute there.

    The code is that of the modules and of every ``genies`` module that they import: their syntax trees, without
    comments, docstrings, layout, words of errors, log messages and progress bars, so that only edits that can change a
    result change the digest. Templates beside a module (``*.html``, ``*.css``, ``*.js``) count as part of it when they
    lie in its folder.

    Args:
        modules: dotted names of modules of this package, or paths of Python files outside it. With such a file, files
            of the user's own that it imports or names count, too, and of all of these more than of genies: see
            ``genies.syntax.parsed``.
    """
    made = _made(modules, TELLING)
    return value_digest([made["code"], made["libraries"]])


def computed_by(*modules: str | Path) -> dict[str, Any]:
    """What decides numbers, for the name of what holds them: code, and the libraries that compute.

    The code is that of the modules and of all that they import from genies, but for ``NOT_COMPUTING``. What a file of
    the user's own imports itself always counts.

    Args:
        modules: as ``code_digest`` takes them.

    Returns:
        ``code``, a digest, and ``libraries``, the installed version (major.minor) by name of those of ``COMPUTING``
        that the code imports, and of whatever files of the user's own import.
    """
    return _made(modules, NOT_COMPUTING)


@cache
def library_version(name: str) -> str:
    """Installed version of a library as names have it: major.minor."""
    return ".".join(re.findall(r"\d+", installed_version(name))[:2])


@cache
def installed_version(name: str) -> str:
    """Installed version of a library, in full."""
    return version(name)


class _Read(NamedTuple):
    """A module or file as read.

    Attributes:
        digest: of what counts of it.
        imported: modules of genies that it imports, and files of the user's own that it may read.
        libraries: distributions that compute, or that a file of the user's own imports.
        own: whether it is the user's own.
        whole: whether every byte of the user's files counts.
        content: SHA-256 of its bytes.
        places: folders in which files of the user's own may find modules from then on.
    """

    digest: str
    imported: tuple[str, ...]
    libraries: frozenset[str] = frozenset()
    own: bool = False
    whole: bool = False
    content: str = ""
    places: frozenset[Path] = frozenset()


def _made(modules: Iterable[str | Path], outside: Collection[str]) -> dict[str, Any]:
    found = _reached(modules, outside)
    home = next((Path(name).parent for name in found if is_file(name)), None)
    whole = any(read.whole for read in found.values())
    code = sorted(
        [_called(name, home), read.content if read.own and whole else read.digest] for name, read in found.items()
    )
    libraries = sorted({library for read in found.values() for library in read.libraries})
    return {"code": value_digest(code), "libraries": {name: library_version(name) for name in libraries}}


def _called(name: str, home: Path | None) -> str:
    """A module's name; of a file its path from the intervention, or its last parts, so that a project may move."""
    if home is None or not is_file(name):
        return name
    path = Path(name)
    return str(path.relative_to(home)) if path.is_relative_to(home) else "/".join(path.parts[-3:])


def _reached(modules: Iterable[str | Path], outside: Collection[str]) -> dict[str, _Read]:
    """The modules and what they import or read, directly or not, but for some modules of genies."""
    begin = [str(absolute(module)) if is_file(str(module)) else str(module) for module in modules]
    places = frozenset(home for module in begin if is_file(module) for home in homes(Path(module)))
    while True:
        found: dict[str, _Read] = {}
        queue = list(reversed(begin))
        while queue:
            module = queue.pop()
            if module not in found:
                read = found[module] = _own_file(Path(module), places) if is_file(module) else _module(module)
                queue += [name for name in read.imported if read.own or not _is_in(name, outside)]
        syntax.save()
        wider = places.union(*(read.places for read in found.values()))
        if wider == places:
            return found
        places = wider


def _is_in(module: str, rooms: Collection[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@cache
def _module_path(module: str) -> Path | None:
    """File of a module of this package; None for names that are no module (classes, functions)."""
    path = PACKAGE_FOLDER.joinpath(*module.split(".")[1:])
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


@cache
def _module(module: str) -> _Read:
    """A module of genies, once in a process, which runs the code that it has loaded."""
    path = _module_path(module)
    if path is None:
        raise ValueError(f"{module}: no such module of genies")
    read = syntax.parsed(path.read_bytes(), str(path), own=False)
    beside = [
        file_sha256(file)
        for file in sorted(path.parent.iterdir())
        if file.suffix in {".html", ".css", ".js"} and path.parent != PACKAGE_FOLDER
    ]
    digest = value_digest([read.digest, beside]) if beside else read.digest
    listed = {f"{module}.{file.stem}" for file in path.parent.glob("[!_]*.py")} if module in LISTING else set()
    return _Read(digest, tuple(sorted((_of_genies(read) | listed) - {module})), _libraries(read))


def _libraries(read: syntax.Parsed) -> frozenset[str]:
    """The libraries that compute among those that a file imports; the tokenizers of transformers are another's."""
    tops = {name.split(".")[0] for name in read.imported}
    tops |= {"tokenizers" for name in read.imported if name.startswith("transformers.") and "Tokenizer" in name}
    return frozenset(COMPUTING[name] for name in tops & COMPUTING.keys())


def _of_genies(read: syntax.Parsed) -> set[str]:
    """The modules of genies that a file imports, and the packages they are in, whose ``__init__`` runs as well."""
    names = {name for name in read.imported if name.startswith("genies.")}
    names |= {".".join(name.split(".")[:depth]) for name in names for depth in range(2, name.count(".") + 1)}
    return {name for name in names if _module_path(name) is not None}


@cache
def _content(path: Path, *_stamp: int) -> str:
    """SHA-256 of a file that may be large, by what its edits leave a trace in; the kernel sets the last time."""
    return file_sha256(path)


def _own_file(path: Path, places: Iterable[Path]) -> _Read:
    """A file of the user's own, afresh at each call: it may be edited while this process runs."""
    if path.suffix != ".py":
        status = path.stat()
        sha256 = _content(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return _Read(sha256, (), own=True, content=sha256)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        read = syntax.parsed(content, str(path), own=True)
    except (SyntaxError, ValueError, RecursionError):  # whoever imports it will say so
        return _Read(sha256, (), own=True, content=sha256)
    imported = _of_genies(read)
    if "genies" in read.imported or any(_is_in(name, LOADING) for name in imported):
        folders = (PACKAGE_FOLDER / name for name in ("api", "interventions"))
        imported |= {f"genies.{folder.name}.{file.stem}" for folder in folders for file in folder.glob("[!_]*.py")}
    return _Read(
        digest=read.digest,
        imported=tuple(sorted({*imported, *map(str, own.read_files(path, read, places))})),
        libraries=_libraries(read) | own.distributions(read),
        own=True,
        whole=read.whole,
        content=sha256,
        places=frozenset(own.places_of(path, read)),
    )
