"""Where the stop is: always on the screen, above everything, in one place, and never under a pointer that has just
clicked something else."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, expect

from tests.support.browser_studio import PASSWORD, Person, running_studio

SIZES = {
    "window": (1280, 800),
    "large": (1920, 1080),
    "200 percent": (640, 400),
    "phone": (390, 844),
    "phone-lying": (844, 390),
    "tablet": (820, 1180),
    "400 percent": (320, 256),
}

# Whether each corner and the middle of an element are what a pointer meets there.
_ON_TOP = """stop => {
  const { left, top, right, bottom } = stop.getBoundingClientRect(), inset = 8;
  const points = [[left + inset, top + inset], [right - inset, top + inset], [left + inset, bottom - inset],
                  [right - inset, bottom - inset], [(left + right) / 2, (top + bottom) / 2]];
  return points.every(([x, y]) => stop.contains(document.elementFromPoint(x, y)));
}"""

# As dialogs (200), menus (300) and notices (400) of Mantine lie over the page.
_LAYER = """() => {
  const layer = document.createElement("div");
  layer.id = "layer";
  layer.style = "position:fixed;inset:0;z-index:400;background:#0008";
  document.body.append(layer);
}"""

# Where a pointer meets `target` within `place`, at any position of the page's scroll bar.
_MEETS = """(target, { x, y, width, height }) => {
  const page = document.scrollingElement, found = [];
  const most = page.scrollHeight - page.clientHeight;
  for (let top = 0; ; top += 10) {
    page.scrollTop = Math.min(top, most);
    for (let dx = 1; dx < width; dx += 8)
      for (let dy = 1; dy < height; dy += 8)
        if (target.contains(document.elementFromPoint(x + dx, y + dy))) found.push([page.scrollTop, x + dx, y + dy]);
    if (top >= most) break;
  }
  page.scrollTop = 0;
  return found;
}"""


@pytest.mark.timeout(900)
def test_the_stop_has_one_place(browser: Browser, tmp_path: Path, screenshots: Path | None) -> None:
    with running_studio(tmp_path / "data") as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        places = {}
        for name, size in SIZES.items():
            person.page.set_viewport_size({"width": size[0], "height": size[1]})
            places[name] = on_the_live_page(person, name)
        for name, size in SIZES.items():
            person.page.set_viewport_size({"width": size[0], "height": size[1]})
            nothing_else_there(person, name, places[name])
            on_the_robots_page(person, name)
        person.page.set_viewport_size({"width": 1280, "height": 800})
        a_double_click_on_something_else(person)
        assert person.complaints == []
        two_fingers(browser, person, screenshots)
        from_signing_in(person, places)


def on_the_live_page(person: Person, size: str) -> FloatRect:
    """In sight and on top whatever is scrolled, open, stopped or recorded, and always in the same place."""
    person.go("/robots")
    person.at("robot-live").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    place = box(person, "live-stop")

    def stays(when: str) -> None:
        assert box(person, "live-stop") == place, f"{size}: moved, {when}"
        assert person.at("live-stop").evaluate(_ON_TOP), f"{size}: covered, {when}"

    width, height = SIZES[size]
    assert place["x"] >= 0, size
    assert place["y"] >= 0, size
    assert place["x"] + place["width"] <= width, size
    assert place["y"] + place["height"] <= height, size
    assert place["width"] >= 44, f"{size}: too small for a thumb"
    assert place["height"] >= 44, f"{size}: too small for a thumb"
    stays("at first")
    person.look(f"stop-{size.replace(' ', '-')}")
    person.page.mouse.move(width / 2, height / 2)
    person.page.mouse.wheel(0, 5000)
    person.page.wait_for_timeout(200)
    stays("scrolled to the end")
    menu = "camera => camera.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }))"
    assert person.at("live-camera-cam_high").evaluate(menu) is False, "the browser's menu opens over a camera"
    person.look(f"stop-{size.replace(' ', '-')}-end")
    person.at("live-tab-drive").click()
    stays("with the drive panel")
    person.at("live-tab-policy").click()
    person.at("live-task").click()
    expect(person.page.get_by_role("option").first).to_be_visible()
    stays("with a list open")
    person.at("live-task").click()
    if width <= 48 * 16:
        person.page.get_by_label("Navigation", exact=True).click()
        stays("with the navigation open")
        person.page.get_by_label("Navigation", exact=True).click()
    person.page.evaluate(_LAYER)
    stays("under the highest of the page's layers")
    person.at("live-stop").click()  # through it
    expect(person.at("live-state")).to_have_attribute("data-state", "stopped")
    person.page.evaluate("document.getElementById('layer').remove()")
    stays("stopped")
    apart(person, "live-arm", place, size)
    person.at("live-stop").hover()
    person.page.wait_for_timeout(800)
    expect(person.page.get_by_role("tooltip")).to_have_count(0)
    person.at("live-arm").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    stays("armed again")
    return place


def nothing_else_there(person: Person, size: str, place: FloatRect) -> None:
    """No link to the live page can be clicked where the stop appears, however its page is scrolled."""
    targets = {"/": "a[href^='/live/'], [data-testid=watch-demo]", "/robots": "a[href^='/live/']"}
    for path, selector in targets.items():
        person.go(path)
        expect(person.page.locator(selector).first).to_be_visible()
        for target in person.page.locator(selector).all():
            assert target.evaluate(_MEETS, place) == [], f"{size}: {path}: {target.inner_text()}"


def on_the_robots_page(person: Person, size: str) -> None:
    """The card's own stop moves for nothing that its presses bring, and nothing comes to lie where it was."""
    person.go("/robots")
    place = box(person, "robot-stop")
    person.at("robot-stop").click()
    expect(person.at("robot-arm")).to_be_visible()
    person.page.evaluate("scrollTo(0, 0)")  # a click scrolls what is not in sight
    assert box(person, "robot-stop") == place, size
    apart(person, "robot-arm", place, size)
    apart(person, "robot-live", place, size)
    person.at("robot-arm").click()
    expect(person.at("robot-arm")).to_have_count(0)
    person.page.evaluate("scrollTo(0, 0)")
    assert box(person, "robot-stop") == place, size
    if size == "phone":
        person.look("robots-phone")
    person.page.mouse.move(SIZES[size][0] / 2, SIZES[size][1] / 2)
    person.page.mouse.wheel(0, 300)
    person.page.wait_for_timeout(200)
    if size != "400 percent":  # there it would leave no room for the card
        expect(person.at("robot-stop")).to_be_in_viewport(ratio=1)


def a_double_click_on_something_else(person: Person) -> None:
    """The second click of a double click is part of what the first one was for; a third one stops."""
    person.go("/robots")
    person.at("robot-live").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")
    place = box(person, "live-stop")
    person.page.evaluate(
        """({ x, y, width, height }) => {
          const other = document.createElement("button");
          other.style = `position:fixed;z-index:5000;left:${x}px;top:${y}px;width:${width}px;height:${height}px`;
          other.onclick = () => other.remove();
          document.body.append(other);
        }""",
        place,
    )
    x, y = place["x"] + 30, place["y"] + 20
    with person.page.expect_request(lambda request: "/stop" in request.url) as stopped:
        for count in (1, 2, 3):  # a browser counts clicks in the same place
            person.page.mouse.move(x, y)
            person.page.mouse.down(click_count=count)
            person.page.mouse.up(click_count=count)
            if count == 2:
                person.page.wait_for_timeout(1000)
                assert person.at("live-state").get_attribute("data-state") == "holding", "the second click stopped it"
    assert stopped.value.method == "POST"
    expect(person.at("live-state")).to_have_attribute("data-state", "stopped")
    person.at("live-arm").click()
    expect(person.at("live-state")).to_have_attribute("data-state", "holding")


def two_fingers(browser: Browser, person: Person, screenshots: Path | None) -> None:
    """A page that is enlarged with two fingers shows a part of itself: the stop stays in that part, and of its size."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    context.add_cookies(person.context.cookies())  # type: ignore[arg-type]
    page = context.new_page()
    (robot,) = person.get("/robots")
    page.goto(f"{person.base}/live/{robot['name']}")
    stop = page.get_by_test_id("live-stop")
    expect(stop).to_be_visible()
    context.new_cdp_session(page).send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    page.wait_for_function("visualViewport.scale === 2 && document.querySelector('[data-testid=live-stop]')")
    page.wait_for_timeout(300)
    seen: dict[str, float] = page.evaluate(
        "(({ offsetLeft, offsetTop, width, height }) => ({ offsetLeft, offsetTop, width, height }))(visualViewport)"
    )
    at: dict[str, Any] = stop.evaluate("stop => stop.getBoundingClientRect().toJSON()")
    assert at["left"] >= seen["offsetLeft"] - 1
    assert at["right"] <= seen["offsetLeft"] + seen["width"] + 1
    assert at["top"] >= seen["offsetTop"] - 1
    assert at["bottom"] <= seen["offsetTop"] + seen["height"] + 1
    if screenshots is not None:
        page.screenshot(path=screenshots / "stop-two-fingers.png")
    context.close()


def from_signing_in(person: Person, places: dict[str, FloatRect]) -> None:
    """Who has to sign in first comes to the live page by a press of a button; it does not lie there either. In a low
    window it may be scrolled there; then the second click of a double click is no stop.
    """
    (robot,) = person.get("/robots")
    person.context.clear_cookies()
    for name in ("window", "large", "phone", "tablet"):
        person.page.set_viewport_size({"width": SIZES[name][0], "height": SIZES[name][1]})
        person.go(f"/live/{robot['name']}")
        expect(person.at("sign-in-submit")).to_be_visible()
        assert person.at("sign-in-submit").evaluate(_MEETS, places[name]) == [], name
    person.at("sign-in-name").fill("ada")
    person.at("sign-in-password").fill(PASSWORD)
    person.at("sign-in-submit").click()
    expect(person.at("live-stop")).to_be_visible()


def box(person: Person, testid: str) -> FloatRect:
    found = person.at(testid).bounding_box()
    assert found is not None, testid
    return found


def apart(person: Person, testid: str, place: FloatRect, size: str) -> None:
    other = box(person, testid)
    beside = other["x"] >= place["x"] + place["width"] or other["x"] + other["width"] <= place["x"]
    above = other["y"] >= place["y"] + place["height"] or other["y"] + other["height"] <= place["y"]
    assert beside or above, f"{size}: {testid} comes to lie on the stop"
