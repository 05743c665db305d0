"""A seed is a result, to the bit; and what is charted is what the target says of the frames as they were saved."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_explain.audit import AuditResult
from gan_explain.cli.exits import OK
from gan_explain.data import open_dataset
from gan_explain.image import read_image
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.optics import compose
from gan_explain.pixels import quantize16
from gan_explain.targets import resolve_target

Command = Callable[..., tuple[int, str]]
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64")
DATA = ("--data", "phantom:n=40", "--segmenter", "lungs128", "--steps", 6)
TRAIN: dict[str, tuple[object, ...]] = {
    "target": ("--resolution", 32, "--set", "batch_size=4"),
    "free": ("--resolution", 64, "--set", "batch_size=4", "--set", "network.width=8", "--target", "checkpoint:phantom64"),
    "generator": ("--preset", "small", "--set", "reader.batch_size=4", "--set", "layers.batch_size=4", "--set", "layers.steps=3"),
}
CLOCK = ("started", "finished", "seconds", "command", "options")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but what tells the time and the name of the folder."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run = json.loads(found.pop("run.json"))
    found["run.json"] = json.dumps({key: value for key, value in run.items() if key not in CLOCK}).encode()
    for name in [name for name in found if name.endswith("stats.jsonl")]:
        rows = [json.loads(line) for line in found[name].decode().splitlines()]
        found[name] = json.dumps([{key: value for key, value in row.items() if key != "seconds"} for row in rows]).encode()
    # states: the same tensors, in a file that also knows who shares what; test_resume.py compares them
    return {name: data for name, data in found.items() if not name.endswith("state.pt")}


def twice(command: Command, folder: Path, *words: object) -> dict[str, bytes]:
    """The files of a command, which are the same when it runs again, and others with another seed."""
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        code, line = command(*words, "--seed", seed, "--out", out)
        assert code == OK, line
    a, b, c = (contents(folder / out) for out in "abc")
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []
    assert [name for name in a if a[name] != c.get(name)] != ["run.json"]
    return a


@pytest.mark.parametrize("kind", TRAIN)
def test_a_training_is_its_seed(command: Command, tmp_path: Path, kind: str) -> None:
    files = twice(command, tmp_path, "train", kind, *DATA, *TRAIN[kind]).keys()
    assert {"weights.safetensors", "config.json"} <= files
    assert any(name.endswith("stats.jsonl") for name in files)


def test_a_transition_is_its_seed_and_its_chart_is_of_the_frames(command: Command, tmp_path: Path) -> None:
    """Read back from their PNG files and shown to the target again, the frames give the chart's values."""
    files = twice(command, tmp_path, "interpolate", *MODELS, "--sample", 1, "--strengths", 5, "--picture-size", 256)
    frames = sorted((tmp_path / "a" / "frames").glob("*.png"))
    images = torch.stack([torch.from_numpy(read_image(frame))[None] for frame in frames])
    lungs = torch.from_numpy(read_image(tmp_path / "a" / "lungs.png"))[None, None].expand(len(images), -1, -1, -1)
    rows = list(csv.DictReader(files["response_curve.csv"].decode().splitlines()))
    charted = torch.tensor([float(row["probability"]) for row in rows])
    assert len(charted) == len(images) == 5
    again = asked(images, lungs)
    torch.testing.assert_close(again, charted, atol=1e-4, rtol=0)
    assert float((charted - charted[0]).abs().max()) > 0.01  # there is something to chart
    assert float((asked(images[:, :, :, :-1].new_zeros(images.shape), lungs) - charted).abs().max()) > 0.01


def asked(images: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
    """p of the positive set: (N, 1, H, W) and masks -> (N,)."""
    target = resolve_target("checkpoint:phantom64", segmenter=load_segmenter("phantom64"))
    with torch.no_grad():
        return target.probability(images, lungs if target.uses_lungs else None)


@pytest.mark.slow
def test_an_audit_is_its_seed_and_its_curves_are_of_its_pictures(command: Command, tmp_path: Path) -> None:
    words = ("audit", "--target", "checkpoint:phantom64", *MODELS, "--data", "phantom:n=24", "--judges", "none", "--salt", "none")
    twice(command, tmp_path, *words)
    result = AuditResult.load(tmp_path / "a")
    strengths = result.findings.provenance["strengths"]
    inputs, segmenter = open_dataset("phantom:n=24", size=64, seed=1).split("test"), load_segmenter("phantom64")
    assert len(result.pictures) > 2
    for picture in result.pictures:
        structure, layer = (torch.from_numpy(values)[None, None] for values in (picture.structure, picture.layer))
        frames = torch.cat([quantize16(compose(structure, layer, s)) for s in strengths])
        lungs = segmenter(inputs.batch([picture.row]).images)  # read once, from the input
        again = asked(frames, lungs.expand(len(frames), -1, -1, -1))
        charted = torch.tensor([float("nan") if p is None else p for p in picture.probability])
        torch.testing.assert_close(again, charted, atol=1e-4, rtol=0)
