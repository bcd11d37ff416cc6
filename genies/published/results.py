"""The paper's own results: read file by file, every published figure recomputed and compared.

Layout (the published results of GENIES, arXiv 2311.07723), in a folder or a tar archive, at its top or deeper::

    evaluations/<intervention>/<model>-<source>/<target>.json        probabilities of the best response, by test pair;
                                                                     of ccs the accuracy alone
    generalization_metrics/<model>/<intervention>/{all,GENIES}.csv   the published tables
    target_tuned_capability/<model>/<target>.json                    best accuracy of any intervention on the target

That tree has grown over time: evaluations of earlier rounds lie beside, one method has several names, and some files
state an earlier name of their distribution. What is not used, or used with a doubt, is kept by kind in ``oddities``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np

from genies.data.archive import damage_told, member_stream, published_distributions, read_members
from genies.data.limits import Limits
from genies.digests import file_sha256
from genies.errors import DataError
from genies.evaluation import metrics as metric
from genies.evaluation.scored import Key

ROOTS = ("evaluations", "generalization_metrics", "target_tuned_capability")
NAMES = (("lora_fine_tuning", "classify_lora", "lora"), ("lat_stim_1", "lat"))
"""Names of one method, the usual one first."""
SHARES = (
    "generalization_accuracy", "baseline_accuracy", "target_tuned_capability", "source_ID_accuracy",
    "RMS_calibration_error",
)  # fmt: skip
"""Columns of the published tables whose figures lie within [0, 1]."""
COMPARED = (*SHARES, "differential_elicitation")
REQUIRED = ("source", "target", "generalization_accuracy")
LIMITS = Limits(file_bytes=2**22, total_bytes=2**30)
"""The files of llama-7b have 19 MB together. What is parsed can take a hundred times its size in memory."""


@dataclass(frozen=True)
class Judged:
    """An evaluation as it was published.

    Attributes:
        path: of its file.
        probability: of the best response of each pair, float64 (n,), in [0, 1]; None where the file states the accuracy
            alone.
        accuracy, brier, rms_calibration_error: as the file states them; None where it does not.
    """

    path: str
    probability: np.ndarray | None
    accuracy: float | None
    brier: float | None
    rms_calibration_error: float | None

    @cached_property
    def recomputed(self) -> float | None:
        """Accuracy of the probabilities; a probability of 0.5 counts as right, as in the published cells."""
        return None if self.probability is None else metric.accuracy(self.probability, ties="right")

    @property
    def used(self) -> float | None:
        """The stated accuracy, else that of the probabilities."""
        return self.recomputed if self.accuracy is None else self.accuracy


@dataclass(frozen=True)
class Row:
    """A row of a published table: its file, its shift, and the figures of ``COMPARED`` that the table has."""

    path: str
    source: str
    target: str
    target_reference: str
    figures: dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation that is read but has no key yet: its place, and the folder and target that it states, if any."""

    parts: tuple[str, ...]
    judged: Judged
    folder: str | None
    target: Any | None


@dataclass
class Results:
    """What a tree of published results holds.

    Attributes:
        evaluations: candidates for each key, the likeliest first.
        rows: rows of the published tables by (model, intervention).
        capabilities: (intervention, accuracy) by (model, target).
        oddities: paths by kind of oddity, each with the record where one of several is odd.
    """

    evaluations: dict[Key, list[Judged]] = field(default_factory=dict)
    rows: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    capabilities: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    oddities: dict[str, list[str]] = field(default_factory=dict)

    def odd(self, kind: str, path: str) -> None:
        """Note an odd file, or an odd record of one."""
        self.oddities.setdefault(kind, []).append(path)


def read_results(source: Path) -> Results:
    """Read a tree or a tar archive of published results.

    Raises:
        DataError: there is no such file or folder, it is no archive, or nothing of the layout is in it.
    """
    results = Results()
    evaluations: list[Evaluation] = []
    for path, content in _files(Path(source), results):
        root, *rest = _inner(path)
        if root == "generalization_metrics":
            _read_table(results, path, rest[0], rest[1], content)
        elif root == "target_tuned_capability":
            _read_capability(results, path, rest[0], content)
        elif evaluation := _read_evaluation(results, path, tuple(rest), content):
            evaluations.append(evaluation)
    models = {model for model, _ in [*results.rows, *results.capabilities]}
    sources = {row.source for rows in results.rows.values() for row in rows}
    for evaluation in sorted(evaluations, key=lambda evaluation: _rank(evaluation.parts)):
        _place(results, evaluation, models, sources | set(published_distributions()))
    if not results.evaluations:
        layout = "evaluations/<intervention>/<model>-<source>/<target>.json"
        odd = "".join(f"; {len(paths)} {kind}" for kind, paths in sorted(results.oddities.items()))
        raise DataError(f"{source}: holds no {layout} that can be used{odd}; name such a tree")
    return results


def source_digest(source: Path) -> str:
    """SHA-256 of an archive; of a folder, that of ``sha256sum``'s lines about its files that fit the layout.

    Raises:
        DataError: it cannot be read.
    """
    with damage_told(str(source)):
        if not source.is_dir():
            return file_sha256(source)
        lines = [f"{file_sha256(file)}  {path}\n" for path, file in _folder_files(source) if _inner(path)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _folder_files(folder: Path) -> list[tuple[str, Path]]:
    """Regular files below a folder, each behind its path in it, sorted."""
    return sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())


def _inner(path: str) -> tuple[str, ...]:
    """The parts of a path from its root of the layout on; nothing where it does not fit the layout."""
    parts = PurePosixPath(path).parts
    start = next((n for n, part in enumerate(parts) if part in ROOTS), len(parts))
    inner, kind = parts[start:], PurePosixPath(path).suffix
    fits = {
        "generalization_metrics": len(inner) == 4 and kind == ".csv",
        "target_tuned_capability": len(inner) == 3 and kind == ".json",
        "evaluations": len(inner) >= 4 and kind == ".json",
    }
    return inner if inner and fits[inner[0]] else ()


def _files(source: Path, results: Results) -> Iterator[tuple[str, bytes]]:
    """Path and content of every regular file that fits the layout, of a folder or of a tar archive."""
    if not (source.is_dir() or source.is_file()):
        raise DataError(f"{source}: no such folder or archive; name the published results")
    with damage_told(str(source)):
        if source.is_dir():
            for path, file in _folder_files(source):
                if _wanted(results, path, file.stat().st_size):
                    yield path, file.read_bytes()
        else:
            for tar, member in read_members(source, str(source), LIMITS):
                if not (member.isreg() or member.isdir()):
                    results.odd("link or device, not read", member.name)
                elif member.isreg() and _wanted(results, member.name, member.size):
                    yield member.name, member_stream(tar, member).read()


def _wanted(results: Results, path: str, size: int) -> bool:
    """Whether a file is to be read; otherwise it is odd."""
    if not _is_name(path):
        results.odd("name that is not UTF-8, not read", repr(path))
    elif not _inner(path):
        results.odd("outside the layout", path)
    elif size > LIMITS.file_bytes:
        results.odd(f"larger than {LIMITS.file_bytes} bytes, not read", path)
    else:
        return True
    return False


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_table(results: Results, path: str, model: str, intervention: str, content: bytes) -> None:
    table = csv.DictReader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
    try:
        if not set(table.fieldnames or ()).issuperset(REQUIRED):
            results.odd(f"table without the columns {', '.join(REQUIRED)}, not used", path)
            return
        rows = [made for number, row in enumerate(table, start=1) if (made := _row(results, path, number, row))]
    except csv.Error:
        results.odd("no CSV table, not used", path)
        return
    results.rows.setdefault((model, intervention), []).extend(rows)


def _row(results: Results, path: str, number: int, row: dict[str, str | None]) -> Row | None:
    """A row of a table; None where it names no shift."""
    source, target = row["source"], row["target"]
    if not (source and target):
        results.odd("row of a table without source or target, not used", f"{path}, row {number}")
        return None
    figures = {}
    for column in (name for name in COMPARED if name in row):
        figures[column] = _share(row[column]) if column in SHARES else _number(row[column])
        if row[column] and figures[column] is None:
            results.odd("figure of a table that cannot be one, not used", f"{path}, row {number}, {column}")
    return Row(path, source, target, row.get("target_reference") or target, figures)


def _read_capability(results: Results, path: str, model: str, content: bytes) -> None:
    value = _json(content) or {}
    accuracy, name = _stated(value.get("best_intervention_accuracy")), value.get("best_intervention")
    if accuracy is None or not _is_name(name):
        results.odd("capability without a figure", path)
        return
    results.capabilities[model, str(value.get("target") or Path(path).stem)] = (name, accuracy)


def _read_evaluation(results: Results, path: str, parts: tuple[str, ...], content: bytes) -> Evaluation | None:
    """An evaluation, of which only what is used is kept; None where it cannot be."""
    value = _json(content)
    if not value:
        results.odd("no JSON object", path)
        return None
    listed = value.get("eval_probabilities")
    if listed is not None and not _usable(listed):
        results.odd("without usable probabilities, not used", path)
        return None
    figures = {
        name: _stated(value.get(f"eval_{name}")) for name in ("accuracy", "brier_score", "rms_calibration_error")
    }
    for name, figure in figures.items():
        if figure is None and value.get(f"eval_{name}") is not None:
            results.odd("states a figure that cannot be one, not used", f"{path}, eval_{name}")
    if listed is None and figures["accuracy"] is None:
        results.odd("without probabilities and accuracy, not used", path)
        return None
    probability = None if listed is None else np.array(listed, dtype=np.float64)
    judged = Judged(path, probability, *figures.values())
    return Evaluation(parts, judged, _last_part(value.get("model_dir")), _target(value))


def _usable(listed: Any) -> bool:
    """Whether a JSON value is a list of probabilities."""
    return isinstance(listed, list) and bool(listed) and all(_stated(each) is not None for each in listed)


def _target(value: Mapping[str, Any]) -> Any | None:
    """The target that an evaluation states: by its name, or, as those of ccs do, by its folder."""
    name = value.get("distribution_id")
    return _last_part(value.get("distribution_dir")) if name is None else name


def _last_part(path: Any) -> str | None:
    return PurePosixPath(str(path)).name if path else None


def _is_name(value: Any) -> TypeGuard[str]:
    """Whether a value is a text that UTF-8 can write; a JSON text can hold half a character."""
    return isinstance(value, str) and bool(value) and value == value.encode("utf-8", "ignore").decode()


def _number(text: str | None) -> float | None:
    """The finite number that a text states; None for anything else."""
    try:
        number = float("" if text is None else text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _share(text: str | None) -> float | None:
    """The number within [0, 1] that a text states; None for anything else."""
    number = _number(text)
    return number if number is not None and 0 <= number <= 1 else None


def _stated(value: Any) -> float | None:
    """A JSON number within [0, 1]; None for anything else."""
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None


def _rank(parts: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Evaluations right under a method's usual name come first, then those under its other names, then deeper ones."""
    usual = {name: number for names in NAMES for number, name in enumerate(names)}
    return len(parts) * 10 + usual.get(parts[0], 0), parts


def method(name: str) -> str:
    """The usual name of a method that has several."""
    return next((names[0] for names in NAMES if name in names), name)


def _place(results: Results, evaluation: Evaluation, models: set[str], sources: set[str]) -> None:
    """Put an evaluation among the candidates of its key, unless it is not to be used."""
    intervention, *inner, folder, file = evaluation.parts
    path, target = evaluation.judged.path, file.removesuffix(".json")
    if any("old" in part.split("_") for part in (intervention, *inner)):
        results.odd("old evaluation, not used", path)
        return
    known = [(m, folder[len(m) + 1 :]) for m in models if folder.startswith(f"{m}-")]
    known += [(folder[: -len(s) - 1], s) for s in sources if folder.endswith(f"-{s}")]
    known = [(model, name) for model, name in known if name in sources] or known
    known = [(model, name) for model, name in known if model and name]
    if not known:
        results.odd("names no source, not used", path)
        return
    model, source = max(known, key=lambda pair: len(pair[1]))
    if inner:
        results.odd("deeper than the layout, used only where nothing else is there", path)
    if evaluation.target not in (None, target) or evaluation.folder not in (None, folder, model):
        results.odd("states another source or distribution than its place, used", path)
    results.evaluations.setdefault((model, method(intervention), source, target), []).append(evaluation.judged)
