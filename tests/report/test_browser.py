"""The audit page in a browser, opened from disk: drawn, filtered, driven by keys, and harmless whatever names hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from report_cases import HOSTILE, chromium, opened, refined_set

from fercleaner.report import Material, Options, audit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    return audit(refined_set(folder)).write(folder / "out")


def test_the_page_stands_alone_and_shows_the_faces(browser, page: Path) -> None:
    with opened(browser, page) as tab:
        assert [url for url in tab.asked if not url.startswith("data:")] == [page.as_uri()]
        assert tab.errors == []
        assert tab.locator("h1").inner_text() == "refined set"
        assert "60 of 60 faces pass the filters" in tab.locator("#status").inner_text()
        cards = tab.locator("#cards .card")
        assert 0 < cards.count() <= 24
        first = cards.first
        assert first.locator("canvas.face").count() == 1
        tab.wait_for_function(
            "() => { const c = document.querySelector('canvas.face'); "
            "return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 20 }"
        )
        assert "refined" in first.inner_text()
        assert "AU12 high, no AU1" in first.inner_text()
        painted = (
            "() => { const c = document.getElementById('map-canvas'); "
            "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0) }"
        )
        assert tab.evaluate(painted)


def test_the_policy_stops_requests_and_scripts_that_are_not_the_page_s_own(browser, page: Path) -> None:
    with opened(browser, page) as tab:
        blocked = tab.evaluate(
            """async () => {
                const tries = [];
                try { await fetch('http://127.0.0.1:9/'); tries.push('fetch'); } catch (error) { }
                const script = document.createElement('script');
                script.textContent = 'window.hit = 1';
                document.body.append(script);
                const image = new Image();
                const loaded = await new Promise((done) => {
                    image.onload = () => done(true); image.onerror = () => done(false);
                    image.src = 'http://127.0.0.1:9/a.png';
                });
                if (loaded) tries.push('image');
                if (window.hit) tries.push('script');
                return tries;
            }"""
        )
        assert blocked == []
        assert any("Content Security Policy" in text for text in tab.errors)


def test_filters_and_kinds_choose_what_is_shown(browser, page: Path) -> None:
    with opened(browser, page) as tab:
        whole = tab.locator("#status").inner_text()
        tab.get_by_label("given label", exact=True).select_option(label="fear")
        told = tab.locator("#status").inner_text()
        assert "20 of 60 faces pass the filters" in told
        assert told != whole
        verdicts = tab.locator("#cards .verdict").all_inner_texts()
        assert verdicts
        assert all(text.startswith("fear") for text in verdicts)
        tab.get_by_label("split", exact=True).select_option(label="test")
        assert "5 of 60 faces pass the filters" in tab.locator("#status").inner_text()
        tab.get_by_role("button", name="Clear filters").click()
        assert tab.locator("#status").inner_text() == whole
        tab.get_by_role("button", name="Ambiguous").click()
        assert "ambiguous" in tab.locator("#cards .card").first.inner_text()
        assert tab.get_by_role("button", name="Ambiguous").get_attribute("aria-pressed") == "true"
        tab.get_by_role("button", name="Show faces given").first.click()
        assert tab.get_by_label("refined label", exact=True).input_value() != ""
        assert tab.locator("#cards .card").count() > 0
        tab.get_by_label("color", exact=True).select_option("quality")
        assert tab.locator("#map-legend li").count() == 6


def test_keys_lead_through_faces_and_pages(browser, page: Path) -> None:
    with opened(browser, page) as tab:
        names = tab.locator("#cards .card h3").all_inner_texts()
        focused = "document.activeElement.querySelector('h3').textContent"
        for key, name in (("j", names[0]), ("j", names[1]), ("j", names[2]), ("k", names[1])):
            tab.keyboard.press(key)
            assert tab.evaluate(focused) == name
        assert tab.locator("#pager span").inner_text() == "1 of 2"
        tab.keyboard.press("n")
        assert tab.locator("#pager span").inner_text() == "2 of 2"
        assert tab.evaluate(focused) not in names
        tab.keyboard.press("n")
        assert tab.locator("#pager span").inner_text() == "2 of 2"
        tab.keyboard.press("p")
        assert tab.locator("#cards .card h3").first.inner_text() == names[0]


def test_hostile_names_are_only_text(browser, tmp_path: Path) -> None:
    n = len(HOSTILE) * 3
    names = [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(n)]
    split = [HOSTILE[i % len(HOSTILE)] for i in range(n)]
    reason = [f"{name}; {name}; but {name}" for name in split]
    about = {"method": HOSTILE[1], "params": {HOSTILE[0]: HOSTILE[1]}, "layout": HOSTILE[5], "versions": {}}
    named = {"classes": HOSTILE[:3], "split": split, "paths": split, "reason": reason, "metadata": about}
    refined = refined_set(None, n, names, **named)
    page = audit(refined, Material(), Options(title=HOSTILE[1])).write(tmp_path / "out")
    with opened(browser, page) as tab:
        assert tab.evaluate("window.hit === undefined")
        assert tab.errors == []
        assert len([url for url in tab.asked if not url.startswith("data:")]) == 1
        assert tab.locator("h1").inner_text() == HOSTILE[1]
        assert tab.locator("main img, main iframe, main script, main object").count() == 0
        text = tab.evaluate("document.body.innerText")
        assert "{{ 7*7 }}" in text
        assert "\\u202egnp.exe" in text
        assert "\\x1b[31mred" in text
        assert "nul\\x00byte" in text
        assert not set(text) & {"\x1b", "\x00", "\u202e"}
        for _ in range(30):
            tab.keyboard.press("j")
        assert tab.evaluate("window.hit === undefined")


def test_it_fits_a_phone_and_prints_without_controls(browser, page: Path) -> None:
    with opened(browser, page, viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        wide = "[...document.querySelectorAll('.card')].every((card) => card.scrollWidth <= card.clientWidth + 1)"
        assert tab.evaluate(wide)
        tab.emulate_media(media="print")
        assert not tab.locator("#controls").is_visible()
        assert tab.locator("#cards .card").first.is_visible()


def axe() -> Path:
    places = (os.environ.get("FERCLEANER_AXE", ""), ROOT / "node_modules/axe-core/axe.min.js")
    for place in places:
        if place and Path(place).is_file():
            return Path(place)
    pytest.skip("axe-core is not here (npm install axe-core in the repository, or FERCLEANER_AXE=axe.min.js)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, page: Path, scheme: str) -> None:
    source = axe().read_text(encoding="utf-8")
    with opened(browser, page, color_scheme=scheme) as tab:
        tab.evaluate(source)
        found = tab.evaluate(
            "axe.run().then((told) => told.violations.map("
            "(v) => [v.id, v.impact, v.nodes.map((n) => n.html).slice(0, 3)]))"
        )
        assert [rule for rule in found if rule[1] in ("serious", "critical")] == []
        assert found == []


def test_landmarks_are_drawn_where_they_are_asked_for(browser, tmp_path: Path) -> None:
    from fercleaner.core.types import Landmarks

    refined = refined_set(tmp_path)
    points = np.tile(np.array([0.5, 0.5], dtype=np.float32), (60, 68, 1))
    marks = Landmarks(refined.ids, points, np.ones(60, bool), np.ones(60, np.float32))
    page = audit(refined, Material(landmarks=marks)).write(tmp_path / "out")
    with opened(browser, page) as tab:
        middle = (
            "() => { const c = document.querySelector('canvas.face'); "
            "return [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data] }"
        )
        tab.wait_for_timeout(300)
        before = tab.evaluate(middle)
        tab.keyboard.press("l")
        assert tab.evaluate(middle) == [255, 225, 77, 255]
        tab.keyboard.press("l")
        assert tab.evaluate(middle) == before
