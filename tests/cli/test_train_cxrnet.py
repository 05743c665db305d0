"""`gan-explain train target --arch cxrnet` as users run it: two steps on phantoms of 32 pixels, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain.cli.exits import OK, TARGET, USAGE
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.cxrnet import CxrNet
from gan_explain.targets import resolve_target
from gan_explain.train.loop import STATS

Invoke = Callable[..., Result]
BRIEF = ("--data", "phantom:n=40", "--resolution", 32, "--steps", 2, "--set", "batch_size=4", "--segmenter", "everywhere")


@pytest.fixture
def train(invoke: Invoke) -> Callable[..., Result]:
    return lambda *more: invoke("train", "target", "--arch", "cxrnet", *BRIEF, *more)


def test_a_run_leaves_a_target_that_draws_its_map(train: Callable[..., Result], world: Path) -> None:
    wanted = ("calibrate=true", "patience=2", "save_every=1", "evidence.area=0.5")
    result = train("--out", "out", "--json", *(word for each in wanted for word in ("--set", each)))
    assert result.exit_code == OK, result.stderr
    answer = json.loads(result.stdout)
    assert 0 <= answer["measures"]["accuracy"]["value"] <= 1
    assert answer["made_with"]["balance"] == "none"
    row = json.loads((world / "out" / STATS).read_text().splitlines()[-1])
    assert {"first", "second", "area", "variation", "dropped"} <= set(row)
    target = resolve_target("checkpoint:out")
    assert isinstance(target.network, CxrNet)
    assert target.classes == ("normal", "covid")


def test_a_crop_is_stored_with_the_segmenter_that_it_needs(train: Callable[..., Result], world: Path) -> None:
    result = train("--out", "out", "--set", "crop=1.1", "--resolution", 48, "--set", "size=32")
    assert result.exit_code == OK, result.stderr
    config = load_part(world / "out", "target").config
    assert (config["crop"], config["size"], config["segmenter"], config["lungs_only"]) == (1.1, 32, "everywhere", False)


def test_resume_goes_on(train: Callable[..., Result], world: Path) -> None:
    assert train("--out", "out").exit_code == OK
    assert train("--out", "out").exit_code == USAGE
    assert train("--out", "out", "--resume", "--steps", 3).exit_code == OK
    rows = [json.loads(line)["step"] for line in (world / "out" / STATS).read_text().splitlines()]
    assert rows == [2, 3]


@pytest.mark.parametrize("given", ["evidence.area", "evidence.area=x", "speed=1", "evidence.area=nan"])
def test_an_unknown_weight_is_refused_before_anything_is_written(train: Callable[..., Result], world: Path, given: str) -> None:
    result = train("--out", "out", "--set", given)
    assert result.exit_code == USAGE
    assert f"--set {given}: expected" in result.stderr
    assert not (world / "out").exists()


def test_explain_draws_the_map_of_a_cut(train: Callable[..., Result], invoke: Invoke, negative: Path) -> None:
    assert train("--out", "out", "--set", "crop=1.1").exit_code == OK
    result = invoke("explain", negative, "--target", "checkpoint:out", "--method", "cxrnet,grad_cam", "--segmenter", "everywhere")
    assert result.exit_code == OK, result.stderr
    assert "in the lungs" in result.output
    assert "sees the lungs alone" not in result.output
    result = invoke("explain", negative, "--target", "checkpoint:tiny", "--method", "cxrnet", "--segmenter", "everywhere")
    assert result.exit_code == TARGET
    assert "expected a target that is a CXR-Net (gan-explain train target --arch cxrnet), got a SmallResNet" in result.stderr
