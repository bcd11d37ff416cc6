"""Digests change with what can change a result, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from genies import digests
from genies.digests import code_digest, value_digest

MODULE = '"""Docs."""\n\nfrom genies.errors import DataError\n\n\ndef f(x):\n    """Docs."""\n    return x + 1\n'


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
    ],
    ids=["docstring", "comment", "layout"],
)
def test_words_and_layout_leave_the_digest_as_it_is(tmp_path: Path, edited: str) -> None:
    assert digest_of(tmp_path, edited) == digest_of(tmp_path, MODULE)


def test_code_changes_the_digest(tmp_path: Path) -> None:
    assert digest_of(tmp_path, MODULE.replace("+ 1", "+ 2")) != digest_of(tmp_path, MODULE)


def test_imported_modules_of_the_package_count(tmp_path: Path) -> None:
    without = digest_of(tmp_path, MODULE.replace("from genies.errors import DataError", "pass"))
    assert without != digest_of(tmp_path, MODULE)


def test_one_intervention_does_not_depend_on_another() -> None:
    mms = set(digests._module_digest("genies.interventions.mms")[1])
    assert not any(name.endswith((".ccs", ".lat_pca")) for name in mms)


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such module"):
        code_digest("genies.absent")


def test_the_order_of_keys_plays_no_part() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
