"""Click options made of the frozen dataclasses that they fill, so that each option is written once, where it is used.

    @dataclass(frozen=True, kw_only=True)
    class FilmOptions:
        TITLE: ClassVar = "Film"
        fps: Annotated[int, Field(ge=1, le=60, description="Frames a second.")] = 12

A number with bounds is checked, a Literal is a choice, a bool a flag, a tuple[str, ...] may be repeated (with the title "A,B"
also written as a list), a field without a default is required. `Field(alias=)` is the name of the option where it is not the
field's, `Field(title=)` what stands for its value; TITLE heads the group in --help. Only what was given is passed to the
dataclass: its own defaults hold for the rest.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import click
from click.core import ParameterSource
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

Filled = TypeVar("Filled")
LAST = "Run"  # group of what every command takes
LISTED = ("A,B", "A+B")  # titles of what may be written as a list


@dataclass(frozen=True)
class Shown:
    """What only the command line wants to know of a field: that it is an argument by position, a variable that may hold it, the
    value that an option has where none follows it."""

    argument: bool = False
    variable: str | None = None
    alone: str | None = None


ARGUMENT = Shown(argument=True)


class Option(click.Option):
    """An option that knows the group it stands in."""

    group: str


class Argument(click.Argument):
    """An argument with a line of help, in a group."""

    group: str
    told: str

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.make_metavar(ctx), self.told


def parameters(kind: type[Any], *, but: Sequence[str] = (), defaults: Mapping[str, Any] | None = None) -> list[click.Parameter]:
    """A click parameter for each field of a dataclass, without those named in `but`, with other `defaults` where given."""
    hints = typing.get_type_hints(kind, include_extras=True)
    chosen = [each for each in fields(kind) if each.name not in but]
    return [_parameter(each, hints[each.name], kind, defaults or {}) for each in chosen]


def fill(kind: type[Filled], context: click.Context) -> Filled:
    """The dataclass with what was given on the command line. UsageError for what it refuses."""
    unsaid = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None)
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    given = {name: context.params[name] for name in names if context.get_parameter_source(name) not in unsaid}
    try:
        return kind(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def write_parameters(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """The arguments and options of a command in their groups, those that every command has at the end."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for each in sorted(command.get_params(context), key=lambda each: _group(each) == LAST):
        row = each.get_help_record(context)
        if row is not None:
            groups.setdefault(_group(each), []).append(row)
    for title, rows in groups.items():
        with formatter.section(title):
            formatter.write_dl(rows, col_max=34)


def _group(parameter: click.Parameter) -> str:
    return str(getattr(parameter, "group", LAST))


def laid_on(base: Filled, given: Mapping[str, Any]) -> Filled:
    """A configuration, a dataclass or a pydantic model, with what was given (what is None was not) in place of its own values.
    UsageError for what it refuses."""
    return _changed(base, {name: value for name, value in given.items() if value is not None})


def overridden(base: Filled, words: Sequence[str], *, but: Sequence[str] = ()) -> Filled:
    """A configuration with the NAME=VALUE words of --set laid on it, each of its field's type; a NAME with a dot goes into a
    part. UsageError names what is allowed; fields named in `but` are not."""
    return overridden_all([("", base)], words, but=but)[0]  # type: ignore[no-any-return]


def overridden_all(bases: Sequence[tuple[str, Any]], words: Sequence[str], *, but: Sequence[str] = ()) -> list[Any]:
    """The same of several configurations, (prefix, configuration) each: a NAME is PREFIX.NAME, or NAME alone where that is ""."""
    allowed = {
        f"{prefix}.{name}" if prefix else name: (i, name, hint)
        for i, (prefix, base) in enumerate(bases)
        for name, hint in settable(base).items()
        if name not in but
    }
    values: list[dict[str, Any]] = [{} for _ in bases]
    for word in words:
        given, equals, text = word.partition("=")
        if not equals or given not in allowed:
            raise click.UsageError(f"--set {word}: expected NAME=VALUE with a name of {', '.join(sorted(allowed))}")
        i, name, hint = allowed[given]
        values[i][name] = _value(word, text, hint)
    return [_laid_deep(base, found) for (_, base), found in zip(bases, values, strict=True)]


def settable(base: object) -> dict[str, Any]:
    """The fields of a configuration that a word can set, with their types; those of its parts as PART.NAME."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(type(base), include_extras=True).items():
        if name not in _names(base):
            continue
        value = getattr(base, name)
        if is_dataclass(value) or isinstance(value, BaseModel):
            found |= {f"{name}.{inner}": each for inner, each in settable(value).items()}
        elif _plain(hint):
            found[name] = hint
    return found


def listed(text: str) -> tuple[str, ...]:
    """ "covid+pneumonia" or "covid,pneumonia" -> ("covid", "pneumonia")."""
    return tuple(part.strip() for part in text.replace("+", ",").split(",") if part.strip())


def _names(base: object) -> set[str]:
    return set(type(base).model_fields) if isinstance(base, BaseModel) else {each.name for each in fields(base)}  # type: ignore[arg-type]


def _changed(base: Filled, changes: dict[str, Any]) -> Filled:
    hints = typing.get_type_hints(type(base), include_extras=True)
    for name, value in changes.items():
        if _plain(hints[name]):
            _checked("--" + name.replace("_", "-"), value, hints[name])
    try:
        if isinstance(base, BaseModel):
            return type(base).model_validate(base.model_dump() | changes)
        return replace(base, **changes)  # type: ignore[type-var]
    except ValidationError as error:
        raise click.UsageError(_reason(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value in the type of its field. UsageError, beginning with the name, for one that it cannot be."""
    try:
        return TypeAdapter(_bounded(hint)).validate_python(value)
    except ValidationError as error:
        raise click.UsageError(f"{name}: {_reason(error)}") from None


def _laid_deep(base: Filled, values: Mapping[str, Any]) -> Filled:
    own = {name: value for name, value in values.items() if "." not in name}
    for part in {name.partition(".")[0] for name in values if "." in name}:
        inner = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{part}.")}
        own[part] = _laid_deep(getattr(base, part), inner)
    return _changed(base, own)


def _value(word: str, text: str, hint: Any) -> Any:
    """A word's value in the type of its field: a list for a tuple, none for what may be None."""
    kind, optional = _without_none(_bare(hint))
    if optional and text == "none":
        return None
    content: Any = [part.strip() for part in text.split(",") if part.strip()] if typing.get_origin(kind) is tuple else text
    found = _checked(f"--set {word}", content, hint)
    if isinstance(found, float) and not math.isfinite(found):
        raise click.UsageError(f"--set {word}: expected a finite number")
    return found


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(each) for each in first["loc"] if isinstance(each, str))
    said = (
        first["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "expected")
        .replace("a valid ", "a ")
        .replace("a integer", "an integer")
    )
    return f"{place}: {said}" if place else said


def _bounded(hint: Any) -> Any:
    """A type with its bounds, and without names and help."""
    infos = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, FieldInfo)]
    bounds = [bound for info in infos for bound in info.metadata]
    return typing.Annotated[_bare(hint), *bounds] if bounds else _bare(hint)


def _bare(hint: Any) -> Any:
    """A type without what is annotated to it."""
    return _bare(hint.__origin__) if typing.get_origin(hint) is typing.Annotated else hint


def _without_none(hint: Any) -> tuple[Any, bool]:
    """X | None -> (X, True)."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [each for each in typing.get_args(hint) if each is not types.NoneType]
        if len(rest) == 1:
            return _bare(rest[0]), True
    return hint, False


def _plain(hint: Any) -> bool:
    """Whether a word can say a value of this type."""
    kind = _without_none(_bare(hint))[0]
    if typing.get_origin(kind) is tuple:
        return all(each is Ellipsis or _plain(each) for each in typing.get_args(kind))
    return kind in (int, float, bool, str, Path) or typing.get_origin(kind) is Literal


def _parameter(field: Field[Any], hint: Any, kind: type[Any], defaults: Mapping[str, Any]) -> click.Parameter:
    extras = getattr(hint, "__metadata__", ())
    info = next((each for each in extras if isinstance(each, FieldInfo)), FieldInfo())
    shown = next((each for each in extras if isinstance(each, Shown)), Shown())
    default = defaults.get(field.name, None if field.default is MISSING else field.default)
    required = field.name not in defaults and field.default is MISSING and field.default_factory is MISSING
    bare, _ = _without_none(_bare(hint))
    more: dict[str, Any] = _type(bare, info) | ({} if default is None or default == () else {"default": default})
    title = info.title or {int: "N", float: "X"}.get(bare)
    made: Option | Argument
    if shown.argument:
        more.pop("multiple", None)
        many = {"nargs": -1} if typing.get_origin(bare) is tuple else {}
        made = Argument([field.name], required=required, metavar=title, **more | many)
        made.told = info.description or ""
    else:
        name = "--" + (info.alias or field.name).replace("_", "-")
        switch = f"{name}/--no-{name[2:]}" if more.get("is_flag") and default else name
        more |= {"is_flag": False, "flag_value": shown.alone} if shown.alone else {}
        made = Option(
            [field.name, switch], help=info.description, metavar=title, required=required, envvar=shown.variable, **more
        )
    made.group = getattr(kind, "TITLE", "Options")
    return made


def _type(bare: Any, info: FieldInfo) -> dict[str, Any]:
    """What click is told of a type."""
    origin, inner = typing.get_origin(bare), typing.get_args(bare)
    if bare is bool:
        return {"is_flag": True}
    if origin is Literal:
        return {"type": click.Choice(inner)}
    if origin is tuple and Ellipsis in inner:
        return _type(inner[0], info) | {"multiple": True} | ({"callback": _lists} if info.title in LISTED else {})
    if origin is tuple:
        return _type(inner[0], info) | {"nargs": len(inner)}
    if bare in (int, float):
        return {"type": _range(bare, info)}
    return {"type": click.Path(path_type=Path) if bare is Path else bare}


def _range(bare: type[int] | type[float], info: FieldInfo) -> click.ParamType[Any]:
    named = ("ge", "gt", "le", "lt")
    bounds = {name: getattr(each, name) for each in info.metadata for name in named if hasattr(each, name)}
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    kind: Callable[..., click.ParamType[Any]] = click.IntRange if bare is int else click.FloatRange
    if low is None and high is None:
        return click.INT if bare is int else click.FLOAT
    return kind(low, high, min_open="gt" in bounds, max_open="lt" in bounds)


def _lists(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for value in values for part in listed(value))
