"""A file dropped into the page: what is read of it, asked, and handed back."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carryline import load
from page_server import drop, looking

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

# A BOM, quotes in quotes, a line's end in quotes, both kinds of lines' ends, a row without its last
# cell, and a column that has the name of one to be added.
REVIEWS = (
    '\ufeffid,review,label\r\n1,"good, ""very"" good\nmusic",x\r\n2,bad film,"y"\r\n'
    '03, the old  night ,z\n4,\r\n5,"",\r\n6,漢 good,"a,b"'
)
TEXTS = ['good, "very" good\nmusic', "bad film", " the old  night ", "", "", "漢 good"]


def labelled(page: Page, folder: Path) -> str:
    """Classifies what was dropped, and downloads it."""
    page.click("#job button")
    page.wait_for_selector("#job >> text=/^Done: /")
    with page.expect_download() as handed:
        page.click("#job a")
    handed.value.save_as(folder / handed.value.suggested_filename)
    return (folder / handed.value.suggested_filename).read_bytes().decode("utf-8")


def answers(folder: Path, texts: list[str]) -> list[list[str]]:
    classifier = load(folder)
    return [
        [str(classifier.classes[int(row.argmax())]), f"{float(row.max()):.6f}"]
        for row in classifier.predict_proba(texts)
    ]


def test_a_csv_comes_back_with_two_columns_more(page: Page, model: Path, tmp_path: Path) -> None:
    asked: list[int] = []
    page.on("request", lambda request: asked.extend(_texts(request.post_data)))
    drop(page, "reviews.csv", REVIEWS)
    assert page.locator("#column option:checked").inner_text() == "review"
    content = labelled(page, tmp_path)
    assert (tmp_path / "reviews-labelled.csv").exists()
    rows = list(csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline="")))
    assert rows[0] == ["id", "review", "label", "predicted_label", "probability"]
    assert [row[1] for row in rows[1:]] == TEXTS
    assert [row[3:] for row in rows[1:]] == answers(model, TEXTS)
    # What stood there stands there, to the character.
    found = content.splitlines(keepends=True)
    assert found[0].startswith("\ufeffid,review,label,") and found[0].endswith("\r\n")
    assert found[1:3] == ['1,"good, ""very"" good\n', f'music",x,{",".join(rows[1][3:])}\r\n']
    assert found[4] == f"03, the old  night ,z,{','.join(rows[3][3:])}\n"
    assert found[5].startswith("4,,,")  # the cell that it had not
    assert sum(asked) == 6 and max(asked) == 4  # within the server's limits


def _texts(body: str | None) -> list[int]:
    told = json.loads(body) if body else {}
    return [len(told["texts"])] if "texts" in told else []


def test_columns_are_chosen_or_have_no_names(page: Page, model: Path, tmp_path: Path) -> None:
    drop(page, "a.tsv", "x\tgood film\nyy\tbad \"film\nzzz\t'good'\n")
    assert page.locator("#column").input_value() == "1"  # the longest texts
    page.get_by_label("the first row names the columns").uncheck()
    page.select_option("#column", "0")
    assert page.locator("#job .sample li").all_inner_texts() == ["x", "yy", "zzz"]
    page.select_option("#column", "1")
    rows = [line.split("\t") for line in labelled(page, tmp_path).splitlines()]
    assert [row[:2] for row in rows] == [["x", "good film"], ["yy", 'bad "film'], ["zzz", "'good'"]]
    assert [row[2:] for row in rows] == answers(model, [row[1] for row in rows])


def test_objects_and_lines(page: Page, model: Path, tmp_path: Path) -> None:
    drop(
        page, "a.jsonl", '{"n": 1.0, "text": "good"}\n\n{ "text":"bad\\nfilm", "label": 1 }\r\n{}\n'
    )
    lines = labelled(page, tmp_path).splitlines()
    assert lines[0].startswith('{"n": 1.0, "text": "good", "predicted_label":')
    objects = [json.loads(line) for line in lines]
    assert [value.get("label") for value in objects] == [None, 1, None]
    found = [[value["predicted_label"], f"{value['probability']:.6f}"] for value in objects]
    assert found == answers(model, ["good", "bad\nfilm", ""])
    drop(page, "b.txt", 'a good one\n\n"bad", he said\n')
    texts = ["a good one", "", '"bad", he said']
    rows = list(csv.reader(io.StringIO(labelled(page, tmp_path))))
    assert rows[0] == ["text", "label", "probability"]
    assert rows[1:] == [
        [text, *answer] for text, answer in zip(texts, answers(model, texts), strict=True)
    ]


WRONG = [
    ("a.csv", 'text\n"never\nclosed\n', "a quote that opens in line 2 is never closed"),
    ("a.jsonl", '{"text": "a"}\n[1]\n', "line 2 is no JSON object"),
    ("a.png", "x", "it is none of .csv, .tsv, .jsonl, .txt"),
    ("a.txt", "", "there are no texts in it"),
]


def test_what_is_wrong_with_a_file_is_said(page: Page) -> None:
    for name, content, why in WRONG:
        drop(page, name, content)
        page.wait_for_selector(f"#job [role=alert] >> text='{name}: {why}.'")


def troubled(route: Route, seen: list[Route]) -> None:
    """Of the requests the first is refused for now, the second gets no answer at all."""
    seen.append(route)
    if len(seen) == 1:
        route.fulfill(status=503, headers={"retry-after": "1"}, json={"error": {"rule": "busy"}})
    elif len(seen) == 2:
        route.abort()
    else:
        route.continue_()


def test_what_goes_wrong_meanwhile_costs_no_row(
    browser: Browser, address: str, model: Path, tmp_path: Path
) -> None:
    expected = ("a status of 503", "a status of 413", "a status of 422", "net::ERR_FAILED")
    with looking(browser, address, *expected) as page:
        page.wait_for_selector("text=No text yet")
        seen: list[Route] = []
        page.route("**/v1/predict", lambda route: troubled(route, seen))
        texts = ["good", "film " * 400, "bad", "b" * 5000, "night"]  # many tokens; many bytes
        drop(page, "a.txt", "\n".join(texts))
        began = time.monotonic()
        rows = list(csv.reader(io.StringIO(labelled(page, tmp_path))))
        assert time.monotonic() - began > 1  # as the server has asked for
        assert [row[0] for row in rows[1:]] == texts
        good = answers(model, ["good", "bad", "night"])
        assert [row[1:] for row in rows[1:]] == [good[0], ["", ""], good[1], ["", ""], good[2]]
        assert "2 too large for the server" in page.locator("#job").inner_text()


def test_a_file_can_be_chosen_by_a_button(page: Page) -> None:
    for _ in range(2):  # the same one again, too
        with page.expect_file_chooser() as chooser:
            page.click("#choose")
        file: Any = {"name": "b.txt", "mimeType": "text/plain", "buffer": b"good\nb\xe4d"}
        chooser.value.set_files([file])
        page.wait_for_selector("#job .sample >> text=bäd")  # not UTF-8: as older programs write
        page.evaluate("document.getElementById('job').replaceChildren()")


def test_it_can_be_stopped_and_goes_on(page: Page, model: Path, tmp_path: Path) -> None:
    held: list[Route] = []
    page.wait_for_selector("text=No text yet")

    def third_is_held(route: Route) -> None:
        held.append(route)
        if len(held) != 3:
            route.continue_()

    page.route("**/v1/predict", third_is_held)
    texts = [f"good film {number}" for number in range(14)]
    drop(page, "a.txt", "\n".join(texts))
    page.click("#job button")
    page.wait_for_selector("#job >> text=/^8 of 14 texts/")
    assert page.locator("#job progress").evaluate("bar => bar.value") == pytest.approx(8 / 14)
    page.click("#job button >> text=Stop")
    page.wait_for_selector("#job >> text=/^Stopped: 8 of 14/")
    held[2].abort()
    rows = list(csv.reader(io.StringIO(labelled(page, tmp_path))))  # goes on
    assert [[row[0], *row[1:]] for row in rows[1:]] == [
        [text, *answer] for text, answer in zip(texts, answers(model, texts), strict=True)
    ]
    assert len(held) == 5  # what was done is not asked again
