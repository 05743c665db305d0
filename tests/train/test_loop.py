"""The loop: what it logs, saves, refuses and resumes, on a trainer of one linear layer."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_explain.train.loop import (
    STATE,
    STATS,
    Interrupted,
    load_state,
    run,
)
from gan_explain.train.training import Training
from gan_explain.train.update import check_finite, check_weights
from gan_explain.types import CheckpointError, TrainingDiverged


class Line:
    """Fits a line to noise from the global random stream; `before` is called with each step's index, `drawing` by a sheet."""

    def __init__(self, before: Callable[[int], None] = lambda step: None, drawing: Callable[[], None] = lambda: None) -> None:
        self.network = nn.Linear(2, 1)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.1)
        self.before, self.drawing = before, drawing

    def step(self, step: int) -> dict[str, Tensor]:
        self.before(step)
        loss = (self.network(torch.randn(4, 2)) - 1).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"square": loss.detach()}

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def networks(self) -> Mapping[str, nn.Module]:
        return {"line": self.network}

    done = False

    def check(self, step: int) -> None:
        pass

    def sheet(self, path: Path) -> None:
        self.drawing()
        path.write_bytes(b"sheet")


def stats(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / STATS).read_text().splitlines()]


def saved_step(out: Path) -> int:
    return int(torch.load(out / STATE, weights_only=True)["step"])


def straight(out: Path, steps: int = 10) -> Line:
    torch.manual_seed(1)
    trainer = Line()
    run(trainer, Training(steps=steps), out)
    return trainer


def same(a: Line, b: Line) -> bool:
    return torch.equal(a.network.weight, b.network.weight) and torch.equal(a.network.bias, b.network.bias)


# -- what a run writes --------------------------------------------------------------------------------------------------------


def test_files_and_rows(tmp_path: Path) -> None:
    run(Line(), Training(steps=7, save_every=3, log_every=2), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        STATE,
        STATS,
        "sheet_000003.png",
        "sheet_000006.png",
        "sheet_000007.png",
    }
    rows = stats(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6, 7]
    assert all(math.isfinite(row["square"]) and row["seconds"] >= 0 for row in rows)
    assert saved_step(tmp_path) == 7


def test_another_run_in_the_folder_starts_a_new_log(tmp_path: Path) -> None:
    straight(tmp_path, 20)
    straight(tmp_path, 10)
    assert [row["step"] for row in stats(tmp_path)] == [10]


def test_resume_drops_the_rows_it_takes_again_and_a_line_cut_short(tmp_path: Path) -> None:
    run(Line(), Training(steps=5, log_every=2), tmp_path)
    with (tmp_path / STATS).open("a") as file:
        file.write('{"step": 6, "seconds": 1}\n{"step": 7, "sec')
    run(Line(), Training(steps=8, log_every=1), tmp_path, resume=True)
    assert [row["step"] for row in stats(tmp_path)] == [2, 4, 5, 6, 7, 8]
    assert all("square" in row for row in stats(tmp_path))


# -- resuming -----------------------------------------------------------------------------------------------------------------


def test_resume_is_the_straight_run_to_the_bit(tmp_path: Path) -> None:
    whole = straight(tmp_path / "whole")
    torch.manual_seed(1)
    run(Line(), Training(steps=4), tmp_path / "half")
    torch.manual_seed(99)
    resumed = Line()
    run(resumed, Training(steps=10), tmp_path / "half", resume=True)
    assert same(whole, resumed)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    whole = straight(tmp_path)
    resumed = Line(before=lambda step: pytest.fail("no step was left"))
    run(resumed, Training(steps=10), tmp_path, resume=True)
    assert same(whole, resumed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("where", "after"), [("step", 3), ("sheet", 2)])
def test_a_signal_stops_with_a_state_to_resume_from(tmp_path: Path, number: signal.Signals, where: str, after: int) -> None:
    """After the step that it comes in; a sheet is not waited for."""
    whole = straight(tmp_path / "whole")
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    torch.manual_seed(1)
    sent: list[int] = []

    def send() -> None:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    trainer = Line(before=lambda step: send() if step == 2 else None) if where == "step" else Line(drawing=send)
    with pytest.raises(Interrupted, match=f"stopped after step {after}: continue with --resume"):
        run(trainer, Training(steps=10, save_every=2 if where == "sheet" else 100), tmp_path / "half")
    assert saved_step(tmp_path / "half") == after
    assert {each: signal.getsignal(each) for each in handlers} == handlers
    resumed = Line()
    run(resumed, Training(steps=10), tmp_path / "half", resume=True)
    assert same(whole, resumed)


def test_a_signal_in_the_last_step_interrupts_nothing(tmp_path: Path) -> None:
    trainer = Line(before=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 2 else None)
    run(trainer, Training(steps=3), tmp_path)
    assert saved_step(tmp_path) == 3


def damaged(out: Path, how: Callable[[bytes], bytes]) -> Path:
    straight(out, 3)
    (out / STATE).write_bytes(how((out / STATE).read_bytes()))
    return out / STATE


@pytest.mark.parametrize(
    "how",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"hello world, this is no state",
        lambda data: data[:64],
    ],
)
def test_a_damaged_state_is_one_line_that_names_the_file(tmp_path: Path, how: Callable[[bytes], bytes]) -> None:
    path = damaged(tmp_path, how)
    with pytest.raises(CheckpointError) as error:
        run(Line(), Training(steps=4), tmp_path, resume=True)
    assert str(error.value).startswith(f"{path}: expected a training state of this configuration, got: ")
    assert "\n" not in str(error.value)


def test_a_state_of_another_configuration(tmp_path: Path) -> None:
    straight(tmp_path, 3)
    other = Line()
    other.network = nn.Linear(3, 1)
    with pytest.raises(CheckpointError, match="of this configuration"):
        load_state(other, tmp_path / STATE)


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no state to resume from"):
        run(Line(), Training(steps=4), tmp_path, resume=True)


# -- divergence ---------------------------------------------------------------------------------------------------------------


class Diverging(Line):
    """At the fifth step a loss is NaN, or (`silent`) a weight infinite while the losses stay finite."""

    silent = False

    def step(self, step: int) -> dict[str, Tensor]:
        terms = super().step(step)
        if step == 4 and self.silent:
            self.network.weight.data[0, 1] = math.inf
        return {**terms, "cycle": torch.tensor(math.nan if step == 4 and not self.silent else 0.0)}


def test_a_loss_that_is_not_finite_stops_at_once_and_keeps_the_last_state(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="step 5: loss term 'cycle' is nan"):
        run(Diverging(), Training(steps=10, save_every=2), tmp_path)
    assert saved_step(tmp_path) == 4


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    trainer = Diverging()
    trainer.silent = True
    with pytest.raises(TrainingDiverged, match=r"step 5: weight 'line\.weight' is inf"):
        run(trainer, Training(steps=5, save_every=2), tmp_path)
    assert saved_step(tmp_path) == 4


def test_checks_name_what_they_found() -> None:
    check_finite({"a": torch.tensor(1.0)})
    with pytest.raises(TrainingDiverged, match="'b' is inf"):
        check_finite({"a": torch.tensor(1.0), "b": torch.tensor(math.inf)})
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    check_weights({"net": network})
    network[1].running_var[0] = math.nan  # type: ignore[index]
    with pytest.raises(TrainingDiverged, match=r"net\.1\.running_var"):
        check_weights({"net": network})
