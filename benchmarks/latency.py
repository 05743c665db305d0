"""One transition (layer, 33 frames, the target's response) against 1000 Adam steps on (z1, z2), in the same run.

    python benchmarks/latency.py [--checkpoint cxr128] [--steps 1000] [--image FILE]

Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json

import torch

from gan_explain.bench.latency import STEPS, latency
from gan_explain.checkpoints import load_generator, load_synthesis
from gan_explain.data import open_dataset
from gan_explain.image import prepare, read_image
from gan_explain.segmenter import load_segmenter
from gan_explain.targets import resolve_target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="cxr128")
    parser.add_argument("--segmenter", default="lungs128")
    parser.add_argument("--image", help="a radiograph; default: a phantom")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=STEPS, help="Adam steps that are really run")
    options = parser.parse_args()
    generator, synthesis = load_generator(options.checkpoint), load_synthesis(options.checkpoint)
    segmenter = load_segmenter(options.segmenter)
    target = resolve_target(f"checkpoint:{options.checkpoint}", segmenter=segmenter)
    size = generator.resolution
    if options.image:
        image = prepare(read_image(options.image), size)[None]
    else:
        image = open_dataset("phantom:n=4,covid=0.5", size=size).batch([0]).images
    with torch.no_grad():
        lungs = segmenter(image)
    found = latency(generator, synthesis, target, image, lungs, options.repeats, options.steps)
    scaled = f" (in proportion to {STEPS})" if found.extrapolated else ""
    print(f"layer, {found.frames} frames, response   {found.transition:8.3f} s   [{found.fastest:.3f}, {found.slowest:.3f}]")
    print(f"{found.steps_run} Adam steps on (z1, z2)  {found.optimisation:8.3f} s")
    print(f"faster by {found.speedup:.0f}x{scaled}; {found.resolution} px, {found.device}, {found.threads} threads")
    print(json.dumps(found.as_dict()))


if __name__ == "__main__":
    main()
