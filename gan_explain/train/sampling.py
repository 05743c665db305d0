"""Drawing training indices: every cell (source x class, say) equally often, whatever its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gan_explain.types import DataError


class BalancedSampler:
    """Draws a cell of equal keys, then an index within it; its only state is that of the `generator`.

    Cells are equally likely, but one smaller than `floor` in proportion to its size, so that a handful of images is not worn out;
    or as likely as `shares` say. Raises DataError when there is nothing to draw from.
    """

    def __init__(
        self, keys: Sequence[str], generator: torch.Generator, floor: int = 1, shares: Mapping[str, float] | None = None
    ) -> None:
        if not keys:
            raise DataError("expected at least one training image to draw from, got none")
        names = sorted(set(keys))
        self.cells = [torch.tensor([i for i, key in enumerate(keys) if key == name]) for name in names]
        by_size = [min(1.0, len(cell) / floor) for cell in self.cells]
        self.weights = torch.tensor(by_size if shares is None else [shares[name] for name in names])
        self.generator = generator

    def draw(self, n: int) -> list[int]:
        which = torch.multinomial(self.weights, n, replacement=True, generator=self.generator).tolist()
        places = torch.rand(n, generator=self.generator).tolist()
        return [int(self.cells[i][int(place * len(self.cells[i]))]) for i, place in zip(which, places, strict=True)]
