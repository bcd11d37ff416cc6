"""Stores as arrays: rows that belong to the table of texts, and clear words where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import genies
from genies.api.stores import TEXT_COLUMNS
from genies.data.distributions import read_split
from genies.data.views import QUESTION
from genies.errors import ConfigError, DataError, StoreError
from genies.files import read_json
from genies.store.activations import ActivationStore, reopen

MANIFEST = Path("results/python/activations/tiny/0.json")

pytestmark = pytest.mark.usefixtures("table")


def stored(distribution: str, split: str, view: str) -> Path:
    """Folder of a store of the run."""
    place = {"distribution": distribution, "split": split, "view": view}
    return next(
        Path("cache/activations") / entry["digest"]
        for entry in read_json(MANIFEST)["stores"]
        if entry.items() >= place.items()
    )


def test_the_table_tells_every_text_of_the_split() -> None:
    opened = genies.open_store(MANIFEST, "data/south", "test")
    examples = read_split(Path("data/south/test.json"))
    assert dict(opened.texts.schema) == TEXT_COLUMNS
    assert opened.texts.select("row", "example", "response", "best", "prompt_text", "response_text").rows() == [
        (row, e, r, r == examples[e].best, examples[e].prompt, examples[e].responses[r])
        for row, (e, r) in enumerate((e, r) for e, ex in enumerate(examples) for r in range(len(ex.responses)))
    ]
    assert opened.texts.select("distribution", "split").unique().rows() == [("south", "test")]


def test_without_the_folder_the_table_tells_where_each_text_stands() -> None:
    opened = genies.open_store(MANIFEST, "south", "test")
    assert opened.texts["prompt_text"].null_count() == opened.texts["best"].null_count() == len(opened)
    known = genies.open_store(MANIFEST, "data/south", "test").texts
    assert opened.texts.select("row", "example", "response").equals(known.select("row", "example", "response"))


def test_rows_of_the_arrays_are_those_of_the_table_under_every_view() -> None:
    opened = genies.open_store(MANIFEST, "north", "test")
    assert opened.views == ["no", "plain", "yes"]
    texts = opened.texts.select("example", "response").to_numpy().T.tolist()
    for view in opened.views:
        store = ActivationStore(stored("north", "test", view))
        rows = store.rows(*texts)
        assert np.array_equal(opened.heads(view, 1), store.heads(1)[rows])
        if view == "plain":
            assert np.array_equal(opened.residual(view, 2), store.residual(2)[rows])
            assert np.array_equal(opened.log_probability(), store.log_probability()[rows])
            assert np.array_equal(opened.scored_tokens(), store.scored_tokens()[rows])
    assert not np.array_equal(opened.heads("yes", 1), opened.heads("no", 1))


def test_arrays_have_the_promised_shapes_and_types() -> None:
    opened = genies.open_store(MANIFEST, "north", "test")
    texts = len(opened)
    # An own probe that declares the residual stream reads all of it, under the plain view alone.
    assert opened.layers("residual") == opened.layers("residual", "plain") == [*range(4)]
    assert (opened.layers("residual", "yes"), opened.layers("heads", "yes")) == ([], [0, 1, 2])
    assert opened.head_numbers == [*range(4)]
    shapes = {
        (texts, 32): opened.residual("plain", 2),
        (texts, 4, 32): opened.residual("plain"),
        (texts, 4, 8): opened.heads("plain", 0),
        (texts, 3, 4, 8): opened.heads("plain"),
    }
    assert all((array.shape, array.dtype) == (shape, np.float32) for shape, array in shapes.items())
    assert np.array_equal(opened.residual("plain")[:, 2], opened.residual("plain", 2))
    assert np.array_equal(opened.heads("plain")[:, 2], opened.heads("plain", 2))
    assert (opened.log_probability().dtype, opened.scored_tokens().dtype) == (np.float64, np.int64)
    assert repr(opened) == f"<north test under no, plain, yes by tiny: {texts} texts>"


def test_a_store_opens_by_its_folder_and_by_the_beginning_of_its_digest() -> None:
    folder = stored("west", "test", "yes")
    for opened in (genies.open_store(folder), genies.open_store(folder.name[:16], "data/west")):
        assert (opened.model, opened.views) == ("tiny", ["yes"])
        expected = genies.open_store(MANIFEST, "data/west", "test")
        assert np.array_equal(opened.heads("yes", 1), expected.heads("yes", 1))
    assert opened.texts.equals(expected.texts)


@pytest.mark.parametrize("framing", ["response", "truthfulness"])
@pytest.mark.parametrize("overlong", [False, True])
def test_texts_are_those_that_the_model_was_shown(framing: str, overlong: bool) -> None:
    file = Path("data/south/test.json")
    examples = json.loads(file.read_text())
    if overlong:
        examples[1]["prompt"] = "river " * 600 + examples[1]["prompt"]
        file.write_text(json.dumps(examples))
    genies.evaluate_shifts(
        "tiny", "zero_shot", {"source": "south", "target": "south"}, distributions=["data/south"], run="framed",
        framing=framing, overlong="shorten",
    )  # fmt: skip
    texts = genies.open_store("results/framed/activations/tiny/0.json", "data/south", "test").texts
    if framing == "response":
        prompts = texts.filter(pl.col("example") == 1)["prompt_text"].unique().to_list()
        assert len(prompts) == 1 and examples[1]["prompt"].endswith(prompts[0])
        assert (len(prompts[0]) < len(examples[1]["prompt"])) == overlong
    else:
        assert set(texts["response_text"]) == {"Yes", "No"}
        assert texts["prompt_text"].str.ends_with(QUESTION).all()
    if not overlong:
        one = read_json(Path("results/framed/activations/tiny/0.json"))["stores"][0]["digest"]
        assert genies.open_store(one, "data/south").texts.equals(texts)


def test_another_file_than_was_extracted_is_refused() -> None:
    file = Path("data/south/test.json")
    file.write_text(file.read_text().replace("capital", "city"))
    with pytest.raises(DataError, match="data/south/test.json: holds other texts than were extracted"):
        genies.open_store(MANIFEST, "data/south", "test")
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))
    with pytest.raises(DataError, match="data/south/test.json: holds other texts than were extracted"):
        genies.open_store(stored("south", "test", "plain"), "data/south")


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(StoreError, match=r"east train: not among the splits .*north test, north train"):
        genies.open_store(MANIFEST, "east", "train")
    with pytest.raises(ConfigError, match="give distribution and split"):
        genies.open_store(MANIFEST, "north")
    older = Path("older.json")
    older.write_text(json.dumps({k: v for k, v in read_json(MANIFEST).items() if not k.endswith("_digest")}))
    with pytest.raises(StoreError, match="older.json: of an older version of genies; run snakemake again"):
        genies.open_store(older, "north", "train")
    with pytest.raises(StoreError, match="0 stores in cache/activations begin so"):
        genies.open_store("ffffffffffff")
    with pytest.raises(StoreError, match="absent/folder: no such folder"):
        genies.open_store("absent/folder")
    with pytest.raises(StoreError, match="holds west test, not north"):
        genies.open_store(stored("west", "test", "yes"), "north", "test")
    opened = genies.open_store(stored("west", "test", "yes"))
    with pytest.raises(StoreError, match=r"view plain: not among those that are open \(yes\)"):
        opened.residual("plain", 0)
    with pytest.raises(StoreError, match="holds residual of the layers 0, 1, 2, 3, not 4"):
        opened.residual("yes", 4)


def test_a_store_that_is_not_complete_is_refused() -> None:
    folder = stored("west", "test", "yes")
    reopen(folder.parent, folder.name)
    for name in (folder.name[:16], folder.with_name(f".partial-{folder.name}")):
        with pytest.raises(StoreError, match="the store is not complete; run snakemake again to finish it"):
            genies.open_store(name)


def test_damage_is_found_when_a_layer_is_read() -> None:
    folder = stored("west", "test", "yes")
    shard = next((folder / "data.zarr/heads/c").rglob("0"))
    while shard.is_dir():
        shard = shard / "0"
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match="unreadable .*genies cache verify --repair"):
        genies.open_store(folder).heads("yes")
    shard.unlink()
    with pytest.raises(StoreError, match="is missing"):
        genies.open_store(folder).heads("yes")
