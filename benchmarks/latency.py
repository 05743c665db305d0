"""One transition (reading, layer, 33 frames, the target's response) against 1000 Adam steps and LatentShift, in the same run.

    python benchmarks/latency.py [--generator disease] [--target SPEC] [--steps 1000] [--image FILE] [--full]

Prints a table and, last, one line of JSON. Where the checkpoint has no structure generator, an untrained one is timed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from gan_explain.bench.latency import STEPS, enlarged, full_size, latency
from gan_explain.counterfactual import Radiograph, read_radiograph
from gan_explain.data import open_dataset
from gan_explain.files.checkpoints import find_checkpoint, read_config
from gan_explain.nets.load import load_generator, load_structure
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.pixels import resize
from gan_explain.targets import resolve_target

FULL = (2500, 2048)  # rows and columns of a radiograph as it comes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="disease")
    parser.add_argument("--target", default="checkpoint:cxr128")
    parser.add_argument("--segmenter", default="lungs128")
    parser.add_argument("--image", help="a radiograph; default: a phantom")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=STEPS, help="Adam steps that are really run")
    parser.add_argument("--full", action="store_true", help="time 2500 x 2048 pixels too, frames and films written")
    options = parser.parse_args()
    generator, segmenter = load_generator(options.generator), load_segmenter(options.segmenter)
    target = resolve_target(options.target, segmenter=segmenter)
    structures = _structures(options.generator)
    size = structures.config.resolution
    if options.image:
        shown = read_radiograph(options.image, segmenter=segmenter)
        image = resize(shown.image, size).clamp(0, 1)
    else:
        image = open_dataset("phantom:n=4,covid=0.5", size=size).batch([0]).images
    with torch.no_grad():
        radiograph = Radiograph(options.image or "phantom", image, segmenter(image).to(image), "", {"kept": [size, size]})
    found = latency(generator, structures, target, radiograph, repeats=options.repeats, optimise_steps=options.steps)
    facts = found.as_dict()
    scaled = f" (in proportion to {STEPS})" if found.extrapolated else ""
    print(
        f"reading, layer, {found.frames} frames, response  {found.transition:8.3f} s   [{found.fastest:.3f}, {found.slowest:.3f}]"
    )
    print(f"{found.steps_run:4d} Adam steps on (z1, z2)          {found.optimisation:8.3f} s   {found.speedup:.0f}x{scaled}")
    if found.latent_shift is not None:
        print(f"LatentShift, 224 px, 20 frames        {found.latent_shift:8.3f} s   {found.speedup_latent_shift:.1f}x")
    print(f"{found.resolution} px, {found.device}, {found.threads} threads")
    if options.full:
        with tempfile.TemporaryDirectory() as folder:
            made, written = full_size(generator, target, enlarged(radiograph, *FULL), Path(folder) / "out")
        print(f"{FULL[1]} x {FULL[0]} px: {made:.1f} s, and {written:.1f} s to write frames and films")
        facts |= {"full_transition": made, "full_writing": written}
    print(json.dumps(facts))


def _structures(checkpoint: str) -> StructureGenerator:
    if "structure" in read_config(find_checkpoint(checkpoint))["parts"]:
        return load_structure(checkpoint)
    return StructureGenerator(StructureConfig(resolution=256)).requires_grad_(False).eval()


if __name__ == "__main__":
    main()
