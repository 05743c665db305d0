"""`gan-explain train target --arch multi_unet` as users run it, and what its checkpoint is good for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from gan_explain.cli.exits import DATA, OK, USAGE
from gan_explain.files.checkpoints import read_config
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.targets import resolve_target

Invoke = Callable[..., Result]
BRIEF = ("--data", "phantom:n=60,covid=0.3,pneumonia=0.3", "--resolution", 64, "--steps", 2, "--set", "batch_size=4")
TWO = ("--classify", "normal", "--classify", "phantom:covid")


@pytest.fixture
def train(invoke: Invoke) -> Callable[..., Result]:
    return lambda *more: invoke("train", "target", "--arch", "multi_unet", *BRIEF, *more)


def test_a_target_a_segmenter_and_their_measures(
    train: Callable[..., Result], invoke: Invoke, world: Path, positive: Path
) -> None:
    result = train(*TWO, "--out", "out", "--json", "--seed", 3)
    assert result.exit_code == OK, result.stderr
    told = json.loads(result.stdout)
    assert 0 <= told["measures"]["dice"]["value"] <= 1
    assert told["measures"]["auroc"]["n"] < told["measures"]["dice"]["n"]  # pneumonia taught the lungs alone
    assert (told["records"], told["classified"] < 60) == (60, True)
    assert read_config(world / "out")["parts"].keys() == {"target"}
    assert resolve_target(f"checkpoint:{world / 'out'}").classes == ("normal", "covid")
    assert load_segmenter(world / "out").resolution == 64
    shown = invoke(
        "explain", positive, "--method", "lung_cam", "--target", "checkpoint:out", "--segmenter", "out", "--force", "--out", "e"
    )
    assert shown.exit_code == OK, shown.stderr
    heat, lungs = np.load(world / "e" / "lung_cam.npy", allow_pickle=False), load_segmenter(world / "out")
    assert heat.shape == (64, 64)
    assert "(its own lungs), 4 × 4 cells" in shown.stdout
    assert lungs.network.config.widths[-1] == 160


def test_everything_is_classified_unless_told_otherwise(train: Callable[..., Result], world: Path) -> None:
    assert train("--out", "out").exit_code == OK
    assert resolve_target(f"checkpoint:{world / 'out'}").classes == ("normal", "pneumonia", "covid")


def test_a_seed_is_a_result_and_a_run_can_go_on(train: Callable[..., Result], world: Path) -> None:
    for out, more in (("a", ()), ("b", ("--set", "save_every=1"))):
        assert train(*TWO, "--out", out, *more).exit_code == OK
    assert read_config(world / "a")["sha256"] == read_config(world / "b")["sha256"]
    assert train(*TWO, "--out", "a", "--resume").exit_code == OK
    assert read_config(world / "a")["sha256"] == read_config(world / "b")["sha256"]


def test_augmentation_can_be_weaker(train: Callable[..., Result], world: Path) -> None:
    for out, more in (("usual", ()), ("same", ("--set", "augment=1")), ("none", ("--set", "augment=0"))):
        assert train(*TWO, "--out", out, *more).exit_code == OK
    digests = [read_config(world / out)["sha256"] for out in ("usual", "same", "none")]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--classify", "kermany:normal"), DATA, "no record fits --classify kermany:normal"),
        (("--classify", "covid"), DATA, "at least two classes"),
        (("--resolution", 40), USAGE, "multiple of 16"),
        (("--set", "augment=-1"), USAGE, "--set augment=-1"),
        (("--positive", "measles"), DATA, "measles"),
    ],
)
def test_what_does_not_fit_is_said(
    train: Callable[..., Result], world: Path, args: tuple[object, ...], code: int, says: str
) -> None:
    result = train(*args, "--out", "out")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr
    assert not (world / "out" / "weights.safetensors").exists()


def test_dry_run_counts(train: Callable[..., Result], world: Path) -> None:
    result = train(*TWO, "--out", "out", "--dry-run", "--json")
    assert result.exit_code == OK, result.stderr
    told = json.loads(result.stdout)
    assert 0 < told["classified"] < told["records"] == 60
    assert not (world / "out").exists()
