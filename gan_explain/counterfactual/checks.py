"""What is asked for, looked at before any work: one line for whoever mixed something up."""

from __future__ import annotations

from gan_explain.counterfactual.pathology import check_kind
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.types import Generator, Target

BETWEEN = "between"  # what `traverse` takes beside the names of PATHOLOGIES


def check_target(target: object) -> None:
    """TypeError for what is no target."""
    if not isinstance(target, Target):
        raise TypeError(f"expected a target (load_target, as_target), got {_kind(target)}")


def check_parts(generator: object, target: object) -> None:
    """TypeError for what is no generator or no target."""
    if not isinstance(generator, Generator):
        raise TypeError(f"expected a generator (load_generator), got {_kind(generator)}")
    check_target(target)


def check_radiographs(*radiographs: object) -> None:
    """TypeError for what is no radiograph."""
    for each in radiographs:
        if not isinstance(each, Radiograph):
            raise TypeError(f"expected a Radiograph (read_radiograph), got {_kind(each)}")


def check_pathology(generator: Generator, pathology: str | None, label: str | None, reference: Radiograph | None) -> None:
    """ValueError for a pathology, a label or a reference that there is not, even where none is needed."""
    if pathology is not None and pathology != BETWEEN:
        check_kind(pathology)
    if label is not None and label not in generator.labels:
        raise ValueError(f"no code prior for {label!r}: expected one of {', '.join(generator.labels)}")
    if reference is not None:
        check_radiographs(reference)
    elif pathology in ("from", BETWEEN):
        raise ValueError("expected a radiograph to take the pathology from (reference), got none")


def _kind(found: object) -> str:
    return repr(found) if isinstance(found, str) else type(found).__name__
