"""Near duplicates in distributions: how many, at what cost, and how often texts match that have nothing in common.

Run as ``python benchmarks/overlap.py DISTRIBUTIONS_FOLDER SHIFT_LIST``; see ``docs/methods.md``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from genies.data.distributions import Example, read_split
from genies.data.near_overlap import JACCARD, Sketch
from genies.data.shifts import read_shifts
from genies.evaluation.seen import COUNTS
from genies.stages.overlap import write_overlap

TEMPLATES = (
    "Below is an instruction that describes a task. Complete the request to the best of your ability.\n\n"
    "### Instruction:\n{}\n\n### Response:\n",
    "Below is an instruction that describes a task, paired with an input that provides further context.\n\n"
    "### Instruction:\nProvide an accurate response to the following question.\n\n### Input:\n{}\n\n### Response:\n",
    "You are a chatbot. Assist user requests unless they are illegal.\n\n## User input:{}\n\n## Your response:\n",
    "Read the text and say whether its claim is supported.\n\nText: {}\n\nVerdict:",
)  # fmt: skip
TEXTS, WORDS = 2000, 20
CHANGED = (1, 2, 4, 8)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def planted(data: Path) -> tuple[list[list[str]], np.random.Generator]:
    """Unrelated texts of ``WORDS`` words each, drawn as often as they occur in the prompts."""
    counts: Counter[str] = Counter()
    for file in sorted(data.glob("*/train.json")):
        for example in read_split(file):
            counts.update(example.prompt.rpartition("### Instruction:")[2].split())
    random = np.random.default_rng(0)
    words, often = np.array([*counts]), np.array([*counts.values()], float)
    return [list(random.choice(words, WORDS, p=often / often.sum())) for _ in range(TEXTS)], random


def sketch(texts: Sequence[Sequence[str]]) -> Sketch:
    """Texts in the templates, a quarter in each, as prompts of a split."""
    made = [
        Example(TEMPLATES[number * len(TEMPLATES) // len(texts)].format(" ".join(text)), ("a", "b"), 0, (1,))
        for number, text in enumerate(texts)
    ]
    return Sketch(made, range(len(made)))


def rates(data: Path) -> None:
    """Print how many of half of the planted texts match any of the other half, and how many rewordings are missed."""
    texts, random = planted(data)
    half = len(texts) // 2
    train = sketch(texts[half:])
    every = np.divmod(np.arange(half * half), half)
    found = sketch(texts[:half]).prompts.similarity(every[0], train.prompts, every[1]).reshape(half, half).max(axis=1)
    print(f"{half} texts against {half} unrelated ones of the same templates; most alike: {found.max():.3f}")
    shares = {"false matches": found}
    for changed in CHANGED:
        copies = [list(text) for text in texts[half:]]
        for copy in copies:
            for place in random.choice(WORDS, changed, replace=False):
                copy[place] = texts[random.integers(half)][place]
        own = np.arange(half)
        shares[f"{changed} of {WORDS} words changed: found"] = sketch(copies).prompts.similarity(
            own, train.prompts, own
        )
    for name, values in shares.items():
        print(f"{name}: " + ", ".join(f"{(values >= least).mean():.3f} at {least}" for least in THRESHOLDS))
    print(f"threshold: {JACCARD}")


def counts(data: Path, shifts: Path) -> pl.DataFrame:
    """``overlap.csv`` of all distributions with themselves and of the shifts."""
    places = [(folder.name, folder.name) for folder in sorted(data.iterdir()) if (folder / "train.json").is_file()]
    places += [(shift.source, shift.target) for shift in read_shifts(shifts)]
    files = {split: [data / name / f"{split}.json" for name, other in places if name == other] for split in SPLITS}
    with tempfile.TemporaryDirectory() as folder:
        begin, worked = time.monotonic(), time.process_time()
        write_overlap(*(f"{a}:{b}" for a, b in dict.fromkeys(places)), **files, output=Path(folder))
        wall, cpu = time.monotonic() - begin, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{len(places)} comparisons: {wall:.0f} s, {cpu:.0f} s of processor time, peak memory {peak:.0f} MiB")
        return COUNTS.read(Path(folder))


SPLITS = ("train", "test")


def main() -> None:
    """Count, plant, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of distributions")
    parser.add_argument("shifts", type=Path, help="shift list, a file or a name")
    options = parser.parse_args()
    found = counts(options.data, options.shifts)
    rates(options.data)
    names = [name for name in COUNTS.columns if name not in ("source", "target")]
    print(f"| source | target | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    within = found.filter(pl.col("source") == pl.col("target"))
    for row in found.filter(pl.col("source") != pl.col("target")).iter_rows():
        print(f"| {' | '.join(map(str, row))} |")
    print(
        f"| the {len(within)} distributions | themselves | {' | '.join(map(str, within.select(names).sum().row(0)))} |"
    )


if __name__ == "__main__":
    main()
