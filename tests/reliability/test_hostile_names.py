"""Names made to harm: in labels, sources, patients, files, classes and targets. Nothing runs, computes or strays."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gan_explain.cli import main
from gan_explain.data import open_dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = "</script><script>window.broken=1</script>"
IMAGE = "\"><img/src=x/onerror='window.broken=1'>"
PATIENTS = (
    "../../strayed", "/tmp/strayed", SCRIPT, IMAGE, '=HYPERLINK("http://example.invalid",1)', "+1+cmd|' /C calc'!A0",
    "a;=1+1;b", "-2+3", "@SUM(A1)", "turned\u202eround", "\u05e9\u05dc\u05d5\u05dd", "two\nlines", "tab\tand \x1b[2J",
    "javascript:window.broken=1", "x" * 300, "{{7*7}}", "${jndi:ldap://example.invalid}", "%s%n", "p-1'); DROP TABLE",
)  # fmt: skip
SOURCES = (IMAGE, "=1+1", "here\u202e")
CLASSES = ("normal", IMAGE, "=2+2")
TARGET = f"""
import torch
from gan_explain.targets import TargetConfig

class Net(torch.nn.Module):
    def forward(self, x):
        z = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-z, z, 0 * z - 5], 1)

def Hostile():
    return Net(), TargetConfig(classes={CLASSES!r}, positive=({IMAGE!r},), size=64, channels=1)
"""
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64", "--target", "hostile_target:Hostile")


def write_data(root: Path) -> Path:
    """A patient of every name with two dated films, whose files and columns bear such names too."""
    root.mkdir()
    phantoms = open_dataset("phantom:n=24", size=64)
    rows = []
    for k, patient in enumerate(PATIENTS):
        for day in range(2 if k == 0 else 1):
            pixels = phantoms[k + day]["image"][0].numpy() * (0.5 + 0.5 * (k % 2))
            name = f"{'=<b>' if k % 3 else chr(0x202E)}{k}'\"&;\n{day}.png"
            Image.fromarray((pixels * 255).astype(np.uint8)).save(root / name)
            split = "train" if k == 18 else "test"
            rows.append([name, CLASSES[k % 2], patient, split, SOURCES[k % 3], day, f"={SCRIPT}{k % 2}"])
    with open(root / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "patient_id", "split", "source", "offset_days", "=hand<script>"], *rows])
    return root


class World:
    def __init__(self, tmp: Path) -> None:
        self.tmp, self.data, self.done = tmp, write_data(tmp / "data"), dict[str, Result]()
        (tmp / "hostile_target.py").write_text(TARGET, encoding="utf-8")
        self.before = self.files()

    def files(self) -> set[Path]:
        return {path for path in self.tmp.rglob("*") if "__pycache__" not in path.parts}

    def run(self, name: str, *args: object) -> Path:
        if name not in self.done:
            words = [*map(str, args), "--out", str(self.tmp / "out" / name), "--salt", "none"]
            self.done[name] = CliRunner().invoke(main, words)
        assert self.done[name].exit_code == 0, self.done[name].stderr
        return self.tmp / "out" / name

    def audit(self) -> Path:
        args = ("--data", self.data, "--judges", "none", "--strengths", 21, "--quick", "--by", "=hand<script>", "--by", "source")
        return self.run("audit", "audit", *MODELS, *args[:-2])

    def everything(self) -> None:
        self.audit()
        self.run("progression", "progression", self.data, "--patient", PATIENTS[0], *MODELS)
        self.run(
            "interpolate",
            "interpolate",
            next(self.data.glob("*.png")),
            *MODELS,
            "--strengths",
            3,
            "--picture-size",
            256,
            "--force",
        )
        augment = ("--generator", "phantom64", "--segmenter", "phantom64", "--count", 1, "--label", "covid")
        result = CliRunner().invoke(
            main, ["augment", "--data", str(self.data), *map(str, augment), "--out", str(self.tmp / "out" / "a")]
        )
        assert result.exit_code == 3  # there is no covid here; no trace either
        exported = CliRunner().invoke(
            main, ["data", str(self.data), "--resolution", "64", "--out", str(self.tmp / "out" / "exported")]
        )
        assert exported.exit_code == 0, exported.stderr
        self.done["exported"] = exported


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        found = World(tmp_path_factory.mktemp("hostile"))
        patch.chdir(found.tmp)
        found.everything()
        yield found


def test_nothing_is_written_outside_the_output_folder(world: World) -> None:
    new = world.files() - world.before
    assert new
    assert {path.relative_to(world.tmp).parts[0] for path in new} == {"out"}
    assert {path.name for path in (world.tmp / "out").iterdir()} == {"audit", "progression", "interpolate", "exported"}
    assert not (world.tmp.parent / "strayed").exists()
    assert not Path("/tmp/strayed").exists()
    assert [path for path in new if not re.fullmatch(r"[A-Za-z0-9_.\-]+", path.name)] == []  # no name of theirs became a file's


def cells(path: Path) -> Iterator[str]:
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            yield from row


def test_no_cell_of_any_table_is_a_formula(world: World) -> None:
    tables = sorted((world.tmp / "out").rglob("*.csv"))
    assert {path.name for path in tables} >= {"per_sample.csv", "curves.csv", "progression.csv", "classes.csv", "manifest.csv"}
    number = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")
    every = [(path, part) for path in tables for cell in cells(path) for part in re.split("[;\t\r\n,]", cell)]
    assert [(path, part) for path, part in every if part.lstrip()[:1] in tuple("=+-@\t\r") and not number.fullmatch(part)] == []
    assert any(part.startswith("'=") for _, part in every)
    assert any(number.fullmatch(part) and part.startswith("-") for _, part in every)  # numbers stayed numbers


def test_an_exported_dataset_reads_back_as_it_was(world: World) -> None:
    first, second = (open_dataset(path, size=64) for path in (world.data, world.tmp / "out" / "exported"))
    assert [record.patient_id for record in first.records] == [record.patient_id for record in second.records]
    assert [record.source for record in first.records] == [record.source for record in second.records]
    assert [dict(record.extra) for record in first.records] == [dict(record.extra) for record in second.records]


def test_nothing_printed_commands_a_terminal(world: World) -> None:
    for result in world.done.values():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.stdout + result.stderr.replace("\r", ""))


@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed (extra dev)")
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_script_of_theirs_runs_in_the_report(world: World) -> None:
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    asked: list[str] = []
    report = world.audit() / "report.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_timeout(200)
        for _ in range(6):
            page.keyboard.press("j")
        for i in range(page.locator("#patient-table thead button").count()):
            page.locator("#patient-table thead button").nth(i).click()
        page.wait_for_timeout(200)
        shown: Any = page.inner_text("body")
        assert page.evaluate("window.broken") is None
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2  # the page's own and its data
        browser.close()
    assert IMAGE in shown
    assert "turned\\u202eround" in shown
    assert "\u202e" not in shown
    assert said == []
    assert [url for url in asked if url != report.as_uri() and not url.startswith("data:")] == []


def test_the_page_holds_no_tag_of_theirs(world: World) -> None:
    """The same without a browser: every name of theirs is escaped."""
    page = (world.audit() / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("<script") == 2
    assert "\u202e" not in page


OUTSIDE = [
    "../secret.png",
    "/etc/passwd",
    "a/../../secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "\\\\host\\share\\x.png",
    "link.png",
]


@pytest.mark.parametrize("column", ["path", "mask", "lesion"])
@pytest.mark.parametrize("place", OUTSIDE)
def test_a_path_out_of_the_dataset_is_refused_by_row(tmp_path: Path, column: str, place: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for path in (tmp_path / "secret.png", *(root / f"{i}.png" for i in range(3))):
        Image.new("L", (16, 16)).save(path)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    rows = [{"path": f"{i}.png", "label": ("normal", "covid")[i % 2], "patient_id": str(i), "split": "test"} for i in range(3)]
    rows[1][column] = place
    with open(root / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "patient_id", "split", "mask", "lesion"], restval="")
        writer.writeheader()
        writer.writerows(rows)
    result = CliRunner().invoke(main, ["data", str(root), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert f"manifest.csv: image 2: column {column}" in result.stderr
    assert not (tmp_path / "out").exists()


def test_links_inside_the_dataset_and_to_all_of_it_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(2):
        Image.new("L", (16, 16)).save(root / f"{i}.png")
    (root / "link.png").symlink_to("0.png")
    (root / "manifest.csv").write_text("path,label,patient_id,split\nlink.png,normal,a,test\n1.png,covid,b,test\n")
    (tmp_path / "elsewhere").symlink_to(root)
    assert len(open_dataset(tmp_path / "elsewhere", size=16)) == 2


def test_the_metadata_layout_is_held_to_the_same(tmp_path: Path) -> None:
    header = "patientid,finding,view,filename\n"
    (tmp_path / "metadata.csv").write_text(header + "1,COVID-19,PA,../../../etc/passwd\n")
    result = CliRunner().invoke(main, ["data", str(tmp_path)])
    assert result.exit_code == 3
    assert "row 2: column filename" in result.stderr
