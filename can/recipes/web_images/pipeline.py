"""The Beam pipeline from shards to examples: the same examples whatever the runner, its workers and their retries.

What is counted passes through the pipeline's own combinations, which are exact where a worker's counters are not: a
runner may do a piece of work twice.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import cv2
from absl import logging
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from can.data.image_set import sha256_of
from can.errors import DataError
from can.recipes.web_images import beam_files
from can.recipes.web_images.duplicates import Place, first_and_count
from can.recipes.web_images.looks import Limits, Look, look_at, reason_to_drop, scaled_down
from can.recipes.web_images.shards import ENDINGS, CutShard, Shard, endings_of, name_shards, no_shards, read_shard
from can.recipes.web_images.tally import FILE, tally

Example = tuple[str, dict[str, Any]]


class Looked(NamedTuple):
    """A shard's images, as far as it could be read, and why no further; empty if it is whole."""

    shard: Shard
    looks: list[Look]
    cut: str


def find_shards(sources: Sequence[str]) -> list[Shard]:
    """The shards in these folders and of these patterns, on any file system that Beam reads.

    Other files that lie in these folders are counted in a line. Raises DataError if there are none, or a place cannot
    be read.
    """
    patterns = [source if source.endswith(ENDINGS) else FileSystems.join(source, "*") for source in sources]
    try:
        matches = FileSystems.match(patterns)
    except BeamIOError as error:
        raise DataError(f"{', '.join(sources)} cannot be read ({error}): pass another --source") from error
    files = [
        (file.path, file.size_in_bytes, file.last_updated_in_seconds) for one in matches for file in one.metadata_list
    ]
    odd = [path for path, _, _ in files if beam_files.is_odd(path)]
    if odd:
        logging.warning("left out, since they are no regular files: %s", ", ".join(odd))
    files = [file for file in files if file[0] not in odd]
    if not (shards := name_shards(files)):
        raise no_shards(sources)
    taken = {shard.path for shard in shards}
    if left_out := Counter(endings_of(path) for path, _, _ in files if path not in taken):
        counts = ", ".join(f"{count} {ending}" for ending, count in sorted(left_out.items()))
        logging.warning("left out of %s, as they are no shards: %s", ", ".join(sources), counts)
    return shards


class WebImages(beam.PTransform):
    """From nothing to the (key, example) pairs that TFDS writes.

    The tally is at `work/dropped.json` before the first image is copied, and each shard's looks are kept in `work`: a
    pipeline that is started again does not look at these shards again.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        limits: Limits,
        excluded: frozenset[int],
        work: str,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._shards = shards
        self._limits = limits
        self._excluded = excluded
        self._work = work
        self._settings = settings

    def expand(self, pipeline: Any) -> Any:
        """See `beam.PTransform`."""
        looked = (
            pipeline
            | "Shards" >> beam.Create(self._shards, reshuffle=True)
            | "Look" >> beam.Map(_look_over, self._work)
        )
        candidates = looked | "Candidates" >> beam.FlatMap(_candidates, self._limits, self._excluded)
        unique = candidates | "FirstOfEqualPixels" >> beam.CombinePerKey(first_and_count)
        kept = (
            unique
            | "Likeness" >> beam.MapTuple(lambda _, found: (found[0].likeness, (found[0], 1)))
            | "FirstOfEqualHash" >> beam.CombinePerKey(first_and_count)
        )
        counts = [
            looked | "CountLooks" >> beam.FlatMap(_counts, self._limits, self._excluded),
            unique | "CountDuplicates" >> beam.MapTuple(lambda _, found: ("duplicate", found[1] - 1)),
            kept | "CountNear" >> beam.MapTuple(lambda _, found: ("near duplicate", found[1] - 1)),
            kept | "CountKept" >> beam.Map(lambda _: ("kept", 1)),
        ]
        total = counts | beam.Flatten() | beam.CombinePerKey(sum) | "Totals" >> beam.combiners.ToDict()
        cut = looked | "Cut" >> beam.FlatMap(_cut) | "AllCut" >> beam.combiners.ToDict()
        told = total | "Tell" >> beam.Map(
            _write_tally, beam.pvalue.AsSingleton(cut), len(self._shards), self._settings, f"{self._work}/{FILE}"
        )
        return (
            kept
            | "Place" >> beam.MapTuple(lambda _, found: ((found[0].shard, found[0].path), found[0].number))
            | "Wanted" >> beam.GroupByKey()
            | "Copy" >> beam.FlatMap(_copy, self._limits.max_side, beam.pvalue.AsSingleton(told))
        )


def _look_over(shard: Shard, work: str) -> Looked:
    """Looks at a shard's images, unless that was done and kept in `work`."""
    notes = f"{work}/{sha256_of(*shard)}.json"
    if (noted := beam_files.read_json(notes)) is not None:
        return Looked(shard, [Look(*look) for look in noted], "")
    cv2.setNumThreads(1)  # the workers share the cores
    looks: list[Look] = []
    try:
        with beam_files.opened(shard.path) as file:
            for name, data in read_shard(file, shard.name):
                looks.append(look_at(name, data))
    except (CutShard, BeamIOError, OSError) as error:  # not noted: the next start may be able to read it
        return Looked(shard, looks, str(error))
    beam_files.write_json(notes, looks)
    return Looked(shard, looks, "")


def _candidates(looked: Looked, limits: Limits, excluded: frozenset[int]) -> Iterator[tuple[str, tuple[Place, int]]]:
    """By its pixels, each image that nothing speaks against by itself."""
    for index, look in enumerate(looked.looks):
        if reason_to_drop(look, limits, excluded) is None:
            yield look.pixels, (Place(looked.shard.name, index, looked.shard.path, look.likeness), 1)


def _counts(looked: Looked, limits: Limits, excluded: frozenset[int]) -> Iterator[tuple[str, int]]:
    """The images of a shard, and those that give a reason by themselves."""
    reasons = Counter(reason_to_drop(look, limits, excluded) for look in looked.looks)
    yield "read", len(looked.looks)
    yield from ((reason, count) for reason, count in reasons.items() if reason is not None)


def _cut(looked: Looked) -> Iterator[tuple[str, str]]:
    if looked.cut:
        yield looked.shard.name, looked.cut


def _write_tally(
    counts: Mapping[str, int], cut: Mapping[str, str], shards: int, settings: Mapping[str, Any], path: str
) -> str:
    beam_files.write_json(path, tally(counts, shards, cut, settings))
    return path


def _copy(wanted: tuple[tuple[str, str], Iterable[int]], max_side: int, told: str) -> Iterator[Example]:
    """The wanted images of a shard. `told` is where the tally is; nothing is copied before it is there."""
    del told
    (name, path), indices = wanted
    left = set(indices)
    with contextlib.suppress(CutShard), beam_files.opened(path) as file:
        for index, (member, data) in enumerate(read_shard(file, name)):
            if index in left and isinstance(data, bytes):
                left.remove(index)
                key = f"{name}/{member}"
                yield f"{name}/{index}", {"image": scaled_down(data, max_side, key), "key": key}
            if not left:
                break
    if left:
        raise DataError(f"{path} has changed since it was looked at: start the same command again")
