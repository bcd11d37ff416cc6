"""Digests change with what can change a result, and with nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import genies
from genies import digests
from genies.digests import NOT_COMPUTING, code_digest, computed_by, value_digest
from genies.syntax import parsed

HOUSE = '''"""Docs."""

import logging

from tqdm import tqdm

from genies.errors import DataError

log = logging.getLogger(__name__)


def f(x):
    """Docs."""
    log.info("got %s", len(x))
    if any(step < 0 for step in tqdm(x, unit='text')):
        raise DataError(f"{x}: negative")
    return x + 1
'''
OWN = '''"""Docs."""

import logging

from numpy import log as logarithm

log = logging.getLogger(__name__)


def f(x):
    """Docs."""
    log.info("got %s", x.shape)
    print("so far", x)
    return logarithm(x + 1)
'''
NAMED = {
    "a probe": ("genies.interventions.mms", "genies.store.pairs"),
    "lora": ("genies.interventions.lora",),
    "few_shot": ("genies.interventions.few_shot",),
    "tokens": ("genies.engine.tokenization",),
    "activations": ("genies.store.extraction",),
}


def digest_of(folder: Path, text: str, **others: str | bytes) -> str:
    """Digest of an intervention of the user's own with other files around it."""
    for name, content in {"module.py": text, **others}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return computed_by(folder / "module.py")["code"]


@pytest.mark.parametrize(
    "edited",
    [
        HOUSE.replace('"""Docs."""', '"""Other words."""'),
        HOUSE.replace("def f", "# A remark.\ndef f"),
        HOUSE.replace("return x + 1", "return (x +\n        1)"),
        HOUSE.replace("negative", "less than nothing"),
        HOUSE.replace("log.info", "log.warning").replace("got", "was given"),
        HOUSE.replace("unit='text'", "unit='step', leave=False"),
    ],
    ids=["docstring", "comment", "layout", "words of an error", "log", "progress"],
)
def test_words_and_layout_in_genies_leave_the_digest_as_it_is(edited: str) -> None:
    before, after = (parsed(text.encode(), "house.py", own=False) for text in (HOUSE, edited))
    assert before.digest == after.digest


@pytest.mark.parametrize(
    "edited",
    [
        OWN.replace('"""Docs."""', '"""Other words."""'),
        OWN.replace("def f", "# A remark.\ndef f"),
        OWN.replace("return logarithm(x + 1)", "return logarithm(x +\n        1)"),
        OWN.replace("log.info", "log.warning").replace("got", "was given"),
        OWN.replace("so far", "by now"),
    ],
    ids=["docstring", "comment", "layout", "log", "print"],
)
def test_words_and_layout_in_a_file_of_the_users_leave_the_digest_as_it_is(tmp_path: Path, edited: str) -> None:
    assert digest_of(tmp_path, edited) == digest_of(tmp_path, OWN)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x): return x + 1",
        "seen = []\nlog = seen\ndef f(x): log.info(1)",
        "from numpy import log\ndef f(x):\n    log.info(1)",
        "import logging\nlog = logging.getLogger()\ndef f(x, log): log.info(1)",
        "import logging\nfrom helper import *\nlog = logging.getLogger()\ndef f(x): log.info(1)",
        "import logging\nlog = logging.getLogger()\ndef f(x): log.setLevel(1)",
        "import logging\nlog = logging.getLogger()\ndef f(x): log.info(x.pop(1))",
        "from helper import print\ndef f(x): print(1)",
        "def f(x, file): print(1, file=file)",
        "from tqdm import tqdm\ndef f(x): return [*tqdm(x, total=1)]",
        "from tqdm import tqdm\ndef f(x): return tqdm(x, initial=1).n",
        "def g(): raise ValueError(1)\ndef f(x):\n    try: g()\n    except ValueError as e: return e.args[0]",
        "def f(x):\n    'half 1'\n    return float(f.__doc__[5:])",
        "import inspect\ndef f(x):\n    'half 1'\n    return inspect.getdoc(f)",
        "def f(x): print('x', *x[1:])",
        "import logging\nlog = logging.getLogger()\ndef f(x): log.info(x[1])",
        "import inspect\ndef f(x):\n    # half 1\n    return inspect.getsource(f)",
    ],
)
def test_whatever_may_change_a_result_of_the_users_code_changes_the_digest(tmp_path: Path, text: str) -> None:
    assert digest_of(tmp_path, text) != digest_of(tmp_path, text.replace("1", "2"))


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("from helper import STEP", "helper.py"),
        ("from nsp import scale", "nsp/scale.py"),
        ("import nsp.m", "nsp/m.py"),
        ("import nsp.deep.m as m", "nsp/deep/m.py"),
        ("import package", "package/part.py"),
        ("import importlib\nm = importlib.import_module('other')", "other.py"),
        ("from importlib import import_module\nm = import_module('nsp.m')", "nsp/m.py"),
        ("import_ = __import__('other')", "other.py"),
        ("import importlib\nm = importlib.import_module('part_' + str(7))", "part_7.py"),
        ("import runpy\nm = runpy.run_path('scripts/one.py')", "scripts/one.py"),
        ("import sys\nsys.path.append('lib')\nimport deep", "lib/deep.py"),
        ("import sys, pathlib\nsys.path.append(pathlib.Path(__file__).parents[1])\nimport above", "../above.py"),
        ("from pathlib import Path\nw = Path(__file__).with_name('words.txt').read_text()", "words.txt"),
        ("import numpy as np, os\nw = np.load(os.path.dirname(__file__) + '/' + 'w.npy')", "w.npy"),
        ("import native", "native.so"),
        ("import importlib\nR = {'a': 'plugs.one'}\nm = importlib.import_module(R['a'])", "plugs/one.py"),
        ("from importlib import import_module as im\nm = im('plugs.one')", "plugs/one.py"),
        ("import pkgutil\nm = [*pkgutil.iter_modules(['plugs'])]", "plugs/one.py"),
        ("import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'common'))\nimport deep",
         "../common/deep.py"),
        ("import sys as s\ns.path.append('lib')\nimport deep", "lib/deep.py"),
        ("from pathlib import Path\nw = Path(__file__).with_suffix('.yaml').read_text()", "module.yaml"),
        ("from pathlib import Path\nw = (Path(__file__).parent / 'data' / ('w' + '.txt')).read_text()", "data/w.txt"),
    ],
)  # fmt: skip
def test_files_around_a_file_of_the_users_count_where_it_imports_or_names_them(
    tmp_path: Path, text: str, file: str
) -> None:
    others = {"package/__init__.py": "from .part import STEP\n", "unread.py": "STEP = 1\n"}
    home = tmp_path / "home"
    before = digest_of(home, text, **others, **{file: "STEP = 1\n"})
    if not any(
        word in text for word in ("import_", "runpy", "importlib", "pkgutil")
    ):  # else every Python file of the folder counts
        assert digest_of(home, text, **{"unread.py": "STEP = 2\n"}) == before
    assert digest_of(home, text, **{file: "STEP = 2\n"}) != before


def test_a_helper_reads_from_the_folder_of_who_imports_it_and_docstrings_of_all_count(tmp_path: Path) -> None:
    others = {"nsp/m.py": "import deep\n", "deep.py": "def f(x):\n    'one'\n    return x\n"}
    names = [
        digest_of(tmp_path, text, **(others | {"deep.py": others["deep.py"].replace("one", word)}))
        for text in ("import nsp.m", "import nsp.m\nt = nsp.m.deep.f.__doc__")
        for word in ("one", "two")
    ]
    assert names[0] == names[1] and len(set(names)) == 3
    assert digest_of(tmp_path, "import nsp.m", **{"deep.py": "f = abs\n"}) not in names


def test_two_files_that_change_places_change_the_digest(tmp_path: Path) -> None:
    text = "WORDS = 'a.txt', 'b.txt'"
    straight = digest_of(tmp_path, text, **{"a.txt": "x", "b.txt": "y"})
    assert digest_of(tmp_path, text, **{"a.txt": "y", "b.txt": "x"}) != straight


def test_a_project_keeps_its_digests_when_it_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = digest_of(tmp_path / "a", "import helper\nWORDS = 'words.txt'", **{"helper.py": "", "words.txt": "x"})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    assert computed_by("module.py")["code"] == made


def test_beside_a_link_and_beside_what_it_leads_to_modules_count(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    text, link = "import helper", tmp_path / "own/linked.py"
    digest_of(tmp_path / "lib", text, **{"helper.py": "SIGN = -1"})
    link.symlink_to("../lib/module.py")
    before = computed_by(link)["code"]
    (tmp_path / "lib/helper.py").write_text("SIGN = 1")
    assert computed_by(link)["code"] != before


def test_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    (tmp_path / "nsp").mkdir()
    (tmp_path / "nsp/again").symlink_to(tmp_path / "nsp")
    assert digest_of(tmp_path, "import nsp", **{"nsp/m.py": "1"}) != digest_of(
        tmp_path, "import nsp", **{"nsp/m.py": "2"}
    )


def test_a_package_under_development_counts_by_its_files_and_an_installed_one_by_its_version(tmp_path: Path) -> None:
    lab, own = tmp_path / "lab", tmp_path / "own"
    lab.mkdir(), own.mkdir()
    (lab / "mylab").mkdir()
    (lab / "mylab/__init__.py").touch()
    (own / "module.py").write_text("import mylab, yaml\n")
    code = "import sys\nfrom genies.digests import computed_by\nprint(computed_by(sys.argv[1]))"

    def made() -> str:
        paths = os.pathsep.join([str(lab), str(Path(genies.__file__).parents[1])])
        command = [sys.executable, "-c", code, str(own / "module.py")]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
        ).stdout

    (lab / "mylab/probes.py").write_text("STEP = 1\n")
    before = made()
    assert "PyYAML" in before
    (lab / "mylab/probes.py").write_text("STEP = 2\n")
    assert made() != before


def test_imported_modules_of_the_package_count(tmp_path: Path) -> None:
    with_it = digest_of(tmp_path, "from genies.data.pairs import text_seed")
    assert "genies.data.pairs" in digests._reached([tmp_path / "module.py"], NOT_COMPUTING)
    assert with_it != digest_of(tmp_path, "pass")


def test_modules_that_their_package_finds_by_itself_count(tmp_path: Path) -> None:
    """Tables and figures are listed nowhere; an edit of one makes the tables, or draws the page, again."""
    package = tmp_path / "genies"
    shutil.copytree(Path(genies.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    asked = "from genies.digests import code_digest; print(*map(code_digest, {!r}))".format(
        ("genies.stages.metrics", "genies.report.page", "genies.stages.evaluate")
    )

    def stated() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.check_output([sys.executable, "-c", asked], env=environment, cwd=tmp_path, text=True).split()

    before = stated()
    table, figure = package / "evaluation/tables/cues.py", package / "report/figures/cues.py"
    figure.write_text(figure.read_text() + "\nEDITED = True\n")
    drawn = stated()
    assert drawn[0] == before[0] and drawn[1] != before[1] and drawn[2] == before[2]
    table.write_text(table.read_text() + "\nEDITED = True\n")
    made = stated()
    assert made[0] != before[0] and made[2] == before[2]


def test_one_intervention_does_not_depend_on_another_unless_it_loads_them_by_name(tmp_path: Path) -> None:
    mms = digests._reached(["genies.interventions.mms"], ())
    assert not any(name.endswith((".ccs", ".lat_pca")) for name in mms)
    digest_of(tmp_path, "from genies.interventions.registry import make\nprobe = make('ccs')")
    assert "genies.interventions.ccs" in digests._reached([tmp_path / "module.py"], NOT_COMPUTING)


def test_names_state_the_libraries_that_their_code_imports() -> None:
    probe, trained, tokens = (
        computed_by(f"genies.{name}")["libraries"]
        for name in ("interventions.mms", "interventions.lora", "engine.tokenization")
    )
    assert probe["numpy"] == ".".join(version("numpy").split(".")[:2])
    assert "peft" in trained and "peft" not in probe
    assert {"transformers", "tokenizers"} <= tokens.keys()


def test_a_rule_runs_again_when_a_library_that_computes_there_has_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = code_digest("genies.stages.extract")
    monkeypatch.setattr(digests, "library_version", lambda name: "99.9" if name == "transformers" else version(name))
    assert code_digest("genies.stages.extract") != before


def test_modules_that_decide_numbers_are_followed_and_those_that_do_not_are_listed_with_a_reason() -> None:
    for name, reason in NOT_COMPUTING.items():
        assert digests._module_path(name) is not None and reason
    reached = {name: set(digests._reached(modules, NOT_COMPUTING)) for name, modules in NAMED.items()}
    assert "genies.data.pairs" in reached["lora"] & reached["few_shot"]
    assert "genies.models.load" in reached["lora"] & reached["few_shot"] & reached["activations"]
    assert "genies.data.views" in reached["tokens"]


EDITED = {
    "genies/data/pairs.py": {"a probe", "lora", "few_shot"},
    "genies/models/load.py": {"lora", "few_shot", "activations"},
    "genies/engine/decoder.py": {"lora", "few_shot", "activations"},
    "genies/store/extraction.py": {"activations"},
    "genies/store/writer.py": {"activations"},
    "genies/store/shards.py": {"a probe", "activations"},
}
"""By edited file, what is renamed."""


@pytest.mark.parametrize("module", EDITED)
def test_an_edit_in_genies_renames_what_it_decides_and_an_edit_of_words_nothing(tmp_path: Path, module: str) -> None:
    shutil.copytree(Path(genies.__file__).parent, tmp_path / "genies")
    script = tmp_path / "names.py"
    script.write_text(
        f"from genies.digests import computed_by\nfor m in {list(NAMED.values())}: print(computed_by(*m))"
    )

    def names() -> list[str]:
        told = subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""},
        )  # fmt: skip
        return told.stdout.splitlines()

    before, file = names(), tmp_path / module
    text = file.read_text()
    file.write_text(f"# A remark.\n{text}".replace('"""', '"""Now: ', 1))
    assert names() == before
    file.write_text(text + "\n_NEW = 1\n")
    changed = {kind for kind, old, new in zip(NAMED, before, names(), strict=True) if old != new}
    assert changed == EDITED[module]


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such module"):
        code_digest("genies.absent")


def test_the_order_of_keys_plays_no_part() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
