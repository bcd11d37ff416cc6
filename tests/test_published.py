"""The paper's tables come out of its per-cell files again, and nothing odd in that tree is dropped without a word."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
import tarfile
import tempfile
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED_DATA
from hypothesis import given, settings
from hypothesis import strategies as st

from genies.cli import main
from genies.data.shifts import Shift, read_shifts
from genies.errors import DataError, GeniesError
from genies.evaluation import metrics as metric
from genies.evaluation.bootstrap import intervals
from genies.evaluation.table import read_csv
from genies.evaluation.tables import intervals as intervals_table
from genies.evaluation.tables.leaderboard import TABLE as LEADERBOARD
from genies.published import results as published
from genies.published.recomputed import examples, recompute
from genies.published.results import COMPARED, read_results, source_digest
from genies.stages.metrics import ODD_FILES, write_published_tables

ARCHIVE = SHARED_DATA / "published-llama-7b.tar.xz"
SHIFTS = Path(__file__).parents[1] / "config" / "shifts" / "published69.yaml"
PAIR = Shift("alpaca_easy", "alpaca_hard", "alpaca_hard", "extreme", "difficulty", 1)


def short_list(folder: Path) -> Path:
    """A list of one shift: that of the paper takes a while to read."""
    fields = ("source", "target", "target_reference", "label", "category")
    file = folder / "shifts.yaml"
    file.write_text(json.dumps([{name: getattr(PAIR, name) for name in fields}]))
    return file


class Tree:
    """A small tree of published results of two models, whose table follows from its cells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draw = np.random.default_rng(3)
        for model in ("pythia-1b", "pythia-1b-deduped"):
            easy, hard = "alpaca_easy", "alpaca_hard"
            accuracy, error = self.cell("lora", model, easy, hard)
            own, _ = self.cell("lora", model, easy, easy)
            base, _ = self.cell("zero_shot", model, easy, hard)
            self.write(
                f"target_tuned_capability/{model}/{hard}.json",
                {"best_intervention": "classify_lora", "best_intervention_accuracy": 0.9, "target": hard},
            )
            row = {
                "source": easy,
                "target": hard,
                "target_reference": hard,
                "generalization_accuracy": accuracy,
                "baseline_accuracy": base,
                "baseline_intervention": "zero_shot",
                "target_tuned_capability": 0.9,
                "target_tuned_capability_intervention": "classify_lora",
                "source_ID_accuracy": own,
                "RMS_calibration_error": error,
                "differential_elicitation": (accuracy - base) / 0.9,
            }
            self.table(model, "lora_fine_tuning", row)

    def cell(self, intervention: str, model: str, source: str, target: str, **changes: object) -> tuple[float, float]:
        """Write an evaluation. Returns its accuracy and its published calibration error."""
        probability = self.draw.random(750)
        probability[:3] = 0.5
        accuracy = metric.accuracy(probability, ties="right")
        value = {"eval_probabilities": probability.tolist(), "eval_accuracy": accuracy, "eval_loss": float("nan")}
        value |= {"distribution_id": target, "model_dir": f"models/{model}", **changes}
        self.write(f"evaluations/{intervention}/{model}-{source}/{target}.json", value)
        return accuracy, metric.published_rms_calibration_error(probability)

    def write(self, name: str, value: object) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))

    def table(self, model: str, intervention: str, row: dict) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, row)
        writer.writeheader()
        writer.writerow(row)
        self.write(f"generalization_metrics/{model}/{intervention}/all.csv", text.getvalue())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "results")


def test_every_model_is_recomputed_under_the_usual_name_of_its_method(tree: Tree) -> None:
    made = recompute(read_results(tree.folder), [PAIR])
    cells, metrics, comparison = made.cells, made.metrics, made.comparison
    assert (comparison.differences, comparison.largest) == ([], 0.0)
    assert comparison.compared == 2 * len(COMPARED) + len(cells)
    rows = metrics.filter(intervention="lora_fine_tuning")
    assert rows["model"].to_list() == ["pythia-1b", "pythia-1b-deduped"]
    assert set(rows["target_tuned_capability"]) == {0.9} and set(rows["category"]) == {"difficulty"}
    assert (rows["generalization_accuracy_low"] < rows["generalization_accuracy"]).all()


def test_figures_that_differ_are_listed_and_the_stated_accuracy_is_used(tree: Tree) -> None:
    accuracy, _ = tree.cell("zero_shot", "pythia-1b", "alpaca_easy", "alpaca_easy", eval_accuracy=0.123)
    file = tree.folder / "generalization_metrics/pythia-1b/lora_fine_tuning/all.csv"
    file.write_text(file.read_text().replace(",0.9,", ",0.8,"))
    made = recompute(read_results(tree.folder), [PAIR])
    cells, comparison = made.cells, made.comparison
    found = {(d.column, d.published, d.recomputed) for d in comparison.differences}
    assert found == {("target_tuned_capability", 0.8, 0.9), ("accuracy", 0.123, accuracy)}
    assert comparison.largest == pytest.approx(max(0.1, abs(accuracy - 0.123)))
    cell = cells.filter(model="pythia-1b", intervention="zero_shot", target="alpaca_easy")
    assert cell["accuracy"].item() == 0.123


def test_odd_files_are_told_by_kind_and_never_used_in_silence(tree: Tree) -> None:
    model, places = "pythia-1b", ("alpaca_easy", "alpaca_hard")
    tree.cell("lora/old_evals", model, *places)
    tree.cell("lora/classify_lora", model, *places)
    tree.cell("lat", model, *places)
    tree.cell("mms", model, *places, distribution_id="an_earlier_name")
    tree.cell("cra", model, *places, eval_probabilities=[0.5, float("nan")])
    tree.write("evaluations/zero_shot/pythia-1b/alpaca_hard.json", {"eval_probabilities": [0.5]})
    tree.write("evaluations/mms/pythia-1b-alpaca_easy/broken.json", "{")
    tree.write("target_tuned_capability/pythia-1b/code.json", {"best_intervention": None})
    tree.write("notes.txt", "x")
    results = read_results(tree.folder)
    made = recompute(results, [PAIR])
    cells = made.cells
    assert not made.comparison.differences
    assert {kind: len(paths) for kind, paths in results.oddities.items()} == {
        "old evaluation, not used": 1,
        "deeper than the layout, used only where nothing else is there": 1,
        "states another source or distribution than its place, used": 1,
        "without usable probabilities, not used": 1,
        "names no source, not used": 1,
        "no JSON object": 1,
        "capability without a figure": 1,
        "outside the layout": 1,
    }
    assert set(cells["intervention"]) == {"lora_fine_tuning", "lat_stim_1", "mms", "zero_shot"}


def test_tables_and_figures_that_cannot_be_are_odd_and_not_used(tree: Tree) -> None:
    model, places = "pythia-1b", ("alpaca_easy", "alpaca_hard")
    tree.write(f"generalization_metrics/{model}/lora/notes.csv", "a,b\n1,2\n")
    tree.write(
        f"generalization_metrics/{model}/lora/long.csv", f"source,target,generalization_accuracy\n{'x' * 200_000},b,1\n"
    )
    tree.table(model, "lora", {"source": "", "target": "b", "generalization_accuracy": 0.5})
    tree.table(model, "mms", dict(zip(("source", "target", "generalization_accuracy"), (*places, "7"), strict=True)))
    huge, half = 10**400, "\ud800"
    tree.write(
        f"target_tuned_capability/{model}/code.json", {"best_intervention": "a", "best_intervention_accuracy": huge}
    )
    tree.write(
        f"target_tuned_capability/{model}/arc.json", {"best_intervention": half, "best_intervention_accuracy": 1}
    )
    accuracy, _ = tree.cell("mms", model, *places, eval_accuracy=7, eval_brier_score=[], distribution_id=half)
    for number, odd in enumerate(([huge], [True], ["0.5"], [[0.5]], [1.5], {})):
        tree.cell(f"odd_{number}", model, *places, eval_probabilities=odd)
    results = read_results(tree.folder)
    made = recompute(results, [PAIR])
    assert {kind: len(paths) for kind, paths in results.oddities.items()} == {
        "table without the columns source, target, generalization_accuracy, not used": 1,
        "no CSV table, not used": 1,
        "row of a table without source or target, not used": 1,
        "figure of a table that cannot be one, not used": 1,
        "capability without a figure": 2,
        "states a figure that cannot be one, not used": 2,
        "states another source or distribution than its place, used": 1,
        "without usable probabilities, not used": 6,
    }
    assert results.oddities["figure of a table that cannot be one, not used"] == [
        f"generalization_metrics/{model}/mms/all.csv, row 1, generalization_accuracy"
    ]
    assert made.cells.filter(model=model, intervention="mms")["accuracy"].item() == accuracy
    assert made.comparison.differences == [] and len(made.comparison.missing) == 1


def write_ccs(tree: Tree, source: str, target: str, **changes: object) -> None:
    """Write an evaluation as the published ones of ccs are."""
    value = {
        "model_dir": f"models/ccs/pythia-1b-{source}",
        "distribution_dir": f"distributions/{target}",
        "timestamp": "2023-11-02 23:14:05",
        "eval_accuracy": 0.632,
        "eval_score": 0.632,
    }
    tree.write(f"evaluations/ccs/pythia-1b-{source}/{target}.json", {**value, **changes})


def test_an_evaluation_without_probabilities_counts_by_its_stated_accuracy(tree: Tree, tmp_path: Path) -> None:
    easy, hard = "alpaca_easy", "alpaca_hard"
    write_ccs(tree, easy, hard)
    write_ccs(tree, easy, easy, eval_accuracy=0.75, eval_score=0.75)
    base = read_results(tree.folder).evaluations["pythia-1b", "zero_shot", easy, hard][0].used
    row = {
        "source": easy, "target": hard, "target_reference": hard, "generalization_accuracy": 0.632,
        "baseline_accuracy": base, "target_tuned_capability": 0.9, "source_ID_accuracy": 0.75,
        "differential_elicitation": (0.632 - base) / 0.9,
    }  # fmt: skip
    tree.table("pythia-1b", "ccs", row)
    results = read_results(tree.folder)
    made = recompute(results, [PAIR])
    assert not results.oddities and not made.comparison.differences and not made.comparison.missing
    found = made.metrics.filter(intervention="ccs").row(0, named=True)
    assert (found["generalization_accuracy"], found["source_ID_accuracy"]) == (0.632, 0.75)
    unknown = ("generalization_accuracy_low", "generalization_accuracy_high", "RMS_calibration_error", "brier")
    assert {found[name] for name in (*unknown, "calibration_error", "test_pairs")} == {None}
    assert not any(key[1] == "ccs" for key in made.scores)
    told = list(write_published_tables(tree.folder, [short_list(tmp_path)], tmp_path / "out"))
    assert told[0].startswith("pythia-1b: rows of ccs 1,")
    board = read_csv(tmp_path / "out" / LEADERBOARD.file, LEADERBOARD.columns).filter(intervention="ccs")
    assert set(board["generalization_accuracy"]) == {0.632} and board["shifts_at_chance"].null_count() == len(board)


def test_an_accuracy_that_cannot_be_one_is_odd_and_not_used(tree: Tree) -> None:
    easy = "alpaca_easy"
    write_ccs(tree, easy, "alpaca_hard", eval_accuracy=63.2)
    write_ccs(tree, easy, "alpaca_short", eval_accuracy=None)
    write_ccs(tree, easy, "alpaca_long", distribution_dir="distributions/alpaca_short")
    results = read_results(tree.folder)
    assert {kind: len(paths) for kind, paths in results.oddities.items()} == {
        "states a figure that cannot be one, not used": 1,
        "without probabilities and accuracy, not used": 2,
        "states another source or distribution than its place, used": 1,
    }
    assert [key[3] for key in results.evaluations if key[1] == "ccs"] == ["alpaca_long"]


def test_a_figure_that_one_side_lacks_is_told_apart(tree: Tree) -> None:
    (tree.folder / "evaluations/zero_shot/pythia-1b-alpaca_easy/alpaca_hard.json").unlink()
    file = tree.folder / "generalization_metrics/pythia-1b-deduped/lora_fine_tuning/all.csv"
    file.write_text(file.read_text().replace(",0.9,", ",,"))
    made = recompute(read_results(tree.folder), [PAIR])
    compared = made.comparison
    missing = {(figure.column, figure.published is None) for figure in compared.missing}
    assert missing == {
        ("baseline_accuracy", False), ("differential_elicitation", False), ("target_tuned_capability", True),
    }  # fmt: skip
    assert compared.compared == 2 * len(COMPARED) + len(made.cells) - 3 and not compared.differences
    told = list(made.lines())
    assert told[0] == f"{compared.compared} figures compared, 3 missing on one side, largest difference 0"
    assert told[3].endswith("target_tuned_capability: none published, 0.9 recomputed")


def test_stated_brier_scores_and_calibration_errors_are_compared_within_their_precision(tree: Tree) -> None:
    model, draw = "pythia-1b", np.random.default_rng(5)
    probability = draw.random(750).astype(np.float16)
    half = float(np.mean((1 - probability) ** 2, dtype=np.float32).astype(np.float16))
    exact = metric.brier(probability)
    assert abs(half - exact) > 1e-6
    own = {"eval_probabilities": probability.tolist(), "eval_accuracy": None}
    for name, brier in (("a", half), ("b", float(np.float32(exact))), ("c", exact), ("d", exact + 1e-5)):
        error = metric.published_rms_calibration_error(probability) + (0.1 if name == "d" else 0)
        stated = {"eval_brier_score": brier, "eval_rms_calibration_error": error}
        tree.cell(name, model, "alpaca_easy", "alpaca_hard", **own, **stated)
    made = recompute(read_results(tree.folder), [PAIR])
    briers, errors = made.stated["stated Brier scores"], made.stated["stated calibration errors"]
    assert (briers.compared, briers.rounded, len(briers.differences)) == (4, {"float16": 1, "float32": 1}, 1)
    assert (errors.compared, len(errors.differences)) == (4, 1) and errors.largest == pytest.approx(0.1)
    assert made.comparison.largest == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
PLACES = st.sampled_from([
    "evaluations/lora/pythia-1b-alpaca_easy/alpaca_hard.json", "evaluations/zero_shot/pythia-1b-alpaca_easy/.json",
    "evaluations/mms/-alpaca_easy/x.json", "evaluations/x/pythia-1b-/y.json", "evaluations/y.json",
    "target_tuned_capability/pythia-1b/alpaca_hard.json", "target_tuned_capability/x/y.json",
    "generalization_metrics/pythia-1b/lora_fine_tuning/all.csv", "generalization_metrics/a/b/c.csv", "x/y.txt",
])  # fmt: skip
FIELDS = st.sampled_from([
    "eval_probabilities", "eval_accuracy", "eval_brier_score", "eval_rms_calibration_error", "distribution_id",
    "model_dir", "distribution_dir", "best_intervention", "best_intervention_accuracy", "target",
])  # fmt: skip
HEADERS = st.sampled_from(["source", "target", "target_reference", "x", *COMPARED])
FIGURES = st.sampled_from(["alpaca_easy", "alpaca_hard", "", "0.5", "nan", "9", '"', "\0"])
CSVS = st.tuples(st.lists(HEADERS, max_size=6), st.lists(st.lists(FIGURES, max_size=7), max_size=3)).map(
    lambda table: "\n".join(map(",".join, [table[0], *table[1]])).encode()
)
CONTENTS = st.binary(max_size=40) | CSVS | VALUES.map(lambda value: json.dumps(value).encode())


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    files=st.dictionaries(PLACES, CONTENTS, max_size=3),
    fields=st.dictionaries(FIELDS, VALUES, max_size=3),
    all_of=st.booleans(),
)
def test_whatever_a_tree_holds_it_is_read_or_refused(files: dict, fields: dict, all_of: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "results")
        for file in sorted(tree.folder.rglob("*.json"))[: None if all_of else 1]:
            file.write_text(json.dumps(json.loads(file.read_text()) | fields))
        for place, content in files.items():
            path = tree.folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shifts = short_list(Path(folder))
        with suppress(GeniesError), pytest.MonkeyPatch.context() as patched:
            patched.setattr(intervals_table, "intervals", partial(intervals, resamples=50))
            "\n".join(write_published_tables(tree.folder, [shifts], Path(folder) / "out")).encode()


def test_where_the_table_follows_another_file_that_one_is_used_and_named(tree: Tree) -> None:
    folder = tree.folder / "evaluations/lora"
    (folder / "classify_lora").mkdir()
    (folder / "pythia-1b-alpaca_easy").rename(folder / "classify_lora/pythia-1b-alpaca_easy")
    tree.cell("lora", "pythia-1b", "alpaca_easy", "alpaca_hard")
    results = read_results(tree.folder)
    assert not recompute(results, [PAIR]).comparison.differences
    assert results.oddities["used, since the table follows it and not the file in its place"] == [
        "evaluations/lora/classify_lora/pythia-1b-alpaca_easy/alpaca_hard.json"
    ]


def test_shifts_that_no_list_has_keep_their_rows(tree: Tree) -> None:
    metrics = recompute(read_results(tree.folder), []).metrics
    assert set(metrics["label"]) == {"own"} and len(metrics) == 4


def test_pairs_of_an_example_stand_together() -> None:
    assert examples("alpaca_hard", 6).tolist() == [0, 0, 0, 1, 1, 1]
    assert examples("gender_bias", 4).tolist() == [0, 0, 1, 1]
    assert examples("crt_1", 3).tolist() == examples("unheard_of", 3).tolist() == [0, 1, 2]
    assert examples("alpaca_hard", 5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_provenance_binds_the_data_that_were_read(tree: Tree, tmp_path: Path, form: str) -> None:
    path = tree.folder
    if form == "archive":
        path = tmp_path / "all.tar"
        path.write_bytes(packed(tree))
    shifts = short_list(tmp_path)
    assert main(["published", str(path), "--out", str(tmp_path / "out"), "--shifts", str(shifts)]) == 0
    stated = json.loads((tmp_path / "out/provenance.json").read_text())["data"]
    assert stated == {path.name: source_digest(path)}
    if form == "archive":
        assert stated["all.tar"] == hashlib.sha256(path.read_bytes()).hexdigest()
        return
    tree.write("notes.txt", "not read")
    assert source_digest(path) == stated["results"]
    tree.cell("lora", "pythia-1b", "alpaca_easy", "alpaca_hard")
    assert source_digest(path) != stated["results"]


def packed(tree: Tree, *further: tarfile.TarInfo) -> bytes:
    """The tree as a tar archive, with zeros behind further headers."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in further:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        tar.add(tree.folder, arcname="results")
    return stream.getvalue()


def member(name: str, size: int = 0, **changes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in changes.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("bomb", "told"),
    [
        (member("x", pax_headers={"comment": "x" * 2**24}), "states a size"),
        (member("x", 2**28), "times its size"),
        (member("x", type=tarfile.GNUTYPE_SPARSE), "sparse"),
    ],
)
def test_an_archive_that_is_a_bomb_is_refused(tree: Tree, bomb: tarfile.TarInfo, told: str) -> None:
    path = tree.folder / "bomb.tar.xz"
    path.write_bytes(lzma.compress(packed(tree, bomb), preset=0))
    tracemalloc.start()
    with pytest.raises(DataError, match=told):
        read_results(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_links_of_an_archive_are_odd_and_names_are_told_in_one_line(tree: Tree, tmp_path: Path) -> None:
    name, link = "evaluations/x\ny/pythia-1b-alpaca_easy/alpaca_hard.json", "evaluations/a/pythia-1b-a/b.json"
    tree.write(name, {"eval_probabilities": [0.25]})
    path = tree.folder / "all.tar"
    path.write_bytes(packed(tree, member(link, type=tarfile.SYMTYPE, linkname="results")))
    assert read_results(path).oddities == {"link or device, not read": [link]}
    told = list(write_published_tables(path, [short_list(tmp_path)], tree.folder / "out"))
    listed = (tree.folder / "out" / ODD_FILES).read_text().splitlines()
    assert any(r"x\ny" in line for line in [*told, *listed]) and not any("\n" in line for line in told)
    assert "1 odd: link or device, not read" in told and f"  {link}" in listed


def test_an_archive_of_too_many_members_is_refused(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.folder / "all.tar").write_bytes(packed(tree))
    read_results(tree.folder / "all.tar")
    monkeypatch.setattr(published, "LIMITS", replace(published.LIMITS, members=3))
    with pytest.raises(DataError, match="more than 3 members"):
        read_results(tree.folder / "all.tar")


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_file_that_is_too_large_is_not_read(tree: Tree, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(published, "LIMITS", replace(published.LIMITS, file_bytes=2**16))
    name = "evaluations/mms/pythia-1b-alpaca_easy/code.json"
    tree.write(name, json.dumps({"eval_probabilities": [0.25] * 2**15}))
    path = tree.folder
    if form == "archive":
        content = packed(tree)
        path = tree.folder / "all.tar"
        path.write_bytes(content)
    results = read_results(path)
    assert [len(paths) for paths in results.oddities.values()] == [1]
    assert results.oddities["larger than 65536 bytes, not read"][0].endswith(name)


@pytest.mark.parametrize("what", ["nothing", "a text", "an empty folder"])
def test_what_holds_no_results_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "r"
    if what == "a text":
        path.write_text("x")
    elif what == "an empty folder":
        path.mkdir()
    with pytest.raises(DataError, match=str(path)):
        read_results(path)


@pytest.mark.skipif(not ARCHIVE.is_file(), reason="the published results are not beside the repository")
def test_the_published_figures_of_llama_7b_come_out_to_the_last_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["published", str(ARCHIVE), "--out", str(tmp_path), "--shifts", str(SHIFTS)]) == 0
    printed = capsys.readouterr().out
    assert "figures compared, largest difference 0\n" in printed and "differs" not in printed
    assert printed.endswith(f"report: {tmp_path / 'report.html'}\n")
    assert "the paper: LoRA elicits on extreme shifts: 0.85 (llama-30b; this run has no llama-30b)" in printed
    with tarfile.open(ARCHIVE) as archive:
        rows = {}
        for name in ("mms", "lat_stim_1", "cra", "few_shot", "lora_fine_tuning", "prompt_tuning"):
            table = archive.extractfile(f"results/generalization_metrics/llama-7b/{name}/all.csv").read().decode()
            for row in csv.DictReader(io.StringIO(table)):
                rows.setdefault((name, row["source"], row["target"]), []).append(row)
    assert sum(map(len, rows.values())) == 6 * 69
    with (tmp_path / "generalization_metrics.csv").open() as file:
        ours = {(row["intervention"], row["source"], row["target"]): row for row in csv.DictReader(file)}
    for key, theirs in rows.items():
        assert int(ours[key]["published_entries"]) == len(theirs)
        for row in theirs:
            for column in COMPARED:
                assert abs(float(row[column]) - float(ours[key][column])) <= 1e-9, (key, column)
    assert len(read_shifts(SHIFTS)) == 56
    with (tmp_path / "leaderboard.csv").open() as file:
        means = {
            row["intervention"]: round(float(row["generalization_accuracy"]), 3)
            for row in csv.DictReader(file)
            if row["averaged_over"] == "GENIES"
        }
    assert means == {
        "mms": 0.557, "lat_stim_1": 0.522, "lora_fine_tuning": 0.521, "prompt_tuning": 0.494, "few_shot": 0.473,
        "cra": 0.464, "zero_shot": 0.464,
    }  # fmt: skip
