"""One function for each group of measures of a counterfactual: a part of a batch in, columns of one number a sample out."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from gan_explain.counterfactual.disentangle import laid
from gan_explain.counterfactual.frames import layered
from gan_explain.evaluate.donors import LEAST_LOAD
from gan_explain.evaluate.inputs import ask, seed_of
from gan_explain.evaluate.planted import Columns
from gan_explain.evaluate.setup import Change, Part, Setup
from gan_explain.lungs import opacity_load
from gan_explain.metrics import proximity
from gan_explain.metrics.causal import causal_share
from gan_explain.metrics.cout import cout
from gan_explain.metrics.diversity import layer_diversity
from gan_explain.metrics.flip import flips, large_changes
from gan_explain.metrics.monotonicity import curve_shape
from gan_explain.metrics.nulls import random_pathology
from gan_explain.metrics.persistence import DISTURBANCES, MOVES, shift
from gan_explain.metrics.structure import structure, widened
from gan_explain.metrics.transfer import pgd, positive_logit, turned_positive
from gan_explain.optics import headroom, take_off
from gan_explain.pixels import quantize16
from gan_explain.targets import masks_for

CHUNK = 128  # images that a target sees at a time
REACH = 1 / 8  # of the side: a layer is exactly 0 this far from the lungs
DOSES = {"": 1.0, ".at_2": 2.0}  # strengths at which the answer to a layer is noted


@torch.no_grad()
def response(setup: Setup, part: Part, change: Change) -> Columns:
    """What p makes of the layers of real patients, and of random smooth layers of equal load, at strengths 1 and 2 (.at_2).

    rise, rises (whether it does), flip.negative; null.random.rise, null.random.flip: the same of the random layers; rise.excess,
    random.excess: what rise and flips are beyond those. At strength 1: cv80.negative and p_counterfactual.
    """
    point, random = setup.target.operating_point, random_pathology(change.tau, part.lungs, _seeds(setup, part, "null"))
    columns: Columns = {}
    for suffix, strength in DOSES.items():
        after, null = (ask(setup.target, laid(part.images, tau, strength), part.lungs) for tau in (change.tau, random))
        turned, by_chance = (torch.from_numpy(flips(part.p, p, point)).float() for p in (after, null))
        named = {
            "rise": after - part.p, "rises": after > part.p, "flip.negative": turned, "null.random.rise": null - part.p,
            "null.random.flip": by_chance, "rise.excess": after - null, "random.excess": turned - by_chance,
        }  # fmt: skip
        columns |= {name + suffix: values for name, values in named.items()}
        if strength == 1:
            columns |= {"cv80.negative": torch.from_numpy(large_changes(part.p, after)), "p_counterfactual": after}
    return columns


@torch.no_grad()
def drawn(setup: Setup, part: Part, change: Change) -> Columns:
    """rise.prior and flip.negative.prior: what p makes of layers of the prior at strength 1."""
    after = ask(setup.target, change.counterfactual, part.lungs)
    turned = flips(part.p, after, setup.target.operating_point)
    return {"rise.prior": after - part.p, "flip.negative.prior": torch.from_numpy(turned)}


@torch.no_grad()
def healing(setup: Setup, part: Part, change: Change) -> Columns:
    """What p makes of positives with what was read on them taken off, and with a random smooth layer of equal load taken off.

    heal.fall (p before less p after), heal.falls (whether it does), flip.healed, cv80.healed and p_counterfactual;
    null.random.fall; heal.excess: the fall beyond that.
    """
    tau = random_pathology(part.layer, part.lungs, _seeds(setup, part, "null healed"), headroom(part.images))
    after = ask(setup.target, change.counterfactual, part.lungs)
    null = ask(setup.target, quantize16(take_off(part.images, tau)), part.lungs)
    return {
        "heal.fall": part.p - after,
        "heal.falls": after < part.p,
        "heal.excess": null - after,
        "null.random.fall": part.p - null,
        "flip.healed": torch.from_numpy(flips(part.p, after, setup.target.operating_point)),
        "cv80.healed": torch.from_numpy(large_changes(part.p, after)),
        "p_counterfactual": after,
    }


def _seeds(setup: Setup, part: Part, purpose: str) -> list[int]:
    return [seed_of(f"{patient} {purpose}", setup.seed) for patient in part.patients]


@torch.no_grad()
def logits_along(setup: Setup, part: Part, structure: Tensor, tau: Tensor) -> Tensor:
    """The target's logit of the positive set (N, L) at the setup's strengths, image by image; structure, tau (N, 1, H, W)."""
    strengths = torch.tensor(setup.strengths)
    curves = []
    for i in range(len(part)):
        frames = layered(structure[i], tau[i], strengths).stack()  # (L, 1, H, W)
        lungs = part.lungs[i : i + 1].expand(len(frames), -1, -1, -1)
        chunks = zip(frames.split(CHUNK), lungs.split(CHUNK), strict=True)
        curves.append(torch.cat([positive_logit(setup.target, x, masks_for(setup.target, m)) for x, m in chunks]).cpu())
    return torch.stack(curves)


def shape_of_curves(setup: Setup, logits: Tensor) -> Columns:
    """monotonicity.* and crossing.* of logits (N, L) at the setup's strengths."""
    shapes = [curve_shape(each.numpy(), setup.strengths, setup.target.operating_point) for each in logits]
    return {
        "monotonicity.rho": torch.tensor([s.rho for s in shapes]),
        "monotonicity.violation": torch.tensor([s.violation for s in shapes]),
        "monotonicity.never_crosses": torch.tensor([not s.crosses for s in shapes]),
        "crossing.lambda": torch.tensor([s.crossing for s in shapes]),
        "crossing.slope": torch.tensor([s.slope for s in shapes]),
    }


def exact_zero(part: Part, change: Change) -> Columns:
    """exact.zero: largest difference of strength 0 from the image; 0, on the 16-bit grid."""
    return {"exact.zero": _largest(laid(part.images, change.tau, 0.0) - part.images)}


def exact_one(part: Part) -> Columns:
    """exact.one: largest difference of strength 1 of what was taken apart from the image; clamped: share of the structure's
    pixels beyond [0, 1]. 0, both."""
    beyond = (part.structure < 0) | (part.structure > 1)
    return {"exact.one": _largest(laid(part.structure, part.layer) - part.images), "clamped": beyond.float().mean((1, 2, 3))}


def _largest(difference: Tensor) -> Tensor:
    return difference.abs().amax((1, 2, 3))


@torch.no_grad()
def reread(setup: Setup, part: Part, change: Change) -> Columns:
    """reread: the load that is read again on a healed image over the load that was taken off; NaN where that was next to none."""
    again = opacity_load(setup.generator.read(change.counterfactual, part.lungs), part.lungs)
    off = opacity_load(part.layer, part.lungs)
    return {"reread": torch.where(off >= LEAST_LOAD, again / off.clamp(min=LEAST_LOAD), torch.nan)}


def nearness(setup: Setup, part: Part, change: Change, suffix: str = "") -> Columns:
    """proximity.*, sparsity and outside.change of the reference to the counterfactual."""
    a, b = change.reference, change.counterfactual
    columns = {
        f"proximity.l1{suffix}": proximity.l1(a, b),
        f"proximity.ssim{suffix}": proximity.ssim(a, b),
        f"sparsity{suffix}": proximity.sparsity(a, b),
        f"outside.change{suffix}": proximity.outside_change(part.images, b, widened(part.lungs, REACH)),
    }
    if setup.perceptual is not None:
        columns[f"proximity.lpips{suffix}"] = setup.perceptual(a, b)
    return columns


def anatomy(setup: Setup, part: Part, change: Change, suffix: str = "") -> Columns:
    """structure.*: the lungs found before and after."""
    before = setup.segmenter(change.reference) if suffix else part.lungs
    return {f"structure.{k}{suffix}": v for k, v in structure(before, setup.segmenter(change.counterfactual)).items()}


@torch.no_grad()
def persistence(setup: Setup, part: Part, change: Change, way: str) -> Columns:
    """persistence.*: of the flips, whether each is still one after a disturbance; NaN for what did not flip."""
    point = setup.target.operating_point
    flipped = torch.from_numpy(flips(part.p, ask(setup.target, change.counterfactual, part.lungs), point))
    columns = {}
    for name, disturb in DISTURBANCES.items():
        lungs = shift(part.lungs) if name in MOVES else part.lungs
        after = ask(setup.target, disturb(change.counterfactual), lungs)
        still = torch.from_numpy(flips(part.p, after, point)).float()
        columns[f"persistence.{name}{way}"] = torch.where(flipped, still, torch.nan)
    return columns


def transfer(setup: Setup, part: Part, change: Change) -> Columns:
    """transfer.JUDGE: turned positive under a judge's own operating point; .rises: whether the judge's p rises; beside it the
    turns by noise against the target at equal L2, and the difference; .agreed: over those that the judge, too, calls negative."""
    if not setup.judges:
        return {}
    noise = None
    if setup.target.differentiable:
        norms = (change.counterfactual - part.images).flatten(1).norm(dim=1)
        noise = pgd(setup.target, part.images, masks_for(setup.target, part.lungs), norms)
    columns: Columns = {}
    if noise is not None:
        fooled = ask(setup.target, noise, part.lungs)
        columns["pgd.flip"] = torch.from_numpy(turned_positive(part.p, fooled, setup.target.operating_point))
    for name, judge in setup.judges.items():
        before, point = ask(judge, part.images, part.lungs), judge.operating_point
        after = ask(judge, change.counterfactual, part.lungs)
        turned = torch.from_numpy(turned_positive(before, after, point)).float()
        columns[f"transfer.{name}"] = turned
        columns[f"transfer.{name}.rises"] = after > before
        columns[f"transfer.{name}.agreed"] = torch.where(before < point, turned, torch.nan)
        if noise is not None:
            by_noise = torch.from_numpy(turned_positive(before, ask(judge, noise, part.lungs), point)).float()
            columns[f"transfer.{name}.pgd"] = by_noise
            columns[f"transfer.{name}.minus_pgd"] = turned - by_noise
    return columns


@torch.no_grad()
def variety(setup: Setup, part: Part, codes: int) -> Columns:
    """diversity.layers: how unlike each other the layers of many codes on one structure are."""
    values = []
    for i, patient in enumerate(part.patients):
        random = torch.Generator().manual_seed(seed_of(f"{patient} diversity", setup.seed))
        many = setup.generator.prior(codes, random, setup.label).to(setup.device)
        lungs = part.lungs[i : i + 1]
        values.append(float(layer_diversity(setup.generator.layer(many, lungs.expand(codes, -1, -1, -1)), lungs)))
    return {"diversity.layers": torch.tensor(values)}


def causes(setup: Setup, part: Part, change: Change, suffix: str = "") -> Columns:
    """causal.*: how much of what moved the target lies inside and outside the lungs."""
    found = causal_share(setup.target, change.reference, change.counterfactual, part.lungs)
    return {f"causal.{field.name}{suffix}": getattr(found, field.name) for field in fields(found)}


@torch.no_grad()
def shuffled(setup: Setup, part: Part, change: Change) -> Columns:
    """null.shuffled.flip: the counterfactual, asked of the target with its weights in random order."""
    if setup.shuffled is None:
        return {}
    p, after = (ask(setup.shuffled, images, part.lungs) for images in (part.images, change.counterfactual))
    return {"null.shuffled.flip": torch.from_numpy(flips(p, after, setup.target.operating_point))}


def pasted(setup: Setup, part: Part, change: Change) -> Columns:
    """cout, the positive set aimed at: 51 answers of the target an image."""
    towards = torch.ones(len(part), dtype=torch.bool)
    return {"cout": cout(setup.target, change.reference, change.counterfactual, towards, part.lungs)}
