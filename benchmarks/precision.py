"""Decisions of mms and zero_shot in bfloat16: packed passes against one pass per text.

Run as ``python benchmarks/precision.py [MODEL DISTRIBUTIONS_FOLDER SHIFTS]``, by default on the demo's; see
``docs/benchmarks.md``. Every source is fitted and every target tested twice, on features of packed passes and on those
of separate ones. Pairs whose decision differs are printed with their probabilities.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from genies.data.distributions import read_split
from genies.data.options import Reading
from genies.data.reading import read_test, read_training
from genies.data.shifts import read_shifts
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.engine import self_test as checks_module
from genies.engine.options import Extraction
from genies.engine.self_test import Check
from genies.engine.tokenization import tokenize
from genies.interventions.registry import make
from genies.models.describe import describe_model
from genies.models.load import load_tokenizer
from genies.store.activations import ActivationStore
from genies.store.assembled import AssembledStore
from genies.store.extraction import Extractor
from genies.store.pairs import StoredPairs
from genies.store.requests import Request

DEMO = (
    Path("resources/demo/SmolLM2-135M-Instruct.Q4_1.gguf"),
    Path("resources/demo/distributions"),
    Path("config/shifts/demo.yaml"),
)
CHECKS = {
    "packed": Check(True, 0, 0, None, None, 0, 0),
    "separate": Check(False, 0, 0, None, None, 0, 0, "asked for"),
}


def stores(way: str, model: dict, data: Path, places: set[tuple[str, str]], root: Path) -> dict:
    """Stores of the plain view by (distribution, split), computed the given way."""
    checks_module.check_packing = lambda *_: CHECKS[way]
    extractor = Extractor(model, root / way, Extraction(dtype="bfloat16"))
    tokenizer = load_tokenizer(Path(model["path"]))
    found = {}
    for name, split in sorted(places):
        texts = split_texts(read_split(data / name / f"{split}.json"), split, 0)
        tokens = {"plain": tokenize(tokenizer, texts, VIEWS["plain"])}
        parts = extractor.extract(Request(name, split, tokens, {"plain": f"{name} {split}"}))["plain"]
        found[name, split] = {"plain": AssembledStore([ActivationStore(root / way / part) for part in parts])}
    return found


def probabilities(way: dict, intervention: str, source: str, target: str, data: Path) -> np.ndarray:
    """Probability of the first response for every test pair."""
    train = read_training(data / source / "train.json", Reading(), ())
    test = read_test(data / target / "test.json", Reading(), ())
    fitted = make(intervention).fit(StoredPairs(train.pairs, way[source, "train"], train.best_first))
    return fitted.predict_proba(StoredPairs(test.pairs, way[target, "test"], test.best_first, False))


def main() -> None:
    """Print a table and every pair that differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="*", default=DEMO)
    model_folder, data, listed = parser.parse_args().paths
    shifts = read_shifts(listed)
    places = {(s.source, "train") for s in shifts} | {(s.target, "test") for s in shifts}
    changed: list[str] = []
    print(
        "| intervention | test pairs | decisions that agree | largest difference of a probability |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = describe_model(str(model_folder), None, root / "hashes.json")
        ways = {way: stores(way, model, data, places, root) for way in CHECKS}
        for intervention in ("zero_shot", "mms"):
            count = agreed = 0
            largest = 0.0
            for shift in shifts:
                a, b = (probabilities(way, intervention, shift.source, shift.target, data) for way in ways.values())
                same = (a > 0.5) == (b > 0.5)
                count, agreed, largest = count + len(a), agreed + int(same.sum()), max(largest, np.abs(a - b).max())
                changed += [
                    f"- {intervention}, {shift.source} → {shift.target}, pair {row}: {a[row]:.4f} packed, {b[row]:.4f}"
                    for row in np.flatnonzero(~same)
                ]
            print(f"| {intervention} | {count} | {agreed} ({100 * agreed / count:.2f} %) | {largest:.4f} |")
    print("\n" + ("\n".join(changed) or "No decision differs."))


if __name__ == "__main__":
    main()
