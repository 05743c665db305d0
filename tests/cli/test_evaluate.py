"""`gan-explain evaluate` on a few phantoms, untrained networks and a target that is known in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
MODELS = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "brightness_target:Brightness")
JUDGE = "checkpoint:tiny#target"


def test_measures_are_printed_and_saved(invoke: Invoke, world: Path) -> None:
    result = invoke(
        "evaluate", *MODELS, "--data", "phantom:n=60", "--limit", 4, "--out", "e", "--judges", "checkpoint:tiny#target"
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split()[:2] == ["measure", "value"]
    assert result.stdout.splitlines()[-1] == "4 images; written to e"
    run = json.loads((world / "e" / "run.json").read_text())
    assert run["images"] == 4
    assert json.loads((world / "e" / "measures.json").read_text())["provenance"]["judges"] == ["target"]
    assert "measures.json" in run["files"]


def test_json_has_the_shape_of_the_design(invoke: Invoke) -> None:
    result = invoke("evaluate", *MODELS, "--data", "phantom:n=60", "--limit", 4, "--json")
    assert result.exit_code == 0, result.stderr
    measures = json.loads(result.stdout)["measures"]
    assert measures
    for name, measure in measures.items():
        assert "value" in measure, name
        assert measure["value"] is not None or measure["reason"], name


def test_dry_run_checks_and_measures_nothing(invoke: Invoke, world: Path) -> None:
    result = invoke("evaluate", *MODELS, "--data", "phantom:n=60", "--limit", 4, "--dry-run", "--out", "e")
    assert result.exit_code == 0, result.stderr
    assert "4 images" in result.stdout
    assert not (world / "e").exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--data", "nowhere"), 3, "nowhere"),
        (("--data", "phantom:n=60", "--judges", "brightness_target:WrongShape"), 4, "(4, 2)"),
        (("--data", "phantom:n=60", "--judges", "nonsense"), 4, "nonsense"),
        (("--data", "phantom:n=60", "--lpips", "nowhere.pth"), 3, "nowhere.pth"),
        (("--data", "phantom:n=60", "--limit", "0"), 2, "--limit"),
        (("--data", "phantom:n=60", "--generator", "nowhere"), 3, "nowhere"),
        (("--data", "phantom:n=60", "--generator", "fog"), 3, "generator"),
        (("--data", "phantom:n=60", "--measures", "reader"), 2, "--measures reader"),
        (("--data", "phantom:n=60", "--resolution", "64"), 2, "--resolution"),
        (("--data", "phantom:n=60", "--measures", "speed"), 2, "speed"),
        ((), 2, "--data"),
    ],
)
def test_bad_input(invoke: Invoke, world: Path, args: tuple[str, ...], code: int, says: str) -> None:
    result = invoke("evaluate", *MODELS, *args, "--out", "e")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "e").exists()


def test_a_generator_alone_is_measured_without_a_target(invoke: Invoke, world: Path) -> None:
    alone = ("--generator", "tiny", "--segmenter", "everywhere", "--measures", "reader")
    result = invoke("evaluate", *alone, "--data", "phantom:n=60", "--limit", 6, "--json", "--out", "e")
    assert result.exit_code == 0, result.stderr
    measures = json.loads(result.stdout)["measures"]
    assert {"reader.rho[veils]", "reader.slope[patterns]", "reader.auroc", "layers.load[real]"} <= set(measures)
    assert "flip.negative" not in measures
    run = json.loads((world / "e" / "run.json").read_text())
    assert run["generator"]["name"] == "tiny"
    assert "target" not in run
    assert (world / "e" / "per_sample.csv").is_file()
