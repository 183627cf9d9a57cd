"""The page in a real browser: what is typed, and what is shown of it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from carryline import load
from page_server import HOSTILE, looking, serving, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

TOKEN = "a token of the tests alone"


def percent(chance: float) -> str:
    return f"{100 * chance:.1f}%"


def shown(page: Page, card: int = 0) -> tuple[str, str]:
    """Label and probability of a card."""
    verdict = page.locator(".card").nth(card).locator(".verdict")
    return verdict.locator(".label").inner_text(), verdict.locator(".chance").inner_text()


def answer(folder: Path, text: str) -> tuple[str, str]:
    classifier = load(folder)
    chances = classifier.predict_proba([text])[0]
    return str(classifier.classes[int(chances.argmax())]), percent(float(chances.max()))


def test_the_empty_text_has_an_answer(page: Page, model: Path) -> None:
    page.wait_for_selector("text=No text yet: this is what the model says without one.")
    assert shown(page) == answer(model, "")
    assert page.locator("#words [role=option]").count() == 0
    assert page.locator("svg.carry").count() == 0
    assert page.locator("#memory").is_hidden()


def test_texts_are_shown_as_they_are(page: Page) -> None:
    for text in (
        "\U0001f3ac\U0001f3ac good\n\n  film \U0001f3ac \n a\u0301 b  ",
        "\t<b>bad</b>  it's",
    ):
        write(page, text)
        assert page.evaluate("document.getElementById('words').textContent") == text
        page.wait_for_selector("svg.carry path.unit", state="attached")
    page.fill("#text", " \n ")
    page.wait_for_selector("text=Words appear here, coloured by their part in the answer.")
    assert page.locator("svg.carry").count() == 0


def test_the_answer_moves_with_every_word(page: Page, model: Path) -> None:
    seen = []
    for words in ("The music", "The music was good", "The music was good, the film bad"):
        page.locator("#text").press_sequentially(words[len(page.input_value("#text")) :])
        page.wait_for_function(
            "text => document.getElementById('words').textContent === text", arg=words
        )
        assert shown(page) == answer(model, words)
        seen.append(shown(page))
    assert len(set(seen)) == 3


def test_a_word_has_its_part_and_the_carry_is_drawn(page: Page, model: Path) -> None:
    text = "The film was good, the music bad"
    write(page, text)
    explained = load(model).explain(text)
    words = page.locator("#words [role=option]")
    assert words.count() == len(explained.spans)
    for at, span in enumerate(explained.spans):
        assert words.nth(at).inner_text() == explained.of(span).strip()
        assert words.nth(at).get_attribute("class") == ("for" if span.part > 0 else "against")
    depths = [
        float(page.evaluate("at => document.querySelectorAll('#words [role=option]')[at].style"
                            ".getPropertyValue('--depth')", at))
        for at in range(words.count())
    ]  # fmt: skip
    largest = max(abs(span.part) for span in explained.spans)
    parts = [0.55 * abs(span.part) / largest for span in explained.spans]
    assert depths == pytest.approx(parts, abs=1e-3)
    words.nth(3).hover()
    told = page.locator("#detail").inner_text().replace("−", "-")
    assert f"{explained.of(explained.spans[3]).strip()}: {explained.spans[3].part:+.2f}" in told
    page.wait_for_selector("svg.carry path.unit.chosen")
    assert page.locator("svg.carry path.unit").count() == 6
    assert page.locator("#memory-words li").count() == 6
    page.locator("#units button").nth(1).click()
    assert page.locator("path.unit.chosen").get_attribute("data-place") == "1"


def test_the_last_answer_wins(page: Page, model: Path) -> None:
    page.wait_for_selector(".chance:not(:empty)")
    held: list[Route] = []
    late = {"label": "late", "probability": 1, "probabilities": {"bad": 0, "good": 1}, "tokens": 1}

    def first_is_held(route: Route) -> None:
        if "slow" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/predict", first_is_held)
    with page.expect_event("requestfailed"):  # given up by the newer one
        page.fill("#text", "slow")
        page.wait_for_timeout(300)
        assert len(held) == 2  # one a model
        write(page, "good music")
    for route in held:
        route.fulfill(json={"model": "plain", "version": "1", "answers": [late]})
    page.wait_for_timeout(200)
    assert shown(page) == answer(model, "good music")


def test_it_says_an_answer_once_typing_rests(page: Page) -> None:
    page.evaluate(
        "() => { window.said = []; new MutationObserver(() => window.said.push("
        "document.getElementById('said').textContent)).observe("
        "document.getElementById('said'), { childList: true }); }"
    )
    page.locator("#text").press_sequentially("the film was good", delay=20)
    page.wait_for_function("() => window.said.length > 0")
    said = page.evaluate("window.said")
    assert len(said) == 1
    label, chance = shown(page)
    assert said[0].startswith(f"plain: {label}, {chance}; odd: ")


def test_models_stand_side_by_side_and_the_chosen_one_is_explained(page: Page, odd: Path) -> None:
    write(page, "the old night")
    assert shown(page, 1) == answer(odd, "the old night")
    bars = page.locator(".card").nth(1).locator(".bars li")
    assert bars.count() == 6
    assert bars.last.locator(".class").inner_text() == "2 more"
    figures = [float(f.strip("%")) for f in bars.locator(".figure").all_inner_texts()]
    assert sum(figures) == pytest.approx(100, abs=0.4)
    boxes = [page.locator(".card").nth(at).bounding_box() for at in (0, 1)]
    assert boxes[0] is not None and boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    assert "by plain" in page.locator("#why-of").inner_text()
    page.locator(".card").nth(1).locator("label").click()
    page.wait_for_function("() => document.getElementById('why-of').textContent.includes('by odd')")
    page.locator("#words [role=option]").nth(1).hover()
    assert "up to here" in page.locator("#detail").inner_text()  # it reads one way alone


def test_markup_in_texts_and_labels_is_text(page: Page, odd: Path) -> None:
    text = "<script>window.hit=1</script><img src=x onerror=window.hit=1> old"
    page.locator(".card").nth(1).locator("label").click()
    write(page, text)
    assert HOSTILE in page.locator(".card").nth(1).locator(".bars .class").all_inner_texts()
    page.wait_for_function("() => document.querySelectorAll('#recent li').length === 1")
    assert page.locator("#recent button").inner_text() == text
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


def test_recent_texts_stay_in_this_browser_until_cleared(page: Page) -> None:
    write(page, "a night of rain")
    page.wait_for_selector("#recent button")
    write(page, "a night of rain and music")  # goes on with the one before
    page.wait_for_selector("#recent button >> text=and music")
    write(page, "bad")
    page.wait_for_selector("#recent button >> text=/^bad$/")
    assert page.locator("#recent button").all_inner_texts() == ["bad", "a night of rain and music"]
    page.reload()
    page.locator("#recent button").nth(1).click()
    assert page.input_value("#text") == "a night of rain and music"
    page.locator("#forget").click()
    assert page.locator("#recent button").count() == 0
    assert page.evaluate("Object.keys(localStorage)") == []
    page.locator("#examples button").first.click()
    assert page.input_value("#text") == page.locator("#examples button").first.inner_text()


def test_a_text_too_long_for_the_carry_or_for_the_server(browser: Browser, address: str) -> None:
    with looking(browser, address, "a status of 422") as page:
        write(page, "good")
        page.wait_for_selector("svg.carry", state="attached")
        page.route("**/v1/inspect", lambda route: route.fulfill(
            status=422, json={"error": {"status": 422, "rule": "at most 2 tokens", "id": "1"}}
        ))  # fmt: skip
        write(page, "good music")
        page.wait_for_selector("text=Not drawn: at most 2 tokens.")
        assert page.locator("svg.carry").count() == 0
        page.fill("#text", "film " * 400)
        page.wait_for_selector(".card .error >> text=/a text has at most 300 tokens/")
        assert shown(page) == ("—", "")


def test_a_new_version_of_the_page_is_whole(page: Page, address: str) -> None:
    for path in ("/", "/page/main.js", "/page/style.css"):
        kept = page.request.get(f"{address}{path}").headers["cache-control"]
        assert kept == "no-cache"  # or a browser would mix its files with those of another one


def test_the_request_as_curl(page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = 'it\'s "good"\n$HOME `x` \\ 漢'
    write(page, text)
    page.click("#copy")
    page.wait_for_selector("#copied >> text=Copied.")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[:2] == ["curl", f"{address}/v1/predict"]
    assert json.loads(words[-1]) == {"text": text, "model": "plain"}


def test_the_report_is_one_click_away(page: Page, address: str) -> None:
    with page.expect_popup() as opened:
        page.locator(".card a").first.click()
    opened.value.wait_for_load_state()
    assert opened.value.url == f"{address}/v1/models/plain/report"
    assert opened.value.title() == "plain: a report"


def test_a_token_is_asked_for_and_kept_in_the_tab(
    browser: Browser, model: Path, tmp_path: Path
) -> None:
    refused = "Failed to load resource: the server responded with a status of 401"
    with (
        serving(f"plain={model}", CARRYLINE_TOKEN=TOKEN) as address,
        looking(browser, address, refused) as page,
    ):
        page.wait_for_selector("#token-field:focus")
        assert page.locator("#main").is_hidden()
        page.keyboard.type("not the token, though as long")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The server does not take this token.")
        page.fill("#token-field", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#text:focus")
        write(page, "good")
        assert shown(page) == answer(model, "good")
        assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
        assert page.evaluate("Object.values(localStorage)") in ([], ['["good"]'])
        curl = page.locator("#curl").inner_text()
        assert "Bearer $CARRYLINE_TOKEN" in curl and TOKEN not in curl
        with page.expect_download() as handed:
            page.locator(".card a").click()
        handed.value.save_as(tmp_path / "report.html")
        assert handed.value.suggested_filename == "plain-report.html"
        assert "plain: a report" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_server_goes_away_and_comes_back(browser: Browser, model: Path) -> None:
    with serving(f"plain={model}") as address:
        first = looking(
            browser, address, "net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET"
        )
        page = first.__enter__()
        write(page, "good")
        assert page.locator("#banner").is_hidden()
    page.fill("#text", "good music, bad film")
    page.wait_for_selector("#banner:visible >> text=The server does not answer.")
    assert page.locator("#said").inner_text().startswith("The server does not answer.")
    assert shown(page) == answer(model, "good")  # what it said last stays
    with serving(f"plain={model}", port=int(address.rpartition(":")[2])):
        page.wait_for_function(
            "() => document.getElementById('words').textContent.includes('bad film')"
        )
        assert page.locator("#banner").is_hidden()
        assert shown(page) == answer(model, "good music, bad film")
        first.__exit__(None, None, None)
