"""A random walk: edits, kills and garbage collection in two folders with one cache, each run checked by a clean one.

``python tests/reliability/walk.py FOLDER --seed S --steps N`` goes on where an earlier call in FOLDER ended. A step is
decided by the seed and its number alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import save_model
from project import Project, cold, run_to_end, warm_program
from tqdm import tqdm

from genies.evaluation.evaluations import PAIR_COLUMNS
from genies.files import read_json, write_json
from genies.store.activations import ActivationStore

FOLDERS = ("a", "b")
RUN = Path("results/mini")
KEYS = ("target", "example", "pair")
BORDER = 1e-4
"""Pairs whose probability is nearer to ½ may be decided either way, since rows of another width round otherwise."""
FEATURES = {"float32": 1e-5, "bfloat16": 5e-3}
"""Largest relative difference of a text's features, by what they are stored in."""
OWN = '''"""A mean difference, times a factor."""

from genies.interventions.mms import MassMeanShift


class Own(MassMeanShift):
    """As its base class, but for the number of heads."""

    def __init__(self, *, kept: int = {kept}, **parameters):
        super().__init__(kept=kept, **parameters)
'''

Edit = Callable[[random.Random, Project], str]


def start(folder: Path) -> None:
    """Two projects, three models, and an intervention of the user's own in each."""
    for name in FOLDERS:
        project = Project(folder / name)
        for number in range(3):
            save_model(project.folder / "trained" / str(number) / "tiny-llama", "llama", layers=2 + number % 2)
        shutil.rmtree(project.folder / "tiny-llama")
        (project.folder / "tiny-llama").symlink_to("trained/0/tiny-llama")
        (project.folder / "own.py").write_text(OWN.format(kept=3))
        project.config["folders"] = {"cache": "../cache"}
        project.config["interventions"] = ["random", "zero_shot", "mms", "own.py"]
        keep(project)


def keep(project: Project) -> None:
    """Write down the configuration."""
    write_json(project.folder / "walk.json", {"config": project.config, "shifts": project.shifts})


def load(folder: Path) -> Project:
    """A project as it was kept."""
    project = Project.__new__(Project)
    project.folder = folder
    project.config, project.shifts = read_json(folder / "walk.json").values()
    return project


def edit_data(chance: random.Random, project: Project) -> str:
    """Swap the labels or the words of an example, mostly without a trace in the file's time."""
    file = project.folder / f"data/{chance.choice(('north', 'south', 'west'))}/{chance.choice(('train', 'test'))}.json"
    before, examples = file.stat(), json.loads(file.read_text())
    example = chance.choice(examples)
    if chance.random() < 0.5:
        responses = list(example["responses"])
        labels = [example["responses"][response] for response in responses]
        example["responses"] = dict(zip(responses, labels[1:] + labels[:1], strict=True))
    else:
        example["prompt"] = f"red {example['prompt']}"
    file.write_text(json.dumps(examples))
    if chance.random() < 0.7:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"data {file.parent.name}/{file.stem}"


def edit_config(chance: random.Random, project: Project) -> str:
    """Change one key of the configuration, or the shifts."""
    config = project.config
    key, values = chance.choice(
        [
            ("intervention_parameters", [{"mms": {"kept": 1}}, {"mms": {"kept": 4}}, {}]),
            ("extraction", [{"dtype": "bfloat16"}, {"dtype": "float32"}, {"batch_tokens": 100}]),
            ("seed", [0, 1]),
            ("protocol", ["paper", "corrected"]),
            ("limit", [{"train": 10, "test": 6}, {}]),
            ("capability_interventions", [["mms"], []]),
            ("overlong", ["leave_out", "shorten"]),
            ("matrix", [True, False]),
            ("interventions", [["random", "zero_shot", "mms", "own.py"], ["zero_shot", "mms", "lat_stim_2", "own.py"]]),
            ("shifts", [["north south"], ["north south", "south west"], ["north west", "west north"]]),
        ]
    )
    value = chance.choice(values)
    if key == "shifts":
        pairs = [shift.split() for shift in value]
        project.shifts = [{"source": s, "target": t, "label": "extreme", "category": "place"} for s, t in pairs]
    else:
        config[key] = value
    return f"{key} = {json.dumps(value)}"


def edit_code(chance: random.Random, project: Project) -> str:
    """Change the user's own intervention."""
    kept = chance.randint(1, 6)
    (project.folder / "own.py").write_text(OWN.format(kept=kept))
    return f"own.py keeps {kept}"


def edit_template(chance: random.Random, project: Project) -> str:
    """Change the words of a view."""
    file = project.folder / "genies/data/views.yaml"
    name, words = chance.choice([("Yes", ("Yes", "Sure")), ("The probability", ("The probability", "The chance"))])
    for old, new in (words, words[::-1]):
        if old in file.read_text():
            file.write_text(file.read_text().replace(old, new))
            break
    return f"template around {name}"


def edit_model(chance: random.Random, project: Project) -> str:
    """Move the link to another model, or overwrite its weights by others of the same size, at the same time."""
    link = project.folder / "tiny-llama"
    number = chance.randrange(3)
    if chance.random() < 0.6:
        link.unlink()
        link.symlink_to(f"trained/{number}/tiny-llama")
        return f"link to model {number}"
    weights = link / "model.safetensors"
    before, content = weights.stat(), bytearray(weights.read_bytes())
    place = len(content) - 4 * chance.randint(1, 500)
    content[place : place + 4] = np.float32(chance.uniform(-0.1, 0.1)).tobytes()
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    return "a weight"


EDITS: Sequence[Edit] = (edit_data, edit_config, edit_config, edit_code, edit_template, edit_model)


def program(project: Project) -> subprocess.Popen[bytes]:
    """Snakemake, started in a group of its own."""
    project.write_config()
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config.yaml"],
        cwd=project.folder,
        env=cold(project.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def disturb(chance: random.Random, project: Project) -> str:
    """Begin a run, and after a random time kill a job of it (so that it fails), or all of it."""
    running, whole, seconds = program(project), chance.random() < 0.4, chance.uniform(1, 20)
    until = time.monotonic() + seconds
    while time.monotonic() < until and running.poll() is None:
        time.sleep(0.01)
    if running.poll() is not None:
        return "a run that was not disturbed"
    if whole:
        os.killpg(running.pid, 9)
    while running.poll() is None:
        jobs = [c for c in psutil.Process(running.pid).children(recursive=True) if _is_job(c)]
        for job in jobs[:1]:
            job.kill()
        if jobs:
            break
        time.sleep(0.01)
    running.wait()
    return "everything killed" if whole else "a job killed"


def _is_job(process: psutil.Process) -> bool:
    try:
        return any(Path(part).name == "genies" for part in process.cmdline())
    except psutil.Error:
        return False


def collect(project: Project) -> str:
    """Delete what no run names."""
    command = [f"{sys.exec_prefix}/bin/genies", "cache", "gc", "--cache", "../cache", "--age", "0", "--yes"]
    done = run_to_end(command, cwd=project.folder, env=project.environment)
    # After a kill of Snakemake its lock is still there.
    assert done.returncode == 0 or "a run is going on here" in done.stderr, done.stderr
    return "gc" if done.returncode == 0 else "gc refused"


def complete(project: Project) -> None:
    """Run to the end; of a run that was killed the lock goes first."""
    project.write_config()
    unlocked = project.snakemake("--configfile", "config.yaml", "--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    done = project.run()
    assert done.returncode == 0, done.stderr


def clean(project: Project) -> Path:
    """The same configuration computed from nothing, by a call from Python in a process of its own. Returns its run."""
    for name in ("clean-cache", "clean-results"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    settings = {k: v for k, v in project.config.items() if k not in ("run", "models", "shifts")}
    settings["folders"] = {"cache": "clean-cache", "results": "clean-results"}
    program = project.folder / "clean.py"
    program.write_text(
        f"import genies\ngenies.evaluate_shifts('tiny-llama', shifts={project.shifts!r}, run='mini', **{settings!r})\n"
    )
    done = run_to_end([sys.executable, program], cwd=project.folder, env=warm_program(program))
    assert done.returncode == 0, done.stderr
    return project.folder / "clean-results/mini"


def compare(project: Project, other: Path) -> Counter[str]:
    """Compare a run with a clean one. Returns how much was compared, and pairs near ½ that were decided otherwise."""
    seen: Counter[str] = Counter()
    mine = project.folder / RUN
    files = sorted(path.relative_to(other) for path in other.glob("evaluations/*/*/*.parquet"))
    assert files
    for file in files:
        a, b = (pl.read_parquet(run / file).sort(KEYS) for run in (mine, other))
        assert a.schema == b.schema == pl.Schema(PAIR_COLUMNS) and a.select(KEYS).equals(b.select(KEYS)), file
        p, q = a["probability"].to_numpy(), b["probability"].to_numpy()
        border = (np.abs(p - 0.5) < BORDER) | (np.abs(q - 0.5) < BORDER)
        differ = np.sign(p - 0.5) != np.sign(q - 0.5)
        assert not (differ & ~border).any(), file
        seen += Counter(pairs=len(p), border=int((differ & border).sum()))
    activations = "activations/tiny-llama/0.json"
    seen["stores"] += _compare_stores(project, mine / activations, other / activations)
    if not seen["border"]:
        for name in ("cells.csv", "generalization_metrics.csv"):
            a, b = (pl.read_csv(run / name) for run in (mine, other))
            counted = [c for c in a.columns if "calibration" not in c and "brier" not in c]
            assert a.columns == b.columns and a.select(counted).equals(b.select(counted)), name
    return seen


def _compare_stores(project: Project, mine: Path, other: Path) -> int:
    """Compare the features of two manifests of activations. Returns how many stores."""
    a, b = read_json(mine), read_json(other)
    key = ("distribution", "split", "view")
    named = [{tuple(s[k] for k in key): s["digest"] for s in manifest["stores"]} for manifest in (a, b)]
    assert named[0] == named[1], mine
    folders = [project.folder / "../cache/activations", project.folder / "clean-cache/activations"]
    for digest in named[0].values():
        stores = [ActivationStore(folder / digest) for folder in folders]
        places = [sorted(zip(s.example.tolist(), s.response.tolist(), strict=True)) for s in stores]
        assert places[0] == places[1], digest
        rows = [np.lexsort((s.response, s.example)) for s in stores]
        for layer in stores[0].layers("residual"):
            x, y = (s.residual(layer)[r].astype(np.float64) for s, r in zip(stores, rows, strict=True))
            difference = np.linalg.norm(x - y, axis=1) / (np.linalg.norm(y, axis=1) + 1e-9)
            assert difference.max() <= FEATURES[stores[0].dtype], (digest, layer, difference.max())
    return len(named[0])


def step(folder: Path, seed: int, number: int) -> tuple[str, Counter[str]]:
    """One step; which one is decided by the seed and its number. Returns what was done, and what was compared."""
    chance = random.Random(f"{seed} {number}")
    project = load(folder / chance.choice(FOLDERS))
    told = [project.folder.name, chance.choice(EDITS)(chance, project)]
    keep(project)
    if chance.random() < 0.4:
        told.append(disturb(chance, project))
        if chance.random() < 0.5:
            told.append(chance.choice(EDITS)(chance, project))
            keep(project)
    if chance.random() < 0.2:
        told.append(collect(load(folder / chance.choice(FOLDERS))))
    complete(project)
    stated = read_json(project.folder / RUN / "provenance.json")["configuration"]
    for key, value in project.config.items():
        assert key in ("folders", "shifts", "extraction", "limit") or stated[key] == value, key
    return ", ".join(told), compare(project, clean(project))


def walk(folder: Path, seed: int, steps: int) -> Counter[str]:
    """Go on to so many steps in all; the state is kept in the folder. Returns what was compared in all."""
    state = folder / "state.json"
    if not state.exists():
        start(folder)
        write_json(state, {"done": 0, "seen": {}})
    done, seen = read_json(state)["done"], Counter(read_json(state)["seen"])
    for number in tqdm(range(done, steps), desc="walk", unit="step"):
        told, compared = step(folder, seed, number)
        seen += compared + Counter(steps=1)
        write_json(state, {"done": number + 1, "seen": dict(seen)})
        tqdm.write(f"{number}: {told}: {dict(compared)}")
    return seen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(dict(walk(options.folder, options.seed, options.steps)))
