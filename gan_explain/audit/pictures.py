"""The pictures that go into a report, as they lie on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gan_explain.evaluate.gathered import Picture
from gan_explain.files.temporaries import write_bytes
from gan_explain.image import read_image, write_png16
from gan_explain.types import DataError

FOLDER, INDEX = "pictures", "pictures.json"


def on_grid(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    """A layer (H, W) >= 0 on the 16-bit grid on which it is saved: white is its maximum."""
    scale = float(layer.max()) or 1.0
    levels: NDArray[np.float32] = np.round(layer / scale * 65535).astype(np.float32) / np.float32(65535)
    return levels * np.float32(scale)


def save_pictures(pictures: Sequence[Picture], directory: str | os.PathLike[str]) -> None:
    """Writes pictures/ID.WAY.structure.png and .layer.png (16 bit; white is `scale`), and pictures/pictures.json."""
    folder = Path(directory) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for picture in pictures:
        scale = float(picture.layer.max()) or 1.0
        name = f"{picture.id}.{picture.way}"
        write_png16(torch.from_numpy(picture.structure), folder / f"{name}.structure.png")
        write_png16(torch.from_numpy(picture.layer / scale), folder / f"{name}.layer.png")
        fields = {key: value for key, value in asdict(picture).items() if key not in ("structure", "layer")}
        entries.append({**fields, "scale": scale, "probability": list(picture.probability)})
    write_bytes(folder / INDEX, (json.dumps(entries, indent=1, allow_nan=False) + "\n").encode())


def load_pictures(directory: str | os.PathLike[str]) -> list[Picture]:
    """What `save_pictures` wrote. DataError, naming the file, for anything else."""
    folder = Path(directory) / FOLDER
    path = folder / INDEX
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = []
        for entry in entries:
            scale = float(entry.pop("scale"))
            name = f"{entry['id']}.{entry['way']}"
            if Path(name).name != name:
                raise ValueError(f"picture {name!r}")
            structure = read_image(folder / f"{name}.structure.png")
            layer = read_image(folder / f"{name}.layer.png") * np.float32(scale)
            found.append(Picture(structure=structure, layer=layer, **entry))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected the pictures of an audit, got: {error}") from error
    return found
