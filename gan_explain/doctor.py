"""What `gan-explain doctor` looks at: each check is a function that says what it found and what to do about it.

Nothing is imported before it is looked at, so that a broken installation is told of and not stumbled over.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, Literal

from gan_explain.files.text import one_line

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"
GIB = 2**30
LEAST_DISK, ENOUGH_DISK = GIB // 2, 5 * GIB  # an audit's folder takes megabytes, a training's a gigabyte or two
LEAST_MEMORY, ENOUGH_MEMORY = 2 * GIB, 4 * GIB  # an audit at 128 px takes 1.2 GB, a training 3
OLDEST_PYTHON = (3, 11)
EXTRAS = ("dicom", "onnx", "pretrained", "xrv")
DISTRIBUTION = "gan_explain"
# What a problem counts as; the worst decides on the exit code of `doctor`.
INSTALLATION, CHECKPOINT, RESOURCES = 1, 3, 6

Version = Callable[[str], str]
State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found; `advice`: what to do, "" where all is well; `code`: what a problem counts as."""

    name: str
    state: State
    found: str
    advice: str = ""
    code: int = INSTALLATION


def examine(out: Path) -> list[Finding]:
    """Every check, in the order in which they matter."""
    return [
        python(), torch_pair(), *dependencies(), *extras(), ffmpeg(), gpu(), memory(), disk(out), *checkpoints(),
    ]  # fmt: skip


def worst(findings: Iterable[Finding]) -> int:
    """The exit code: 0 without a problem, 3 where a checkpoint is damaged or missing, else 6 for disk or memory, else 1."""
    codes = {each.code for each in findings if each.state == PROBLEM}
    return next((code for code in (CHECKPOINT, RESOURCES, INSTALLATION) if code in codes), 0)


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    found = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < OLDEST_PYTHON:
        return Finding("python", PROBLEM, found, "install Python 3.11 or newer and make the environment again (make venv)")
    return Finding("python", OK, found)


def torch_pair(
    version: Version = metadata.version,
    requires: Callable[[str], list[str] | None] = metadata.requires,
    load: Callable[[str], Any] = import_module,
) -> Finding:
    """torch is one that this torchvision was made for, both can be imported, and torchvision's own operators run."""
    reinstall = "install both of one release: pip install --force-reinstall torch torchvision"
    try:
        found = f"{version('torch')} with torchvision {version('torchvision')}"
    except metadata.PackageNotFoundError as error:
        return Finding("torch", PROBLEM, f"{error.name} is not installed", "pip install -e . (or make venv)")
    wanted = next((line for line in requires("torchvision") or [] if re.match(r"torch\b", line)), "")
    match = re.search(r"(==|>=)\s*([0-9.]+)", wanted)
    if match:
        there, least = _numbers(version("torch")), _numbers(match[2])
        if there != least if match[1] == "==" else there < least:
            return Finding("torch", PROBLEM, f"{found}, which wants torch {match[1]} {match[2]}", reinstall)
    try:
        torch = load("torch")
        load("torchvision").ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # what a broken binary raises is anything
        return Finding("torch", PROBLEM, f"{found}; they do not run: {one_line(error)}", reinstall)
    return Finding("torch", OK, found)


def dependencies(requires: Sequence[str] | None = None, version: Version = metadata.version) -> list[Finding]:
    """One finding for all that is required, or one for each that is missing or too old."""
    wanted = _required(requires, "")
    if wanted is None:
        return [Finding("packages", WARNING, "gan_explain itself is not installed", "pip install -e . to have versions checked")]
    faults = [fault for name, least in wanted.items() if (fault := _fault(name, least, version))]
    return [Finding("packages", PROBLEM, fault, f"pip install '{fix}'") for fault, fix in faults] or [
        Finding("packages", OK, f"{len(wanted)} as new as they need be")
    ]


def extras(requires: Sequence[str] | None = None, version: Version = metadata.version) -> list[Finding]:
    """One finding for each optional extra: there, or what installs it; a warning where it is there in part or too old."""
    findings = []
    for extra in EXTRAS:
        wanted = _required(requires, extra) or {}
        faults = [fault for name, least in wanted.items() if (fault := _fault(name, least, version))]
        install = f"pip install 'gan_explain[{extra}]'"
        if not faults:
            findings.append(Finding(f"extra {extra}", OK, ", ".join(f"{name} {version(name)}" for name in wanted)))
        elif all(fault.endswith("not installed") for fault, _ in faults) and len(faults) == len(wanted):
            findings.append(Finding(f"extra {extra}", OK, f"not installed ({install} where it is needed)"))
        else:
            findings.append(Finding(f"extra {extra}", WARNING, "; ".join(fault for fault, _ in faults), install))
    return findings


def ffmpeg(program: Callable[[], str] | None = None) -> Finding:
    """ffmpeg of imageio-ffmpeg, or the one that IMAGEIO_FFMPEG_EXE names, runs; without it films are GIFs alone."""
    advice = (
        "films are written as GIF alone; pip install --force-reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg"
    )
    try:
        path = (program or import_module("imageio_ffmpeg").get_ffmpeg_exe)()
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60, check=True)
        return Finding("ffmpeg", OK, " ".join(done.stdout.split()[:3]))
    except Exception as error:
        return Finding("ffmpeg", WARNING, f"does not run: {one_line(error)}", advice)


def gpu(torch: Any = None, has_driver: Callable[[], bool] | None = None) -> Finding:
    """What CUDA device torch sees, and that it computes; a driver without a torch that can use it is a warning."""
    try:
        torch = torch or import_module("torch")
        if torch.cuda.is_available():
            name, total = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory
            if float(torch.ones(8, device="cuda").sum()) != 8:
                raise RuntimeError("1 + 1 + ... is wrong there")
            return Finding("gpu", OK, f"{name}, {total / GIB:.0f} GiB, CUDA {torch.version.cuda}")
        built = torch.version.cuda
    except Exception as error:
        return Finding(
            "gpu", PROBLEM, f"does not compute: {one_line(error)}", "use --device cpu; hold nvidia-smi against torch's CUDA"
        )
    if not (has_driver or _has_driver)():
        return Finding("gpu", OK, "none: everything runs on the CPU")
    advice = "install a torch built for CUDA (https://pytorch.org)" if built is None else "update the driver, see nvidia-smi"
    return Finding("gpu", WARNING, f"a driver is there, but torch (CUDA {built or 'left out'}) sees no device", advice)


def memory(available: Callable[[], int] | None = None) -> Finding:
    """Memory that a new process may take."""
    free = (available or _available_memory)()
    found = f"{free / GIB:.1f} GiB free"
    if free < LEAST_MEMORY:
        return Finding("memory", PROBLEM, found, "close other programs, or use a smaller batch", RESOURCES)
    if free < ENOUGH_MEMORY:
        return Finding("memory", WARNING, found, "enough for an audit; a training may want a smaller batch", RESOURCES)
    return Finding("memory", OK, found)


def disk(out: Path, free: Callable[[Path], int] | None = None) -> Finding:
    """Space at the output folder, or where it would be made, and that a file can be written there."""
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    name, elsewhere = f"disk at {out}", "name another folder with --out"
    try:
        if not place.is_dir():
            raise NotADirectoryError(f"{place} is a file")
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0" * 4096)
            file.flush()
        space = (free or _free_space)(place)
    except OSError as error:
        return Finding(name, PROBLEM, f"cannot be written: {one_line(error)}", elsewhere, RESOURCES)
    found = f"{space / GIB:.1f} GiB free"
    if space < LEAST_DISK:
        return Finding(name, PROBLEM, found, f"free some, or {elsewhere}", RESOURCES)
    if space < ENOUGH_DISK:
        return Finding(name, WARNING, found, "enough for results; a training keeps states of up to 2 GiB", RESOURCES)
    return Finding(name, OK, found)


def checkpoints(roots: Sequence[Path] | None = None) -> list[Finding]:
    """Every checkpoint folder that names would be looked up in: its weights have the SHA-256 that its config.json says."""
    try:
        library = import_module("gan_explain.files.checkpoints")
    except Exception as error:
        return [Finding("checkpoints", WARNING, f"not looked at: {one_line(error)}", "mend torch first")]
    folders: dict[Path, Path] = {}
    for root in library.places()[1:] if roots is None else roots:
        for config in sorted(root.glob(f"*/{library.CONFIG}")) if root.is_dir() else ():
            folders.setdefault(config.parent.resolve(), config.parent)
    if not folders:
        advice = "run in the repository, or set GAN_EXPLAIN_CHECKPOINTS to the folder that holds them"
        return [Finding("checkpoints", PROBLEM, "none found", advice, CHECKPOINT)]
    return [_checkpoint(folder, library) for folder in folders.values()]


def _checkpoint(folder: Path, library: Any) -> Finding:
    name = f"checkpoint {folder.name}"
    advice = f"get {folder} again (git checkout, or the archive that it came from)"
    try:
        config = library.read_config(folder)
        with open(folder / library.WEIGHTS, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        return Finding(name, PROBLEM, one_line(error), advice, CHECKPOINT)
    if digest != config["sha256"]:
        found = f"{folder / library.WEIGHTS}: SHA-256 {digest[:12]}..., expected {config['sha256'][:12]}..."
        return Finding(name, PROBLEM, found, advice, CHECKPOINT)
    return Finding(name, OK, f"{digest[:12]}: {', '.join(sorted(config['parts']))}")


def _required(requires: Sequence[str] | None, extra: str) -> dict[str, str] | None:
    """Least version by package, of the extra ("": of what is always needed); None where the package is not installed."""
    if requires is None:
        try:
            requires = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            return None
    wanted = {}
    for line in requires:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)\s*(?:;\s*extra\s*==\s*[\"'](\w+)[\"'])?", line.strip())
        if match and (match[3] or "") == extra:
            wanted[match[1]] = match[2]
    return wanted


def _fault(name: str, least: str, version: Version) -> tuple[str, str] | None:
    """What is wrong with an installed package, and what pip is to install; None where nothing is."""
    try:
        found = version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is not installed", f"{name}>={least}"
    return (f"{name} {found}, expected {least} or newer", f"{name}>={least}") if _numbers(found) < _numbers(least) else None


def _numbers(version: str) -> tuple[int, ...]:
    """ "2.15.0+cpu" -> (2, 15): as far as there are numbers, zeros at the end left out."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while len(numbers) > 2 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _free_space(place: Path) -> int:
    return shutil.disk_usage(place).free


def _has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _available_memory(proc: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that are free, as far as the container's limit allows."""
    try:
        lines = dict(line.split(":", 1) for line in proc.read_text().splitlines() if ":" in line)
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        left = int((groups / "memory.max").read_text()) - int((groups / "memory.current").read_text())
        return min(free, left)
    except (OSError, ValueError):  # no limit: "max", or no cgroup
        return free


def as_json(findings: Sequence[Finding]) -> Mapping[str, Any]:
    checks = [{"name": each.name, "state": each.state, "found": each.found, "advice": each.advice} for each in findings]
    return {"ok": worst(findings) == 0, "exit": worst(findings), "checks": checks}
