"""Digests change with what can change a result, and with nothing else."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from genies import digests
from genies.digests import code_digest, computed_by, value_digest

MODULE = '''"""Docs."""

from genies.errors import DataError


def f(x):
    """Docs."""
    log.info("got %s", x)
    if any(step < 0 for step in tqdm(x, unit='text')):
        raise DataError(f"{x}: negative")
    return x + 1
'''


def digest_of(folder: Path, text: str) -> str:
    module = folder / "module.py"
    module.write_text(text)
    return code_digest(module)


@pytest.mark.parametrize(
    "edited",
    [
        MODULE.replace('"""Docs."""', '"""Other words."""'),
        MODULE.replace("def f", "# A remark.\ndef f"),
        MODULE.replace("return x + 1", "return (x +\n        1)"),
        MODULE.replace("negative", "less than nothing"),
        MODULE.replace("log.info", "log.warning").replace("got", "was given"),
        MODULE.replace("unit='text'", "unit='step', leave=False"),
    ],
    ids=["docstring", "comment", "layout", "words of an error", "log", "progress"],
)
def test_words_and_layout_leave_the_digest_as_it_is(tmp_path: Path, edited: str) -> None:
    assert digest_of(tmp_path, edited) == digest_of(tmp_path, MODULE)


def test_code_changes_the_digest(tmp_path: Path) -> None:
    assert digest_of(tmp_path, MODULE.replace("+ 1", "+ 2")) != digest_of(tmp_path, MODULE)


def test_imported_modules_of_the_package_count(tmp_path: Path) -> None:
    without = digest_of(tmp_path, MODULE.replace("from genies.errors import DataError", "pass"))
    assert without != digest_of(tmp_path, MODULE)


def test_one_intervention_does_not_depend_on_another() -> None:
    mms = set(digests._module("genies.interventions.mms").imported)
    assert not any(name.endswith((".ccs", ".lat_pca")) for name in mms)


def test_files_beside_a_file_of_the_users_count_where_it_imports_them(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("STEP = 1\n")
    (tmp_path / "other.py").write_text("STEP = 1\n")
    text = f"from helper import STEP\n{MODULE}"
    before = digest_of(tmp_path, text)
    (tmp_path / "other.py").write_text("STEP = 2\n")
    assert digest_of(tmp_path, text) == before
    (tmp_path / "helper.py").write_text("STEP = 2\n")
    assert digest_of(tmp_path, text) != before


def test_names_state_the_libraries_that_their_code_imports() -> None:
    probe, trained = (computed_by(f"genies.interventions.{name}")["libraries"] for name in ("mms", "lora"))
    assert probe["numpy"] == ".".join(version("numpy").split(".")[:2])
    assert "peft" in trained and "peft" not in probe


def test_no_module_that_computes_nothing_decides_a_name() -> None:
    reached = digests._reached(["genies.interventions.mms", "genies.interventions.lora"], digests.PURE)
    assert {"genies.engine.decoder", "genies.interventions.training.rewards"} & reached.keys()
    assert {name.rpartition(".")[0].split(".")[1] for name in reached} <= {"engine", "interventions"}


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such module"):
        code_digest("genies.absent")


def test_the_order_of_keys_plays_no_part() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
