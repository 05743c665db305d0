"""Training the last layer of a network alone: its features are computed once, and a logistic regression is fitted to them.

The frozen network sees every training image and `views` augmented views of it (`data.augment`). The penalty is chosen on the
validation images. What took minutes of gradients takes seconds.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor, nn

from gan_explain.data.augment import Ranges, draw
from gan_explain.metrics.logistic import Logistic, fit_logistic
from gan_explain.metrics.realism import Penultimate
from gan_explain.settings import Settings
from gan_explain.stats import Floats
from gan_explain.targets import ModuleTarget, device_of
from gan_explain.targets.heads import outputs
from gan_explain.targets.module import noise
from gan_explain.targets.weights import head_name
from gan_explain.train.masks import Batches, in_batches
from gan_explain.train.objective import Task
from gan_explain.types import Target, TargetError

MIRRORED = Ranges(flip=0.5)
REFUSED = "a head on its features is not offered"


@dataclass(frozen=True, kw_only=True)
class HeadTraining(Settings):
    """`views`: augmented ones of every training image, beside the image itself."""

    views: Annotated[int, Field(ge=0, description="Augmented views of each training image.")] = 2
    ranges: Ranges = MIRRORED
    seed: int = 0
    batch_size: Annotated[int, Field(ge=1, description="Images whose features are computed at once.")] = 32


def trainable(target: Target) -> ModuleTarget:
    """The target, where its logits are what a linear layer of a PyTorch network gives. TargetError for any other."""
    if not isinstance(target, ModuleTarget) or not target.differentiable:
        raise TargetError(f"expected a PyTorch network to train, got {_kind(target)}: {REFUSED}")
    network = target.network
    last = dict(network.named_modules()).get(head_name(network) if any(_layers(network)) else "")
    if not isinstance(last, nn.Linear):
        came = "none" if last is None or last is network else type(last).__name__
        raise TargetError(f"expected a network whose last layer is nn.Linear, got {came} in {_kind(target)}: {REFUSED}")
    caught: list[Tensor] = []
    handle = last.register_forward_hook(lambda _, __, out: caught.append(out))
    try:
        with torch.no_grad():
            out = outputs(network, noise(network, target.config))
    finally:
        handle.remove()
    if target.config.output == "probabilities" or not caught or caught[-1].shape != out.shape or not torch.equal(caught[-1], out):
        raise TargetError(f"expected a network whose last linear layer gives the logits, got {_kind(target)}: {REFUSED}")
    return target


def _layers(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _kind(target: object) -> str:
    return type(target.network).__name__ if isinstance(target, ModuleTarget) else type(target).__name__


def fit_head(
    target: ModuleTarget,
    train: Batches,
    val: Batches,
    task: Task,
    config: HeadTraining = HeadTraining(),
    *,
    weights: ArrayLike | None = None,
) -> ModuleTarget:
    """The target with a last layer fitted to `train` and its penalty chosen on `val`; temperature 1, operating point 0.5.

    `weights` (N,) are those of the training images (`metrics.logistic.balanced`), by default so that classes weigh the same.
    TargetError for a target that has no such layer, ValueError unless `train` has every class.
    """
    trainable(target)
    classes = task.indices([record.label for record in train.records]).numpy()
    held = task.indices([record.label for record in val.records]).numpy()
    x = features_of(target, train, config)  # (V + 1, N, F)
    count = len(x)
    model = fit_logistic(
        x.reshape(-1, x.shape[-1]),
        np.tile(classes, count),
        features_of(target, val, HeadTraining(views=0, batch_size=config.batch_size))[0],
        held,
        weights=None if weights is None else np.tile(np.asarray(weights), count),
    )
    return with_head(target, model)


def features_of(target: ModuleTarget, dataset: Batches, config: HeadTraining) -> Floats:
    """What the last linear layer reads of every image, and of its views: (V + 1, N, F), the images as they are first."""
    reads, device = Penultimate(target, "the target"), device_of(target)
    random = torch.Generator().manual_seed(config.seed)
    rows: list[Tensor] = []
    for batch in in_batches(dataset, config.batch_size):
        seen = [(batch.images, batch.lungs)]
        seen += [draw(len(batch), random, config.ranges)(batch.images, batch.lungs) for _ in range(config.views)]
        given = [(images.to(device), lungs.to(device) if target.uses_lungs else None) for images, lungs in seen]
        rows.append(torch.stack([reads(*each).float().cpu() for each in given]))
    found: Floats = torch.cat(rows, 1).double().numpy()
    return found


def with_head(target: ModuleTarget, model: Logistic) -> ModuleTarget:
    """A copy of the target with the regression as its last layer; of one that gives one logit, that of its second class."""
    network = copy.deepcopy(target.network)
    name = head_name(network)
    old, new = network.get_submodule(name), model.linear()
    assert isinstance(old, nn.Linear)
    weight, bias = new.weight.detach(), new.bias.detach()
    if old.out_features == 1:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    head = nn.Linear(old.in_features, old.out_features).to(old.weight)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    network.set_submodule(name, head)
    config = target.config.model_copy(update={"temperature": 1.0, "operating_point": 0.5})
    return ModuleTarget(network, config, target.segmenter)
