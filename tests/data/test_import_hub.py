"""Preference sets of a hub: pinned to a commit, with the licence that their card states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hub import COMMIT, Hub, Repository
from preference_sets import PKU, REWARDBENCH, SINGLE, written
from project import REPOSITORY, run_to_end

from genies.data.distributions import validate_folder

GENIES = "import sys; from genies.cli import main; sys.exit(main())"
CARD = "---\nlicense: odc-by\nlanguage: en\n---\n# A set\n"


def imported(folder: Path, hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    return run_to_end(
        [sys.executable, "-c", GENIES, "import", *arguments],
        cwd=folder,
        env={
            **inherited,
            "PYTHONPATH": str(REPOSITORY),
            "HF_HOME": str(folder / "hf"),
            **hub.environment,
        },
    )


def test_a_set_of_the_hub_is_pinned_and_its_licence_goes_into_the_metadata(tmp_path):
    repository = tmp_path / "rb2"
    written(repository / "data" / "test-00000-of-00001.parquet", [REWARDBENCH])
    (repository / "README.md").write_text(CARD)
    (repository / "pickle.bin").write_bytes(b"not to be downloaded")
    with Hub({"owner/rb2": Repository(repository)}) as hub:
        run = imported(tmp_path, hub, "owner/rb2", "--output", "made", "--revision", "main")
        assert run.returncode == 0, run.stderr
        assert hub.files_sent() == ["README.md", "data/test-00000-of-00001.parquet"]
        wrong = imported(tmp_path, hub, "owner/rb2", "--output", "other", "--revision", "v9")
        absent = imported(tmp_path, hub, "owner/none", "--output", "other")
    stated = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert (stated["source"], stated["revision"], stated["licence"]) == ("owner/rb2", COMMIT, "odc-by")
    assert list(stated["inputs"]) == ["data/test-00000-of-00001.parquet"]
    assert (wrong.returncode, absent.returncode) == (2, 2)
    assert "the hub has no revision v9 of it; name another with --revision" in wrong.stderr
    assert "no such data set on the hub" in absent.stderr
    assert "no such local file or folder" in absent.stderr
    assert wrong.stderr.count("\n") == absent.stderr.count("\n") == 1


def test_a_repository_of_several_sets_is_refused_and_one_of_them_can_be_named(tmp_path):
    repository = tmp_path / "several"
    for name in ("helpful", "harmless"):
        rows = [{**SINGLE["HH transcript"], "chosen": f"\n\nHuman: {name} {n}\n\nAssistant: a",
                 "rejected": f"\n\nHuman: {name} {n}\n\nAssistant: b"} for n in range(4)]  # fmt: skip
        written(repository / name / "train.jsonl", rows[:3])
        written(repository / name / "test.jsonl", rows[3:])
    with Hub({"owner/several": Repository(repository, gated=False)}) as hub:
        refused = imported(tmp_path, hub, "owner/several", "--output", "all")
        run = imported(tmp_path, hub, "owner/several/helpful", "--output", "helpful", "--licence", "mit")
    assert "holds several sets; name one of its folders or files: harmless, helpful" in refused.stderr
    assert run.returncode == 0, run.stderr
    counts = validate_folder(tmp_path / "helpful")
    assert (counts.train.examples, counts.test.examples) == (3, 1)
    assert json.loads((tmp_path / "helpful" / "metadata.json").read_text())["licence"] == "mit"


def test_a_gated_set_is_refused_with_what_helps(tmp_path):
    written(tmp_path / "pku" / "train.jsonl", [PKU])
    with Hub({"owner/pku": Repository(tmp_path / "pku", gated=True)}) as hub:
        refused = imported(tmp_path, hub, "owner/pku", "--output", "made")
    assert refused.returncode == 2
    assert "gated on the hub; accept its terms" in refused.stderr
    assert refused.stderr.count("\n") == 1
