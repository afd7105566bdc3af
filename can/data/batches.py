"""Batches of uint8 images; which images a batch holds, and how they are cropped, is a function of (seed, step)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grain
import numpy as np
from absl import flags, logging
from jaxtyping import Bool, Int32, UInt8

from can.data.crops import center_crop, random_resized_crops, resized
from can.data.decode import decode_rgb
from can.data.image_set import ArrayImages, EncodedImages, ImageSet
from can.data.workers import FromWorkers
from can.errors import ConfigError, DataError
from can.system.parent import end_with_parent

Batch = dict[str, UInt8[np.ndarray, "..."] | Int32[np.ndarray, " batch"] | Bool[np.ndarray, " batch"]]

_PREFETCHED_ARRAYS = 4  # batches made ahead of the step
_TRIES = 4  # images for one place of a batch, where damaged ones are skipped
_PREFETCHED_CROPS = 2  # these are large, and two in the making keep every thread busy


def batches(
    image_set: ImageSet,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    views: int = 1,
    image_size: int,
    crop_area: tuple[float, float] | None = (0.08, 1.0),
    workers: int = 0,
    rows: Sequence[int] | None = None,
    skip_bad: bool = False,
) -> grain.DatasetIterator[Batch] | FromWorkers[Batch]:
    """Endless training batches, shuffled anew each epoch and prefetched in the background.

    Batches run on over the end of an epoch, so none is short and a set may be smaller than a batch. The iterator of
    `start_step=k` yields exactly the batches k, k+1, ... of one that starts at 0, random crops included.

    Args:
      image_set: what `load` returned.
      batch_size: images a step, over all processes.
      seed: of the order and of the crops; 0 or more.
      start_step: the step of the first batch.
      views: crops of each image (of `EncodedImages`).
      image_size: pixels a side of the crops (of `EncodedImages`).
      crop_area: smallest and largest share of the image's area in a crop (of `EncodedImages`); None: no random crops,
        but the evaluation view of each image, of both kinds of sets.
      workers: processes that decode (`EncodedImages`); 0 decodes in threads of this one.
      rows: which rows of each batch to read and yield, ascending: a host's (`can.sharding.local_rows`); None: all.
      skip_bad: another image, chosen by seed and place alone, stands in for a damaged one (of `EncodedImages`, with
        `crop_area`), which a warning names; the batch then says which they are: `skipped`, bool [batch].

    Returns:
      An iterator over dictionaries of `image`, uint8: [batch, height, width, 3] at the stored size for `ArrayImages`
      (crops are made on the device), [batch, views, image_size, image_size, 3] random-resized crops for
      `EncodedImages`, [batch, image_size, image_size, 3] without `crop_area`; and `label`, int32 [batch], if the set is
      labelled.

    Raises:
      ConfigError: `batch_size` is not positive, or `crop_area` is out of range.
      DataError: (on iterating) an image is damaged; names it. With `skip_bad`: several that were tried in its place.
      UserError: (on iterating) one of the `workers` is gone.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
    if crop_area is not None and not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise ConfigError(f"crop_area must satisfy 0 < smallest <= largest <= 1, not {crop_area}")
    order = _order(image_set, seed)
    window = _Window(batch_size, tuple(range(batch_size) if rows is None else rows))
    steps = grain.MapDataset.range(start_step, sys.maxsize)
    threads = 1 if workers else os.cpu_count() or 1
    if isinstance(image_set, ArrayImages):
        uncropped = _Gather(image_set, order, window)
        made = steps.map(uncropped if crop_area else _EvalViews(image_set, order, window, image_size, threads))
        return iter(made.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=_PREFETCHED_ARRAYS)))
    assert isinstance(image_set, EncodedImages)
    crop = (
        _Crop(image_set, order, window, seed, views, image_size, crop_area, threads, skip_bad)
        if crop_area
        else _EvalViews(image_set, order, window, image_size, threads)
    )
    if workers:
        if not flags.FLAGS.is_parsed():  # grain reads flags of its own, which only absl's app.run parses
            flags.FLAGS.mark_as_parsed()
        made = steps.map(crop).to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
        processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
        return FromWorkers(iter(made.mp_prefetch(processes)))
    return iter(
        steps.map(crop).to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=_PREFETCHED_CROPS))
    )


def places_in_batch(image_set: ImageSet, *, batch_size: int, seed: int, step: int) -> list[int]:
    """Which images of the set the batch of a step has, in its order; see `batches`."""
    order = _order(image_set, seed)
    return [int(order[position]) for position in _Window(batch_size, tuple(range(batch_size))).positions(step)]


def _order(image_set: ImageSet, seed: int) -> grain.MapDataset:
    """The endless order of a set's images: grain's repeat counts epochs, and its shuffle takes a new seed in each."""
    return grain.MapDataset.range(len(image_set)).seed(seed).shuffle().repeat()


@dataclass(frozen=True)
class _Window:
    """Which samples of the endless shuffled order this process sees in a step."""

    batch_size: int
    rows: tuple[int, ...]

    def positions(self, step: int) -> list[int]:
        start = step * self.batch_size
        return [start + row for row in self.rows]


@dataclass(frozen=True)
class _Gather:
    """Step -> a batch out of decoded arrays."""

    images: ArrayImages
    order: grain.MapDataset
    window: _Window

    def __call__(self, step: int) -> Batch:
        chosen = np.array([self.order[position] for position in self.window.positions(step)])
        batch: Batch = {"image": self.images.images[chosen]}
        if self.images.labels is not None:
            batch["label"] = self.images.labels[chosen]
        return batch


@dataclass(frozen=True)
class _Crop:
    """Step -> a batch of random-resized crops, each drawn from a generator of its own position in the order."""

    images: EncodedImages
    order: grain.MapDataset
    window: _Window
    seed: int
    views: int
    image_size: int
    crop_area: tuple[float, float]
    threads: int
    skip_bad: bool

    def __call__(self, step: int) -> Batch:
        end_with_parent()  # a worker would wait for ever for a killed one to take its batch
        positions = self.window.positions(step)
        crops = np.empty((len(positions), self.views, self.image_size, self.image_size, 3), np.uint8)
        labels = np.empty(len(positions), np.int32)
        skipped = np.zeros(len(positions), bool)

        def make(place: int) -> None:
            position = positions[place]
            index, rng = self.order[position], np.random.default_rng((self.seed, position))
            for left in reversed(range(_TRIES if self.skip_bad else 1)):
                data, label = self.images[index]
                what = self.images.describe(index)
                try:
                    crops[place] = random_resized_crops(data, what, self.views, self.image_size, self.crop_area, rng)
                    break
                except DataError as error:
                    if not left:
                        raise
                    logging.warning("skipped: %s", error)
                    skipped[place], index = True, int(rng.integers(len(self.images)))
            labels[place] = -1 if label is None else label

        # simplejpeg and OpenCV release the interpreter's lock while they decode and resize: threads run side by side.
        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(make, range(len(positions))):  # iterating raises what a thread raised
                pass
        batch: Batch = {"image": crops} if self.images.num_classes is None else {"image": crops, "label": labels}
        return batch | {"skipped": skipped} if self.skip_bad else batch


@dataclass(frozen=True)
class _EvalViews:
    """Step -> a batch of evaluation views."""

    images: ImageSet
    order: grain.MapDataset
    window: _Window
    image_size: int
    threads: int

    def __call__(self, step: int) -> Batch:
        end_with_parent()
        chosen = [self.order[position] for position in self.window.positions(step)]
        if isinstance(self.images, ArrayImages):
            return _eval_arrays(self.images, chosen, self.image_size)
        assert isinstance(self.images, EncodedImages)
        return _eval_encoded(self.images, chosen, self.image_size, _shorter_side(self.image_size), 0, self.threads)


def eval_batches(
    image_set: ImageSet,
    *,
    batch_size: int,
    image_size: int,
    resize: int | None = None,
    border: int = 0,
    rows: Sequence[int] | None = None,
) -> Iterator[Batch]:
    """Every image once, in order, in one evaluation view; the last batch may be short.

    Args:
      image_set: what `load` returned.
      batch_size: images a batch.
      image_size: pixels a side of the images in the batches.
      resize: of `EncodedImages`: what the shorter side is scaled to before the central `image_size` pixels are cut
        out; the usual 256 for 224 in proportion if not given. `ArrayImages` are resized whole.
      border: pixels cut off every side of the stored image before anything else (ObjectNet's have a red frame of 2).
      rows: which rows of each batch to read and yield, as in `batches`; a short last batch lacks some, or all.

    Returns:
      An iterator over dictionaries of `image`, uint8 [batch, image_size, image_size, 3], and `label`, int32 [batch],
      if the set is labelled.

    Raises:
      ConfigError: `resize` is smaller than `image_size`.
      DataError: (on iterating) an image is damaged; names it.
    """
    shorter = _shorter_side(image_size) if resize is None else resize
    if shorter < image_size:
        raise ConfigError(
            f"resize {resize} is smaller than image_size {image_size}: nothing to crop; pass at least that"
        )
    count = len(image_set)
    parts: list[Sequence[int]] = [
        range(start, min(start + batch_size, count))
        if rows is None
        else [start + row for row in rows if start + row < count]
        for start in range(0, count, batch_size)
    ]
    if isinstance(image_set, ArrayImages):
        return (_eval_arrays(image_set, part, image_size, border) for part in parts)
    assert isinstance(image_set, EncodedImages)
    return (_eval_encoded(image_set, part, image_size, shorter, border, os.cpu_count()) for part in parts)


def _shorter_side(image_size: int) -> int:
    """What the shorter side is scaled to for a central crop of `image_size`: the usual 256 for 224 in proportion."""
    return round(image_size * 256 / 224)


def _without_border(images: np.ndarray, border: int) -> np.ndarray:
    """Without the outer `border` pixels of [..., height, width, 3]."""
    height, width = images.shape[-3:-1]
    return images[..., border : height - border, border : width - border, :]


def _eval_arrays(image_set: ArrayImages, chosen: Sequence[int], image_size: int, border: int = 0) -> Batch:
    # A slice copies less than a choice.
    places = slice(chosen.start, chosen.stop) if isinstance(chosen, range) else np.array(chosen, np.int64)
    images = _without_border(image_set.images[places], border)
    if images.shape[1:3] != (image_size, image_size):
        stored, images = images, np.empty((len(images), image_size, image_size, 3), np.uint8)
        for place, image in enumerate(stored):
            images[place] = resized(image, image_size)
    batch: Batch = {"image": np.ascontiguousarray(images)}
    if image_set.labels is not None:
        batch["label"] = image_set.labels[places]
    return batch


def _eval_encoded(
    image_set: EncodedImages, chosen: Sequence[int], image_size: int, shorter: int, border: int, threads: int | None
) -> Batch:
    images = np.empty((len(chosen), image_size, image_size, 3), np.uint8)
    labels = np.empty(len(chosen), np.int32)

    def view(place: int) -> None:
        index = chosen[place]
        data, label = image_set[index]
        image = _without_border(decode_rgb(data, image_set.describe(index)), border)
        images[place], labels[place] = center_crop(image, image_size, shorter), -1 if label is None else label

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(view, range(len(chosen))):  # iterating raises what a thread raised
            pass
    return {"image": images} if image_set.num_classes is None else {"image": images, "label": labels}
