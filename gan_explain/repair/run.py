"""The repair: audit, make, train, audit again, compare."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gan_explain.audit import AuditOptions, AuditResult, conclude, gather
from gan_explain.counterfactual import even_strengths
from gan_explain.data import Dataset
from gan_explain.evaluate.inputs import limited
from gan_explain.metrics.change import Models
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.repair.measure import Answers, changes, of_audit, of_target
from gan_explain.repair.options import Arm, RepairOptions
from gan_explain.repair.result import RepairResult, Trained
from gan_explain.repair.training import LEARNED, Ingredients, Material, known, trained
from gan_explain.targets import ModuleTarget, weights_digest
from gan_explain.train.head import trainable
from gan_explain.types import DataError, Generator, Segmenter, Target

logger = logging.getLogger(__name__)
STRENGTHS = tuple(even_strengths(0.0, 2.0, 31).tolist())
BRIEF = tuple(even_strengths(0.0, 2.0, 21).tolist())  # where only measures are wanted
FROZEN = "{}: no image of it was trained on here; the features of the CNN are frozen, and are whatever it was trained on before"
FURTHER = "{}: no image of it was trained on here; the CNN started from weights that may have been"


@dataclass(frozen=True)
class Prepared:
    """A repair that has been checked and can begin. learned: train and val; test: what is measured; left_out: test images of each
    source that takes no part; aside: images whose class the target has not."""

    target: ModuleTarget
    material: Material
    learned: Dataset
    test: Dataset
    left_out: Mapping[str, Dataset]
    aside: int

    @property
    def counts(self) -> dict[str, Any]:
        """Images of every kind, and how many may be made at most."""
        sizes = {"train": len(self.material.train), "val": len(self.material.val), "test": len(self.test)}
        left = {source: len(each) for source, each in self.left_out.items()}
        return {"images": {**sizes, "of no class of the target": self.aside}, "left_out": left, "at_most": self.material.planned}


def prepare(target: Target, dataset: Dataset, options: RepairOptions, segmenter: Segmenter) -> Prepared:
    """Check what a repair needs. TargetError for a target without a last linear layer to train, DataError for data without
    positives or negatives in train, val or test, or without a source that is to be left out."""
    mending = trainable(target)
    unknown = sorted(set(options.leave_out) - set(dataset.sources))
    if unknown:
        raise DataError(f"{dataset.root}: expected a source of {', '.join(dataset.sources)} to leave out, got {unknown[0]!r}")
    whole, names = known(dataset, mending)
    part = whole.where(lambda record: record.source not in options.leave_out)
    material = Material.of(part, names, mending, segmenter, options.making)
    test = whole.split("test")
    left = {source: test.where(lambda record, s=source: record.source == s) for source in options.leave_out}  # type: ignore[misc]
    test = test.where(lambda record: record.source not in options.leave_out)
    for name, each in {"": test, **left}.items():
        if not len(each):
            raise DataError(
                f"{dataset.root}: expected images{name and f' of {name}'} in the split 'test' to measure on, got none"
            )
    learned = part.where(lambda record: record.split in LEARNED)
    return Prepared(mending, material, learned, limited(test, options.limit, options.seed), left, len(dataset) - len(whole))


def repair(
    generator: Generator,
    target: Target,
    dataset: Dataset,
    options: RepairOptions | None = None,
    *,
    segmenter: Segmenter | None = None,
    about: Mapping[str, Any] | None = None,
) -> RepairResult:
    """Train a target again with counterfactuals made of the split "train", and say what that did and what it cost.

    Temperature and operating point are set on "val"; everything is measured on "test", of which nothing was made. `dataset` has
    all splits, opened at the generator's resolution; generator, target and segmenter are on one device. `about`: what the audits
    say of data, generator and target. Raises TargetError and DataError as `prepare` does, before anything is made.
    """
    options, segmenter = options or RepairOptions(), segmenter or load_segmenter()
    return mend(generator, prepare(target, dataset, options, segmenter), options, segmenter, about or {})


def mend(
    generator: Generator, given: Prepared, options: RepairOptions, segmenter: Segmenter, about: Mapping[str, Any]
) -> RepairResult:
    """`repair` of what was prepared."""
    ingredients = Ingredients.read(generator, given.learned, given.material, given.target, options)
    found = [_Run(*each) for each in _asked(options)]
    models = Models(generator, given.target, segmenter)
    before = _audited(models, given.test, options, about, STRENGTHS)
    for number, each in enumerate(found):
        logger.info("training: %s, seed %d", each.arm, each.seed)
        each.target = trained(given.target, ingredients, each.arm, options, seed=each.seed)
        strengths = BRIEF if number else STRENGTHS
        each.audit = _audited(replace(models, target=each.target), given.test, options, _renamed(about, each.target), strengths)
        each.answers = of_audit(each.audit, each.target)
        each.outside = {source: of_target(each.target, data, segmenter) for source, data in given.left_out.items()}
    plain = {each.seed: each for each in found if each.arm == "plain"}
    first = of_audit(before, given.target)
    done = [_told(each, first, plain.get(each.seed), options.seed) for each in found]
    assert found[0].target is not None
    assert found[0].audit is not None
    return RepairResult(found[0].target, before, found[0].audit, _facts(given, ingredients, options, about), done)


@dataclass
class _Run:
    """One training on its way."""

    arm: Arm
    seed: int
    target: ModuleTarget | None = None
    audit: AuditResult | None = None
    answers: Answers | None = None
    outside: dict[str, Answers] | None = None


def _asked(options: RepairOptions) -> list[tuple[Arm, int]]:
    """Arms and seeds, the first of both first; with a source left out, plain training too."""
    arms: list[Arm] = [*options.arms]
    if options.leave_out and "plain" not in arms:
        arms.append("plain")
    return [(arm, options.seed + k) for k in range(options.seeds) for arm in arms]


def _told(run: _Run, before: Answers, plain: _Run | None, seed: int) -> Trained:
    assert run.answers is not None
    against, left = None, None
    if plain is not None and plain is not run and plain.answers is not None:
        against = changes(plain.answers, run.answers, seed=seed)
        if run.outside and plain.outside:
            left = {source: changes(plain.outside[source], each, seed=seed) for source, each in run.outside.items()}
    return Trained(run.arm, run.seed, changes(before, run.answers, seed=seed), against, left)


def _audited(
    models: Models, dataset: Dataset, options: RepairOptions, about: Mapping[str, Any], strengths: tuple[float, ...]
) -> AuditResult:
    label = models.drawing.labels[0]
    how = AuditOptions(quick=True, marker=None, seed=options.seed, strengths=strengths, label=label)
    return conclude(gather(models, dataset, how, about=about))


def _renamed(about: Mapping[str, Any], target: ModuleTarget) -> dict[str, Any]:
    """What an audit says of the CNN that was trained again."""
    spec = (about.get("target") or {}).get("spec", "the target")
    return {**about, "target": {"spec": f"{spec}, repaired", "sha256": weights_digest(target)}}


def _facts(given: Prepared, ingredients: Ingredients, options: RepairOptions, about: Mapping[str, Any]) -> dict[str, Any]:
    """What was made and how."""
    made: dict[str, Counter[str]] = {}
    for recipe in ingredients.recipes(options.arms[0], options.seed):
        made.setdefault(recipe.kind, Counter())[recipe.label] += 1
    frozen = FROZEN if options.depth == "head" else FURTHER
    return {
        "target": about.get("target", {}), "arms": list(options.arms), "depth": options.depth, "seed": options.seed,
        "seeds": options.seeds, **given.counts, "made": made, "donors": len(ingredients.donors),
        "refused": dict(ingredients.refused), "remarks": [frozen.format(source) for source in given.left_out],
        "operating_point": {"before": given.target.operating_point},
    }  # fmt: skip
