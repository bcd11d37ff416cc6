"""A miniature run made by the verbs themselves, one after the other, as the workflow's jobs do it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from helpers import save_model, write_distribution

from genies.cli import main
from genies.evaluation import tables
from genies.spent import SPENT_FILE

VIEWS = ("plain", "yes", "no")
TRAINED = {"steps": 2, "pairs_per_step": 4, "rank": 2, "seed": 3}
COMMON = {"protocol": "corrected", "seed": 0}
EXAMPLES = 20
CONFIG = {
    "run": "run",
    "models": ["models/tiny"],
    "distributions": ["data/north"],
    "shifts": ["shifts.yaml"],
    "interventions": ["mms", "cra", "lora"],
    "intervention_parameters": {"lora": TRAINED},
    "capability_interventions": ["mms"],
}


class Verbs:
    """Paths and command lines of a run in the working directory; each verb with the files that it makes."""

    def __init__(self) -> None:
        run, data = "results/run", "data/north"
        self.model, self.tokens = f"{run}/models/tiny.json", f"{run}/tokens/tiny.json"
        self.activations = f"{run}/activations/tiny/0.json"
        self.fits = {name: f"{run}/interventions/tiny/{name}.json" for name in ("mms", "cra")}
        self.trained = f"{run}/interventions/tiny/lora/groups/0.json"
        self.tuned = f"{run}/interventions/tiny/lora/north.json"
        views = ("--train-views", *VIEWS, "--test-views", *VIEWS)
        tokens = ("--model", self.model, "--tokens", self.tokens)
        evaluations = f"{run}/evaluations/tiny"
        self.commands: dict[str, tuple[str, ...]] = {
            "model": ("models/tiny", "--output", self.model),
            "tokenize": (
                "--model", self.model, "--train", f"{data}/train.json", "--test", f"{data}/test.json", *views,
                "--output", self.tokens,
            ),
            "extract": ("north", *tokens, *views, "--batch-tokens", "100", "--output", self.activations),
            **{
                f"fit {name}": (
                    name, "--parameters", json.dumps(COMMON), "--train", f"{data}/train.json",
                    "--activations", self.activations, "--output", path,
                )
                for name, path in self.fits.items()
            },
            "tune": (
                "lora", "north:north", "--parameters", json.dumps(COMMON | TRAINED), *tokens,
                "--train", f"{data}/train.json", "--test", f"{data}/test.json", "--output", self.trained,
            ),
            "gather": (self.trained, "--output", run),
            **{
                verb: (
                    "north:north", "--fits", self.fits[name], "--test", f"{data}/test.json",
                    "--activations", self.activations, "--output", f"{evaluations}/{name}",
                )
                for verb, name in (("evaluate", "mms"), ("evaluate cra", "cra"))
            },
            "overlap": (
                "north:north", "--train", f"{data}/train.json", "--test", f"{data}/test.json", "--output", run,
            ),
            "metrics": (
                f"{run}/evaluations", "--models", "tiny", "--interventions", "mms", "--shifts", "shifts.yaml",
                "--capability", "mms", "--fits", self.fits["mms"], "--on-references", "mms",
                "--overlap", f"{run}/overlap.parquet",
                "--output", run,
            ),
            "records": (
                "north:north", "--tokens", self.tokens, "--activations", self.activations,
                "--fits", *self.fits.values(), "--tuned", self.tuned, "--overlap", f"{run}/overlap.parquet",
                "--output", run,
            ),
            "provenance": (
                f"{run}/leaderboard.csv", "--config", json.dumps(CONFIG), "--output", f"{run}/provenance.json",
            ),
            "costs": (
                "--activations", self.activations, "--fits", *self.fits.values(), "--trained", self.trained,
                "--benchmarks", f"{run}/benchmarks", "--output", run,
            ),
            "report": (run, "--title", "run", "--provenance", f"{run}/provenance.json",
                       "--output", f"{run}/report.html"),
        }  # fmt: skip
        self.made = {
            **{f"fit {name}": (path,) for name, path in self.fits.items()},
            "model": (self.model,),
            "tokenize": (self.tokens,),
            "extract": (self.activations,),
            "tune": (self.trained,),
            "gather": (self.tuned, f"{evaluations}/lora/north.parquet"),
            "evaluate": (f"{evaluations}/mms/north.parquet",),
            "evaluate cra": (f"{evaluations}/cra/north.parquet",),
            "overlap": tuple(f"{run}/{name}" for name in ("overlap.parquet", "overlap.csv", "shared_texts.csv")),
            "metrics": tuple(f"{run}/{name}.csv" for name in tables.NAMES),
            "records": tuple(f"{run}/{name}.csv" for name in ("texts", "training", "checks", "sites")),
            "provenance": (f"{run}/provenance.json",),
            "costs": (f"{run}/costs.csv", f"{run}/jobs.csv"),
            "report": (f"{run}/report.html",),
        }

    def run(self, verb: str) -> int:
        """Run one verb in the working directory. Returns its exit status."""
        return main([verb.split()[0], *self.commands[verb]])

    def run_missing(self) -> list[str]:
        """Run the verbs whose files are missing, in order, as Snakemake would. Returns which."""
        ran = []
        for verb in self.commands:
            if not all(Path(file).is_file() for file in self.made[verb]):
                assert self.run(verb) == 0, verb
                ran.append(verb)
        return ran


def make(folder: Path) -> None:
    """Run every verb in a new folder."""
    save_model(folder / "models" / "tiny", "llama")
    write_distribution(folder / "data" / "north", train=EXAMPLES, test=EXAMPLES)
    shift = {"source": "north", "target": "north", "label": "extreme", "category": "place"}
    (folder / "shifts.yaml").write_text(json.dumps([shift]))
    before = Path.cwd()
    os.chdir(folder)
    try:
        Verbs().run_missing()
    finally:
        os.chdir(before)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for locks, the records of users and what was spent, by its path."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not {".locks", "users", SPENT_FILE} & set(file.relative_to(folder).parts)
    }


def restore(folder: Path, wanted: dict[str, bytes]) -> None:
    """Make a folder hold exactly these files again."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
