"""The package as it is installed: a wheel is built, installed elsewhere, and used from a third place with its own weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from gan_explain.data import open_dataset
from gan_explain.image import write_png16

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("gan_explain", "checkpoints", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
SHIPPED = {path.name for path in (ROOT / "checkpoints").iterdir() if path.is_dir()}
USE = """
import sys
from pathlib import Path

import torch

import gan_explain as gx
from gan_explain.types import CheckpointError

site = Path(sys.argv[1])
assert Path(gx.__file__).parent == site / "gan_explain", gx.__file__
x = gx.read_radiograph("phantom.png")
t = gx.load_target("checkpoint:cxr128")
g = gx.load_generator()
tau = g.read(x.image, x.lungs)
assert tau.shape == x.image.shape
tr = gx.traverse(g, t, x, pathology="prior", seed=0, strengths=5)
assert tr.probability.shape == (5,)
cf = gx.counterfactual(g, t, x)
assert cf.image.shape[-2:] == x.image.shape[-2:]
heat = gx.METHODS["grad_cam"]().attribute(x.image, t)
assert torch.isfinite(heat).all()
try:
    gx.load_target("checkpoint:elsewhere")
except CheckpointError as error:
    assert "GAN_EXPLAIN_CHECKPOINTS" in str(error) and str(site) in str(error) and "\\n" not in str(error), error
else:
    raise AssertionError("there is no such checkpoint")
"""


def run(*args: str, cwd: Path, **environment: str) -> str:
    free = {key: value for key, value in os.environ.items() if key not in ("GAN_EXPLAIN_CHECKPOINTS", "PYTHONPATH")}
    done = subprocess.run(args, cwd=cwd, env=free | environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not all(find_spec(name) for name in ("pip", "setuptools")):
        pytest.skip("needs pip and setuptools to build a wheel")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), str(source), cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_weights_and_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    inside = {name.split("/")[2] for name in names if name.startswith("gan_explain/checkpoints/") and name.count("/") > 2}
    assert inside == SHIPPED
    assert not [name for name in names if name.split("/")[0] not in ("gan_explain", "gan_explain-0.1.0.dist-info")]
    assert "gan_explain/py.typed" in names
    assert wheel.stat().st_size < 40e6


def test_the_installed_package_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_png16(open_dataset("phantom:n=4", size=256).batch([0]).images[0], elsewhere / "phantom.png")
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target", str(site))
    run(sys.executable, "-m", "pip", "install", *options, str(wheel), cwd=elsewhere)
    run(sys.executable, "-c", USE, str(site), cwd=elsewhere, PYTHONPATH=str(site))
