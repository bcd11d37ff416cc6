"""Shift lists: the published ones, own ones, and what is said about broken ones."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.data import shifts
from genies.data.archive import published_distributions
from genies.data.shifts import Shift, benchmarks, merge_shifts, parse_shifts, read_shifts
from genies.errors import DataError
from genies.evaluation.averages import ALL_LABELS, DISTINCT, PUBLISHED
from genies.evaluation.tables import seeds

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "config" / "shifts"
ARCHIVE = ROOT.parent / "shared" / "data" / "genies-datasets.tar.xz"


def write(tmp_path: Path, text: str, name: str = "own.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def message(*paths: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_shifts(*paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def published() -> list[Shift]:
    return read_shifts(LISTS / "published69.yaml")


@pytest.fixture(scope="module")
def originals() -> dict[str, list[dict[str, str]]]:
    """The published lists by their paths below ``distribution_shifts/``."""
    if not ARCHIVE.is_file():
        pytest.skip(f"the published data are not at {ARCHIVE.relative_to(ROOT.parent)} beside the repository")
    found = {}
    with tarfile.open(ARCHIVE, "r|xz") as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("distribution_shifts/"):
                name = member.name.removeprefix("distribution_shifts/").removesuffix(".json")
                found[name] = json.load(archive.extractfile(member))
            elif found and not member.name.startswith("distribution_shifts"):
                break  # the lists stand together; the rest of the archive need not be decompressed
    return found


def pair_of(entry: dict[str, str]) -> tuple[str, str]:
    return entry["source"], entry["target"]


def test_published_list_has_the_counts_of_the_paper(published):
    assert len(published) == 56
    assert sum(shift.published_entries for shift in published) == 69
    assert Counter((shift.label, shift.category) for shift in published) == {
        ("extreme", "difficulty"): 6,
        ("extreme", "encoding"): 4,
        ("extreme", "pretraining_similarity"): 4,
        ("extreme", "skill"): 12,
        ("extreme", "context"): 8,
        ("extreme", "quality"): 3,
        ("probing", "unwanted_personas"): 13,
        ("probing", "spurious_cues"): 6,
    }
    assert {shift.category for shift in published if shift.published_entries == 2} == {"unwanted_personas"}
    assert len({shift.source for shift in published}) == 26


def test_published_shifts_use_the_61_published_distributions(published):
    used = {name for shift in published for name in (shift.source, shift.target, shift.target_reference)}
    assert used == set(published_distributions())


def test_benchmark_of_15_is_part_of_the_published_list(published):
    benchmark = read_shifts(LISTS / "genies15.yaml")
    known = {(shift.source, shift.target): shift for shift in published}
    assert len(benchmark) == 15
    for shift in benchmark:
        listed = known[shift.source, shift.target]
        assert (shift.target_reference, shift.label, shift.category, shift.published_entries) == (
            listed.target_reference,
            listed.label,
            listed.category,
            listed.published_entries,
        )


def test_published_list_is_the_original_in_order(published, originals):
    counts = Counter(pair_of(entry) for entry in originals["all"])
    assert [(shift.source, shift.target) for shift in published] == list(counts)
    assert [shift.published_entries for shift in published] == list(counts.values())
    references = {pair_of(entry): entry.get("target_reference", entry["target"]) for entry in originals["all"]}
    assert [shift.target_reference for shift in published] == list(references.values())


def test_labels_and_categories_are_those_of_the_original_lists(published, originals):
    groups = {
        pair_of(entry): tuple(name.split("/"))
        for name, entries in originals.items()
        if "/" in name and not name.endswith("/all")
        for entry in entries
    }
    assert {(shift.source, shift.target): (shift.label, shift.category) for shift in published} == groups


def test_benchmark_is_the_original_in_order_with_one_label_noted(originals):
    benchmark = read_shifts(LISTS / "genies15.yaml")
    original = originals["GENIES"]
    assert [(shift.source, shift.target) for shift in benchmark] == [pair_of(entry) for entry in original]
    assert [s.target_reference for s in benchmark] == [e.get("target_reference", e["target"]) for e in original]
    assert [s.category for s in benchmark] == [e["category"] for e in original]
    differing = [(s, e["label"]) for s, e in zip(benchmark, original, strict=True) if s.label != e["label"]]
    assert [(s.source, s.target, s.label, label) for s, label in differing] == [
        ("alpaca_short", "alpaca_long", "probing", "extreme")
    ]
    assert [s.note for s in benchmark if s.note] == [differing[0][0].note]
    assert "extreme" in differing[0][0].note


def test_own_shift_needs_only_source_and_target(tmp_path):
    path = write(tmp_path, "- {source: plain_facts, target: myths}\n")
    assert read_shifts(path) == [Shift("plain_facts", "myths", "myths", "own", "own", None, None)]


def test_all_keys_are_read(tmp_path):
    text = """
- source: a
  target: b
  target_reference: c
  label: hard to say
  category: my own
  published_entries: 2
  note: "it's: here"
  benchmark: mine
"""
    shift = Shift("a", "b", "c", "hard to say", "my own", 2, "it's: here", "mine")
    assert read_shifts(write(tmp_path, text)) == [shift]
    assert benchmarks([shift, Shift("x", "y", "y")]) == {"mine": {("a", "b")}}


def test_the_published_list_names_the_fifteen_of_the_benchmark(published):
    fifteen = {(shift.source, shift.target) for shift in read_shifts(LISTS / "genies15.yaml")}
    assert benchmarks(published) == {"GENIES": fifteen} and len(fifteen) == 15


def test_names_that_yaml_would_take_for_other_types_stay_texts(tmp_path):
    path = write(tmp_path, "- {source: no, target: 2024-01-01}\n- {source: 007, target: null}\n")
    assert [(s.source, s.target) for s in read_shifts(path)] == [("no", "2024-01-01"), ("007", "null")]


def test_lists_are_merged_in_order(tmp_path):
    first = write(tmp_path, "- {source: a, target: b}\n", "1.yaml")
    second = write(tmp_path, "- {source: b, target: a}\n- {source: a, target: c}\n", "2.yaml")
    assert [(s.source, s.target) for s in read_shifts(second, first)] == [("b", "a"), ("a", "c"), ("a", "b")]


def test_repeated_shift_is_refused_with_both_places(tmp_path):
    first = write(tmp_path, "- {source: a, target: b}\n", "1.yaml")
    second = write(tmp_path, "- {source: b, target: a}\n- {source: a, target: b, label: x}\n", "2.yaml")
    assert message(first, second) == (
        f"{second}: entry 1 (counted from 0): the shift a → b stands already in "
        f"{first}: entry 0 (counted from 0); delete one of them"
    )
    assert "entry 1 (counted from 0)" in message(write(tmp_path, "- {source: a, target: b}\n" * 2))
    assert "stands already" in message(first, first)


def test_parsed_lists_from_a_config_are_checked_and_merged_too(tmp_path):
    own = parse_shifts([{"source": "a", "target": "b", "published_entries": None}], "config key shifts")
    assert merge_shifts([("config key shifts", own)]) == own
    with pytest.raises(DataError, match=r"config key shifts: entry 0 \(counted from 0\): has no target"):
        parse_shifts([{"source": "a"}], "config key shifts")


def test_a_label_is_not_also_a_benchmark(tmp_path: Path) -> None:
    first = write(tmp_path, "- {source: a, target: b, benchmark: mine}\n- {source: a, target: d}", "1.yaml")
    second = write(tmp_path, "- {source: a, target: c, label: mine, benchmark: mine}\n", "2.yaml")
    assert message(first, second) == (
        f"{second}: entry 0 (counted from 0): label is 'mine', which is a benchmark in "
        f"{first}: entry 0 (counted from 0); take another word"
    )
    assert "benchmark is 'own', which is a label" in message(
        write(tmp_path, "- {source: a, target: b}\n- {source: a, target: c, benchmark: own}\n")
    )


BROKEN_ENTRIES = {
    "no target": ("{source: a}", "has no target"),
    "no source": ("{target: a}", "has no source"),
    "misspelt key": ("{source: a, traget: b}", "unknown key 'traget'; did you mean target?"),
    "misspelt reference": ("{source: a, target: b, reference: c}", "'reference'; did you mean target_reference?"),
    "far key": ("{source: a, target: b, zzz: c}", "unknown key 'zzz'; did you mean "),
    "merge key": ("{source: a, target: b, <<: {label: c}}", "unknown key '<<'"),
    "text": ("a to b", "is not a mapping"),
    "list": ("[a, b]", "is not a mapping"),
    "empty name": ("{source: '', target: b}", "source is '', not a name"),
    "path": ("{source: a, target: ../b}", "target is '../b', not a name"),
    "hidden": ("{source: .a, target: b}", "source is '.a', not a name"),
    "option": ("{source: --force, target: b}", "source is '--force', not a name"),
    "shell": ("{source: a, target: b, target_reference: $(x)}", "target_reference is '$(x)', not a name"),
    "wildcard": ("{source: '{a}', target: b}", "source is '{a}', not a name"),
    "long name": (f"{{source: {'a' * 129}, target: b}}", "not a name"),
    "line break": ('{source: "a\\n", target: b}', r"source is 'a\n', not a name"),
    "list as name": ("{source: [a], target: b}", "source is ['a'], not a name"),
    "empty label": ("{source: a, target: b, label: ''}", "label is ''; write a text"),
    "long label": ('{source: a, target: b, category: "x\\ny"}', r"category is 'x\ny'; write a text of one line"),
    **{
        f"{key} {name}": (f"{{source: a, target: b, {key}: {name}}}", f"{key} is '{name}', which tables call a mean")
        for key in ("label", "benchmark")
        for name in (ALL_LABELS, DISTINCT, PUBLISHED, seeds.SHIFT)
    },
    "no count": ("{source: a, target: b, published_entries: 0}", "published_entries is '0'; write a whole number"),
    "fraction": ("{source: a, target: b, published_entries: 1.5}", "published_entries is '1.5'"),
    "boolean": ("{source: a, target: b, published_entries: true}", "published_entries is 'true'"),
}


@pytest.mark.parametrize(("entry", "problem"), BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_broken_entry_is_named_by_file_and_number(tmp_path, entry, problem):
    path = write(tmp_path, f"- {{source: x, target: y}}\n- {entry}\n")
    text = message(path)
    assert text.startswith(f"{path}: entry 1 (counted from 0): ")
    assert problem in text


BILLION_LAUGHS = "- &a {source: x, target: y}\n- &b [*a, *a]\n- &c [*b, *b]\n"
BROKEN_FILES = {
    "empty": ("", "holds no list of shifts"),
    "empty list": ("[]", "holds no list of shifts"),
    "mapping": ("source: a\ntarget: b\n", "holds no list of shifts"),
    "aliases": (BILLION_LAUGHS, "line 2: not a shift list (aliases are not allowed"),
    "repeated key": ("- {source: a, target: b}\n- {source: a, source: c}\n", "line 2: not a shift list (a key occurs"),
    "syntax": ("- {source: a\n- b", "line 2: not a shift list"),
    "tabs": ("-\tsource: a\n\ttarget: b\n", "not a shift list"),
    "two documents": ("- {source: a, target: b}\n---\n- {source: a, target: c}\n", "line 2: not a shift list"),
    "control character": ("- {source: a\x00, target: b}", "not a shift list"),
    "key that is a list": ("- {[a]: b}", "line 1: not a shift list"),
    "deep": ("[" * 5000, "nested too deeply"),
    "huge": ("#" * (shifts.MAX_FILE_BYTES + 1), "more than 1048576 bytes"),
}


@pytest.mark.parametrize(("content", "problem"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_broken_file_is_named_with_what_is_wrong(tmp_path, content, problem):
    path = write(tmp_path, content)
    text = message(path)
    assert text.startswith(f"{path}: ")
    assert problem in text


def test_tags_construct_nothing(tmp_path):
    marker = tmp_path / "made"
    text = f"- {{source: a, target: !!python/object/apply:os.mkdir ['{marker}']}}\n"
    assert "target is" in message(write(tmp_path, text))
    assert not marker.exists()


def test_missing_folder_and_other_encodings_are_named(tmp_path):
    assert "file not found" in message(tmp_path / "none.yaml")
    assert "cannot be read" in message(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("- {source: é, target: b}".encode("latin-1"))
    assert "byte 11 is not UTF-8" in message(path)


VALID = "- {source: easy, target: hard, label: extreme, category: difficulty}\n- source: easy\n  target: code\n"


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(VALID)),
            st.sampled_from(
                ["&a ", "*a", "!!python/object/apply:os.system [x]", "<<: ", "---\n", "\t", "[" * 400, "no"]
            )
            | st.text(max_size=6),
        ),
        max_size=4,
    )
)
def test_any_text_is_a_shift_list_or_one_line_of_refusal(tmp_path_factory, changes):
    text = VALID
    for position, new in changes:
        text = text[:position] + new + text[position:]
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert all(isinstance(shift, Shift) for shift in read_shifts(path))
    except DataError as error:
        assert "\n" not in str(error)
