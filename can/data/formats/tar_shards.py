"""`wds:FILES`: images in tar archives, as webdataset writes them.

The files of a sample follow each other in an archive and share a name up to the first dot: `0001.jpg`, `0001.cls`. A
`.cls` file has the class, a number or a name; so may a `.json` file, under `label`. Where no sample has one, the
folders in the names are splits and classes, as `folder:` takes them. webdataset itself reads archives from their
beginning only; an exact resume needs single images, so the places of the samples are found once and kept under
`data_dir`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from can.data.contents import content_hashes, hashes_kept, state_of
from can.data.formats.files import shuffle_key
from can.data.formats.layout import TRAIN, label_of, layout_of
from can.data.formats.named_columns import Asked
from can.data.formats.numbered import number_labels
from can.data.formats.shards import by_split, files_of
from can.data.formats.tar_index import Sample, samples_of
from can.data.image_set import EncodedImages, ImageSet, sha256_of
from can.data.small_sets import decode_if_small
from can.errors import DataError

_CLASS_NAMES = "classnames.txt"  # a line a class, beside the archives or one folder above

Found = tuple[str, Path, Sample]  # the name that orders a set, the archive, the sample


@dataclass(frozen=True)
class TarRecords:
    """Images in tar archives, each read from its place; `labels` is None where the set is unlabelled."""

    samples: Sequence[tuple[Path, str, int, int]]  # archive, name, first byte, number of bytes
    labels: Int32[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        path, _, start, size = self.samples[index]
        try:
            with path.open("rb") as archive:
                archive.seek(start)
                return archive.read(size), self.label(index)
        except OSError as error:
            raise DataError(f"{self.describe(index)} cannot be read: {error.strerror}") from error

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return None if self.labels is None else int(self.labels[index])

    def describe(self, index: int) -> str:
        """See `Records`."""
        path, name, _, _ = self.samples[index]
        return f"{path}/{name}"


def load_tars(name: str, pattern: str, asked: Asked, data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits of tar archives: by the archives' names, or by the folders in them where no sample has a class.

    Raises:
      UserError: braces in `pattern` need a package that is not installed.
      DataError: an archive is missing or damaged, there are no images, or only some have a class.
    """
    archives = by_split(files_of(pattern, ".tar"), pattern)
    found = {
        split: [(archive, sample) for archive in of for sample in samples_of(archive, asked, data_dir)]
        for split, of in archives.items()
    }
    labelled = any(sample.label is not None for samples in found.values() for _, sample in samples)
    splits, raw, names = _by_files(found, archives) if labelled else _by_folders(found, pattern, asked)
    numbered = number_labels(raw, names, pattern)
    hashes = {
        file: digest.hex()
        for of in archives.values()
        for file, digest in zip(
            of, content_hashes([(file, state_of(file.stat())) for file in of], str(of[0]), data_dir), strict=True
        )
    }
    sets = {}
    for split, samples in splits.items():
        labels = numbered.labels[split]
        fingerprint = sha256_of(
            *((order, hashes[archive], *sample) for order, archive, sample in samples), *numbered.names
        )
        sets[split] = EncodedImages(
            name=name,
            split=split,
            num_classes=None if labels is None else numbered.num_classes,
            class_names=() if labels is None else numbered.names,
            fingerprint=fingerprint,
            records=TarRecords([(archive, *sample[:3]) for _, archive, sample in samples], labels),
            hashes=hashes_kept(data_dir, fingerprint),
        )
    return decode_if_small(sets, data_dir)


def _ordered(samples: Sequence[Found]) -> list[Found]:
    """In the order of a hash of the names, as the images of a folder are, and of their places where names are equal."""
    return sorted(samples, key=lambda found: (shuffle_key(found[0]), found[1], found[2].start))


def _by_files(
    found: Mapping[str, Sequence[tuple[Path, Sample]]], archives: Mapping[str, Sequence[Path]]
) -> tuple[dict[str, list[Found]], dict[str, list[int | str | None]], tuple[str, ...]]:
    """The splits in order, the labels of their samples, and what numbers are called."""
    splits = {
        split: _ordered([(sample.name, *of) for of in samples for sample in [of[1]]])
        for split, samples in found.items()
        if samples
    }
    raw = {split: [sample.label for _, _, sample in samples] for split, samples in splits.items()}
    if any(isinstance(label, str) for labels in raw.values() for label in labels):
        return splits, raw, ()
    folders = dict.fromkeys(folder for of in archives.values() for file in of for folder in file.parents[:2])
    path = next((folder / _CLASS_NAMES for folder in folders if (folder / _CLASS_NAMES).is_file()), None)
    return splits, raw, tuple(path.read_text().splitlines()) if path else ()


def _by_folders(
    found: Mapping[str, Sequence[tuple[Path, Sample]]], where: str, asked: Asked
) -> tuple[dict[str, list[Found]], dict[str, list[int | str | None]], tuple[str, ...]]:
    """As `_by_files`, where folders in the archives are classes, and splits if the archives' names say none."""
    whole: dict[str, list[tuple[Path, Sample]]] = {}
    for split, samples in found.items():
        for archive, sample in samples:
            name = sample.name if [*found] == [TRAIN] else f"{split}/{sample.name}"
            whole.setdefault(name, []).append((archive, sample))
    layout = layout_of(whole, where)
    splits = {
        split: _ordered([(below, *of) for below, name in names.items() for of in whole[name]])
        for split, names in layout.splits.items()
    }
    classes = {} if asked.label == "" else {folder: number for number, folder in enumerate(layout.classes)}
    raw: dict[str, list[int | str | None]] = {
        split: [label_of(below, classes) for below, _, _ in samples] for split, samples in splits.items()
    }
    return splits, raw, layout.classes if classes else ()
