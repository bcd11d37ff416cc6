"""What is written about the project is what the project is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import genies
from genies.config.generated import generated
from genies.config.load import load_config
from genies.data.shifts import list_names
from genies.interventions.registry import available, load_class, module_of
from genies.tuning import base, tuned

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md")]
PAGES += sorted((REPOSITORY / "docs").rglob("*.md"))


@pytest.mark.parametrize(("path", "text"), generated(REPOSITORY).items(), ids=map(str, generated(REPOSITORY)))
def test_every_generated_file_is_what_it_is_generated_from(path: Path, text: str) -> None:
    assert (REPOSITORY / path).read_text(encoding="utf-8") == text, "run `make docs`"


@pytest.mark.parametrize("name", ["own_probe", "own_rule"])
def test_the_worked_example_of_an_intervention_is_the_file_that_the_tests_run(name: str) -> None:
    example = (REPOSITORY / f"tests/interventions/{name}.py").read_text(encoding="utf-8").strip()
    assert f"```python\n{example}\n```" in (REPOSITORY / "docs/own.md").read_text(encoding="utf-8")
    assert len(example.splitlines()) <= 30


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_ready_configuration_is_valid_and_named_like_its_file(path: Path) -> None:
    config = load_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert config.run == ("demo" if path.stem == "config" else path.stem)
    assert set(config.shifts) <= set(list_names())


def test_the_readme_and_the_methods_name_every_intervention() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", readme[readme.index("## Interventions") :], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == available()
    assert f"{len(available())} interventions that" in readme
    methods = (REPOSITORY / "docs/methods.md").read_text(encoding="utf-8")
    assert {name for name in available() if f"`{name}`" not in methods} == set()


def test_every_path_that_the_pages_name_exists() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:genies|config|docs|tests)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).exists(), f"{page.name} names {name}"


def anchors(page: Path) -> set[str]:
    """What links to headings of a page end in, as code hosts make it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for place, _, anchor in (link.partition("#") for link in links):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {place}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {place}#{anchor}"


def built(repository: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """What `make site` runs in a folder, with the site elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as a site, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    ended = built(REPOSITORY, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_the_site_begins_with_the_readme_and_has_every_page(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="docs/own.html"' in front and 'src="docs/report.png"' in front
    for page in PAGES:
        place = site / page.relative_to(REPOSITORY)
        assert place.with_name("index.html" if page.stem == "README" else f"{page.stem}.html").is_file(), page


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img)\b[^>]* src=\"([^\"]*)\"|<link\b[^>]* href=\"([^\"]*)\"", text)
        assert loaded
        assert not [place for pair in loaded for place in pair if "//" in place], page.name


def test_the_reference_describes_every_public_name(site: Path) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "docs/api").glob("*.html"))
    classes = [f"{module_of(name)}.{load_class(name).__name__}" for name in available()]
    texts = [f"{module.__name__}.{name}" for module in (base, tuned) for name in module.__all__]
    offered = [f"{getattr(genies, name).__module__}.{name}" for name in genies.__all__]
    for name in ["genies.interventions.base.Intervention", *classes, *texts, *offered]:
        assert f'id="{name}"' in pages, f"docs/api has no ::: {name}"


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (
            "[x](docs/nowhere.md)\n\n[x](docs/own.md#nowhere)",
            ("docs/nowhere.md", "#nowhere", "Aborted with 2 warnings in strict mode"),
        ),
        ("::: genies.nowhere", ("genies.nowhere",)),
    ],
    ids=["links", "reference"],
)
def test_a_broken_link_fails_the_build_of_the_site(tmp_path: Path, planted: str, told: tuple[str, ...]) -> None:
    for name in ("docs", "config", "genies"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    with (tmp_path / "README.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{planted}\n")
    ended = built(tmp_path, tmp_path / "site")
    assert ended.returncode != 0
    assert [words for words in told if words not in ended.stdout + ended.stderr] == []
