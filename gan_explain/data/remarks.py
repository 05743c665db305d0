"""What the pixels of a dataset say, every file read once: borders that are cut off, one image in two files."""

from __future__ import annotations

from collections import defaultdict

from gan_explain.data.dataset import Dataset, FileReader
from gan_explain.image import digest_of, read_image, trim_box
from gan_explain.types import Record


def pixel_remarks(dataset: Dataset) -> list[str]:
    """How many images lose uniform borders, and how many show the same pixels as another, whatever their files hold beside them.
    Nothing of a dataset that is not made of files."""
    reader = dataset.memory.reader
    if not isinstance(reader, FileReader):
        return []
    cut: list[float] = []
    same: defaultdict[str, list[Record]] = defaultdict(list)
    for record in dataset.records:
        array = read_image(dataset.root / record.path)
        kept = array[trim_box(array)] if reader.trim else array
        cut.append(1 - kept.size / array.size)
        same[f"{array.shape} {digest_of(array)}"].append(record)
    trimmed = sum(share > 0 for share in cut)
    groups = [each for each in same.values() if len(each) > 1]
    across = sum(len({record.split for record in each}) > 1 for each in groups)
    told = [f"{trimmed} images lose uniform borders, up to {max(cut):.0%} of one"] if trimmed else []
    if groups:
        count = sum(len(each) - 1 for each in groups)
        told.append(f"{count} images show the same pixels as others" + (f", {across} of them in two splits" if across else ""))
    return told
