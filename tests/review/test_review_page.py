"""The review page in headless Chromium, driven by keys, over the real server."""

from __future__ import annotations

import os
import threading
import time

import pytest
from browser import chromium
from review_cases import CLASSES, HOSTILE, refined_set, with_pictures

pytest.importorskip("uvicorn", reason="the review page needs uvicorn")

from fercleaner.review.log import DecisionLog, read_log
from fercleaner.review.pictures import ShownPictures
from fercleaner.review.queue import order
from fercleaner.review.server import HOST, build
from fercleaner.review.session import Session


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


class Served:
    """A review served from a thread, on a free port."""

    def __init__(self, refined, log):
        import socket

        import uvicorn

        self.log = log
        listener = socket.socket()
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
        self.session = Session(refined, DecisionLog(log), "ann")
        app = build(self.session, ShownPictures(refined), "token", port)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()
        self.address = f"http://{HOST}:{port}/token/"

    def close(self):
        self.server.should_exit = True
        self.thread.join(10)

    @property
    def entries(self):
        return read_log(self.log).entries if os.path.exists(self.log) else ()


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(refined):
        started.append(Served(refined, tmp_path / "log.jsonl"))
        return started[-1]

    yield start
    for served in started:
        served.close()


@pytest.fixture
def open_page(browser):
    pages = []

    def start(served, **context):
        page = browser.new_context(**context).new_page()
        page.problems = []
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(served.address)
        page.wait_for_selector("body[data-ready=yes]")
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.context.close()


def wait_for(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def until(page, expression):
    """Wait until a script expression holds; the page's content policy forbids Playwright's own way."""
    wait_for(lambda: page.evaluate(expression))


def decide(page, served, *keys):
    """Press keys that end in a decision and wait until it is in the log and the page is ready again."""
    before = len(served.entries)
    for key in keys:
        page.keyboard.press(key)
    wait_for(lambda: len(served.entries) > before)
    until(page, "!state.busy")


def test_every_decision_by_its_key(serve, open_page, tmp_path):
    refined = with_pictures(tmp_path / "set")
    served = serve(refined)
    page = open_page(served)
    rows = order(refined).tolist()
    for keys in (["Enter"], ["k"], ["2"], ["m", "1", "3"], ["x"], ["s"]):
        face = page.evaluate("state.face")
        if keys == ["k"] and not face["given"]:
            keys = ["1"]
        decide(page, served, *keys)
    said = served.entries
    assert [str(refined.ids[row]) for row in rows[:6]] == [entry.id for entry in said]
    assert said[0].after.classes == (CLASSES[refined.label[rows[0]]],)
    assert said[0].action == "accept"
    if refined.given_label[rows[1]] >= 0:
        assert (said[1].action, said[1].after.classes) == ("keep", (CLASSES[refined.given_label[rows[1]]],))
    assert said[2].after.classes == (CLASSES[1],)
    assert (said[3].after.kind, said[3].after.classes) == ("ambiguous", (CLASSES[0], CLASSES[2]))
    assert said[4].after.kind == "not a face"
    assert said[5].after.kind == "skip"
    assert "5 decided, 1 skipped" in page.text_content("#progress")
    page.keyboard.press("b")
    until(page, f"state.face && state.face.row === {rows[5]}")
    page.keyboard.press("b")
    until(page, f"state.face && state.face.row === {rows[4]}")
    assert page.text_content("#standing") == "Decided: not a face"
    decide(page, served, "1")
    decide(page, served, "u")
    assert served.entries[-1].action == "undo"
    assert served.entries[-1].after.kind == "not a face"
    assert page.text_content("#standing") == "Decided: not a face"
    assert not page.problems


def test_a_key_that_is_held_decides_about_one_face(serve, open_page, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    page = open_page(served)
    page.keyboard.down("Enter")
    wait_for(lambda: len(served.entries) == 1)
    until(page, "!state.busy")
    for _ in range(3):
        page.keyboard.down("Enter")  # held: the browser repeats it
        until(page, "!state.busy")
    page.keyboard.up("Enter")
    decide(page, served, "s")
    assert [entry.action for entry in served.entries] == ["accept", "skip"]


def test_undo_and_back_pressed_too_early_lose_nothing(serve, open_page, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    page = open_page(served)
    decide(page, served, "1")
    first = served.entries[0].id
    page.evaluate("state.busy = true")
    page.keyboard.press("b")
    page.keyboard.press("u")
    page.evaluate("state.busy = false")
    page.keyboard.press("b")
    until(page, f"state.face && state.face.id === {first!r}")
    decide(page, served, "u")
    assert (served.entries[-1].action, served.entries[-1].id, served.entries[-1].after) == ("undo", first, None)


def test_neighbors_help_and_pictures(serve, open_page, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    page = open_page(served)
    until(page, "document.getElementById('picture').naturalWidth === 24")
    assert page.is_hidden("#neighbors")
    page.keyboard.press("n")
    assert page.locator("#facts #neighbors img").count() == 3  # beside the face, not under the keys
    assert page.locator("#bars tr.refined th").inner_text().endswith("refined)")
    page.keyboard.press("h")
    assert page.is_visible("#help")
    page.keyboard.press("1")  # no decision while help is open
    page.keyboard.press("Escape")
    assert page.is_hidden("#help")
    page.keyboard.press("m")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    assert not served.entries
    assert not page.problems


def test_the_grid_decides_many_at_once_and_undoes_them_together(serve, open_page, tmp_path):
    refined = with_pictures(tmp_path / "set", n=120)
    served = serve(refined)
    page = open_page(served)
    page.keyboard.press("g")
    page.wait_for_selector("#tiles li")
    shown = page.evaluate("state.grid.map((face) => face.row)")
    assert len(shown) > 2
    page.keyboard.press(" ")  # the first face out
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")  # the third face out
    assert page.locator("#tiles li.on").count() == len(shown) - 2
    decide(page, served, "Enter")
    assert [entry.id for entry in served.entries] == [
        str(refined.ids[r]) for i, r in enumerate(shown) if i not in (0, 2)
    ]
    decide(page, served, "u")
    assert [entry.after for entry in served.entries[len(shown) - 2 :]] == [None] * (len(shown) - 2)
    page.keyboard.press("g")
    page.wait_for_selector("#one:not([hidden])")
    assert not page.problems


def test_two_windows_share_the_work(serve, open_page, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    one, two = open_page(served), open_page(served)
    rows = set()
    for page in (one, two, one, two):
        rows.add(page.evaluate("state.face.row"))
        decide(page, served, "1")
    assert len(rows) == 4
    assert len({entry.id for entry in served.entries}) == 4


def test_to_the_last_face(serve, open_page):
    served = serve(refined_set(3))
    page = open_page(served)
    for _ in range(3):
        page.wait_for_selector("#missing:not([hidden])")  # the set has no pictures
        decide(page, served, "1")
    page.wait_for_selector("#done:not([hidden])")
    page.keyboard.press("1")
    assert len(served.entries) == 3


def test_hostile_names_are_text(serve, open_page):
    """Markup in ids, reasons and classes shows as text; what would turn or hide text shows as its code."""
    classes = ("<b>anger</b>", "fear'\"><script>alert(1)</script>", "\u202ehappy", "nul\0class")
    refined = refined_set(ids=HOSTILE, classes=classes, paths=["../../etc/passwd"] * len(HOSTILE))
    served = serve(refined)
    page = open_page(served)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    names = set()
    page.keyboard.press("n")
    for _ in HOSTILE:
        names.add(page.text_content("#name"))
        decide(page, served, "1")
    page.wait_for_selector("#done:not([hidden])")
    assert {entry.id for entry in served.entries} == set(HOSTILE)
    assert served.entries[0].after.classes == (classes[0],)
    assert any("\u27e8001B\u27e9[31mred" in name for name in names)
    assert any("\u27e8202E\u27e9gnp.exe" in name for name in names)
    assert any("<img src=x onerror=alert(1)>" in name for name in names)
    assert page.title() == "fercleaner review"
    assert page.locator("main b, main script, nav b, nav script").count() == 0
    assert not dialogs
    assert not [p for p in page.problems if "404" not in p]


def test_a_server_that_is_gone_is_said_and_nothing_is_lost_silently(serve, open_page, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    page = open_page(served)
    decide(page, served, "1")
    row = page.evaluate("state.face.row")
    served.close()
    page.keyboard.press("2")
    page.wait_for_selector("#error:not([hidden])")
    assert "Not saved" in page.text_content("#error")
    assert page.evaluate("state.face.row") == row
    assert len(served.entries) == 1


def test_nothing_is_fetched_from_elsewhere(serve, browser, tmp_path):
    served = serve(with_pictures(tmp_path / "set"))
    page = browser.new_context().new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.address)
    page.wait_for_selector("body[data-ready=yes]")
    decide(page, served, "1")
    page.context.close()
    assert asked
    assert all(url.startswith((served.address, "data:")) for url in asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(serve, open_page, tmp_path, scheme):
    served = serve(with_pictures(tmp_path / "set"))
    page = open_page(served, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    keep = os.environ.get("FERCLEANER_SCREENSHOTS")
    if keep:
        page.screenshot(path=f"{keep}/review-{scheme}.png")
