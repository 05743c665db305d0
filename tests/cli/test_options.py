"""Options made of dataclasses: their types, what was given and what was not, --set, groups; and one word for one idea."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from gan_explain.cli import common, main
from gan_explain.cli.options import ARGUMENT, Argument, Shown, laid_on, overridden, parameters


@dataclass(frozen=True, kw_only=True)
class Film:
    TITLE: ClassVar = "Film"
    image: Annotated[Path | None, Field(description="A file."), ARGUMENT] = None
    fps: Annotated[int, Field(ge=1, le=60, description="Frames a second.")] = 12
    share: Annotated[float | None, Field(gt=0, lt=1, title="P")] = None
    kind: Literal["gif", "mp4"] = "gif"
    labels: Annotated[tuple[str, ...], Field(title="A,B")] = ("covid",)
    between: tuple[Path, Path] | None = None
    quick: bool = False
    sound: Annotated[bool, Field(alias="music")] = True
    name: Annotated[str, Shown(variable="FILM_NAME")] = "film"
    grain: Annotated[Literal["fine", "coarse"] | None, Shown(alone="fine")] = None

    def __post_init__(self) -> None:
        if self.quick and self.fps > 30:
            raise ValueError("--quick: expected --fps up to 30")


def filled(*args: str, **environment: str) -> Any:
    """What the command line makes of Film, or its error."""
    found: list[Film] = []

    @common.command("shoot", out=None)
    def shoot(run: common.Run, film: Film) -> None:
        found.append(film)

    result = CliRunner().invoke(shoot, list(args), env=environment)
    return found[0] if result.exit_code == 0 else result.stderr.strip()


def test_what_is_not_given_is_the_dataclass_s_own() -> None:
    assert filled() == Film()


def test_every_type_of_field() -> None:
    args = ("a.png", "--fps", "5", "--share", "0.5", "--kind", "mp4", "--labels", "a,b", "--labels", "c+d")
    found = filled(*args, "--between", "x", "y", "--quick", "--no-music", FILM_NAME="noir")
    assert found == Film(
        image=Path("a.png"), fps=5, share=0.5, kind="mp4", labels=("a", "b", "c", "d"), between=(Path("x"), Path("y")),
        quick=True, sound=False, name="noir",
    )  # fmt: skip


def test_an_option_may_have_a_value_of_its_own_where_none_follows() -> None:
    assert [filled(*args).grain for args in ((), ("--grain",), ("--grain", "--quick"), ("--grain", "coarse"))] == [
        None, "fine", "fine", "coarse",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--grain", "none"), "'fine', 'coarse'"),
        (("--fps", "0"), "1<=x<=60"),
        (("--share", "1"), "0<x<1"),
        (("--kind", "avi"), "'gif', 'mp4'"),
        (("--quick", "--fps", "40"), "error: --quick: expected --fps up to 30"),
        (("--film",), "No such option"),
    ],
)
def test_bad_values_are_usage_errors_of_one_line(args: tuple[str, ...], says: str) -> None:
    line = filled(*args)
    assert says in line
    assert "\n" not in line


def test_a_field_without_a_default_is_required() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Named(Film):
        kind: Literal["gif", "mp4"] = field()

    required = {each.name: each.required for each in parameters(Named)}
    assert [name for name, needed in required.items() if needed] == ["kind"]


def test_help_has_groups_of_one_line_an_option() -> None:
    @common.command("shoot", out="out/film")
    def shoot(run: common.Run, film: Film) -> None:
        """Shoot a film."""

    text = CliRunner().invoke(shoot, ["--help"]).stdout
    assert text.index("Film:") < text.index("  [IMAGE]") < text.index("--fps N") < text.index("Run:") < text.index("--seed")
    assert "Frames a second.  [default: 12; 1<=x<=60]" in text


# -- configurations -----------------------------------------------------------------------------------------------------------


class Network(BaseModel, frozen=True):
    width: int = Field(default=16, ge=8)
    depth: int = 2


@dataclass(frozen=True)
class Training:
    network: Network = field(default_factory=Network)
    steps: Annotated[int, Field(ge=1)] = 100
    rate: float = 1e-3
    amp: bool = False
    balance: Literal["none", "weights"] = "none"
    patience: int | None = None
    layers: tuple[int, ...] = (1, 2)
    weigh: Any = print

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ValueError("rate: expected at most 1")


def test_a_preset_gives_way_to_what_was_given_and_nothing_else() -> None:
    preset = Training(steps=7, rate=0.5)
    assert laid_on(preset, {"steps": None, "rate": 0.1}) == Training(steps=7, rate=0.1)
    assert laid_on(Network(width=32), {"depth": 3, "width": None}) == Network(width=32, depth=3)


def test_words_are_of_the_type_of_their_field() -> None:
    words = ("steps=5", "rate=0.5", "amp=true", "balance=weights", "patience=3", "layers=4,5", "network.width=64")
    assert overridden(Training(), words) == Training(Network(width=64), 5, 0.5, True, "weights", 3, (4, 5))
    assert overridden(Training(patience=3), ("patience=none",)).patience is None


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "size=2",
            "a name of amp, balance, layers, network.depth, network.width, patience, rate, steps",
        ),
        ("weigh=2", "with a name of"),
        ("steps", "expected NAME=VALUE"),
        ("steps=many", "--set steps=many: expected an integer"),
        ("steps=0", "--set steps=0: expected greater than or equal to 1"),
        ("rate=nan", "--set rate=nan: expected a finite number"),
        ("rate=2", "rate: expected at most 1"),
        ("balance=all", "--set balance=all: expected 'none' or 'weights'"),
        ("network.width=4", "greater than or equal to 8"),
    ],
)
def test_bad_words_say_what_is_allowed(word: str, says: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        overridden(Training(), (word,))
    assert says in caught.value.message


def test_fields_that_another_option_sets_are_not_offered() -> None:
    with pytest.raises(click.UsageError, match="expected NAME=VALUE"):
        overridden(Training(), ("steps=5",), but=("steps",))


# -- one word for one idea ----------------------------------------------------------------------------------------------------

MOST_COMMANDS, MOST_OPTIONS = 17, 272


def commands(group: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its name."""
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        yield from commands(found, *path, name)


def test_commands_and_options_can_be_counted() -> None:
    found = {name: command for name, command in commands(main) if name != "report"}  # which evaluate takes in
    assert len(found) <= MOST_COMMANDS, list(found)
    assert sum(len(each.params) for each in found.values()) <= MOST_OPTIONS


def test_an_option_means_the_same_in_every_command() -> None:
    """One type and one line of help for one name; whether it is required and its default may differ, and what a preset is."""
    words: dict[str, dict[tuple[object, ...], list[str]]] = {}
    for name, command in commands(main):
        for each in command.params:
            if isinstance(each, click.Option):
                kind = each.type.to_info_dict() if each.name != "preset" else {}
                meaning = (str(kind), each.multiple, each.is_flag, each.help)
                words.setdefault(each.opts[0], {}).setdefault(meaning, []).append(name)
    assert {word: found for word, found in words.items() if len(found) > 1} == {}


def test_every_option_has_a_group_and_a_line_of_help() -> None:
    for name, command in commands(main):
        for each in command.params:
            told = each.told if isinstance(each, Argument) else getattr(each, "help", "")
            assert told, (name, each.name)
