"""Counterfactual training images, made when they are asked for, each by its recipe (`plan`); and several sets as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import disentangle, laid
from gan_explain.data import Batch
from gan_explain.lungs import opacity_load
from gan_explain.metrics.transplant import regions
from gan_explain.pixels import feather, quantize16
from gan_explain.repair.plan import NONE, Recipe
from gan_explain.targets import device_of
from gan_explain.train.masks import Batches
from gan_explain.types import Generator, Record

CHUNK = 16  # images that are read at a time
SOFT = 1 / 24  # of the side: how softly an outside fades in, away from the lungs
DENSEST = 2.0  # tau of a layer at its strength: what is thicker hides everything


class Layers:
    """Layers read on training images, each with its load; kept in half precision."""

    def __init__(self, generator: Generator, train: Batches) -> None:
        self.generator, self.train, self.device = generator, train, device_of(generator)
        self._layers: dict[int, Tensor] = {}
        self.loads: dict[int, float] = {}

    def read(self, places: Sequence[int]) -> None:
        """Read those that are not known yet."""
        new = [i for i in places if i not in self._layers]
        for start in range(0, len(new), CHUNK):
            some = new[start : start + CHUNK]
            batch = self.train.batch(some)
            lungs = batch.lungs.to(self.device)
            tau = disentangle(self.generator, batch.images.to(self.device), lungs).layer
            for i, layer, load in zip(some, tau.cpu(), opacity_load(tau, lungs).nan_to_num().tolist(), strict=True):
                self._layers[i], self.loads[i] = layer.half(), load

    def moved(self, donors: Sequence[int], lungs: Tensor) -> Tensor:
        """The donors' layers in these lungs (N, 1, H, W), on their device."""
        self.read(donors)
        tau = torch.stack([self._layers[i] for i in donors]).float().to(lungs)
        theirs = self.train.batch(donors).lungs.to(lungs)
        return self.generator.move(tau, theirs, lungs)


class Counterfactuals:
    """The images of recipes, in their order; records say how each was made. A pixel of the lungs is the base's, or the base's
    under a layer, which is nowhere thicker than DENSEST; nothing is kept in memory. `train` must carry the lungs."""

    def __init__(self, train: Batches, layers: Layers, recipes: Sequence[Recipe]) -> None:
        self.train, self.layers, self.recipes = train, layers, tuple(recipes)
        self.records = tuple(self._record(i, recipe) for i, recipe in enumerate(self.recipes))

    def __len__(self) -> int:
        return len(self.recipes)

    @torch.no_grad()
    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        """The images at `indices` (None: all), on the CPU."""
        indices = range(len(self)) if indices is None else indices
        recipes = [self.recipes[i] for i in indices]
        base = self.train.batch([recipe.base for recipe in recipes])
        device = self.layers.device
        images, lungs = base.images.to(device), base.lungs.to(device)
        images = self._healed(self._laid(images, lungs, recipes), lungs, recipes)
        images = self._transplanted(images, lungs, recipes).cpu()
        records = tuple(self.records[i] for i in indices)
        return Batch(images, base.lungs, torch.ones(len(recipes), dtype=torch.bool), records)

    def _laid(self, images: Tensor, lungs: Tensor, recipes: Sequence[Recipe]) -> Tensor:
        tau, strengths = torch.zeros_like(images), torch.tensor([recipe.strength for recipe in recipes]).to(images)
        given = [i for i, recipe in enumerate(recipes) if recipe.kind == "layers" and recipe.donor != NONE]
        drawn = [i for i, recipe in enumerate(recipes) if recipe.kind == "layers" and recipe.donor == NONE]
        if given:
            tau[given] = self.layers.moved([recipes[i].donor for i in given], lungs[given])
        for i in drawn:
            random = torch.Generator().manual_seed(recipes[i].seed)
            code = self.layers.generator.prior(1, random, recipes[i].label).to(images)
            tau[i : i + 1] = self.layers.generator.layer(code, lungs[i : i + 1])
        strengths = strengths.minimum(DENSEST / tau.amax((1, 2, 3)).clamp(min=1e-6))
        return laid(images, tau, strengths.view(-1, 1, 1, 1)) if given or drawn else images

    def _healed(self, images: Tensor, lungs: Tensor, recipes: Sequence[Recipe]) -> Tensor:
        which = [i for i, recipe in enumerate(recipes) if recipe.kind == "healed"]
        if which:
            images[which] = quantize16(disentangle(self.layers.generator, images[which], lungs[which]).structure)
        return images

    def _transplanted(self, images: Tensor, lungs: Tensor, recipes: Sequence[Recipe]) -> Tensor:
        which = [i for i, recipe in enumerate(recipes) if recipe.outside != NONE]
        if which:
            other = self.train.batch([recipes[i].outside for i in which])
            apart = regions(lungs[which], other.lungs.to(lungs))["outside"]
            weight = feather(apart, SOFT * images.shape[-1])
            images[which] = images[which] + weight * (other.images.to(images) - images[which])
        return images

    def _record(self, number: int, recipe: Recipe) -> Record:
        base = self.train.records[recipe.base]
        how = {"kind": recipe.kind, "base": base.path, "strength": f"{recipe.strength:.3f}"}
        for name, place in (("donor", recipe.donor), ("outside", recipe.outside)):
            how[name] = "" if place == NONE else self.train.records[place].path
        return replace(base, path=f"{recipe.kind}/{number:06d}", label=recipe.label, mask="", extra=how)


class Joined:
    """Several sets of images as one, in their order."""

    def __init__(self, *parts: Batches) -> None:
        self.parts = parts
        self.records = tuple(record for part in parts for record in part.records)
        self._at = [(part, i) for part in parts for i in range(len(part))]

    def __len__(self) -> int:
        return len(self._at)

    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        """The images at `indices` (None: all), in that order."""
        wanted = list(range(len(self)) if indices is None else indices)
        order: list[int] = []
        batches = []
        for part in self.parts:
            rows = [row for row, i in enumerate(wanted) if self._at[i][0] is part]
            if rows:
                batches.append(part.batch([self._at[wanted[row]][1] for row in rows]))
                order += rows
        back = torch.tensor(order).argsort()
        images, lungs, has = (
            torch.cat([getattr(batch, name) for batch in batches])[back] for name in ("images", "lungs", "has_lungs")
        )
        return Batch(images, lungs, has, tuple(self.records[i] for i in wanted))


class Named:
    """The same images, each under the name of its class in place of its label."""

    def __init__(self, dataset: Batches, names: Mapping[str, str]) -> None:
        self.dataset = dataset
        self.records = tuple(replace(record, label=names[record.path]) for record in dataset.records)

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, indices: Sequence[int] | None = None) -> Batch:
        """The images at `indices` (None: all)."""
        chosen = range(len(self)) if indices is None else indices
        return replace(self.dataset.batch(chosen), records=tuple(self.records[i] for i in chosen))
