"""Real Snakemake on a miniature project: what comes out, what is shared, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import polars as pl
import pytest
import yaml
from project import Project

from genies.evaluation.tables.generalization_metrics import TABLE as METRICS


def test_results_have_the_promised_shape(finished: Project) -> None:
    results = finished.folder / "results/mini"
    table = pl.read_csv(results / "generalization_metrics.csv")
    published = (
        "source,target,target_reference,generalization_accuracy,baseline_accuracy,baseline_intervention,"
        "target_tuned_capability,target_tuned_capability_intervention,source_ID_accuracy,RMS_calibration_error,"
        "differential_elicitation"
    ).split(",")
    assert table.columns == [*METRICS.columns] and table.columns[5:16] == published
    assert table.select("model", "intervention", "source", "target").rows() == [
        ("tiny-llama", name, "north", "south") for name in ("random", "zero_shot", "mms")
    ]
    assert table["generalization_accuracy"].is_not_null().all()
    assert table.row(0, named=True)["generalization_accuracy"] == 0.5
    pairs = pl.read_parquet(results / "evaluations/tiny-llama/zero_shot/north.parquet")
    assert pairs.columns[:6] == ["target", "example", "pair", "cluster", "answer", "probability"]
    assert set(pairs["target"]) == {"north", "south"}
    assert (pairs["score_best"] < 0).all()
    assert "</html>" in (results / "report.html").read_text()


def test_the_full_matrix_needs_no_forward_pass(project: Project) -> None:
    project.config["matrix"] = True
    executed = project.jobs("--until", "metrics")
    assert not {"extract", "tokenize"} & set(executed)
    cells = pl.read_csv(project.folder / "results/mini/cells.csv").filter(intervention="mms")
    # South is fitted on for its capability, and north was not its target before.
    assert {("north", "south"), ("north", "north"), ("south", "south"), ("south", "north")} == set(
        cells.select("source", "target").rows()
    )


@pytest.mark.torture
def test_another_configuration_shares_the_cache(project: Project) -> None:
    project.config["run"] = "other"
    assert project.jobs()["extract"] == 1
    log = (project.folder / "results/other/logs/extract/tiny-llama/0.log").read_text()
    assert "tiny-llama: 0 forward passes" in log


def _refused(project: Project, *options: str) -> str:
    result = project.run(*options)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "test.json: "),
        ('[{"prompt": "p", "responses": {"a": 0, "b": 0}}]', "record 0"),
        pytest.param('[{"prompt": "p", "responses": {"a": 1, "b": 1}}]', "record 0", marks=pytest.mark.torture),
        pytest.param('[{"prompt": "p", "responses": {"a": 1}}]', "record 0", marks=pytest.mark.torture),
    ],
    ids=["not JSON", "empty", "no best", "two best", "one response"],
)
def test_bad_data_ends_with_one_line_and_leaves_no_result(project: Project, text: str, message: str) -> None:
    (project.folder / "data/south/test.json").write_text(text)
    stderr = _refused(project)
    (line,) = {line for line in stderr.splitlines() if line.startswith("genies: error:")}
    assert message in line and "data/south/test.json" in line
    assert not (project.folder / "results/mini/tokens/tiny-llama.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interventions": ["mms", "zero_shoot"]}, "zero_shot"),
        ({"shifs": ["shifts.yaml"]}, "unknown key shifs; did you mean shifts"),
        ({"model": "./missing"}, "missing: model folder not found"),
        ({"shifts": ["elsewhere.yaml"]}, "elsewhere.yaml"),
        ({"distributions": ["data/north"]}, "unknown distribution south"),
        ({"data_archive": "missing.tar"}, "missing.tar"),
        ({"run": None}, "run"),
    ],
)
def test_a_bad_configuration_is_refused_before_anything_runs(
    finished: Project, tmp_path: Path, change: dict, message: str
) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(yaml.safe_dump({k: v for k, v in {**finished.config, **change}.items() if v is not None}))
    result = finished.snakemake("--configfile", str(config), "--dry-run")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert message in said
    assert "Traceback" not in said


def test_snakemakes_own_report_holds_the_page_the_tables_and_the_figures(project: Project) -> None:
    result = project.snakemake("--configfile", "config.yaml", "--report", "report.zip")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(project.folder / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        listed = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith("report.html"))
    assert {"report.html", "leaderboard.csv", "comparisons.csv", "figure-leaderboard.svg"} <= names
    assert all(category in listed for category in ("Tables", "Figures", "Provenance"))
