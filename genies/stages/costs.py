"""The stage ``costs``: what it took to compute what a run rests on, and what the run's own jobs took."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from genies.analyses import ANALYSES
from genies.evaluation.records import COSTS, JOBS
from genies.files import folder_bytes, read_json
from genies.interventions.registry import name_of
from genies.report.progress import benchmark_rows, number
from genies.spent import FIT, PLUGIN, STORE, TEST, Spent, read_spent
from genies.store.fits import fits_folder

MEBIBYTE = 2**20
OF_METHODS = ("probe", "tune", "plugin", "ensemble", "ensemble_on_references", "sweep_source")
"""Rules of which each job is of a model and a method."""
OF_MODELS = (
    *("model", "merge", "merge_reward", "tokenize", "extract", "surface", "gather"),
    *ANALYSES,
    *OF_METHODS,
)

Row = dict[str, Any]


def write_costs(
    *,
    activations: Sequence[Path] = (),
    fits: Sequence[Path] = (),
    trained: Sequence[Path] = (),
    plugins: Sequence[Path] = (),
    benchmarks: Path,
    jobs: Sequence[str] = (),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Write what every store, fit and test took when it was made, and every job when it last ran.

    Args:
        activations: manifests of ``genies extract``.
        fits: manifests of ``genies fit``, each in a folder with the name of its model.
        trained: manifests of ``genies tune``.
        plugins: folders that plug-ins work in, each ``<model>/<plug-in>/<source>``.
        benchmarks: folder of Snakemake's benchmark files, ``<rule>.tsv`` or ``<rule>/**/*.tsv``.
        jobs: which of these files are of jobs of the run, without ``.tsv``; others were left by runs that were
            configured in another way. Default: all of them.
        cache: the cache folder.
        output: folder of ``costs.csv`` and ``jobs.csv``.

    Raises:
        StoreError: a manifest is missing or damaged.
    """
    rows = [
        *(row for path in activations for row in _stores(read_json(path, "model", "stores"), cache)),
        *(row for path in fits for row in _fits(path, cache)),
        *(row for path in trained for row in _trained(read_json(path, "model", "fits", "tests"), cache)),
        *map(_plugin, plugins),
    ]
    COSTS.write(COSTS.frame(rows), output)
    JOBS.write(JOBS.frame(_jobs(benchmarks, set(jobs))), output)


def _stores(manifest: Mapping[str, Any], cache: Path) -> Iterator[Row]:
    """A row per split: its stores were computed together, so that each has the same notes."""
    splits: dict[tuple[str, str], list[Path]] = {}
    for store in manifest["stores"]:
        folder = cache / "activations" / store["digest"]
        splits.setdefault((store["distribution"], store["split"]), []).append(folder)
    for (distribution, split), folders in splits.items():
        notes = [read_spent(folder).get(STORE, []) for folder in dict.fromkeys(folders)]
        # Each process once; where a kill came between two of its notes, the later one.
        by_process = {note.began: note for note in sorted(itertools.chain(*notes), key=lambda note: note.seconds)}
        yield {
            "model": manifest["model"],
            "stage": "extract",
            "distribution": distribution,
            "split": split,
            "bytes": sum(folder_bytes(folder) for folder in dict.fromkeys(folders)),
            **_sum(by_process.values() if all(notes) else ()),
        }


def _fits(path: Path, cache: Path) -> Iterator[Row]:
    manifest = read_json(path, "intervention", "fits")
    for source, digest in manifest["fits"].items():
        folder = fits_folder(cache, digest)
        yield _fit(path.parent.name, "probe", path.stem, source, folder, read_spent(folder))


def _trained(manifest: Mapping[str, Any], cache: Path) -> Iterator[Row]:
    for source, digest in manifest["fits"].items():
        folder, method = fits_folder(cache, digest), name_of(manifest["intervention"])
        notes = read_spent(folder)
        yield _fit(manifest["model"], "tune", method, source, folder, notes)
        for target, test in manifest["tests"][source].items():
            yield {
                "model": manifest["model"],
                "stage": "test",
                "intervention": method,
                "source": source,
                "distribution": target,
                "split": "test",
                "bytes": sum(file.stat().st_size for file in (folder / "tests").glob(f"{test}.*")),
                **_sum(notes.get(f"{TEST}/{test}", ())),
            }


def _fit(model: str, stage: str, method: str, source: str, folder: Path, notes: Mapping[str, Sequence[Spent]]) -> Row:
    place = {"model": model, "stage": stage, "intervention": method, "source": source}
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return {**place, "bytes": size, **_sum(notes.get(FIT, ()))}


def _plugin(work: Path) -> Row:
    model, method, source = work.parts[-3:]
    place = {"model": model, "stage": "plugin", "intervention": method, "source": source}
    return {**place, "bytes": folder_bytes(work), **_sum(read_spent(work).get(PLUGIN, ()))}


def _sum(notes: Iterable[Spent]) -> Row:
    """What several processes spent on one thing; nothing where it is not known."""
    known = list(notes)
    if not known:
        return {}
    row: Row = {name: sum(getattr(note, name) for note in known) for name in ("seconds", "cpu_seconds")}
    row["device"] = " and ".join(dict.fromkeys(note.device for note in known))
    for name, together in (
        ("peak_memory", max),
        ("peak_device_memory", max),
        ("computed_tokens", sum),
        ("distinct_tokens", sum),
    ):
        values = [value for note in known if (value := getattr(note, name)) is not None]
        row[name] = together(values) if values else None
    return row


def _jobs(benchmarks: Path, jobs: Set[str]) -> Iterator[Row]:
    """What Snakemake measured of each job that ran last under its name; of those that are named, if any are."""
    for file, row in benchmark_rows(benchmarks):
        name = file.relative_to(benchmarks).with_suffix("")
        if jobs and str(name) not in jobs:
            continue
        rule, *place = name.parts
        memory = number(row.get("max_rss"))
        yield {
            "rule": rule,
            "model": place[0] if place and rule in OF_MODELS else None,
            "intervention": place[1] if len(place) > 1 and rule in OF_METHODS else None,
            "job": "/".join(place[2 if rule in OF_METHODS else 1 if rule in OF_MODELS else 0 :]) or None,
            "seconds": number(row.get("s")),
            "cpu_seconds": number(row.get("cpu_time")),
            "peak_memory": None if memory is None else round(memory * MEBIBYTE),
        }
