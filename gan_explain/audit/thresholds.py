"""What an audit demands of a target, and the numbers that decide: one table, nothing is decided elsewhere.

They are round numbers, not fitted ones; `spread` was chosen on val. An interval decides, not a value (`audit.checks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Relation = Literal["at least", "at most", "more than", "within"]  # within: of 0, in either direction


@dataclass(frozen=True)
class Limit:
    """One check. `measure` is a name in the document's measures; with `each` it stands for one check for each judge, each
    disturbance or each source.

    `words` says in a sentence what the number is. `share`: it is a share of images, so its interval at exactly 0 or 1 is exact
    and not the bootstrap's, which has no width there. `optional`: where the measure could not be taken the question is decided
    without it.
    """

    measure: str
    relation: Relation
    threshold: float
    words: str
    share: bool = False
    optional: bool = False
    each: Literal["", "judge", "disturbance", "source"] = ""


@dataclass(frozen=True)
class Question:
    """A question passes when all its limits are kept, fails when one is broken, and is left open (abstains) otherwise."""

    id: str
    question: str
    limits: tuple[Limit, ...]


LEAST_IMAGES = 10  # a check on fewer is left open
LEAST_IN_SOURCE = 10  # images of a class that a source must hold to be asked whether it is called rightly

# A target whose p hardly moves over the images, and does not follow opacities either, has nothing to explain: every question but
# the first is left open. Accuracy cannot tell: untrained networks reached an AUROC of .77 on val (spread at most .024), and a
# target that reads the source .50 (spread .42).
SPREAD = Limit("spread", "at least", 0.05, "the standard deviation of p over the images")
SLOPE = Limit("opacity_probe.slope", "at least", 0.05, "the rise of p per unit of dose of rendered opacities")

SHORTCUT = Limit("shortcut", "within", 0.05, "what a positive's outside adds to p beyond what a negative's does")
FREE_OUTSIDE = Limit(
    "causal.outside_share.free", "at most", 0.5, "the share of the free map's effect that comes from outside the lungs"
)
FREE_MOVES = Limit("rise.free", "at least", 0.05, "the rise of p along the free map")  # below it FREE_OUTSIDE says nothing
LEAST_EVIDENCE = 0.05  # a statistic whose effect on p is surely more than this is named
CONTROL = "control.marker.named"  # 1 where the audit named a marker that was planted for it to find
READER = Limit("reader.rho[veils]", "at least", 0.60, "Spearman's rho of the load read and the load rendered")
EXACT = 1e-6  # below one level of 16 bits

QUESTIONS: tuple[Question, ...] = (
    Question(
        "disease",
        "Does p rise when real patients' disease is laid on?",
        (
            Limit("rise", "at least", 0.05, "the rise of p from strength 0 to 1"),
            Limit("rises", "at least", 0.75, "the share of negatives whose p rises", share=True),
            Limit("rise.excess", "more than", 0.0, "the rise beyond that under a random smooth layer of equal load"),
        ),
    ),
    Question(
        "healing",
        "Does p fall when the disease is taken off?",
        (
            Limit("heal.fall", "at least", 0.05, "the fall of p when what was read is taken off"),
            Limit("heal.falls", "at least", 0.75, "the share of positives whose p falls", share=True),
            Limit("heal.excess", "more than", 0.0, "the fall beyond that when a random smooth layer of equal load is taken off"),
        ),
    ),
    Question(
        "informed",
        "Tells the labels apart?",
        (SPREAD, Limit("auroc", "at least", 0.60, "AUROC")),
    ),
    Question(
        "opacities",
        "Responds to opacities in the lungs?",
        (
            Limit(
                "opacity_probe.rises", "at least", 0.75, "the share of images whose p rises with rendered opacities", share=True
            ),
            SLOPE,
        ),
    ),
    Question(
        "monotone",
        "Rises steadily as the disease is turned up?",
        (
            Limit("monotonicity.rho", "at least", 0.90, "Spearman's rho of the logit and the strength"),
            Limit("monotonicity.violation", "at most", 0.05, "the share of the curve's movement that goes down"),
        ),
    ),
    Question("outside", "Ignores what lies outside the lungs?", (SHORTCUT, FREE_OUTSIDE)),
    Question(
        "sources",
        "Is right in every source?",
        (
            Limit("specificity", "at least", 0.60, "specificity", share=True, each="source"),
            Limit("sensitivity", "at least", 0.60, "sensitivity", share=True, each="source"),
        ),
    ),
    Question(
        "explanation",
        "Can this explanation be trusted?",
        (
            Limit("exact.zero", "at most", EXACT, "the largest difference of strength 0 of a negative from the image"),
            Limit("exact.one", "at most", EXACT, "the largest difference of strength 1 of a positive from the image"),
            READER,
            Limit("reread", "at most", 0.50, "the share of the load taken off that is read again"),
            Limit("transfer", "at least", 0.60, "the share whose p rises under another network too", share=True, each="judge"),
            Limit("persistence", "at least", 0.90, "the share of flips that survive", share=True, each="disturbance"),
            Limit(
                "null.shuffled.flip", "at most", 0.10, "the flips of the target with shuffled weights", share=True, optional=True
            ),
        ),
    ),
)
IDS = tuple(question.id for question in QUESTIONS)
