"""The stage ``overlap``: what it writes, and what records and cells make of it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from helpers import write_evaluation

from genies.cli import main
from genies.data.distributions import read_split
from genies.data.limit import drawn
from genies.data.options import Limit, Reading
from genies.errors import DataError, StoreError
from genies.evaluation.evaluations import Fits
from genies.evaluation.related import SHARED, one_name
from genies.evaluation.seen import COLUMNS, COUNTS, read_kinds, read_seen
from genies.evaluation.table import read_csv
from genies.evaluation.tables.cells import TABLE as CELLS
from genies.evaluation.tables.cells import measured_cells
from genies.files import write_json
from genies.stages import records
from genies.stages.overlap import write_overlap

NORTH, SOUTH = "north", "=south"
"""A name that tables put an apostrophe in front of."""


def split(folder: Path, name: str, examples: list[tuple[str, str, str]]) -> Path:
    """Write examples of a prompt, the best response and a worse one."""
    folder.mkdir(exist_ok=True, parents=True)
    content = [{"prompt": prompt, "responses": {best: 1, worse: 0}} for prompt, best, worse in examples]
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    """Two distributions: of north's five test examples its training split has one in each way, south's has the last."""
    plain = [(f"n{n} ", "yes", "no") for n in range(8)]
    others = [("n1 ", "fine", "poor"), ("n2 ", "yes", "poor"), ("n3 ", "no", "poor")]
    north_test = [("a ", "yes", "no"), *others, ("s0 ", "yes", "no")]
    south = [(f"s{n} ", "yes", "no") for n in range(6)]
    return {
        "train": [split(tmp_path / NORTH, "train", plain), split(tmp_path / SOUTH, "train", south)],
        "test": [split(tmp_path / NORTH, "test", north_test), split(tmp_path / SOUTH, "test", [("b ", "yes", "no")])],
    }


TARGETS = {NORTH: [NORTH, SOUTH], SOUTH: [NORTH]}
PAIRS = [f"{source}:{target}" for source, targets in TARGETS.items() for target in targets]


def test_every_way_is_planted_and_found(files: dict[str, list[Path]], tmp_path: Path) -> None:
    write_overlap(*PAIRS, **files, output=tmp_path)
    frame = pl.read_parquet(tmp_path / "overlap.parquet")
    assert dict(frame.schema) == COLUMNS
    assert frame.rows() == [
        (NORTH, NORTH, 1, True, False, False, False, False, False),
        (NORTH, NORTH, 2, True, True, False, False, False, False),
        (NORTH, NORTH, 3, True, True, True, False, False, False),
        (SOUTH, NORTH, 4, True, True, False, False, False, False),
    ]
    assert read_csv(tmp_path / "overlap.csv", COUNTS.columns).rows() == [
        (NORTH, NORTH, 5, 3, 3, 2, 1, 0, 0, 0, 0, 0),
        (NORTH, f"'{SOUTH}", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (f"'{SOUTH}", NORTH, 5, 1, 1, 1, 0, 1, 0, 0, 0, 0),
    ]
    assert read_seen(tmp_path / "overlap.parquet") == {
        (NORTH, NORTH): {1, 2, 3}, (NORTH, SOUTH): set(), (SOUTH, NORTH): {4},
    }  # fmt: skip


def test_near_duplicates_are_counted_apart_and_no_clean_figure_knows_of_them(tmp_path: Path) -> None:
    texts = [" ".join(f"{word}{number}{word * 2}" for word in "abcdefghij") for number in range(30)]
    train = [(f"{text} ", f"yes {text}", "no") for text in texts]
    near = f"{texts[0].rsplit(' ', 2)[0]} other words "
    test = [(near, "certainly", "never"), (f"{texts[1]} ", "certainly", f"yes {texts[1]} indeed"), ("q ", "yes", "no")]
    given = {"train": [split(tmp_path / NORTH, "train", train)], "test": [split(tmp_path / NORTH, "test", test)]}
    write_overlap(**given, output=tmp_path)
    assert pl.read_parquet(tmp_path / "overlap.parquet").rows() == [
        (NORTH, NORTH, 0, False, False, False, True, False, False),
        (NORTH, NORTH, 1, True, False, False, False, True, True),
    ]
    assert read_csv(tmp_path / "overlap.csv", COUNTS.columns).rows() == [(NORTH, NORTH, 3, 1, 1, 0, 0, 0, 1, 1, 1, 1)]
    assert read_seen(tmp_path / "overlap.parquet") == {(NORTH, NORTH): {1}}
    assert read_seen(tmp_path / "overlap.parquet", near=True) == {(NORTH, NORTH): {0, 1}}
    assert read_kinds(tmp_path / "overlap.parquet")[NORTH, NORTH]["same_prompt"] == 1


def test_distributions_with_the_same_test_texts_count_as_one(tmp_path: Path) -> None:
    """Of ten examples a copy has all, a near one has all with other words, and two others have one of them."""
    texts = [" ".join(f"{word}{number}{word * 2}" for word in "abcdefghijkl") for number in range(40)]
    original = [(f"{text} ", f"yes {text}", "no") for text in texts[:10]]
    reworded = [(prompt, f"{best.rsplit(' ', 1)[0]} other", worse) for prompt, best, worse in original]
    apart = [(f"{text} ", f"yes {text}", "no") for text in texts[10:19]]
    given = {"first": original, "copy": original, "near": reworded, "other": [original[0], *apart],
             "prompts": [(prompt, "certainly", "never") for prompt, _, _ in original]}  # fmt: skip
    tests = [split(tmp_path / name, "test", examples) for name, examples in given.items()]
    train = [split(tmp_path / "other", "train", [("t ", "yes", "no")])]
    write_overlap("other:other", train=train, test=tests, output=tmp_path)
    shared = SHARED.read(tmp_path)
    assert {(a, b): n for a, b, _, n in shared.rows()} == {
        ("copy", "first"): 10, ("copy", "near"): 10, ("first", "near"): 10,
        ("copy", "other"): 1, ("first", "other"): 1, ("near", "other"): 1,
    }  # fmt: skip
    names = one_name(shared)  # of one in ten there is not more than one in ten
    assert names.keys() == {"first", "copy", "near"} and len({*names.values()}) == 1
    chain = pl.DataFrame([(a, b, 10, 9) for a, b in ("ab", "cd", "bc", "xy")], SHARED.columns, orient="row")
    found = one_name(chain)
    assert found.keys() == {*"abcdxy"}
    assert [len({found[name] for name in own}) for own in ("abcd", "xy", "ax")] == [1, 1, 2]


def test_under_a_limit_a_copy_with_the_other_labels_still_counts_as_one(tmp_path: Path) -> None:
    """Of 40 examples three are drawn, of the copy three others."""
    own = [(f"p{n} ", f"yes {n}", "no") for n in range(40)]
    turned = [(prompt, worse, best) for prompt, best, worse in own]
    tests = [split(tmp_path / name, "test", given) for name, given in (("own", own), ("turned", turned))]
    reading = Reading(limit=Limit(test=3))
    first, second = (drawn(read_split(file), 3, reading.seed) for file in tests)
    assert not {*first} & {*second}
    train = [split(tmp_path / "own", "train", [("t ", "yes", "no")])]
    write_overlap("own:own", train=train, test=tests, reading=reading, output=tmp_path)
    assert SHARED.read(tmp_path).rows() == [("own", "turned", 40, 40)]
    assert read_csv(tmp_path / "overlap.csv", COUNTS.columns)["examples"].to_list() == [3]


def test_cells_have_accuracy_with_and_without_near_duplicates(tmp_path: Path) -> None:
    """Of 80 examples 10 are seen and 20 more are near; both kinds are always right, of the others one pair in two."""
    write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9] * 60 + [0.9, 0.2] * 50})
    seen, near = {("a", "a"): set(range(10))}, {("a", "a"): set(range(30))}
    (cell,) = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}), seen, near).iter_rows(named=True)
    assert (cell["clean_pairs"], cell["fresh_pairs"], cell["fresh_clusters"]) == (140, 100, 50)
    assert cell["clean_accuracy"] == pytest.approx(90 / 140)
    assert (cell["fresh_accuracy"], cell["near_difference"]) == (0.5, 0.5)
    assert cell["fresh_low"] < 0.5 < cell["fresh_high"] < cell["clean_high"]
    assert 0 < cell["near_difference_low"] < 0.5 < cell["near_difference_high"]
    (ordinary,) = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}), seen, seen).iter_rows(named=True)
    assert ordinary["fresh_accuracy"] == ordinary["clean_accuracy"]
    assert ordinary["near_difference"] == ordinary["seen_difference"]


def test_only_examples_that_are_drawn_are_compared(files: dict[str, list[Path]], tmp_path: Path) -> None:
    limit = Limit(train=3, test=2, distributions={NORTH: {"test": 4}})
    write_overlap(*PAIRS, **files, reading=Reading(7, limit=limit), output=tmp_path)
    train, test = read_split(files["train"][0]), read_split(files["test"][0])
    prompts = {train[index].prompt for index in drawn(train, 3, 7)}
    wanted = {index for index in drawn(test, 4, 7) if test[index].prompt in prompts}
    assert read_seen(tmp_path / "overlap.parquet")[NORTH, NORTH] == wanted
    assert pl.read_csv(tmp_path / "overlap.csv")["examples"].to_list() == [4, 1, 4]


def test_the_command_line_compares_the_same(files: dict[str, list[Path]], tmp_path: Path) -> None:
    write_overlap(*PAIRS, **files, reading=Reading(limit=Limit(test=4)), output=tmp_path)
    given = [part for name, paths in files.items() for part in (f"--{name}", *map(str, paths))]
    assert main(["overlap", *PAIRS, *given, "--limit", '{"test": 4}', "--output", str(tmp_path / "verb")]) == 0
    for name in ("overlap.parquet", "overlap.csv", "shared_texts.csv"):
        assert (tmp_path / "verb" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert main(["overlap", *given, "--output", str(tmp_path / "all")]) == 0
    assert set(read_seen(tmp_path / "all/overlap.parquet")) == {(a, b) for a in (NORTH, SOUTH) for b in (NORTH, SOUTH)}


def test_a_split_that_was_not_given_is_named(files: dict[str, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"=south: is a source, but its train\.json was not given"):
        write_overlap(*PAIRS, train=files["train"][:1], test=files["test"], output=tmp_path)
    with pytest.raises(DataError, match=r"=south: target of north, but its test\.json was not given"):
        write_overlap(*PAIRS, train=files["train"], test=files["test"][:1], output=tmp_path)


def test_a_file_that_is_no_table_of_overlaps_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "overlap.parquet"
    with pytest.raises(StoreError, match=r"overlap\.parquet: file not found"):
        read_seen(file)
    pl.DataFrame(schema=COLUMNS).write_parquet(file)
    with pytest.raises(StoreError, match="no table that genies overlap wrote; delete it"):
        read_kinds(file)
    file.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match="cannot be read"):
        read_seen(file)


def test_texts_state_the_overlap_of_test_splits_and_of_shifts(files: dict[str, list[Path]], tmp_path: Path) -> None:
    write_overlap(*PAIRS, **files, output=tmp_path)
    examples = {f"{NORTH}/train": 8, f"{NORTH}/test": 5, f"{SOUTH}/train": 6, f"{SOUTH}/test": 1}
    tokens = {"model": "m", "examples": examples, "available": examples, "indistinct": dict.fromkeys(examples, 0)}
    tokens["merged"] = tokens["indistinct"]
    tokens |= {kind: dict.fromkeys(examples, ()) for kind in ("left_out", "shortened")}
    write_json(tmp_path / "tokens.json", tokens)
    asked = ["--tokens", str(tmp_path / "tokens.json"), "--overlap", str(tmp_path / "overlap.parquet")]
    assert main(["records", f"{SOUTH}:{NORTH}", *asked, "--output", str(tmp_path)]) == 0
    texts = read_csv(tmp_path / "texts.csv", records.TEXTS.columns)
    assert texts.columns[-3:] == ["same_prompt", "same_text", "other_label"]
    columns = ("distribution", "split", "intervention", "source", "same_prompt", "same_text", "other_label")
    assert texts.select(columns).rows() == [
        (f"'{SOUTH}", "test", None, None, None, None, None),
        (f"'{SOUTH}", "train", None, None, None, None, None),
        (NORTH, "test", None, None, 3, 2, 1),
        (NORTH, "train", None, None, None, None, None),
        (NORTH, "test", None, f"'{SOUTH}", 1, 1, 0),
    ]
    assert main(["records", f"{SOUTH}:{SOUTH}", *asked, "--output", str(tmp_path)]) == 2


def test_cells_count_clean_pairs_of_the_examples_that_are_not_seen(tmp_path: Path) -> None:
    # Two pairs of each of 50 examples, of which the first 20 are seen and always right.
    write_evaluation(tmp_path, "m", "mms", "a", {"a": [0.9] * 40 + [0.9, 0.2] * 30, "b": [0.9, 0.2, 0.8, 0.7]})
    seen = {("a", "a"): set(range(20)), ("a", "b"): set()}
    own, other = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}), seen).iter_rows(named=True)
    assert (own["accuracy"], own["clean_accuracy"], own["seen_difference"]) == (0.7, 0.5, 0.5)
    assert (own["clean_pairs"], own["clean_clusters"]) == (60, 30)
    ordinary = measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}))
    assert ordinary.select(list(CELLS.columns)[11:19]).null_count().row(0) == (2,) * 8
    assert [other[name] for name in ("clean_accuracy", "clean_low", "clean_high", "clean_pairs", "clean_clusters")] == [
        *(other[name] for name in ("accuracy", "low", "high", "test_pairs")), 2,
    ]  # fmt: skip
    assert other["seen_difference"] is None
    with pytest.raises(StoreError, match=r"nothing is known of the overlap of b with a; delete overlap\.parquet"):
        measured_cells(Fits(tmp_path, ["m"], {"mms": ["a"]}), {("a", "a"): set()})


def test_an_accuracy_by_a_rule_of_its_own_has_no_clean_figure(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, "m", "ccs", "a", {"a": [0.9] * 40 + [0.2] * 60})
    pl.read_parquet(path).with_columns(stated_accuracy=pl.lit(0.6)).write_parquet(path)
    (cell,) = measured_cells(Fits(tmp_path, ["m"], {"ccs": ["a"]}), {("a", "a"): {0}}).iter_rows(named=True)
    assert cell["accuracy"] == 0.6 and cell["clean_accuracy"] is None and cell["clean_pairs"] is None
