"""What is written about the project is what the project is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from genies.config.generated import generated
from genies.config.load import load_config
from genies.data.shifts import list_names

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config/README.md")]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))


@pytest.mark.parametrize(("path", "text"), generated(REPOSITORY).items(), ids=map(str, generated(REPOSITORY)))
def test_every_generated_file_is_what_it_is_generated_from(path: Path, text: str) -> None:
    assert (REPOSITORY / path).read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_worked_example_of_an_intervention_is_the_file_that_the_tests_run() -> None:
    example = (REPOSITORY / "tests/interventions/own_probe.py").read_text(encoding="utf-8").strip()
    assert f"```python\n{example}\n```" in (REPOSITORY / "docs/own.md").read_text(encoding="utf-8")
    assert len(example.splitlines()) <= 30


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_ready_configuration_is_valid_and_named_like_its_file(path: Path) -> None:
    config = load_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert config.run == ("demo" if path.stem == "config" else path.stem)
    assert set(config.shifts) <= set(list_names())


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
