"""docs/architecture.md names files and folders: each is there, and a name that is not would be told."""

import re

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WAYS = {"A frame", "A label", "An export", "An edit", "A run", "A stop", "A chunk"}
SHARED_NAMES = ("endpoints.py", "service.py", "repository.py", "schemas.py", "jobs.py")  # of the domains of backend/


def names(text: str) -> list[str]:
    """Whatever stands in backticks and looks like a path, whatever it begins with."""
    quoted = re.findall(r"`([^`\s]+)`", text)
    return [name for name in quoted if "/" in name or re.search(r"\.(py|ts|tsx|js|md|yaml)$", name)]


def missing(text: str) -> list[str]:
    return [name for name in names(text) if name not in SHARED_NAMES and not (ROOT / name).exists()]


def ways() -> dict[str, str]:
    """The sections that follow something through the rooms, by what they follow."""
    sections = re.split(r"^## ", PAGE, flags=re.M)[1:]
    return {text.split(",")[0]: text for text in sections if ", from the " in text.splitlines()[0]}


def test_every_name_on_the_page_exists() -> None:
    assert len(names(PAGE)) > 100
    assert missing(PAGE) == []


@pytest.mark.parametrize("name", ["worker/robot/latch.py", "backend/", "frontend/eslint.features.js"])
def test_a_name_that_does_not_exist_is_told(name: str) -> None:
    assert f"`{name}`" in PAGE
    wrong = f"x{name}"
    assert missing(PAGE.replace(f"`{name}`", f"`{wrong}`")) == [wrong] * PAGE.count(f"`{name}`")


@pytest.mark.parametrize("name", SHARED_NAMES)
def test_names_that_mean_the_same_in_every_domain_stand_in_several(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert len(list((ROOT / "backend").rglob(name))) >= 3


def test_each_of_the_ways_is_drawn_from_file_to_file() -> None:
    drawn = ways()
    assert set(drawn) == WAYS
    for text in drawn.values():
        steps = [names(step) for step in re.split(r"^\d+\. ", text, flags=re.M)[1:]]
        assert len(steps) >= 5
        assert all(any((ROOT / name).is_file() for name in step) for step in steps), "a step without a file"
