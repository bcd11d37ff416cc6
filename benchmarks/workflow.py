"""What Snakemake itself costs: planning, and finding nothing to do, at the size of a whole study.

Run as ``python benchmarks/workflow.py``; see ``docs/benchmarks.md``. Four models, ten interventions, the 69 published
entries. Models and distributions are small stand-ins, and every output is an empty file that ``snakemake --touch``
marks as made, so that nothing but the workflow is timed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from genies.data.archive import published_digests

REPOSITORY = Path(__file__).parents[1]
MODELS = ("model-a", "model-b", "model-c", "model-d")
INTERVENTIONS = (
    "random", "zero_shot", "few_shot", "mms", "lat_stim_1", "lat_stim_2", "cra", "ccs", "lora", "prompt_tuning",
)  # fmt: skip


def make_project(folder: Path, models: Sequence[str], interventions: Sequence[str], shifts: str) -> None:
    """The workflow with stand-ins for the published data and for the models."""
    for name in ("Snakefile", "workflow", "profiles", "genies", "config"):
        (folder / name).symlink_to(REPOSITORY / name)
    for name in published_digests():
        file = folder / "resources/genies" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("[]")
    for model in models:
        (folder / model).mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / model / name).write_text("{}")
    settings = {
        "run": "study",
        "models": models,
        "interventions": interventions,
        "shifts": [shifts],
        "capability_interventions": [name for name in ("mms", "lora") if name in interventions],
    }
    (folder / "study.json").write_text(json.dumps(settings))


def snakemake(folder: Path, *options: str) -> tuple[float, str]:
    """Seconds of one call, and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.json", *options]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begin, done.stdout + done.stderr


def make_outputs(folder: Path) -> int:
    """Make every output of every job, and let Snakemake take note. Returns their number."""
    listed = snakemake(folder, "--summary")[1].splitlines()
    table = csv.DictReader(
        listed[next(n for n, line in enumerate(listed) if line.startswith("output_file")) :], delimiter="\t"
    )
    files = [folder / row["output_file"] for row in table]
    for file in files:
        if file.name == "figures":
            file.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    snakemake(folder, "--touch", "--forceall")
    return len(files)


def best(folder: Path, repeats: int, *options: str) -> tuple[float, str]:
    """The quickest of several calls."""
    return min((snakemake(folder, *options) for _ in range(repeats)), key=lambda timed: timed[0])


def main() -> None:
    """Time planning and a run without work; print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--interventions", nargs="+", default=INTERVENTIONS)
    parser.add_argument("--shifts", default="config/shifts/published69.yaml", help="a list of the repository")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, options.models, options.interventions, options.shifts)
        planning, told = best(folder, options.repeats, "--dry-run")
        jobs = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("total"))
        outputs = make_outputs(folder)
        nothing, told = best(folder, options.repeats)
        if "Nothing to be done" not in told:
            raise SystemExit(f"there was work to do:\n{told}")
    print("| jobs | outputs | planning | nothing to do |\n|---|---|---|---|")
    print(f"| {jobs} | {outputs} | {planning:.1f} s | {nothing:.1f} s |")


if __name__ == "__main__":
    main()
