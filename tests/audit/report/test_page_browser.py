"""The audit's page in headless Chromium, opened as a file: what moves, sorts, answers to keys; and nothing else."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan_explain.audit.report.page import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed (extra dev)"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ATTACKS = [
    '"><img src=x onerror="window.broken=1">', "</script><script>window.broken=1</script>", "javascript:window.broken=1",
    "<svg onload=window.broken=1>", "--></style><img src=http://example.invalid/x.png>",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Opened:
    """A page with all that it said, and all that it asked for but itself."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.until("document.getElementById('reading').textContent !== ''")
        self.address = path.as_uri()

    def until(self, expression: str) -> None:
        """Wait for an expression to be true. (`wait_for_function` polls with eval, which the page's policy forbids.)"""
        for _ in range(200):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within 4 s: {expression}")

    def quiet(self) -> bool:
        return self.said == [] and [url for url in self.asked if url != self.address and not url.startswith("data:")] == []

    def pixel(self, x: int, y: int) -> list[int]:
        """RGBA of the frame, read from a copy so that the frame's own canvas is left as it is."""
        found: list[int] = self.page.evaluate(
            """([x, y]) => {
              const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
              copy.drawImage(document.getElementById("frame"), -x, -y);
              return [...copy.getImageData(0, 0, 1, 1).data];
            }""",
            [x, y],
        )
        return found

    def column(self, key: str) -> list[str]:
        heads = self.page.locator("#patient-table thead th button").all_inner_texts()
        n = [head.split()[0] for head in heads].index(key) + 1
        found: list[str] = self.page.locator(f"#patient-table tbody tr:not([hidden]) td:nth-child({n})").all_inner_texts()
        return found

    def reading(self) -> str:
        return str(self.page.inner_text("#reading"))


@pytest.fixture
def opened(browser: Any, audit: Any, tmp_path: Path) -> Iterator[Opened]:
    path = tmp_path / "report.html"
    path.write_text(render_report(audit.document, audit.rows, audit.pictures), encoding="utf-8")
    found = Opened(browser, path)
    yield found
    assert found.quiet(), (found.said, found.asked)
    found.page.close()


def test_slider_scrubs_the_frame_and_the_point(opened: Opened, audit: Any) -> None:
    page, picture = opened.page, audit.pictures[0]
    y, x = 24, 9
    before, place = opened.pixel(x, y), page.get_attribute("circle.here", "cx")
    assert before[0] == pytest.approx(255 * picture.structure[y, x], abs=12)  # JPEG
    page.locator("#strength").fill("1.13")
    after = opened.pixel(x, y)[0]
    expected = before[0] + (255 - before[0]) * -math.expm1(-1.13 * picture.layer[y, x])
    assert after == pytest.approx(expected, abs=2)
    assert after > before[0] + 20
    assert float(page.get_attribute("circle.here", "cx")) > float(place)
    strengths = audit.document.findings.curves["negative"].x  # 1.13 lies between the 16th and the 17th
    share = (1.13 - strengths[15]) / (strengths[16] - strengths[15])
    p = (1 - share) * picture.probability[15] + share * picture.probability[16]
    assert opened.reading() == f"λ = 1.13, p = {p:.3f}, called negative"
    assert page.get_attribute("#strength", "aria-valuetext") == opened.reading()


def test_keys(opened: Opened) -> None:
    page = opened.page
    page.focus("#strength")
    page.keyboard.press("ArrowRight")
    assert opened.reading().startswith("λ = 0.01")
    page.keyboard.press("End")
    assert opened.reading().startswith("λ = 1.50")
    full = opened.pixel(9, 24)
    page.keyboard.down("c")
    assert opened.reading().startswith("λ = 0.00")
    assert opened.pixel(9, 24) != full
    page.keyboard.up("c")
    assert opened.pixel(9, 24) == full
    first = page.inner_text("#identity")
    page.keyboard.press("j")
    opened.until("document.getElementById('pick').value === '1'")
    assert page.inner_text("#identity") != first
    page.keyboard.press("k")
    opened.until("document.getElementById('pick').value === '0'")
    assert page.inner_text("#identity") == first
    page.keyboard.press("d")
    assert page.is_checked("input[value=layer]")
    red, _, blue, _ = opened.pixel(9, 24)
    assert red > blue + 15
    page.focus("#find")
    page.keyboard.type("jd")  # a word to find, not a command
    assert page.input_value("#find") == "jd"
    assert page.inner_text("#identity") == first


def test_difference_is_nothing_at_strength_zero(opened: Opened) -> None:
    opened.page.locator("input[value=difference]").check()
    red, green, blue, _ = opened.pixel(9, 24)
    assert red == green == blue
    opened.page.locator("#strength").fill("1.5")
    red, _, blue, _ = opened.pixel(9, 24)
    assert red > blue + 5


def test_columns_sort_both_ways_with_the_empty_last(opened: Opened) -> None:
    page = opened.page
    assert opened.column("rank") == [str(i) for i in range(1, 13)]
    button = page.locator("#patient-table thead button", has_text="rise")
    for order, sign in (("ascending", 1), ("descending", -1)):
        button.focus()
        page.keyboard.press("Enter")
        found = [float(cell) for cell in opened.column("rise") if cell]
        assert found == sorted(found, key=lambda value: sign * value)
        assert len(found) == 9
        assert opened.column("rise")[-3:] == [""] * 3
        assert page.locator("#patient-table th[aria-sort]").get_attribute("aria-sort") == order
    page.locator("#patient-table thead button", has_text="patient").click()
    assert opened.column("patient")[:3] == ["nih-1000", "nih-1001", "nih-1002"]


def test_rows_are_found_filtered_and_shown(opened: Opened) -> None:
    page = opened.page
    page.fill("#find", "nih-1007")
    assert opened.column("patient") == ["nih-1007"]
    assert page.inner_text("#count") == "1 of 12 images"
    page.focus("[data-show]:visible")
    page.keyboard.press("Enter")
    opened.until("document.getElementById('identity').innerText.startsWith('nih-1007')")
    assert page.evaluate("document.activeElement.id") == "strength"
    page.fill("#find", "")
    page.select_option("#only", "never crosses")
    assert opened.column("λ*") == ["never"] * 3


def test_crossing_and_playing(opened: Opened) -> None:
    page = opened.page
    assert page.locator("[data-go=cross]").is_disabled()  # the first never crosses
    page.select_option("#pick", index=8)
    opened.until("!document.querySelector('[data-go=cross]').disabled")
    page.click("[data-go=cross]")
    assert abs(float(opened.reading().split("p = ")[1].split(",")[0]) - 0.41) < 0.01
    page.click("[data-go='0']")
    page.click("#play")
    opened.until("Number(document.getElementById('strength').value) > 0.05")
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "false"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_both_schemes_on_a_desk_and_on_a_phone(browser: Any, audit: Any, tmp_path: Path, scheme: str, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(audit.document, audit.rows, audit.pictures), encoding="utf-8")
    found = Opened(browser, path, color_scheme=scheme, viewport={"width": width, "height": 900})
    ground, text = (
        sum(int(v) for v in found.page.evaluate(f"getComputedStyle(document.body).{key}.match(/\\d+/g).slice(0, 3)"))
        for key in ("backgroundColor", "color")
    )
    assert (ground > text + 300) if scheme == "light" else (text > ground + 300)
    assert found.page.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    assert found.page.locator("#verdict .strip").bounding_box()["y"] < 900  # the answers are in the first screen
    assert found.quiet(), (found.said, found.asked)
    found.page.close()


def test_names_do_nothing(browser: Any, audit_of: Callable[..., Any], tmp_path: Path) -> None:
    audit = audit_of(names=ATTACKS)
    findings = audit.json["findings"]
    findings["provenance"]["target"]["spec"] = ATTACKS[0]
    findings["verdict"][0]["why"] = findings["subgroups"][0]["column"] = ATTACKS[1]
    path = tmp_path / "<img onerror=alert(1)>.html"
    path.write_text(render_report(audit.document, audit.rows, audit.pictures), encoding="utf-8")
    found = Opened(browser, path)
    for i in range(1, len(audit.pictures)):  # each name goes through the viewer once
        found.page.keyboard.press("j")
        found.until(f"document.getElementById('pick').value === '{i}'")
    found.page.locator("#patient-table thead button", has_text="patient").click()
    assert set(ATTACKS) <= set(found.column("patient"))
    assert found.page.evaluate("window.broken") is None
    assert found.page.locator("img").count() == 0
    assert found.quiet(), (found.said, found.asked)
    found.page.close()


def test_policy_stops_what_would_get_in(opened: Opened) -> None:
    """The second wall: a script or a handler put into the page does not run, an image from elsewhere is not asked for."""
    opened.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.broken = 1";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.broken = 1'><p style='color: red'></p>");
        }"""
    )
    opened.page.wait_for_timeout(100)
    assert opened.page.evaluate("window.broken") is None
    assert len(opened.said) >= 3
    assert all("Content Security Policy" in text for text in opened.said)
    opened.said.clear()
    opened.asked.clear()


def test_paper_has_everything_unfolded(opened: Opened) -> None:
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("details:not([open])").count() == 0
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.locator("details[open]").count() == 0


def test_page_without_pictures_still_sorts(browser: Any, audit: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_report(audit.document, audit.rows, []), encoding="utf-8")
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.locator("#patient-table thead button", has_text="rise").click()
    page.fill("#find", "nih-1007")
    assert page.inner_text("#count") == "1 of 12 images"
    assert said == []
    page.close()
