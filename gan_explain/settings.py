"""Settings: what a person may set, each written once as a field of a frozen dataclass, and checked when it is made."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Settings:
    """Base of dataclasses whose fields are written `name: Annotated[int, Field(ge=1, description="One line.")] = 200`.

    Raises ValueError, in one line, that names the first field of another type or outside of its range.
    """

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, check in _checks(kind).items():
            value = getattr(self, name)
            try:
                check.validate_python(value)
            except ValidationError as error:
                expected = error.errors()[0]["msg"].replace("Input should be", "expected")
                raise ValueError(f"{name}: {expected}, got {value!r}") from None


@cache
def _checks(kind: type[Any]) -> dict[str, TypeAdapter[Any]]:
    """How each annotated field of a kind of settings is checked: strictly, and no number may be NaN or infinite."""
    hints = typing.get_type_hints(kind, include_extras=True)
    annotated = {name: hint for name, hint in hints.items() if typing.get_origin(hint) is typing.Annotated}
    return {name: TypeAdapter(_bounded(hint), config=STRICT) for name, hint in annotated.items()}


def _bounded(hint: Any) -> Any:
    """An annotated type with the bounds of its fields, and without what is of the command line: names and help."""
    bounds = [bound for each in hint.__metadata__ if isinstance(each, FieldInfo) for bound in each.metadata]
    return typing.Annotated[hint.__origin__, *bounds] if bounds else hint.__origin__
