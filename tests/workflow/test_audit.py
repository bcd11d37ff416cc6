"""The verb ``audit`` on a real run."""

from __future__ import annotations

import polars as pl
import pytest
from project import Project

from genies.commands.audit import audit
from genies.errors import ConfigError, DataError


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


def test_what_a_person_filled_in_is_not_written_over(results):
    audit(results, most=1)
    audit(results, most=2)
    listed = pl.read_csv(results / "audit.csv", infer_schema=False)
    assert len(listed) == 2 * listed["target"].n_unique()
    listed[:1].with_columns(wrong=pl.lit("no")).write_csv(results / "audit.csv")
    with pytest.raises(DataError, match=r"audit\.csv: its column wrong is filled in, and would be lost; move it"):
        audit(results)
    audit(results, output=results / "again.csv")
    assert pl.read_csv(results / "audit.csv", infer_schema=False)["wrong"].to_list() == ["no"]


def test_other_files_and_lists_of_other_texts_are_refused_in_one_line(results):
    audit(results, most=1)
    listed = pl.read_csv(results / "audit.csv", infer_schema=False)
    header, row = "target,example,pair,texts,wrong", [*listed.row(0, named=True).values()]
    key = ",".join(str(value) for value in row[:3])
    texts = listed["texts"][0]
    cases = {
        "a,b\n1,2\n": "is no list of genies audit",
        f"{header}\n{key},{texts},perhaps\n": "write yes or no",
        f"{header}\nsouth,x,0,{texts},yes\n": "is no list",
        f"{header}\n{key},{texts},yes\n{key},{texts},no\n": "occur twice",
        f"{header}\n{key},{texts},\n": "nothing is filled in",
        f'{header}\n{key},{texts},""\n': "nothing is filled in",
        f"{header}\n{key},0123456789abcdef,yes\n": "other texts than this run's",
        f"{header}\nsouth,9999,0,{texts},yes\n": "has no example 9999",
        f"{header}\nnowhere,1,0,{texts},yes\n": "no target of this run",
    }
    for content, message in cases.items():
        (results / "reviewed.csv").write_text(content)
        with pytest.raises(DataError, match=message) as caught:
            audit(results, reviewed=results / "reviewed.csv")
        assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{results / 'reviewed.csv'}: ")
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file; give the list that genies audit wrote"):
        audit(results, reviewed=results / "nowhere.csv")
    with pytest.raises(ConfigError, match="--most: 0"):
        audit(results, most=0)
