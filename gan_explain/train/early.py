"""Early stopping: validation patients say which weights are kept, and when more training no longer helps.

Prechelt, "Early Stopping - But When?" (Neural Networks: Tricks of the Trade, 1998): training ends after `patience` checks in a
row without a better one, and the best weights are kept, not the last.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from gan_explain.train.distributed import any_rank, is_main
from gan_explain.types import TrainingDiverged

logger = logging.getLogger(__name__)
Weights = Mapping[str, Tensor]
Monitor = Literal["balanced_accuracy", "loss"]


@dataclass(frozen=True)
class Check:
    """One look at the validation images: balanced accuracy (mean recall of the classes) and mean loss of the classes."""

    step: int
    balanced_accuracy: float
    loss: float

    def better_than(self, other: Check | None, monitor: Monitor = "balanced_accuracy") -> bool:
        """By balanced accuracy and, among equals, by loss; or by loss alone, which is smoother on few images."""
        if other is None or monitor == "loss":
            return other is None or self.loss < other.loss
        return (self.balanced_accuracy, -self.loss) > (other.balanced_accuracy, -other.loss)


class EarlyStopping:
    """Keeps the best of the weights that it is shown; `done` after `patience` checks in a row that were none better.

    `measure(weights)` gives (balanced accuracy, loss) on the validation images. All of it is in the state, so that a resumed
    run stops where a straight one does. Under torchrun the first process judges and the others follow.
    """

    def __init__(
        self, measure: Callable[[Weights], tuple[float, float]], patience: int, monitor: Monitor = "balanced_accuracy"
    ) -> None:
        if patience < 1:
            raise ValueError(f"expected a patience of at least one check, got {patience}")
        self.measure, self.patience, self.monitor = measure, patience, monitor
        self.checks: list[Check] = []
        self.best: Check | None = None
        self.weights: dict[str, Tensor] = {}
        self.done = False

    def check(self, step: int, weights: Weights) -> None:
        """Measure the weights after `step` steps, once; keep a copy of them when they are the best so far.

        Raises TrainingDiverged when the loss is not finite.
        """
        if is_main() and not any(check.step == step for check in self.checks):
            found = Check(step, *self.measure(weights))
            if not math.isfinite(found.loss):
                raise TrainingDiverged(f"step {step}: the validation loss is {found.loss}; the last good state is kept")
            self.checks.append(found)
            logger.info("step %d: val balanced accuracy %.3f, loss %.3f", step, found.balanced_accuracy, found.loss)
            if found.better_than(self.best, self.monitor):
                self.best = found
                self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.done = any_rank(is_main() and self._waited() >= self.patience)

    def _waited(self) -> int:
        """Checks since the best one."""
        return sum(self.best is not None and check.step > self.best.step for check in self.checks)

    def state(self) -> dict[str, Any]:
        checks = [asdict(check) for check in self.checks]
        best = asdict(self.best) if self.best else {}
        return {"checks": checks, "best": best, "weights": self.weights, "done": self.done}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.checks = [Check(**each) for each in state["checks"]]
        self.weights, self.done = dict(state["weights"]), bool(state["done"])
        self.best = Check(**state["best"]) if state["best"] else None

    def summary(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {
            "patience": self.patience,
            "monitor": self.monitor,
            "best": asdict(self.best) if self.best else None,
            "checks": len(self.checks),
        }
