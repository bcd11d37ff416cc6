"""Plug-ins: folders with ``train.py`` and ``eval.py`` after the contract of the published code, run as programs.

``train.py`` is called with ``--model_dir``, ``--training_distribution_dir``, ``--output_dir`` and
``--test_distribution_dirs "[…]"``, then ``eval.py`` with ``--model_dir`` (the output of the former),
``--distribution_dirs "[…]"`` and ``--output_paths "[…]"``. Each output is a JSON object with ``eval_accuracy``, and
where the plug-in has them ``eval_probabilities`` (of the best response, for each test pair in the order of the file)
and ``eval_rms_calibration_error``. Source: the code published with GENIES (arXiv 2311.07723).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.data.distributions import write_split
from genies.data.options import SPLITS
from genies.data.reading import SplitPairs
from genies.devices import claim_gpus
from genies.digests import code_digest, file_sha256, value_digest
from genies.errors import GeniesError, Interrupted, ModelError, StoreError
from genies.evaluation import metrics
from genies.evaluation.judge import places
from genies.files import read_sealed, write_sealed
from genies.interventions.plugins import forget_files, program_files, remember_files
from genies.making import MADE_OF, data_roles, made_of
from genies.models.describe import read_model
from genies.models.files import PinnedFiles
from genies.models.merging import virtual_tokens
from genies.spent import PLUGIN, noted
from genies.stages.shown import ShownTexts
from genies.stopping import asked_to_stop

if TYPE_CHECKING:
    import polars as pl


DONE_FILE = "done.json"
"""What the outputs in the folder were made of."""

log = logging.getLogger(__name__)


class PluginError(GeniesError):
    """A plug-in failed, or what it wrote cannot be true."""


def run_plugin(
    folder: Path,
    *,
    model: Path,
    tokens: Path,
    train: Path,
    test: Sequence[Path],
    work: Path,
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Run a plug-in's train.py and eval.py on one source and its targets, and check what it says.

    What it said before of the same model and the same examples is taken from ``work``, unless its own files changed.

    Args:
        folder: the plug-in's, with train.py and eval.py.
        model: the model's manifest.
        tokens: the manifest of ``tokenize``; it says how splits are read.
        train: ``<source>/train.json``.
        test: ``<target>/test.json`` of each target.
        work: folder for what the plug-in writes; emptied before it begins.
        cache: the cache folder, which keeps which files the plug-in had before its first run.
        output: parquet file to write.

    Raises:
        PluginError: a program fails, an output is missing or breaks the contract.
    """
    from genies.evaluation.evaluations import write_evaluation

    claim_gpus("auto")
    described, shown = _read_model(model), ShownTexts(tokens, model)
    results = [(work / "evaluations" / f"{file.parent.name}.json").resolve() for file in test]
    remember_files(folder, cache)
    own = _own_files(folder, cache)
    digest = _digest(own, described, shown, [train, *test])
    if not _is_done(work, digest, results):
        shutil.rmtree(work, ignore_errors=True)
        (work / "evaluations").mkdir(parents=True)
        files = PinnedFiles.of(described)
        files.check()
        with noted([work], PLUGIN):
            _run_programs(folder, Path(described["path"]).resolve(), shown, train, test, work, results)
        files.check()
        if written := own.items() - _own_files(folder, cache).items():
            forget_files(folder, cache, {folder / name for name, _ in written if not name.endswith(".py")})
            digest = _digest(_own_files(folder, cache), described, shown, [train, *test])
    frames = [_frame(result, shown.test(file)) for result, file in zip(results, test, strict=True)]
    write_sealed(work / DONE_FILE, {"digest": digest, "results": _hashes(results)})
    programs = {f"programs/{file.relative_to(folder)}": file for file in program_files(folder, cache)}
    inputs = {"model": model, "tokens": tokens, **programs, **data_roles([train, *test])}
    stated = {MADE_OF: made_of(code_digest(__name__), inputs), "targets": [file.parent.name for file in test]}
    write_evaluation(output, frames, stated)


def _read_model(manifest: Path) -> dict[str, Any]:
    """A model that plug-ins can read."""
    described = read_model(manifest)
    if virtual_tokens(Path(described["path"])):
        raise ModelError(
            f"{described['path']}: has virtual tokens, which no plug-in would read before its texts; leave the "
            "plug-ins out, or the model"
        )
    return described


def _own_files(folder: Path, cache: Path) -> dict[str, str]:
    """SHA-256 of a plug-in's files by their paths in its folder."""
    return {str(file.relative_to(folder)): file_sha256(file) for file in program_files(folder, cache)}


def _digest(own: Mapping[str, str], model: dict[str, Any], shown: ShownTexts, files: Sequence[Path]) -> str:
    """Of all that a plug-in is given: its own files, the model, and both splits of the distributions."""
    splits = [file.parent / f"{split}.json" for file in files for split in SPLITS]
    return value_digest(
        {
            "programs": dict(own),
            "model": [model[key] for key in ("path", "weights_digest", "tokenizer_digest")],
            "examples": [[asdict(example) for example in shown.examples(file)] for file in splits if file.is_file()],
            "names": [file.parent.name for file in files],
        }
    )


def _is_done(work: Path, digest: str, results: Sequence[Path]) -> bool:
    try:
        done = read_sealed(work / DONE_FILE)
        return done == {"digest": digest, "results": _hashes(results)}
    except (StoreError, OSError):
        return False


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: file_sha256(file) for file in files}


def _run_programs(
    folder: Path,
    model: Path,
    shown: ShownTexts,
    train: Path,
    tests: Sequence[Path],
    work: Path,
    results: Sequence[Path],
) -> None:
    source = _folder(train, shown, work)
    targets = [_folder(test, shown, work) for test in tests]
    trained = str((work / "model").resolve())
    _call(folder, "train.py", work, model_dir=str(model), output_dir=trained, training_distribution_dir=source,
          test_distribution_dirs=targets)  # fmt: skip
    _call(folder, "eval.py", work, model_dir=trained, distribution_dirs=targets, output_paths=list(map(str, results)))


def _folder(file: Path, shown: ShownTexts, work: Path) -> str:
    """The distribution's folder, or one made for the plug-in where others are shown not just what that folder holds."""
    name = file.parent.name
    if shown.as_it_is(file.parent):
        return str(file.parent.resolve())
    folder = work / "distributions" / name
    for split in SPLITS:
        path = file.parent / f"{split}.json"
        if path.is_file() and not (folder / f"{split}.json").exists():
            write_split(folder / f"{split}.json", shown.examples(path))
    return str(folder.resolve())


def _call(folder: Path, program: str, work: Path, **options: str | list[str]) -> None:
    command = [sys.executable, str((folder / program).resolve())]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    printed = work / f"{program}.log"
    with printed.open("w", encoding="utf-8") as stream, asked_to_stop() as asked:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = _wait(running, asked)
        finally:
            # With all that it has started itself: none of it may use the GPU once the next job has it.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    if status:
        lines = [line for line in printed.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "it printed nothing"
        raise PluginError(f"{folder / program}: ended with status {status} ({last}); all it printed is in {printed}")


def _wait(running: subprocess.Popen[bytes], asked: Event) -> int:
    """The status with which the program ends, unless SIGTERM comes before."""
    while not asked.is_set():
        with suppress(subprocess.TimeoutExpired):
            return running.wait(timeout=0.2)
    raise Interrupted("plug-in: ended by SIGTERM; the same command begins it again")


def _frame(result: Path, target: SplitPairs) -> pl.DataFrame:
    """Rows of one target, from what the plug-in wrote of it."""
    import polars as pl

    from genies.evaluation.evaluations import PAIR_COLUMNS

    record = _read_result(result)
    accuracy = _share(result, record, "eval_accuracy")
    probability = record.get("eval_probabilities")
    stated: dict[str, float | None] = {"accuracy": accuracy, "rms": None}
    if probability is None:
        if record.get("eval_rms_calibration_error") is not None:
            stated["rms"] = _share(result, record, "eval_rms_calibration_error")
    else:
        probability = _checked(result, probability, len(target.pairs))
        ranked = [metrics.accuracy(probability, ties) for ties in ("half", "right")]
        if min(abs(value - accuracy) for value in ranked) <= 1e-6:
            stated["accuracy"] = None
        else:
            log.warning(
                "%s: eval_accuracy is %s, its probabilities give %s; the former is used", result, accuracy, ranked[0]
            )
    rows = len(target.pairs)
    own = {*places(target), "probability", "stated_accuracy", "stated_RMS_calibration_error", "no_text_scores"}
    unknown = dict.fromkeys(PAIR_COLUMNS.keys() - own, [None] * rows)
    return pl.DataFrame(
        {
            **places(target),
            **unknown,
            "probability": [None] * rows if probability is None else probability,
            "stated_accuracy": [stated["accuracy"]] * rows,
            "stated_RMS_calibration_error": [stated["rms"]] * rows,
            "no_text_scores": ["a plug-in states probabilities of pairs alone"] * rows,
        },
        schema=PAIR_COLUMNS,
    )


def _read_result(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PluginError(f"{path}: the plug-in's eval.py did not write it") from None
    except ValueError as error:
        raise PluginError(f"{path}: not JSON ({error}); mend the plug-in's eval.py") from None
    if not isinstance(record, dict):
        raise PluginError(f"{path}: not an object; mend the plug-in's eval.py")
    return record


def _share(path: Path, record: dict[str, Any], field: str) -> float:
    value = record.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise PluginError(f"{path}: {field} is {value!r}, not a number from 0 to 1; mend the plug-in's eval.py")
    return float(value)


def _checked(path: Path, values: Any, pairs: int) -> np.ndarray:
    if not isinstance(values, list) or len(values) != pairs:
        count = len(values) if isinstance(values, list) else f"a {type(values).__name__}"
        raise PluginError(f"{path}: eval_probabilities has {count} values for {pairs} test pairs; mend its eval.py")
    try:
        return metrics.checked_probability(values)
    except (ValueError, TypeError) as error:
        raise PluginError(f"{path}: eval_probabilities: {error}; mend the plug-in's eval.py") from None
