"""run.json and stdout name no input: words in place of paths, contents in place of names."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from gan_explain.cli import common
from gan_explain.cli.hiding import without_names
from gan_explain.cli.words import Data
from gan_explain.types import DataError, TargetError

Invoke = Callable[..., Result]
SECRET = "Smith_John"


@pytest.mark.parametrize(
    ("options", "argv", "shown", "command"),
    [
        ({"data": "/x/Smith"}, "audit --data /x/Smith --seed 3", {"data": "DATA"}, "audit --data DATA --seed 3"),
        ({"data": "/x/Smith"}, "audit --data=/x/Smith", {"data": "DATA"}, "audit --data=DATA"),
        ({"data": "phantom:n=9"}, "audit --data phantom:n=9", {"data": "phantom:n=9"}, "audit --data phantom:n=9"),
        ({"image": Path("a/S.png")}, "interpolate a/S.png", {"image": "IMAGE"}, "interpolate IMAGE"),
        ({"image": Path("S")}, "interpolate S/", {"image": "IMAGE"}, "interpolate IMAGE"),
        ({"image": None, "patient": "S J"}, "p --patient 'S J'", {"image": None, "patient": "PATIENT"}, "p --patient PATIENT"),
        ({"shards": (Path("S"), Path("J"))}, "merge S J", {"shards": ["SHARDS-1", "SHARDS-2"]}, "merge SHARDS-1 SHARDS-2"),
        ({"pathology": "from:S.png"}, "i --pathology from:S.png", {"pathology": "from:IMAGE"}, "i --pathology from:IMAGE"),
        ({"pathology": "prior"}, "i --pathology prior", {"pathology": "prior"}, "i --pathology prior"),
        ({"out": Path("/home/Smith/a")}, "i --out /home/Smith/a", {"out": "a"}, "i --out a"),
        ({"out": Path("out/a")}, "i --out out/a", {"out": "out/a"}, "i --out out/a"),
        ({"judges": ("checkpoint:a",)}, "i --judges checkpoint:a", {"judges": ("checkpoint:a",)}, "i --judges checkpoint:a"),
    ],
)  # fmt: skip
def test_words_stand_for_inputs(options: dict[str, Any], argv: str, shown: dict[str, Any], command: str) -> None:
    assert without_names(options, shlex.split(argv)) == (shown, command)


@dataclass(frozen=True)
class Learning:
    TITLE: ClassVar = "Learning"
    data: Data = "phantom"


@pytest.mark.parametrize(
    ("error", "kept"), [(DataError(f"{SECRET}.png: expected"), False), (OSError(f"{SECRET}"), False), (TargetError("NaN"), True)]
)
def test_run_json_keeps_an_error_only_where_it_names_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: bool
) -> None:
    @common.command("learn", out="result", resume=True)
    def learn(run: common.Run, options: Learning) -> None:
        """Learn."""
        (run.folder / "weights").write_text("w")
        raise error

    monkeypatch.chdir(tmp_path)
    for plain in (False, True):
        result = CliRunner().invoke(learn, ["--data", f"/x/{SECRET}", "--overwrite", *(["--salt", "none"] if plain else [])])
        assert str(error) in result.stderr
        run = json.loads((tmp_path / "result" / "run.json").read_text())
        assert (SECRET in json.dumps(run)) == plain
        assert (str(error) in run["error"]) == (kept or plain)
        assert run["options"]["data"] == (f"/x/{SECRET}" if plain else "DATA")


def test_an_image_is_called_by_its_content(invoke: Invoke, negative: Path, world: Path) -> None:
    named = world / f"{SECRET}.png"
    named.write_bytes(negative.read_bytes())
    result = invoke("interpolate", named, "--out", "a", "--strengths", 3, "--json")
    assert result.exit_code == 0, result.stderr
    name = json.loads(result.stdout)["patients"][0]["name"]
    assert name.startswith("radiograph ")
    assert SECRET not in result.stdout + (world / "a" / "run.json").read_text()
    plain = invoke("interpolate", named, "--out", "b", "--strengths", 3, "--salt", "none")
    assert plain.stdout.startswith(f"{SECRET}.png: ")
    assert SECRET in (world / "b" / "run.json").read_text()


def test_a_dry_run_makes_no_salt(invoke: Invoke, world: Path) -> None:
    models = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "brightness_target:Brightness")
    args = ("evaluate", *models, "--data", "phantom:n=60", "--limit", 2, "--dry-run", "--salt", "deep/salt")
    assert invoke(*args).exit_code == 0
    assert not (world / "deep").exists()
