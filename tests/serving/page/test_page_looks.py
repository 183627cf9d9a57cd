"""How the page looks and is used: colour schemes, phones, keyboards, right to left."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from page_server import drop, looking, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXT = "The film was good, and the music of the old night was bad by rain"
ARABIC = "فيلم رائع good جدا"


def violations(page: Page) -> list[Any]:
    """What axe-core finds, by rule and element."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("this test needs axe-playwright-python")
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert found["passes"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: Any) -> None:
    with looking(browser, address, color_scheme=scheme, reduced_motion="reduce") as page:
        if scheme == "light":
            page.wait_for_selector("text=No text yet")
            assert violations(page) == []
        write(page, TEXT)
        drop(page, "a.csv", "text,n\ngood,1\n")
        page.click("#memory summary")
        page.wait_for_selector("#recent button")
        for name in ("banner", "token"):
            page.evaluate("name => (document.getElementById(name).hidden = false)", name)
        assert violations(page) == []
        page.goto(f"{address}/docs")
        assert violations(page) == []


def brightness(page: Page, what: str) -> float:
    color = page.evaluate(f"getComputedStyle(document.body).{what}")
    return sum(map(float, color.removeprefix("rgb(").removesuffix(")").split(","))) / 765


def test_light_and_dark(browser: Browser, address: str) -> None:
    with looking(browser, address, color_scheme="dark") as page:
        assert brightness(page, "backgroundColor") < 0.2
        assert brightness(page, "color") > 0.8
        page.emulate_media(color_scheme="light")
        assert brightness(page, "backgroundColor") > 0.8
        assert brightness(page, "color") < 0.2


def test_a_phone_scrolls_one_way_alone(browser: Browser, address: str) -> None:
    wide = "() => document.documentElement.scrollWidth"
    with looking(browser, address, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        write(page, f"{TEXT} {'x' * 200}")
        page.wait_for_selector("svg.carry")
        drop(page, f"{'name' * 30}.csv", f"{'column' * 20},text\n1,{'long' * 90}\n")
        page.wait_for_selector("#job button")
        assert page.evaluate(wide) == 360
        page.locator("#words [role=option]").nth(1).tap()
        assert page.locator("#detail").inner_text().startswith("film: ")
        page.goto(f"{address}/docs")
        assert page.evaluate(wide) == 360


def stop(page: Page) -> str:
    """What has the focus, by its id or text; it is seen."""
    found: list[str] = page.evaluate(
        """() => {
          const here = document.activeElement;
          const style = getComputedStyle(here);
          return [here.id || here.textContent, style.outlineStyle, style.outlineWidth];
        }"""
    )
    if found[0] and not found[0].isspace():
        assert found[1] != "none" and found[2] != "0px", found
    return found[0]


def test_the_keyboard_alone_does_all(page: Page) -> None:
    page.wait_for_selector("text=No text yet")
    page.keyboard.press("Tab")
    assert stop(page) == "Skip to the text"
    page.keyboard.press("Enter")
    assert stop(page) == "text"
    page.keyboard.type("good film")
    page.wait_for_function("() => document.getElementById('words').textContent === 'good film'")
    page.wait_for_selector("#recent button")
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(stop(page))
        if stops[-1] == "model-plain":
            page.keyboard.press("ArrowDown")
            page.wait_for_function(
                "() => document.getElementById('why-of').textContent.includes('odd')"
            )
        if stops[-1] == "good":  # the words are one stop
            page.keyboard.press("ArrowRight")
            assert page.locator("#detail").inner_text().startswith("film: ")
            page.keyboard.press("Home")
            assert page.locator("#detail").inner_text().startswith("good: ")
        if stops[-1] == "curl":
            break
    order = ["model-plain", "good", "choose", "forget", "copy", "curl"]
    assert [name for name in stops if name in order] == order
    page.keyboard.press("Shift+Tab")
    assert stop(page) == "copy"


def test_from_right_to_left(page: Page) -> None:
    write(page, ARABIC)
    page.wait_for_selector("svg.carry path.unit")
    for name in ("text", "words"):
        assert (
            page.evaluate(f"getComputedStyle(document.getElementById('{name}')).direction") == "rtl"
        )
    first, last = (page.locator("#words [role=option]").nth(at).bounding_box() for at in (0, 3))
    assert first is not None and last is not None and first["x"] > last["x"]
    path = page.locator("svg.carry path.unit").first.get_attribute("d") or ""
    assert float(path[1:].split()[0]) > float(path.split()[-2].strip("C"))  # drawn from the right
    page.locator("#words [role=option]").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#detail").inner_text().startswith(ARABIC.split()[1])


def test_less_motion_where_that_is_asked_for(browser: Browser, address: str) -> None:
    with looking(browser, address, reduced_motion="reduce") as page:
        page.wait_for_selector(".bars .track span", state="attached")
        moves = "getComputedStyle(document.querySelector('.bars .track span')).transitionDuration"
        assert page.evaluate(moves) == "0s"
        page.emulate_media(reduced_motion="no-preference")
        assert page.evaluate(moves) == "0.25s"
