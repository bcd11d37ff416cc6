"""The verb ``audit``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from genies.config.sections import Config
from genies.data.framing import Framed
from genies.data.reading import read_drawn
from genies.digests import value_digest
from genies.errors import ConfigError, DataError, first_line
from genies.evaluation.audit import DOUBTS, KEYS, corrected, doubts
from genies.evaluation.evaluations import read_evaluation
from genies.evaluation.metrics import BASELINE, NULL
from genies.evaluation.table import write_csv
from genies.files import read_json, results_folder
from genies.plan import Plan

VERDICTS = {"yes": True, "no": False}
"""What a person writes into the column ``wrong``."""
TEXTS = "texts"
"""Column of the list: a digest by which it is known whether it is about the texts of a run."""
NEW_LINE = " ¶ "
"""Replaces line breaks of the texts, so that the list has a line for each pair."""


def audit(folder: Path, *, most: int = 50, reviewed: Path | None = None, output: Path | None = None) -> None:
    """List the test pairs whose labels a run's methods doubt most, for a person to go through.

    Write `yes` or `no` into the column `wrong` of the list, and give it back with --reviewed: accuracies against the
    corrected labels are printed next to those against the labels as they are.

    Args:
        folder: of the run's results.
        most: pairs to list of each target.
        reviewed: the list with its column `wrong` filled in, at least in part.
        output: CSV to write (default: `audit.csv` in the folder).

    Raises:
        StoreError: an evaluation is missing or damaged.
        DataError: the list is not one that this verb wrote, or a distribution has changed since; or a list that is
            filled in would be lost.
    """
    stated = read_json(results_folder(folder) / "provenance.json", "configuration")
    plan = Plan(Config(**stated["configuration"]))
    evaluations = folder / "evaluations"
    if most < 1:
        raise ConfigError(f"--most: {most} is not a positive whole number")
    if reviewed is not None:
        found = corrected(dict(_cells(plan, evaluations)), _read_reviewed(reviewed, plan))
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_formatting="ASCII_MARKDOWN",
                       tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=60):  # fmt: skip
            print(found)
        return
    of_own = [
        pairs
        for (_, name, source, target), pairs in _cells(plan, evaluations)
        if source == target and name not in {NULL, BASELINE, *plan.roles.surface, *plan.methods.ensembles}
    ]
    listed = doubts(of_own).group_by("target", maintain_order=True).head(most)
    if not len(listed):
        raise DataError(
            f"{folder}: no method but baselines was fitted and tested on the same distribution; add one that is"
        )
    file = output or folder / "audit.csv"
    _check_unfilled(file)
    write_csv(_with_texts(plan, listed), file)
    print(f"{file}: {len(listed)} pairs of {listed['target'].n_unique()} targets, the most doubtful first")
    if rest := sorted({*plan.selection.tested} - {*listed["target"]}):
        print(f"not {', '.join(rest)}: no method but baselines was fitted there")


def _check_unfilled(file: Path) -> None:
    """Raise DataError where a list is there already in which a person has filled in something."""
    try:
        said = pl.read_csv(file, infer_schema=False, glob=False).get_column("wrong")
    except (OSError, pl.exceptions.PolarsError):
        return
    if said.is_not_null().any():
        raise DataError(f"{file}: its column wrong is filled in, and would be lost; move it, or give another --output")


def _cells(plan: Plan, evaluations: Path) -> Iterator[tuple[tuple[str, str, str, str], pl.DataFrame]]:
    """What each fit of a run says of each target, behind model, intervention, source and target."""
    for model in plan.models:
        for name in plan.methods.names:
            for source in plan.jobs.sources(name):
                pairs = read_evaluation(evaluations / model / name / f"{source}.parquet")
                for (target,), rows in pairs.group_by("target", maintain_order=True):
                    yield (model, name, source, str(target)), rows


def _with_texts(plan: Plan, listed: pl.DataFrame) -> pl.DataFrame:
    """The pairs with their texts, a digest of these, and an empty column for what a person says.

    Raises:
        DataError: a distribution lacks one of the pairs.
    """
    rows: list[dict[str, str | None]] = []
    framed: dict[str, dict[tuple[int, int], tuple[str, str, str]]] = {}
    for target, example, pair in listed.select(KEYS).iter_rows():
        if target not in plan.selection.tested:
            raise DataError(f"{target}: is no target of this run; give the list that genies audit wrote of it")
        file = plan.data.file(target, "test")
        if target not in framed:
            framed[target] = _texts(read_drawn(file, plan.reading)[0])
        if (example, pair) not in framed[target]:
            raise DataError(f"{file}: has no example {example} with a pair {pair}; make the list of this run again")
        texts = framed[target][example, pair]
        shown = dict(zip(("prompt", "best", "worse"), (text.replace("\n", NEW_LINE) for text in texts), strict=True))
        rows.append({**shown, TEXTS: value_digest(list(texts))[:16], "wrong": None})
    return pl.concat([listed, pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))], how="horizontal")


def _texts(framed: Framed) -> dict[tuple[int, int], tuple[str, str, str]]:
    """Prompt, best and worse response by what names a pair in results."""
    from genies.data.pairs import test_pairs

    found = {}
    for pair in test_pairs(framed.examples):
        example = framed.examples[pair.example]
        found[framed.place(pair)] = example.prompt, example.responses[pair.best], example.responses[pair.worse]
    return found


def _read_reviewed(path: Path, plan: Plan) -> pl.DataFrame:
    """The pairs of a list that a person has judged: ``KEYS`` and ``wrong``, bool.

    Raises:
        DataError: it is no such list, or one of other texts than those of the run, or nothing is filled in.
    """
    wanted = [*KEYS, TEXTS, "wrong"]
    try:
        frame = pl.read_csv(path, infer_schema=False, glob=False).select(wanted)
        found = frame.with_columns(pl.col("wrong").str.strip_chars().replace("", None)).drop_nulls("wrong")
        keys = found.with_columns(pl.col(name).cast(DOUBTS[name]) for name in KEYS)
    except (OSError, pl.exceptions.PolarsError) as error:
        if not path.is_file():
            raise DataError(f"{path}: no such file; give the list that genies audit wrote, filled in") from None
        reason = f"is no list of genies audit ({first_line(error)}); it has {', '.join(wanted)}"
        raise DataError(f"{path}: {reason}") from None
    if not len(keys):
        raise DataError(f"{path}: nothing is filled in; write yes or no into the column wrong")
    said = found["wrong"].str.to_lowercase()
    for row, verdict in enumerate(said):
        if verdict not in VERDICTS:
            place = " ".join(map(str, keys.row(row)[:3]))
            raise DataError(f"{path}: {place}: wrong is {verdict!r}; write yes or no, or leave it empty")
    if twice := int(keys.select(KEYS).is_duplicated().sum()):
        raise DataError(f"{path}: {twice} rows are about pairs that occur twice; keep one of each")
    try:
        today = _with_texts(plan, keys.select(KEYS))[TEXTS]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if differing := [row for row, (was, now) in enumerate(zip(keys[TEXTS], today, strict=True)) if was != now]:
        place = " ".join(map(str, keys.row(differing[0])[:3]))
        raise DataError(f"{path}: {place}: is about other texts than this run's; make the list of this run again")
    return keys.select(KEYS).with_columns(wrong=said.replace_strict(VERDICTS, return_dtype=pl.Boolean))
