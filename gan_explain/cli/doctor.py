"""`gan-explain doctor`: is everything here that the other commands need, and what to do where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gan_explain.cli.common import HELP
from gan_explain.cli.exits import Command
from gan_explain.files.text import printable


@click.command("doctor", cls=Command, context_settings=HELP)
@click.option("--out", type=click.Path(path_type=Path), default="out", metavar="DIR", help="Output folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def doctor(out: Path, as_json: bool) -> int:
    """Check Python, torch and torchvision, the other packages, ffmpeg, the GPU, memory, disk and the checkpoints' hashes.

    One line each: ok, warning or problem, and what to do. Nothing is kept on disk.

    Exit codes: 0 no problem (warnings are none), 3 a checkpoint is damaged or none is found, 6 disk or memory, 1 anything else;
    with several the first of these.
    """
    from gan_explain import doctor as ward

    findings = ward.examine(out)
    if as_json:
        click.echo(json.dumps(ward.as_json(findings)))
        return ward.worst(findings)
    width = max(len(each.name) for each in findings)
    for each in findings:
        click.echo(
            printable(f"{each.state:<7}  {each.name:<{width}}  {each.found}" + (f" -> {each.advice}" if each.advice else ""))
        )
    return ward.worst(findings)
