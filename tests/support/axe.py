"""What a screen reader or weak eyes would stumble over."""

import json

from playwright.sync_api import Page

from tests.support.paths import ROOT

_SCRIPT = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


# what fades in is pale for a moment
_SETTLED = """() => document.getAnimations().every((each) =>
  each.playState !== "running" || each.effect?.getComputedTiming().iterations === Infinity)"""


def axe(page: Page) -> list[str]:
    """Serious and critical findings of WCAG 2.2 A and AA, once nothing moves any more."""
    page.wait_for_function(_SETTLED)
    page.evaluate(_SCRIPT.read_text())
    found = page.evaluate("(tags) => axe.run({runOnly: {type: 'tag', values: tags}})", _TAGS)
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['target'] for node in one['nodes']][:4])}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
