"""The stage ``details``: what the page shows of a run in addition to its metrics, in one job.

It is written last, so that nearly every job of the run has been timed by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genies.data.options import Reading
from genies.stages.costs import write_costs
from genies.stages.records import write_records
from genies.stages.samples import write_samples


def write_details(
    *,
    shifts: Sequence[str],
    shown: Sequence[str],
    models: Sequence[str],
    interventions: Sequence[str],
    references: Sequence[str] = (),
    on_references: Sequence[str] = (),
    absent: Sequence[str] = (),
    evaluations: Path,
    overlap: Path,
    test: Sequence[Path],
    tokens: Sequence[Path] = (),
    described: Sequence[Path] = (),
    activations: Sequence[Path] = (),
    compared: Sequence[Path] = (),
    fits: Sequence[Path] = (),
    repeats: Sequence[Path] = (),
    tuned: Sequence[Path] = (),
    trained: Sequence[Path] = (),
    plugins: Sequence[Path] = (),
    benchmarks: Path,
    jobs: Sequence[str] = (),
    reading: Reading = Reading(),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Do what ``genies records``, ``genies samples`` and ``genies costs`` do, which explain their parameters.

    Args:
        shifts: ``SOURCE:TARGET`` of every shift, whose overlap is stated.
        shown: ``SOURCE:TARGET`` of what pairs are shown of.
        models: as for ``genies samples``.
        interventions: likewise.
        references: likewise.
        on_references: likewise.
        absent: likewise.
        evaluations: likewise.
        overlap: as for ``genies records``.
        test: as for ``genies samples``.
        tokens: as for both.
        described: as for ``genies samples``.
        activations: manifests of ``genies extract``.
        compared: those of reference models, of which the costs alone are stated.
        fits: manifests of ``genies fit``.
        repeats: those of further seeds, of which the costs alone are stated.
        tuned: manifests of ``genies gather``, by source.
        trained: manifests of ``genies tune``, by job.
        plugins: as for ``genies costs``.
        benchmarks: likewise.
        jobs: likewise.
        reading: how splits are read.
        cache: the cache folder.
        output: folder of all tables, and of ``samples.json``.
    """
    write_records(
        *shifts, tokens=tokens, activations=activations, fits=fits, tuned=tuned, overlap=overlap, output=output
    )
    write_samples(
        *shown, evaluations=evaluations, models=models, interventions=interventions, references=references,
        on_references=on_references, absent=absent, test=test, tokens=tokens, described=described, reading=reading,
        output=output / "samples.json",
    )  # fmt: skip
    write_costs(
        activations=[*activations, *compared], fits=[*fits, *repeats], trained=trained, plugins=plugins,
        benchmarks=benchmarks, jobs=jobs, cache=cache, output=output,
    )  # fmt: skip
