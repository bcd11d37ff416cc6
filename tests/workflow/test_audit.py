"""The verb ``audit`` on a real run."""

from __future__ import annotations

import polars as pl
import pytest
from project import Project

from genies.commands.audit import audit
from genies.errors import DataError


@pytest.fixture
def results(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project.folder)
    return project.folder / "results/mini"


def test_a_list_goes_out_with_its_texts_and_comes_back_reviewed(results, capsys):
    audit(results, most=3)
    listed = pl.read_csv(results / "audit.csv")
    assert len(listed) == 3 * listed["target"].n_unique() and listed["wrong"].null_count() == len(listed)
    assert listed["prompt"].null_count() == listed["best"].null_count() == 0
    assert not listed["prompt"].str.contains("�").any()
    verdicts = ["Yes", "no"] + [None] * (len(listed) - 2)
    listed.with_columns(wrong=pl.Series(verdicts, dtype=pl.String)).write_csv(results / "reviewed.csv")
    capsys.readouterr()
    audit(results, reviewed=results / "reviewed.csv")
    said = capsys.readouterr().out
    assert "corrected_accuracy" in said and "mms" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n1,2\n", "is no list of genies audit"), ("target,example,pair,wrong\nt,1,0,perhaps\n", "write yes or no"),
     ("target,example,pair,wrong\nt,x,0,yes\n", "is no list"),
     ("target,example,pair,wrong\nt,1,0,yes\nt,1,0,no\n", "occur twice")],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(results, content, message):
    (results / "reviewed.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        audit(results, reviewed=results / "reviewed.csv")
    assert "\n" not in str(caught.value)
