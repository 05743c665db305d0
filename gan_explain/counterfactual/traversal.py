"""Traversals: one structure under a layer of growing strength, or on the way between two codes, and the target's response."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from gan_explain.counterfactual import pathology as ways
from gan_explain.counterfactual.checks import check_parts, check_pathology, check_radiographs
from gan_explain.counterfactual.disentangle import disentangle
from gan_explain.counterfactual.frames import layered, layered_each
from gan_explain.counterfactual.pathology import Pathology, Subject, Wish
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.counterfactual.respond import positive_probability, probability, respond
from gan_explain.pixels import quantize16
from gan_explain.response import Frames, Response
from gan_explain.types import Generator, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

MOST = 1.5  # strength of the last frame
NOWHERE = "the target calls neither image positive: there is no pathology to go from or to"
Strengths = int | Sequence[float] | Tensor


@dataclass(frozen=True)
class Traversal(Response):
    """The response along frames of one structure, as a result that shows and saves itself; fields as `Response` has them."""

    def plot(self, width: int = 1000, height: int = 620) -> Figure:
        """The response curve as a matplotlib figure, sizes in pixels."""
        from gan_explain.render.curves import curve_figure

        return curve_figure(self, width, height)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write frames (16-bit PNG), curve (CSV), layer and code into a new or empty folder, from which
        `load_traversal` reads them again. FileExistsError where it holds anything."""
        from gan_explain.counterfactual.saved import save_traversal

        save_traversal(self, folder)

    def _repr_png_(self) -> bytes:
        from gan_explain.render import draw, strip

        return draw.png(strip.draw_strip(self))


def even_strengths(low: float, high: float, count: int) -> Tensor:
    """(count,) even strengths; where 1 lies between them, the one nearest to it is moved there: that frame has a name."""
    strengths = torch.linspace(low, high, count)
    if count > 2 and low < 1 < high:
        strengths[1 + int((strengths[1:-1] - 1).abs().argmin())] = 1.0
    return strengths


def as_strengths(strengths: Strengths) -> Tensor:
    """A number of frames from 0 to 1.5, or the strengths themselves -> (L,). ValueError for what is neither."""
    return _row(strengths, MOST, math.inf)


def _row(strengths: Strengths, last: float, most: float) -> Tensor:
    """A number of strengths from 0 to `last`, or a row of them that grows from 0 or more to `most` or less -> (L,)."""
    if isinstance(strengths, int):
        if strengths < 2:
            raise ValueError(f"expected at least two strengths, got {strengths}")
        return even_strengths(0.0, last, strengths)
    try:
        found = torch.as_tensor(strengths, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected a number of strengths or a row of them, got {strengths!r}") from error
    fits = found.ndim == 1 and len(found) and bool(torch.isfinite(found).all())
    if not fits or float(found[0]) < 0 or float(found[-1]) > most or not bool((found.diff() >= 0).all()):
        limits = "of 0 or more" if math.isinf(most) else f"from 0 to {most:g}"
        raise ValueError(f"expected a row of growing strengths {limits}, got {found.tolist()}")
    return found


@overload
def traverse(
    generator: Generator, target: Target, radiograph: Radiograph, *, pathology: str | None = ..., seed: int = ...,
    strengths: Strengths = ..., label: str | None = ..., reference: Radiograph | None = ...,
) -> Traversal: ...  # fmt: skip
@overload
def traverse(
    generator: Generator, target: Target, radiograph: Sequence[Radiograph], *, pathology: str | None = ..., seed: int = ...,
    strengths: Strengths = ..., label: str | None = ..., reference: Radiograph | None = ...,
) -> list[Traversal]: ...  # fmt: skip
def traverse(
    generator: Generator,
    target: Target,
    radiograph: Radiograph | Sequence[Radiograph],
    *,
    pathology: str | None = None,
    seed: int = 0,
    strengths: Strengths = 33,
    label: str | None = None,
    reference: Radiograph | None = None,
) -> Traversal | list[Traversal]:
    """Turn a pathology up on a radiograph and chart what the target makes of every frame; a list in, a list out.

    `pathology` is a name of `PATHOLOGIES` (`reference` is the other patient of "from"); None takes "own" for a radiograph that
    the target calls positive, "prior" for one that it calls negative. A negative is its own structure: its frame at strength 0 is
    the radiograph. A positive's own layer is taken off: its own frame at strength 1 is the radiograph. `label` names the prior,
    by default the generator's first; patients of a list are given seeds `seed`, `seed` + 1, ...
    Raises ValueError for an unknown pathology or label and for strengths that do not grow from 0 or more; TypeError for what is
    no generator, target or radiograph.
    """
    check_parts(generator, target)
    check_pathology(generator, pathology, label, reference)
    if not isinstance(radiograph, Radiograph):
        check_radiographs(*(radiograph if isinstance(radiograph, Sequence) and not isinstance(radiograph, str) else [radiograph]))
        return [
            traverse(
                generator, target, each, pathology=pathology, seed=seed + i, strengths=strengths, label=label, reference=reference
            )
            for i, each in enumerate(radiograph)
        ]  # fmt: skip
    at = as_strengths(strengths)
    before = probability(target, radiograph.image, radiograph.lungs)
    negative = before < target.operating_point
    apart = disentangle(generator, radiograph.image, radiograph.lungs)
    kind = pathology or ("prior" if negative else "own")
    structure = apart.image if negative and kind != "own" else apart.structure
    subject = Subject(structure, radiograph.lungs, apart.layer)
    wish = Wish(seed, label or generator.labels[0], reference=reference)
    found = ways.choose(kind, generator, target, subject, wish)
    if found is None:
        logger.warning("%s: no layer that was tried crosses the operating point: showing one of the prior", radiograph.name)
        found = ways.prior(generator, target, subject, wish)
    return chart(target, structure, found, radiograph, at, before)


def traverse_between(
    generator: Generator, target: Target, pair: tuple[Radiograph, Radiograph], strengths: Strengths = 33
) -> Traversal:
    """From the pathology of the first radiograph to that of the second, on the structure of the first; `strengths` are then
    positions in [0, 1]. The code of one that the target calls negative is 0, no disease."""
    check_parts(generator, target)
    check_radiographs(*pair)
    positions = _row(strengths, 1.0, 1.0)
    first = pair[0]
    codes, parts, answers = [], [], []
    for each in pair:
        answers.append(probability(target, each.image, each.lungs))
        parts.append(disentangle(generator, each.image, each.lungs))
        code = generator.encode(parts[-1].layer, each.lungs)
        codes.append(code * float(answers[-1] >= target.operating_point))
    structure = parts[0].image if answers[0] < target.operating_point else parts[0].structure
    line = [ways.between((codes[0], codes[1]), s) for s in positions.tolist()]

    def layer(i: int) -> Tensor:
        with torch.no_grad():
            return generator.layer(line[i], first.lungs)[0]

    remarks = () if max(answers) >= target.operating_point else (NOWHERE,)
    for remark in remarks:
        logger.warning("%s to %s: %s", first.name, pair[1].name, remark)
    last = Pathology("between", layer(len(line) - 1)[None], line[-1], remarks=remarks)
    frames = layered_each(structure[0], layer, len(line))
    shown = replace(first, name=f"{first.name} to {pair[1].name}", remarks=(*first.remarks, *pair[1].remarks))
    return chart(target, structure, last, shown, positions, answers[0], frames)


def chart(
    target: Target,
    structure: Tensor,
    pathology: Pathology,
    radiograph: Radiograph,
    strengths: Tensor,
    before: float,
    frames: Frames | None = None,
) -> Traversal:
    """The target's response along frames; structure (1, 1, H, W), by default under the pathology's layer at each strength."""
    frames = layered(structure[0], pathology.layer[0], strengths) if frames is None else frames
    found = respond(target, frames, radiograph.lungs)
    code = structure.new_zeros(0) if pathology.code is None else pathology.code[0]
    return Traversal(
        frames=frames, strengths=strengths, probability=positive_probability(target, found), class_probability=found,
        layer=pathology.layer[0], structure=quantize16(structure[0]), lungs=radiograph.lungs[0], code=code,
        classes=tuple(target.classes), positive=tuple(target.positive), operating_point=target.operating_point,
        name=radiograph.name, pathology=pathology.kind, input=before, facts=dict(pathology.facts),
        remarks=(*radiograph.remarks, *pathology.remarks),
    )  # fmt: skip
