"""Class names: one spelling each, compared as whole words in lower case, never as substrings."""

from __future__ import annotations

from collections.abc import Collection, Iterable

NORMAL = "normal"
COVID = "covid"
PNEUMONIA = "pneumonia"
PNEUMONIAS = frozenset({"bacterial_pneumonia", "viral_pneumonia", "other_pneumonia", PNEUMONIA})
ALIASES = {
    "covid-19": COVID,
    "covid19": COVID,
    "covid_19": COVID,
    "covid+": COVID,
    "covid-19+": COVID,
    "covid_positive": COVID,
    "covid-positive": COVID,
    "covid-19_positive": COVID,
    "sars-cov-2": COVID,
    "no_finding": NORMAL,
    "healthy": NORMAL,
    "non-covid": "other_pneumonia",
}

FINDINGS = {"lung_opacity": frozenset({COVID}) | PNEUMONIAS}  # names that some networks give to what several labels show


def canonical(label: str) -> str:
    """Lower case, blanks as underscores, aliases resolved: `COVID-19` -> `covid`, `Viral Pneumonia` -> `viral_pneumonia`."""
    name = "_".join(label.lower().split())
    return ALIASES.get(name, name)


def folded(labels: Iterable[str]) -> str:
    """Which labels are read as others, for a remark: "non-covid as other_pneumonia"; "" where none is."""
    plain = {"_".join(label.lower().split()) for label in labels}
    return ", ".join(f"{name} as {ALIASES[name]}" for name in sorted(plain & set(ALIASES)))


def coarse(label: str) -> str:
    """The three-class view: `normal`, `pneumonia` (every known pneumonia) or `covid`; any other label as it is."""
    name = canonical(label)
    return PNEUMONIA if name in PNEUMONIAS else name


def belongs(label: str, positive: Collection[str]) -> bool:
    """Whether a label, as it is or in the three-class view, belongs to a positive set, or shows a finding of it.

    The set's names may be spelled as a network spells them: `COVID-19`, `Pneumonia`, `Lung Opacity` (which every pneumonia and
    covid show).
    """
    names = {canonical(name) for name in positive}
    own = canonical(label)
    return own in names or coarse(label) in names or any(own in FINDINGS.get(name, ()) for name in names)
