"""Benchmarks of whole procedures, one a file: options in a dataclass `Options`, and a function `bench(given, options)`.

`gan-explain bench NAME` runs any that is listed here; what it is given and what it gives back is in `bench.given`.
"""

BENCHMARKS = {
    "augment": "Do synthetic positives help where real ones are few?",
    "boxes": "Do maps point at what radiologists boxed?",
    "crop": "Does it help to show a CNN the lungs alone, or the square round them?",
    "dice": "How well do segmenters find the lungs that humans drew?",
    "explainers": "Every heat-map method on the same images, measured.",
    "healed": "Does a healed pneumonia look normal to a classifier that the generator never met?",
    "latency": "How long does a transition take, beside optimisation and LatentShift?",
    "lungs": "Does Grad-CAM lie in the lungs, and does p follow what lies outside?",
    "progression": "Do measures agree over a patient's days, under CNNs that never saw the patient?",
    "shortcuts": "Does the shortcut score find CNNs with a planted shortcut?",
    "spectral": "Does spectral importance help as augmentation?",
    "translation": "What does a CycleGAN change, and does a CNN follow?",
}
LIMITED = ("explainers", "healed")  # those that take --limit
SHARED_OUT = ("augment", "crop", "spectral")  # those that take --shard
