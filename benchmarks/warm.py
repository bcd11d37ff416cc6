"""Fitting and evaluating mms, lat_stim_1, cra and ccs over the published shifts on cached features, timed.

Run as ``python benchmarks/warm.py``; see ``docs/benchmarks.md``. The features are random numbers in the sizes of a
model of 24 layers, 1,024 wide, with 16 heads. Every distribution has 600 training examples and 250 test examples with
three responses, and shares one store per split and view with the others, so reading is from memory, not from a disk.
The two jobs that run at a time are processes of one thread each, as Snakemake starts them with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from genies.data.options import Reading
from genies.data.shifts import Shift, read_shifts
from genies.engine.options import Extraction
from genies.store.blocks import block_texts
from genies.store.settled import Settled
from genies.store.writer import StoreWriter

RESPONSES = 3
METHODS = ("mms", "lat_stim_1", "cra", "ccs")
VIEWS = ("plain", "yes", "no")


@dataclass(frozen=True)
class Sizes:
    """Examples of a distribution's splits, and the shape of the model."""

    train: int = 600
    test: int = 250
    blocks: int = 24
    hidden: int = 1024
    heads: int = 16


def make_store(root: Path, split: str, view: str, sizes: Sizes) -> str:
    """A store of random features, of two responses per training example or of all per test example; its name."""
    rng = np.random.default_rng([len(split), VIEWS.index(view)])
    examples, responses = (sizes.train, 2) if split == "train" else (sizes.test, RESPONSES)
    keys = [(example, response) for example in range(examples) for response in range(responses)]
    blocks, hidden, heads = sizes.blocks, sizes.hidden, sizes.heads
    shapes = {"heads": (blocks, heads, hidden // heads), "residual": (blocks + 1, hidden)}
    description = {
        "model": "random",
        "view": view,
        "dtype": "float32",
        "blocks": blocks,
        "sizes": {"blocks": blocks, "heads": heads, "head_dim": hidden // heads, "hidden": hidden},
        "layers": {"residual": list(range(blocks + 1)), "heads": list(range(blocks))},
        "heads": list(range(heads)),
        "without_heads": None,
        "block_texts": block_texts(blocks * hidden + (blocks + 1) * hidden, 4, len(keys)),
        "example": [example for example, _ in keys],
        "response": [response for _, response in keys],
    }
    writer = StoreWriter(root, f"{split}-{view}", description, shapes)
    for first in range(0, len(keys), 50):
        count = min(50, len(keys) - first)
        writer.append(first, {n: rng.standard_normal((count, *s), np.float32) for n, s in shapes.items()})
    writer.finish()
    return f"{split}-{view}"


def make_world(folder: Path, shifts: list[Shift], sizes: Sizes) -> list[str]:
    """Distributions, stores and manifests. Returns the evaluations as ``SOURCE:TARGET``."""
    names = {name for shift in shifts for name in (shift.source, shift.target)}
    for name in names:
        (folder / name).mkdir()
        for split, count, responses in (("train", sizes.train, 2), ("test", sizes.test, RESPONSES)):
            examples = [
                {"prompt": f"{name} {n}", "responses": {f"answer {r}": int(r == 0) for r in range(responses)}}
                for n in range(count)
            ]
            (folder / name / f"{split}.json").write_text(json.dumps(examples))
    stores = {(split, view): make_store(folder / "cache/activations", split, view, sizes)
              for split in ("train", "test") for view in VIEWS}  # fmt: skip
    # A name of its own for each distribution: fits on equal stores would be taken from the cache.
    for name in names:
        for digest in stores.values():
            (folder / f"cache/activations/{digest}-{name}").symlink_to(digest)
    records = [
        {"distribution": name, "split": split, "view": view, "digest": f"{digest}-{name}"}
        for name in sorted(names)
        for (split, view), digest in stores.items()
    ]
    manifest = {
        "model": "random",
        "files": {},
        "weights_digest": "random",
        "tokenizer_digest": "random",
        "reading": asdict(Reading()),
        "stores": records,
        "features": [{**record, "tokens": record["digest"], "reads": record["view"]} for record in records],
        "left_out": {},
        "extraction": Settled(Extraction(), "sdpa", "float32", "cpu").deciding(),
    }
    (folder / "activations.json").write_text(json.dumps(manifest))
    targets = {(shift.source, shift.target) for shift in shifts} | {(s.source, s.source) for s in shifts}
    return sorted(f"{source}:{target}" for source, target in targets)


def starting_seconds(modules: list[str]) -> float:
    """Seconds that a fresh Python takes to start and import what a job had imported at its end."""
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)"
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *modules], check=True)
    return time.perf_counter() - begin


def run_method(folder: Path, method: str, pairs: list[str]) -> dict[str, float]:
    """Seconds of fit and evaluate, how many of them went into starting, and their largest memory."""
    common = ["--activations", str(folder / "activations.json"), "--cache", str(folder / "cache")]
    sources = sorted({pair.partition(":")[0] for pair in pairs})
    tests = sorted({pair.partition(":")[2] for pair in pairs})
    fits = str(folder / f"{method}.json")
    verbs = {
        "fit": [method, "--train", *(str(folder / name / "train.json") for name in sources), *common, "--output", fits],
        "evaluate": [*pairs, "--fits", fits, "--test", *(str(folder / name / "test.json") for name in tests), *common,
                     "--output", str(folder / "evaluations" / method)],
    }  # fmt: skip
    result = {}
    for verb, arguments in verbs.items():
        code = "import sys, resource, genies.cli as c; s = c.main(sys.argv[1:]); print(*" \
            "(n for n in ('torch', 'zarr', 'polars', 'sklearn.linear_model', 'scipy.stats') if n in sys.modules));" \
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(s)"  # fmt: skip
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, verb, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        result[f"{verb}_seconds"] = time.perf_counter() - begin
        result[f"{verb}_start"] = starting_seconds(["genies.cli", *done.stdout.splitlines()[-2].split()])
        result[f"{verb}_gib"] = int(done.stdout.splitlines()[-1]) / 2**20
    print(method, result, file=sys.stderr)
    return result


def main() -> None:
    """Time all methods; print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--shifts", type=Path, default=Path("config/shifts/published69.yaml"))
    for name, value in asdict(Sizes()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    sizes = Sizes(**{name: getattr(options, name) for name in asdict(Sizes())})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = make_world(folder, read_shifts(options.shifts), sizes)
        begin = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            rows = dict(
                zip(options.methods, pool.map(lambda m: run_method(folder, m, pairs), options.methods), strict=True)
            )
        wall = time.perf_counter() - begin
    print("| method | fit | start | memory | evaluate | start | memory |\n|---|---|---|---|---|---|---|")
    for method, row in rows.items():
        print(
            f"| {method} | "
            + " | ".join(
                f"{row[f'{verb}_seconds']:.0f} s | {row[f'{verb}_start']:.1f} s | {row[f'{verb}_gib']:.2f} GiB"
                for verb in ("fit", "evaluate")
            )
            + " |"
        )
    spent, starting = (sum(row[f"{verb}_{what}"] for row in rows.values() for verb in ("fit", "evaluate"))
                       for what in ("seconds", "start"))  # fmt: skip
    print(f"\nStarting Python and importing is {starting / spent:.2f} of the jobs' time.")
    print(f"\nAll together, two jobs at a time: {wall:.0f} s for {len(pairs)} evaluations.")


if __name__ == "__main__":
    main()
