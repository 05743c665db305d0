"""Settings are checked when they are made, and laid anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from gan_explain.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Some(Settings):
    steps: Annotated[int, Field(ge=1, le=9, description="How many.")] = 3
    rate: Annotated[float, Field(gt=0, alias="learning-rate", description="How fast.")] = 0.5
    kind: Annotated[Literal["a", "b"], Field(description="Which.")] = "a"
    names: Annotated[tuple[str, ...], Field(min_length=1, description="Names.")] = ("x",)
    file: Annotated[Path | None, Field(description="A file.")] = None
    free: object = None  # not checked


def test_what_fits_is_kept() -> None:
    made = Some(steps=9, rate=1, kind="b", names=("y", "z"), file=Path("f"), free=[1])
    assert (made.steps, made.rate, made.kind, made.names, made.file) == (9, 1, "b", ("y", "z"), Path("f"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 0}, "steps: expected greater than or equal to 1, got 0"),
        ({"steps": 2.0}, "steps: expected a valid integer, got 2.0"),
        ({"steps": True}, "steps: "),
        ({"rate": math.nan}, "rate: "),
        ({"rate": math.inf}, "rate: expected a finite number, got inf"),
        ({"kind": "c"}, "kind: expected 'a' or 'b', got 'c'"),
        ({"names": ()}, "names: "),
        ({"names": "xy"}, "names: "),
        ({"file": "f"}, "file: "),
    ],
)
def test_what_does_not_is_one_line_that_names_it(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said) as error:
        Some(**given)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="^" + said):
        replace(Some(), **given)
