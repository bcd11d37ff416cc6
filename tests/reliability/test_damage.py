"""Whatever happens to a stored file is found, and only what is damaged is made again."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from figures import tell
from verbs import Verbs, contents, restore

from genies.cli import main
from genies.errors import StoreError
from genies.interventions.registry import load
from genies.store import cache
from genies.store.activations import ActivationStore
from genies.store.extraction import Extractor
from genies.store.fits import check_test
from genies.store.tokens import read_tokens

CACHE, RESULTS = Path("cache"), Path("results")

REMEMBERED = ("models/sha256.json", "models/tried.json")


def flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def zero(content: bytes, draw: random.Random) -> bytes:
    begin, end = sorted(draw.sample(range(len(content) + 1), 2))
    return content[:begin] + bytes(end - begin) + content[end:]


def delete(content: bytes, draw: random.Random) -> None:
    return None


def read_everything(path: Path) -> None:
    """Read, as an intervention would, what the damaged file belongs to."""
    kind, digest = path.parts[1], path.parts[2]
    if kind == "tokens":
        read_tokens(path)
    elif kind == "interventions":
        if "tests" in path.parts:
            check_test(path.with_suffix(".parquet"))
        load(CACHE / kind / digest)
    else:
        store = ActivationStore(CACHE / kind / digest)
        for layer in store.layers("residual"):
            store.residual(layer)
        for layer in store.layers("heads"):
            store.heads(layer)
        if "log_probability" in store.shapes:
            store.log_probability()
            store.scored_tokens()


def passes_of_a_block(folder: Path) -> int:
    """Most forward passes that a block of a store takes: its texts lie in so many trees at the most."""
    store = ActivationStore(folder)
    examples = store.example.tolist()
    size = store.description["block_texts"]
    return max(len(set(examples[begin : begin + size])) for begin in range(0, len(examples), size))


@pytest.mark.parametrize("cases", [6, pytest.param(200, marks=pytest.mark.torture)])
def test_whatever_happens_to_a_stored_file_is_found_and_only_the_damaged_block_is_made_again(
    run: Verbs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, cases: int
) -> None:
    passes: list[int] = []
    read = Extractor.read
    monkeypatch.setattr(Extractor, "read", lambda *args: (passes.append(1), read(*args))[1])
    sound = contents(CACHE)
    # What is remembered of files lies beside models, and is no entry of the cache.
    names = [name for name in sound if name.split("/")[0] in cache.KINDS and name not in REMEMBERED]
    results, most = contents(RESULTS), 0
    shutil.rmtree(CACHE / "activations")
    assert run.run("extract") == 0
    whole = len(passes)
    draw, kinds = random.Random(20231108), Counter[str]()
    while kinds.total() < cases:
        name, harm = draw.choice(names), draw.choice((flip, truncate, zero, delete))
        harmed = harm(sound[name], draw)
        if harmed == sound[name]:
            continue
        file = CACHE / name
        file.unlink() if harmed is None else file.write_bytes(harmed)
        case = f"{harm.__name__} {name}"
        assert main(["cache", "verify"]) == 2, case
        assert name.split("/")[1].removesuffix(".h5") in capsys.readouterr().out, case
        with pytest.raises(StoreError):
            read_everything(file)
        assert main(["cache", "verify", "--repair"]) == 2
        passes.clear()
        run.run_missing()
        assert contents(CACHE) == sound, case
        store = CACHE.joinpath(*Path(name).parts[:2])
        assert len(passes) <= (passes_of_a_block(store) if "data.zarr" in name else 0), case
        restore(RESULTS, results)
        kinds[harm.__name__] += 1
        most = max(most, len(passes))
    told = ", ".join(f"{harm} {count}" for harm, count in sorted(kinds.items()))
    tell(
        f"{kinds.total()} stored files damaged ({told}): every one found by `verify` and at read time; after the "
        f"repair every byte as before, with at most {most} forward passes ({whole} make all of it)"
    )
