"""The model that a method looks into: a `types.Target`, or any `nn.Module` as it is, and which of its classes are explained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan_explain.files.text import one_line
from gan_explain.targets import device_of
from gan_explain.targets.heads import log_probabilities, outputs, told_output
from gan_explain.types import Target, TargetError

Chosen = int | str | Sequence[int | str] | Tensor | None  # classes to explain, by index or name; a tensor (N,): one an image
FEW = 4  # images that show whether a module gives probabilities


class PlainModel:
    """A module that takes images (N, C, H, W) as they are given, as a `types.Target`: its classes are numbers, none is positive.

    One output z is the class "0" against "negative". Raises ValueError for images that are no such batch or lie on another
    device, TargetError for a module that fails on them or that may give probabilities or logits.
    """

    operating_point, uses_lungs, differentiable = 0.5, False, True

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        if not isinstance(network, nn.Module):
            came = type(network).__name__
            raise TargetError(f"expected an nn.Module or a target (gan_explain.types.Target), got {came}")
        if images.device != (where := device_of(network)) and next(network.parameters(), None) is not None:
            raise ValueError(f"expected images on {where}, where the model is, got {images.device}")
        if images.ndim != 4 or not images.numel() or not images.is_floating_point() or not bool(torch.isfinite(images).all()):
            raise ValueError(f"expected finite images (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        self.network: nn.Module = network.module if isinstance(network, nn.DataParallel) else network
        try:
            with torch.no_grad():
                count = outputs(self.network, images[:1]).shape[1:]
            self.gives = told_output(self.network, images[:FEW])
        except TargetError as error:
            raise TargetError(f"{error} (in gan_explain.as_target)") from error
        except Exception as error:  # the user's own network may raise anything
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise TargetError(f"the model failed on images {tuple(images.shape)}: {reason}") from error
        if len(count) > 1:
            raise TargetError(f"expected outputs (N, K) of the model, got (N, {', '.join(map(str, count))})")
        one = not count or count[0] == 1
        self.classes = ("negative", "0") if one else tuple(str(i) for i in range(count[0]))
        self.positive: tuple[str, ...] = ("0",) if one else ()

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        out = outputs(self.network, images)
        out = log_probabilities(out) if self.gives == "probabilities" else out
        if self.classes[0] == "negative":
            z = out.reshape(-1, 1)
            out = torch.cat([torch.zeros_like(z), z], dim=1)  # (N,) or (N, 1) -> (N, 2)
        return out

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N,) of the one output, the sigmoid of its logit."""
        return self.logits(images).softmax(1)[:, [self.classes.index(name) for name in self.positive]].sum(1)


@contextmanager
def opened(model: object) -> Iterator[None]:
    """A model in eval mode and outside torch's inference mode; the modes of its modules come back whatever happens."""
    modes = {module: module.training for module in model.modules()} if isinstance(model, nn.Module) else {}
    with torch.inference_mode(False):
        try:
            if any(modes.values()) and isinstance(model, nn.Module):
                model.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def chosen_classes(target: Target, chosen: Chosen, count: int) -> Tensor:
    """Which classes are explained, for each of `count` images: (count, K) bool. ValueError for classes that there are not, for
    all of them, and for none where the model has no positive set."""
    names = target.classes
    if isinstance(chosen, Tensor) and chosen.ndim == 1:
        if len(chosen) != count or not bool(((chosen >= 0) & (chosen < len(names))).all()):
            raise ValueError(f"expected {count} class indices below {len(names)}, got {chosen.tolist()}")
        return torch.nn.functional.one_hot(chosen.long().cpu(), len(names)).bool()
    listed = target.positive if chosen is None else [chosen] if isinstance(chosen, int | str) else list(chosen)
    numbered = names[1:] if names == ("negative", "0") else names  # one output is number 0
    inside = {numbered[each] if isinstance(each, int) and 0 <= each < len(numbered) else each for each in listed}
    if not inside or not inside < set(names):
        came = "none" if not listed else ", ".join(map(str, listed))
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise ValueError(f"expected the class or classes to explain (target=) among {shown}, got {came}")
    return torch.tensor([[name in inside for name in names]]).expand(count, -1)
