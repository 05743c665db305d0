"""NaN and infinity in a loss, a gradient or a weight: the run ends in that step, says which tensor, and keeps its last state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_trainers import TRAINERS, leaves
from torch import Tensor, nn

from gan_explain.cli.exits import DIVERGED, exit_code
from gan_explain.train.early import EarlyStopping
from gan_explain.train.loop import STATE, load_state, run
from gan_explain.train.trainer import Trainer
from gan_explain.train.training import Training
from gan_explain.train.update import check_state, descend
from gan_explain.types import TrainingDiverged

BAD = 3  # the step, counted from 1, in which something is not finite


def poisoned(name: str, source: str, network: str) -> tuple[Trainer, list[Tensor]]:
    """A trainer one of whose networks gets a NaN in step BAD; the weight that gets it (or its gradient) before and after."""
    torch.manual_seed(0)
    trainer = TRAINERS[name]()
    step = trainer.step
    *_, parameter = (p for p in trainer.networks()[network].parameters() if p.requires_grad)  # the last layer is never frozen
    seen = [parameter]

    def watched(index: int) -> dict[str, Tensor]:
        if index != BAD - 1:
            return step(index)
        seen.append(parameter.detach().clone())
        if source == "a gradient":
            parameter.register_hook(lambda gradient: gradient * math.nan)
        terms = step(index)
        if source == "a weight":
            parameter.data.fill_(-math.inf)
        return terms

    trainer.step = watched  # type: ignore[method-assign]
    return trainer, seen


NETWORKS = [(name, network) for name in TRAINERS for network in TRAINERS[name]().networks()]


@pytest.mark.parametrize("source", ["a gradient", "a weight"])
@pytest.mark.parametrize(("name", "network"), NETWORKS)
def test_every_network_of_every_trainer(name: str, network: str, source: str, tmp_path: Path) -> None:
    trainer, weight = poisoned(name, source, network)
    with pytest.raises(TrainingDiverged) as error:
        run(trainer, Training(steps=6, save_every=2), tmp_path)
    assert str(error.value).startswith(f"step {BAD}: {source[2:]} ")
    assert str(error.value).endswith("; the last good state is kept")
    assert exit_code(error.value) == DIVERGED
    assert torch.equal(*weight) == (source == "a gradient")  # which was not stepped on
    fresh = TRAINERS[name]()
    assert load_state(fresh, tmp_path / STATE) == BAD - 1
    assert all(bool(torch.isfinite(v).all()) for _, v in leaves(fresh.state()) if isinstance(v, Tensor) and v.is_floating_point())


# -- one update, one state ----------------------------------------------------------------------------------------------------


def update(factor: float, clip: float | None = None) -> nn.Linear:
    """One SGD step of a layer of ones whose loss is `factor` times the sum of its weights."""
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    losses = {"sum": factor * network.weight.sum(), "nothing": torch.tensor(0.0)}
    try:
        descend("net", network, torch.optim.SGD(network.parameters(), 1.0), losses, clip)
    except TrainingDiverged:
        assert network.weight.tolist() == [[1, 1]]
        raise
    return network


def test_an_update_by_hand() -> None:
    assert update(0.5).weight.tolist() == [[0.5, 0.5]]
    assert update(3.0, clip=math.sqrt(2)).weight.tolist() == [
        [pytest.approx(0, abs=1e-5)] * 2
    ]  # a gradient of (3, 3), cut to (1, 1)


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (math.nan, "loss term 'sum' is nan"),
        (math.inf, "loss term 'sum' is inf"),
        (3e38, "loss term 'sum' is inf"),
        (1e38, "the norm of the gradient of net is inf"),
    ],
)
def test_an_update_that_is_refused(factor: float, says: str) -> None:
    with pytest.raises(TrainingDiverged, match=says):
        update(factor)


def test_a_gradient_is_named_where_the_losses_are_finite() -> None:
    network = nn.Linear(2, 1)
    network.bias.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(TrainingDiverged, match=r"gradient 'net\.bias' is inf"):
        descend("net", network, torch.optim.SGD(network.parameters(), 1.0), {"loss": network(torch.ones(3, 2)).sum()})


@pytest.mark.parametrize("place", ["ema", "optimizers"])
def test_a_state_is_looked_at_in_every_corner_before_it_is_written(tmp_path: Path, place: str) -> None:
    """An average, or a moment of an optimiser, that is not finite never replaces the last good state."""
    trainer = TRAINERS["segmenter"]()
    run(trainer, Training(steps=2), tmp_path)
    before = (tmp_path / STATE).read_bytes()
    if place == "ema":
        next(iter(trainer.ema.shadow.values())).fill_(math.nan)  # type: ignore[attr-defined]
    else:
        next(iter(trainer.optimizers["network"].state.values()))["exp_avg_sq"].fill_(math.inf)  # type: ignore[attr-defined]
    with pytest.raises(TrainingDiverged, match=rf"state '{place}\..+' is (nan|inf)"):
        check_state(trainer.state())
    trainer.restore = lambda state: None  # type: ignore[method-assign]
    with pytest.raises(TrainingDiverged, match=rf"step 3: state '{place}\..+' is (nan|inf); the last good state is kept"):
        run(trainer, Training(steps=3), tmp_path, resume=True)
    assert (tmp_path / STATE).read_bytes() == before


def test_a_validation_loss_that_is_not_finite_is_no_better_check() -> None:
    early = EarlyStopping(lambda weights: (0.5, math.nan), patience=2)
    with pytest.raises(TrainingDiverged, match="step 4: the validation loss is nan"):
        early.check(4, {})


def test_a_command_that_diverges_ends_with_5(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    words = (
        "train",
        "segmenter",
        "--data",
        "phantom:n=24",
        "--resolution",
        32,
        "--set",
        "batch_size=4",
        "--set",
        "save_every=1",
        "--out",
        "out",
    )
    code, line = command(*words, "--steps", 50, "--set", "learning_rate=1e20")
    assert code == DIVERGED, line
    assert line.startswith("error: step ")
    assert line.endswith("; the last good state is kept")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["exit"] == DIVERGED
    assert not (tmp_path / "out" / "weights.safetensors").exists()
