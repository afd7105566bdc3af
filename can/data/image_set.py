"""What a loaded data set is: decoded arrays that fit in memory, or encoded images that are read one by one."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8

from can.data.contents import image_hashes
from can.errors import DataError

Images = UInt8[np.ndarray, "n height width 3"]
Labels = Int32[np.ndarray, " n"]


@runtime_checkable
class Records(Protocol):
    """Random access to encoded images; reads happen in `__getitem__`, from any thread or process."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """The file's bytes (JPEG, PNG, ...) and its label, None where the set has none."""
        ...

    def label(self, index: int) -> int | None:
        """The label alone, without a read of the image where the two do not lie together."""
        ...

    def describe(self, index: int) -> str:
        """Where the image came from (a path, a record number), for error messages."""
        ...


@dataclass(frozen=True)
class ImageSet:
    """A split of a data set; `ArrayImages` or `EncodedImages`.

    Attributes:
      name: the name it was loaded under, "fashion_mnist".
      split: the split as it was asked for, "train[:55000]".
      num_classes: None where the set has no labels.
      class_names: one name a class, in the order of the labels; empty where unknown.
      fingerprint: hexadecimal sha256 of the content; equal fingerprints mean equal images in equal order.
      shares: of a set that is put together, where its images are from and what share of them; else empty.
    """

    name: str
    split: str
    num_classes: int | None
    class_names: tuple[str, ...]
    fingerprint: str
    shares: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, split: str, pieces: Sequence[tuple[int, int]]) -> ImageSet:
        """The images of the half-open ranges `pieces`, in that order, as the split `split`."""
        raise NotImplementedError

    def without_labels(self) -> ImageSet:
        """The same images as an unlabelled set."""
        raise NotImplementedError

    def contents(self) -> Sequence[Hashable] | None:
        """A value for each image, equal for equal images; None where nobody can say cheaply."""
        raise NotImplementedError

    def _fingerprint_of(self, split: str, pieces: Sequence[tuple[int, int]]) -> str:
        if not sum(high - low for low, high in pieces):
            raise DataError(f"split {split!r} of {self.name} holds no images: the whole split has {len(self)}")
        return sha256_of(self.fingerprint, *pieces)


@dataclass(frozen=True)
class ArrayImages(ImageSet):
    """Decoded images of one size, memory-mapped; grey sets are stored with three equal channels.

    Attributes:
      images: uint8 [n, height, width, 3], RGB.
      labels: int32 [n], or None.
    """

    images: Images
    labels: Labels | None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[-1] != 3:
            raise DataError(
                f"{self.name}: images must be uint8 [n, height, width, 3], not {self.images.dtype} {self.images.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, split: str, pieces: Sequence[tuple[int, int]]) -> ArrayImages:
        """See `ImageSet.take`; one range is a view of the memory map, several are copied together."""
        fingerprint = self._fingerprint_of(split, pieces)

        def cut(array: np.ndarray) -> np.ndarray:
            parts = [array[low:high] for low, high in pieces]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        labels = None if self.labels is None else cut(self.labels)
        return dataclasses.replace(
            self, split=split, fingerprint=fingerprint, images=cut(self.images), labels=labels, shares={}
        )

    def without_labels(self) -> ArrayImages:
        """See `ImageSet.without_labels`."""
        return dataclasses.replace(self, labels=None, num_classes=None, class_names=())

    def contents(self) -> Sequence[Hashable]:
        """See `ImageSet.contents`; of the pixels."""
        return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in self.images]


@dataclass(frozen=True)
class EncodedImages(ImageSet):
    """Encoded images of any size (JPEG, PNG), read when they are asked for.

    Attributes:
      records: where the bytes and labels come from.
      pieces: the half-open ranges of `records` that this split is made of.
      hashes: where the hashes of all images of `records` are kept, if these do not know them.
    """

    records: Records
    pieces: tuple[tuple[int, int], ...] = ()
    hashes: Path | None = None

    def __post_init__(self) -> None:
        if not self.pieces:
            object.__setattr__(self, "pieces", ((0, len(self.records)),))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """The encoded bytes and the label (None if the set is unlabelled) of image `index`.

        Raises DataError if it cannot be read, or has a label that is none of the classes'.
        """
        data, label = self.records[self._record(index)]
        return data, self._checked(label, index)

    def label(self, index: int) -> int | None:
        """The label of image `index` (None if the set is unlabelled); errors as of `__getitem__`."""
        return None if self.num_classes is None else self._checked(self.records.label(self._record(index)), index)

    def describe(self, index: int) -> str:
        """Where image `index` came from, for error messages."""
        return self.records.describe(self._record(index))

    def take(self, split: str, pieces: Sequence[tuple[int, int]]) -> EncodedImages:
        """See `ImageSet.take`."""
        fingerprint = self._fingerprint_of(split, pieces)
        inner = tuple(part for low, high in pieces for part in self._overlaps(low, high))
        return dataclasses.replace(self, split=split, fingerprint=fingerprint, pieces=inner)

    def without_labels(self) -> EncodedImages:
        """See `ImageSet.without_labels`."""
        return dataclasses.replace(self, num_classes=None, class_names=())

    def contents(self) -> Sequence[Hashable] | None:
        """See `ImageSet.contents`; of the files, or of the images that they hold, which are read for it once."""
        known: Sequence[Hashable] = getattr(self.records, "contents", ())
        if not known and self.hashes is not None:
            what = f"{self.name} {self.split}"
            known = image_hashes(lambda index: self.records[index][0], len(self.records), self.hashes, what)
        return [known[index] for low, high in self.pieces for index in range(low, high)] if known else None

    def _overlaps(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The ranges of `records` that hold the images low .. high - 1 of this split."""
        start = 0  # of the current piece, among this split's images
        for first, last in self.pieces:
            begin, end = max(low - start, 0), min(high - start, last - first)
            if begin < end:
                yield first + begin, first + end
            start += last - first

    def _checked(self, label: int | None, index: int) -> int | None:
        if self.num_classes is None:
            return None
        if label is not None and not 0 <= label < self.num_classes:
            raise DataError(
                f"{self.describe(index)} has the label {label}, and there are {self.num_classes} classes: "
                "take a split whose labels are published"
            )
        return label

    def _record(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} is beyond the end of {self.name} {self.split}")
        piece = bisect.bisect_right(self._starts, index) - 1
        return self.pieces[piece][0] + index - self._starts[piece]

    @cached_property
    def _starts(self) -> list[int]:
        """Where each piece begins, among this split's images; a few-shot choice has thousands of pieces."""
        return [0, *itertools.accumulate(high - low for low, high in self.pieces)]


def sha256_of(*parts: object) -> str:
    """Hexadecimal sha256 of the parts' text, each ended by a zero byte so that no two lists of parts run together.

    Names of files that are not UTF-8 are themselves.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(part).encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()
