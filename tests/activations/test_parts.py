"""A store is a list of parts: readers see them as one, and what none of them holds is computed and nothing else."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import write_distribution
from hypothesis import given
from hypothesis import strategies as st

from genies.data.distributions import read_split
from genies.data.pairs import Pair
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.engine.options import Extraction
from genies.engine.reads import EVERYTHING, Reads, from_flags, to_flags, union
from genies.engine.shape import Shape
from genies.engine.tokenization import tokenize
from genies.engine.tokens import Tokens, select_tokens
from genies.errors import ConfigError, StoreError
from genies.files import PARTIAL
from genies.interventions.registry import available, load_class, make
from genies.locks import locked
from genies.models.load import load_tokenizer
from genies.store.activations import ActivationStore
from genies.store.assembled import AssembledStore
from genies.store.extraction import Extractor
from genies.store.held import Held
from genies.store.pairs import StoredPairs
from genies.store.parts import example_keys, keys_from_json, keys_to_json
from genies.store.requests import Request
from genies.store.writer import StoreWriter

EXAMPLES = 10
reads_strategy = st.builds(Reads, st.booleans(), st.booleans(), st.booleans(), st.booleans())


class World:
    """A tiny model, tokens of ten examples under two views, and a folder of parts."""

    def __init__(self, model: Path, folder: Path) -> None:
        data = write_distribution(folder / "cities", train=1, test=EXAMPLES)
        texts = split_texts(read_split(data / "test.json"), "test", 0)
        self.tokens = {view: tokenize(load_tokenizer(model), texts, VIEWS[view]) for view in ("plain", "yes")}
        self.root = folder / "stores"
        self.model = {
            "name": model.name, "path": str(model), "files": {}, "weights_digest": "w", "eos_token": 2,
            "attention": "sdpa",
        }  # fmt: skip

    def request(self, reads: dict[str, Reads], examples: int = EXAMPLES) -> Request:
        tokens = {}
        for view in reads:
            rows = np.flatnonzero(self.tokens[view].example < examples)
            tokens[view] = select_tokens(self.tokens[view], rows.tolist())
        return Request("cities", "test", tokens, dict.fromkeys(reads, "digest"), reads)

    def extractor(self, root: Path | None = None) -> Extractor:
        return Extractor(self.model, root or self.root, Extraction(device="cpu"))

    def opened(self, parts: list[str], root: Path | None = None) -> AssembledStore:
        return AssembledStore([ActivationStore((root or self.root) / part) for part in parts])


@pytest.fixture
def world(model_folders: dict[str, Path], tmp_path: Path) -> World:
    return World(model_folders["llama"], tmp_path)


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (a, b))
    return bool((np.linalg.norm(a - b, axis=1) <= 1e-5 * np.linalg.norm(b, axis=1)).all())


def test_new_examples_layers_and_views_are_added_alone_and_read_as_one_store(world: World, tmp_path: Path) -> None:
    steps = [
        ({"plain": Reads(heads=True)}, 6, {"plain": 6}),
        ({"plain": Reads(heads=True)}, EXAMPLES, {"plain": EXAMPLES - 6}),
        ({"plain": Reads(heads=True, final=True)}, EXAMPLES, {"plain": EXAMPLES}),
        ({"plain": EVERYTHING, "yes": Reads(final=True)}, EXAMPLES, {"plain": EXAMPLES, "yes": EXAMPLES}),
        ({"plain": Reads(final=True), "yes": Reads(final=True)}, 7, {}),
    ]  # fmt: skip
    found: dict[str, list[str]] = {}
    for reads, examples, wanted in steps:
        before = {folder.name: folder.stat().st_mtime_ns for folder in world.root.glob("[!.]*")}
        found = world.extractor().extract(world.request(reads, examples))
        after = {folder.name: folder.stat().st_mtime_ns for folder in world.root.glob("[!.]*")}
        assert before.items() <= after.items()
        added = [ActivationStore(world.root / name) for name in after.keys() - before.keys()]
        assert {part.description["view"]: len(set(part.example.tolist())) for part in added} == wanted
    assert len(found["plain"]) == 1  # the part with the final layer holds all that is asked for

    everything = {"plain": EVERYTHING, "yes": Reads(final=True)}
    found = world.extractor().extract(world.request(everything))
    fresh = world.extractor(tmp_path / "fresh").extract(world.request(everything))
    assert len(found["plain"]) == 4 and len(fresh["plain"]) == 1
    grown, whole = (world.opened(names["plain"], root) for names, root in ((found, None), (fresh, tmp_path / "fresh")))
    assert grown.layers("residual") == whole.layers("residual") == [0, 1, 2, 3]
    assert all(alike(grown.residual(layer), whole.residual(layer)) for layer in range(4))
    assert all(alike(grown.heads(layer), whole.heads(layer)) for layer in range(3))
    rows = np.array([5, 0, 5, 21])
    np.testing.assert_array_equal(grown.heads(1, [2, 0], rows), grown.heads(1)[rows][:, [2, 0]])
    assert alike(grown.log_probability()[:, None], whole.log_probability()[:, None])
    np.testing.assert_array_equal(grown.scored_tokens(), whole.scored_tokens())


def test_a_part_with_other_tokens_of_one_example_serves_none(world: World) -> None:
    request = world.request({"plain": Reads(final=True)})
    (old,) = world.extractor().extract(request)["plain"]
    table = world.tokens["plain"]
    ids = table.ids.copy()
    ids[table.offsets[3]] += 1
    world.tokens["plain"] = replace(table, ids=ids)
    (new,) = world.extractor().extract(world.request({"plain": Reads(final=True)}))["plain"]
    assert new != old and len(ActivationStore(world.root / new).example) == len(table)
    assert world.extractor().extract(request)["plain"] == [old]


def test_what_is_not_whole_is_not_seen_and_the_rest_is_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = {"plain": EVERYTHING}
    old = world.extractor().extract(world.request(reads, 6))["plain"]
    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.extractor().extract(world.request(reads))
    assert len(list(world.root.glob(f"{PARTIAL}*"))) == 1
    found = world.extractor().look_up(world.request(reads))
    assert found.parts == {"plain": old}
    (lack,) = found.lacks
    assert lack.examples.tolist() == [6, 7, 8, 9]
    again = world.extractor()
    assert set(old) < set(again.extract(world.request(reads))["plain"])
    assert again.statistics.forward_passes == 0  # its blocks were there


def test_a_damaged_part_is_computed_again_and_no_other(world: World) -> None:
    reads = {"plain": EVERYTHING}
    world.extractor().extract(world.request(reads, 6))
    names = world.extractor().extract(world.request(reads))["plain"]
    damaged = next(n for n in names if len(set(ActivationStore(world.root / n).example.tolist())) == 4)
    file = world.root / damaged / "store.json"
    file.write_text(file.read_text().replace("cities", "cities "))
    again = world.extractor()
    assert sorted(again.extract(world.request(reads))["plain"]) == sorted(names)
    assert len(ActivationStore(world.root / damaged).example) == len(
        [row for row in world.tokens["plain"].example if row >= 6]
    )


def test_a_part_that_another_job_completes_meanwhile_stays_in_its_place(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = world.request({"plain": Reads(final=True)})
    (name,) = world.extractor(tmp_path / "elsewhere").extract(request)["plain"]
    other = world.extractor()
    with ThreadPoolExecutor(1) as pool:
        with locked(world.root, [name], "cities test"):
            waiting = pool.submit(other.extract, replace(request, distribution="towns"))
            while "waiting" not in caplog.text and not waiting.done():
                time.sleep(0.01)
            shutil.copytree(tmp_path / "elsewhere" / name, world.root / name)
            completed = (world.root / name / "store.json").stat()
        assert waiting.result() == {"plain": [name]}
    assert (world.root / name / "store.json").stat().st_ino == completed.st_ino
    assert other.statistics.forward_passes == 0


def test_an_intervention_gets_what_it_declares_and_nothing_else(world: World) -> None:
    found = world.extractor().extract(world.request({"plain": EVERYTHING}))
    pairs = [Pair(example, 0, 0, 1) for example in range(EXAMPLES)]
    best = np.ones(EXAMPLES, bool)
    reads = {"plain": Reads(inner=True)}
    stored = StoredPairs(pairs, {"plain": world.opened(found["plain"])}, best, reads=reads)
    assert stored.layers("residual") == [0, 1, 2]
    assert stored.residual("plain", 2).shape == (EXAMPLES, 2, 32)
    for read, what in (
        (lambda: stored.residual("plain", 3), "residual of layer 3"),
        (lambda: stored.heads("plain", 1), "heads"),
        (stored.log_probability, "log_probability"),
    ):
        with pytest.raises(StoreError, match=f"view plain: {what} is not declared by the intervention"):
            read()
    with pytest.raises(StoreError, match="view yes: not declared"):
        stored.residual("yes", 1)


def test_what_the_configuration_leaves_out_is_refused_with_the_reason(world: World) -> None:
    extractor = Extractor(world.model, world.root, Extraction(device="cpu", heads="none", layers=(1, 2)))
    found = extractor.extract(world.request({"plain": Reads(heads=True, final=True)}))
    store = AssembledStore([ActivationStore(world.root / part) for part in found["plain"]], (1, 2), ())
    with pytest.raises(StoreError, match="holds no heads: extraction.heads leaves them out"):
        store.heads(1)
    with pytest.raises(StoreError, match="layers 1, 2, not 3; add it to extraction.layers"):
        store.residual(3)


def test_what_the_configuration_leaves_out_is_refused_although_another_run_has_stored_it(
    world: World, tmp_path: Path
) -> None:
    own = Extractor(world.model, tmp_path / "fresh", Extraction(device="cpu", layers=(0, 3), heads=(0, 1)))
    request = world.request({"plain": EVERYTHING})
    refusals = []
    for extractor in (world.extractor(), own):
        names = extractor.extract(request)["plain"]
        store = AssembledStore([ActivationStore(extractor.root / name) for name in names], (0, 3), (0, 1))
        assert (store.residual(3).shape[1:], store.heads(0, [1]).shape[1:]) == ((32,), (1, 8))
        refusals.append([])
        for read in (lambda: store.residual(1), lambda: store.heads(0, [3]), lambda: store.heads(1)):  # noqa: B023
            with pytest.raises(StoreError) as refused:
                read()
            refusals[-1].append(str(refused.value).split(": ")[1])
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == "holds residual of the layers 0, 3, not 1; add it to extraction.layers"


@given(reads_strategy, st.sampled_from(["plain", "yes"]), st.sampled_from([(0, 1, 2, 3), (1, 2), (3,)]), st.booleans())
def test_held_features_are_those_that_are_read_and_stored(
    reads: Reads, view: str, layers: tuple[int, ...], heads: bool
) -> None:
    head_layers = tuple(layer for layer in layers if layer < 3) if heads else ()
    shape = Shape(3, layers, head_layers, (0, 1) if heads else (), 8, 16)
    held, whole = Held.of(reads, shape, view), Held.of(EVERYTHING, shape, view)
    assert set(held.atoms) <= set(whole.atoms) and held.atoms
    assert Held.from_json(held.to_json()) == held
    assert whole.has(held).all() and held.some(held.has(held)) == held
    rest = whole.some(~held.has(whole))
    assert sorted([*rest.atoms, *held.atoms]) == sorted(whole.atoms)
    assert held.shapes(shape).keys() == held.columns(shape).keys()


@given(st.dictionaries(st.sampled_from(["plain", "yes", "no"]), reads_strategy))
def test_flags_say_what_is_read(reads: dict[str, Reads]) -> None:
    assert from_flags(to_flags(reads)) == reads
    assert from_flags(reads) == dict.fromkeys(reads, EVERYTHING)
    assert all(union([of_view, Reads()]) == of_view for of_view in reads.values())


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain:hads: feature 'hads' is unknown"):
        from_flags(["plain:hads"])


def test_methods_declare_what_they_read() -> None:
    heads, inner, final, scores = Reads(heads=True), Reads(inner=True), Reads(final=True), Reads(log_probability=True)
    wanted = {
        "mms": heads, "cra": heads, "lat_stim_1": inner, "lat_stim_2": inner, "lat_pca": inner, "ccs": final,
        "logistic": inner | final, "mass_mean_whitened": inner | final, "zero_shot": scores, "implicit_reward": scores,
    }  # fmt: skip
    kinds = {name: load_class(name) for name in available()}
    reading = {name: kind for name, kind in kinds.items() if kind.fit_views or kind.predict_views}
    assert {name: kind.reads(kind.predict_views[0]) for name, kind in reading.items()} == wanted


def test_features_may_differ_by_view() -> None:
    kind = type(make("cra"))
    by_view = type("ByView", (kind,), {"features": {"yes": ("heads",), "no": ("residual_final",)}})
    assert (by_view.reads("yes"), by_view.reads("no")) == (Reads(heads=True), Reads(final=True))


@given(st.lists(st.integers(0, 2**48 - 1), max_size=9))
def test_keys_survive_their_text(keys: list[int]) -> None:
    assert keys_from_json(keys_to_json(np.array(keys, np.uint64))).tolist() == keys


def test_a_key_follows_from_the_tokens_and_where_scoring_begins() -> None:
    table = Tokens(
        ids=np.arange(6, dtype=np.int32), offsets=np.array([0, 2, 4, 6]), prompt_tokens=np.array([1, 1, 1], np.int32),
        merged=np.zeros(3, bool), example=np.array([4, 4, 7], np.int32), response=np.array([0, 1, 0], np.int32),
    )  # fmt: skip
    examples, keys = example_keys(table, "plain")
    assert examples.tolist() == [4, 7] and keys.dtype == np.uint64
    later = replace(table, prompt_tokens=np.array([1, 2, 1], np.int32))
    assert (example_keys(later, "plain")[1] == keys).tolist() == [False, True]
    assert (example_keys(later, "yes")[1] == example_keys(table, "yes")[1]).all()
    assert (example_keys(select_tokens(table, [2]), "plain")[1] == keys[1:]).all()


@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1) | st.integers(0, 3), st.integers(0, 4)), max_size=12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 9)), max_size=12),
)
def test_rows_are_those_of_the_responses_asked_for(held: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    example, response = np.array(held, np.int32).reshape(-1, 2).T
    store = AssembledStore([], texts=(example, response))
    place = {key: row for row, key in enumerate(sorted(set(held)))}
    assert list(zip(store.example.tolist(), store.response.tolist(), strict=True)) == list(place)
    assert store.rows(*np.array(held, np.int64).reshape(-1, 2).T.tolist()).tolist() == [place[key] for key in held]
    for key in others:
        if key in place:
            assert store.rows([key[0]], [key[1]]).tolist() == [place[key]]
        else:
            with pytest.raises(StoreError, match=f"example, response \\({key[0]}, {key[1]}\\)"):
                store.rows([key[0]], [key[1]])
