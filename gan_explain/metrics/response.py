"""What p makes of a counterfactual: how far it rises under real patients' disease, and falls when disease is taken off.

Beside each stands the same under a random smooth layer of equal load (`metrics.nulls`): what is left is what the target makes of
the shape of disease, and not of any haze.
"""

from __future__ import annotations

import torch

from gan_explain.metrics.change import Change, Columns, laid
from gan_explain.metrics.flip import flips, large_changes
from gan_explain.metrics.inputs import ask, seed_of
from gan_explain.metrics.nulls import random_pathology
from gan_explain.metrics.registry import NULLS, RESPONSE, Entry, Key, computes
from gan_explain.optics import headroom, take_off
from gan_explain.pixels import quantize16

DOSES = {"": 1.0, "at_2": 2.0}  # strengths at which the answer to a layer is noted, by variant


@computes(
    Entry("rise", "rise of p under real patients' disease, λ = 0 to 1", RESPONSE, better="higher"),
    Entry("rises", "negatives whose p rises under real patients' disease", RESPONSE, better="higher"),
    Entry("rise.excess", "rise of p beyond that under a random layer of equal load", RESPONSE, better="higher"),
    Entry("flip.negative", "negatives that turn positive under real patients' disease", RESPONSE, better="higher"),
    Entry("cv80.negative", "negatives whose p changes by more than 0.8", RESPONSE),
    Entry("random.excess", "flips beyond those by a random layer of equal load", NULLS, better="higher"),
    Entry("null.random.flip", "flips by a random layer of equal load", NULLS, better="lower"),
    Entry("null.random.rise", "rise of p under a random layer of equal load", NULLS, better="lower"),
    Entry("p_counterfactual", "p of the counterfactual", RESPONSE, raw=True),
    sides=("negative",),
    quick=True,
)
@torch.no_grad()
def response(change: Change) -> Columns:
    """What p makes of the layers of real patients, and of random layers, at strengths 1 and 2 (.at_2)."""
    target, before = change.target, change.p
    random = random_pathology(change.tau, change.lungs, _seeds(change, "null"))
    columns: Columns = {}
    for variant, strength in DOSES.items():
        after, null = (ask(target, laid(change.images, tau, strength), change.lungs) for tau in (change.tau, random))
        turned, by_chance = (torch.from_numpy(flips(before, p, target.operating_point)).float() for p in (after, null))
        found = {
            "rise": after - before, "rises": after > before, "flip.negative": turned, "null.random.rise": null - before,
            "null.random.flip": by_chance, "rise.excess": after - null, "random.excess": turned - by_chance,
        }  # fmt: skip
        columns |= {str(Key(name, variant=variant)): values for name, values in found.items()}
    return columns | {"cv80.negative": torch.from_numpy(large_changes(before, change.after)), "p_counterfactual": change.after}


@computes(sides=("negative",))
@torch.no_grad()
def drawn(change: Change) -> Columns:
    """What p makes of layers of the prior at strength 1; a layer follows from the patient's name."""
    generator, settings = change.models.drawing, change.settings
    random = (torch.Generator().manual_seed(seed_of(name, settings.seed)) for name in change.part.patients)
    codes = torch.cat([generator.prior(1, each, settings.label) for each in random])
    after = ask(change.target, laid(change.images, generator.layer(codes.to(change.images), change.lungs)), change.lungs)
    turned = torch.from_numpy(flips(change.p, after, change.target.operating_point))
    return {"rise.prior": after - change.p, "flip.negative.prior": turned}


@computes(sides=("free",), quick=True)
def freely(change: Change) -> Columns:
    """What p makes of a map that was trained against the target."""
    turned = torch.from_numpy(flips(change.p, change.after, change.target.operating_point))
    return change.named({"rise": change.after - change.p, "flip.negative": turned})


@computes(
    Entry("heal.fall", "fall of p when the disease is taken off", RESPONSE, better="higher"),
    Entry("heal.falls", "positives whose p falls when the disease is taken off", RESPONSE, better="higher"),
    Entry("heal.excess", "fall of p beyond that when a random layer of equal load is taken off", RESPONSE, better="higher"),
    Entry("null.random.fall", "fall of p when a random layer of equal load is taken off", NULLS, better="lower"),
    Entry("flip.healed", "positives that turn negative when healed", RESPONSE, better="higher"),
    Entry("cv80.healed", "positives whose p changes by more than 0.8", RESPONSE),
    sides=("healed",),
    quick=True,
)
@torch.no_grad()
def healing(change: Change) -> Columns:
    """What p makes of positives with what was read on them taken off, and with a random layer of equal load taken off."""
    before, after = change.p, change.after
    tau = random_pathology(change.tau, change.lungs, _seeds(change, "null healed"), headroom(change.images))
    null = ask(change.target, quantize16(take_off(change.images, tau)), change.lungs)
    return {
        "heal.fall": before - after,
        "heal.falls": after < before,
        "heal.excess": null - after,
        "null.random.fall": before - null,
        "flip.healed": torch.from_numpy(flips(before, after, change.target.operating_point)),
        "cv80.healed": torch.from_numpy(large_changes(before, after)),
        "p_counterfactual": after,
    }


def _seeds(change: Change, purpose: str) -> list[int]:
    return [seed_of(f"{patient} {purpose}", change.settings.seed) for patient in change.part.patients]
