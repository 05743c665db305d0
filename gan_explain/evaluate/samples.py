"""One function for each group of measures of a counterfactual: a part of a batch in, columns of one number a sample out."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from gan_explain.evaluate.inputs import ask, seed_of
from gan_explain.evaluate.setup import Change, Part, Setup
from gan_explain.image import quantize16
from gan_explain.latent.traverse import frames_of
from gan_explain.metrics import proximity
from gan_explain.metrics.causal import causal_share
from gan_explain.metrics.cout import cout
from gan_explain.metrics.diversity import layer_diversity
from gan_explain.metrics.flip import flips, large_changes
from gan_explain.metrics.monotonicity import curve_shape
from gan_explain.metrics.nulls import random_pathology
from gan_explain.metrics.persistence import DISTURBANCES, MOVES, shift
from gan_explain.metrics.reconstruction import reconstruction
from gan_explain.metrics.severity import opacity_load
from gan_explain.metrics.structure import structure
from gan_explain.metrics.transfer import pgd, positive_logit, turned_positive
from gan_explain.targets import masks_for

Columns = dict[str, Tensor]
CHUNK = 128  # images that a target sees at a time


def validity(setup: Setup, part: Part, change: Change, way: str) -> Columns:
    """flip.WAY, cv80.WAY and the probability after; `way` is "negative" or "healed"."""
    after = ask(setup.target, change.counterfactual, part.lungs)
    return {
        f"flip.{way}": torch.from_numpy(flips(part.p, after, setup.target.operating_point)),
        f"cv80.{way}": torch.from_numpy(large_changes(part.p, after)),
        "p_counterfactual": after,
    }


@torch.no_grad()
def logits_along(setup: Setup, part: Part, structure: Tensor, tau: Tensor) -> Tensor:
    """The target's logit of the positive set (N, L) at the setup's strengths, image by image; structure, tau (N, 1, H, W)."""
    strengths = torch.tensor(setup.strengths)
    curves = []
    for i in range(len(part)):
        frames = frames_of(structure[i : i + 1], tau[i : i + 1], strengths)[0]  # (L, 1, H, W)
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


@torch.no_grad()
def identity(setup: Setup, part: Part, change: Change) -> Columns:
    """identity.ssim: whether the frame at strength 0 is the image itself."""
    first = frames_of(part.images, change.tau, torch.zeros(1))[:, 0]
    return {"identity.ssim": proximity.ssim(part.batch.images[part.rows.to(setup.device)], first)}


def nearness(setup: Setup, part: Part, change: Change, suffix: str = "") -> Columns:
    """proximity.*, sparsity and outside.change of the reference to the counterfactual."""
    a, b = change.reference, change.counterfactual
    columns = {
        f"proximity.l1{suffix}": proximity.l1(a, b),
        f"proximity.ssim{suffix}": proximity.ssim(a, b),
        f"sparsity{suffix}": proximity.sparsity(a, b),
        f"outside.change{suffix}": proximity.outside_change(part.images, b, setup.soft_lungs(part.lungs)),
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
    """transfer.JUDGE: turned positive under a judge's own operating point; beside it the same for noise against the target at
    equal L2, and the difference; .agreed: over those that the judge, too, calls negative at first."""
    if not setup.judges:
        return {}
    noise = None
    if setup.target.differentiable:
        norms = (change.counterfactual - part.images).flatten(1).norm(dim=1)
        noise = pgd(setup.target, part.images, masks_for(setup.target, part.lungs), norms)
    columns: Columns = {}
    if noise is not None:
        after = ask(setup.target, noise, part.lungs)
        columns["pgd.flip"] = torch.from_numpy(turned_positive(part.p, after, setup.target.operating_point))
    for name, judge in setup.judges.items():
        before, point = ask(judge, part.images, part.lungs), judge.operating_point
        turned = torch.from_numpy(turned_positive(before, ask(judge, change.counterfactual, part.lungs), point)).float()
        columns[f"transfer.{name}"] = turned
        columns[f"transfer.{name}.agreed"] = torch.where(before < point, turned, torch.nan)
        if noise is not None:
            by_noise = torch.from_numpy(turned_positive(before, ask(judge, noise, part.lungs), point)).float()
            columns[f"transfer.{name}.pgd"] = by_noise
            columns[f"transfer.{name}.minus_pgd"] = turned - by_noise
    return columns


@torch.no_grad()
def taken_back(setup: Setup, part: Part, change: Change) -> Columns:
    """reversibility: L1 of a negative to its counterfactual with the layer removed again; and the loads planted and found."""
    back = setup.generator.remove(change.counterfactual, part.lungs)
    return {
        "composition": proximity.l1(part.images, change.reference),
        "reversibility": proximity.l1(part.images, quantize16(back.structure)),
        "load.added": opacity_load(change.tau, part.lungs),
        "load.taken_back": opacity_load(back.tau, part.lungs),
    }


def rebuilt(setup: Setup, part: Part, change: Change) -> Columns:
    """reconstruction.* of positives: x against its structure with its own layer on; the clamped share."""
    found = reconstruction(part.images, change.reference, part.p, ask(setup.target, change.reference, part.lungs))
    named = {f"reconstruction.{name}": values for name, values in found.items()}
    return {**named, "composition": found["l1"], "clamped": part.removal.clamped}


@torch.no_grad()
def variety(setup: Setup, part: Part, codes: int) -> Columns:
    """diversity.layers: how unlike each other the layers of many codes on one structure are."""
    values = []
    for i, patient in enumerate(part.patients):
        random = torch.Generator().manual_seed(seed_of(f"{patient} diversity", setup.seed))
        many = setup.generator.prior(codes, random, setup.label).to(setup.device)
        image, lungs = (t[i : i + 1].expand(codes, -1, -1, -1) for t in (part.images, part.lungs))
        values.append(float(layer_diversity(setup.generator.layer(image, many, lungs), part.lungs[i : i + 1])))
    return {"diversity.layers": torch.tensor(values)}


def causes(setup: Setup, part: Part, change: Change, suffix: str = "") -> Columns:
    """causal.*: how much of what moved the target lies inside and outside the lungs."""
    found = causal_share(setup.target, change.reference, change.counterfactual, part.lungs)
    return {f"causal.{field.name}{suffix}": getattr(found, field.name) for field in fields(found)}


@torch.no_grad()
def nulls(setup: Setup, part: Part, change: Change) -> Columns:
    """null.random.flip: a random layer that changes the lungs as much as the counterfactual does; null.shuffled.flip: the
    counterfactual itself, asked of the target with its weights in random order."""
    seeds = [seed_of(f"{patient} null", setup.seed) for patient in part.patients]
    point = setup.target.operating_point
    after = ask(setup.target, random_pathology(part.images, change.counterfactual, part.lungs, seeds), part.lungs)
    columns = {"null.random.flip": torch.from_numpy(flips(part.p, after, point))}
    if setup.shuffled is not None:
        p, after = (ask(setup.shuffled, images, part.lungs) for images in (part.images, change.counterfactual))
        columns["null.shuffled.flip"] = torch.from_numpy(flips(p, after, point))
    return columns


def pasted(setup: Setup, part: Part, change: Change) -> Columns:
    """cout, the positive set aimed at: 51 answers of the target an image."""
    towards = torch.ones(len(part), dtype=torch.bool)
    return {"cout": cout(setup.target, change.reference, change.counterfactual, towards, part.lungs)}
