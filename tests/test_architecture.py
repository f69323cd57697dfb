"""docs/architecture.md names files and folders: each is there."""

import re

from tests.support.paths import ROOT

TOP = ("dexvla/", "backend/", "worker/", "frontend/", "tests/", "docs/", "benchmarks/", "recipes/")


def names(text: str) -> list[str]:
    return [name for name in re.findall(r"`([^`\s]+)`", text) if name.startswith(TOP)]


def test_every_name_on_the_page_exists() -> None:
    found = names((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(found) > 60
    assert [name for name in found if not (ROOT / name).exists()] == []


def test_each_of_the_six_ways_is_drawn() -> None:
    ways = re.split(r"^## ", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), flags=re.M)[1:]
    drawn = {way.split(",")[0]: names(way) for way in ways if ", from the " in way.splitlines()[0]}
    assert set(drawn) == {"A frame", "A label", "An export", "A run", "A stop", "A chunk"}
    assert all(len(way) >= 5 for way in drawn.values())
