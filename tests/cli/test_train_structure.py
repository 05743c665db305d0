"""`gan-explain train structure`, with a feature network that knows nothing in place of ImageNet's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from gan_explain.cli.exits import DATA, OK, USAGE
from gan_explain.nets.efficientnet_lite import EfficientNetLite
from gan_explain.nets.load import load_structure

Invoke = Callable[..., Result]
BRIEF = (
    "train",
    "structure",
    "--data",
    "phantom:n=40",
    "--resolution",
    64,
    "--steps",
    2,
    "--set",
    "batch_size=4",
    "--set",
    "start=0",
)


@pytest.fixture(autouse=True)
def _features(monkeypatch: pytest.MonkeyPatch) -> None:
    network = EfficientNetLite().requires_grad_(False)
    monkeypatch.setattr("gan_explain.nets.efficientnet_lite.imagenet_features", lambda: network)


def test_it_writes_a_part_and_goes_on_where_it_stopped(invoke: Invoke, world: Path) -> None:
    first = invoke(*BRIEF, "--set", "others=0.25", "--out", "out", "--json")
    assert first.exit_code == OK, first.stderr
    assert json.loads(first.stdout)["others"] > 0
    network = load_structure(world / "out")
    assert network(network.sample(2, torch.Generator().manual_seed(0))).shape == (2, 1, 64, 64)
    assert invoke(*BRIEF, "--set", "others=0.25", "--steps", 3, "--resume", "--out", "out").exit_code == OK
    steps = [json.loads(line)["step"] for line in (world / "out" / "stats.jsonl").read_text().splitlines()]
    assert steps == [2, 3]


def test_a_source_is_left_out(invoke: Invoke, world: Path) -> None:
    assert invoke(*BRIEF, "--dry-run", "--json").exit_code == OK
    assert invoke(*BRIEF, "--leave-out", "phantom", "--dry-run").exit_code == DATA


def test_a_weight_that_is_none(invoke: Invoke, world: Path) -> None:
    assert invoke(*BRIEF, "--set", "realism=1").exit_code == USAGE
