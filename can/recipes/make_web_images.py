"""Makes an unlabelled set out of images of the web that are fetched already: decoded, filtered, without duplicates.

    pip install -e '.[web]'
    python -m can.recipes.make_web_images --source=SHARDS --data_dir=~/.cache/can
    python experiments/pretrain.py --uncurated=web_images

SHARDS is img2dataset's output: a folder of .tar (or .tar.gz, .tgz) or .parquet files, or a pattern such as
'SHARDS/0*.tar'; several are separated by commas. An image is kept as it is unless --max_side is given. It is left out,
for the first of these reasons that holds, if it is no image of its own (hidden, `0.seg.png` beside `0.jpg`, a row
without bytes), damaged, too small, too long, flat, like an image of a set in --exclude, equal to an
earlier image in all pixels, or equal to an earlier one in its perceptual hash. What was left out and why is printed and
lies beside the set, in dropped.json.

Apache Beam does it: on this machine, or where --beam_options says. A command that was stopped is started again and goes
on behind the shards that it had looked at; the set is the same, and appears when it is whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from can.data.decode import decode_rgb
from can.data.formats.tfds_records import prepare_tfds, write_tfds
from can.data.image_set import ArrayImages, EncodedImages
from can.data.prepared import prepare_once
from can.data.registry import DEFAULT_DATA_DIR, load
from can.errors import ConfigError, DataError, UserError
from can.recipes.perceptual_hash import perceptual_hash
from can.recipes.web_images import tally
from can.recipes.web_images.looks import Limits
from can.system.files import write_json

VERSION = "1.0.0"
_NAME = re.compile(r"[a-z][a-z0-9_]*")  # what TFDS takes


def make_web_images(
    sources: Sequence[str],
    data_dir: str,
    *,
    name: str = "web_images",
    limits: Limits | None = None,
    exclude: Sequence[str] = (),
    beam_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes the images of `sources` as `data_dir/name/1.0.0`, split `train`; returns what is in its dropped.json.

    Args:
      sources: folders of shards, and patterns.
      data_dir: where `load(name, ...)` will look; may be in a bucket (`gs://...`).
      name: of the set.
      limits: which images are kept.
      exclude: sets that must not be in it, as `load` names them, each with "@" and a split ("imagenet2012@validation").
      beam_options: Beam's own, such as "runner=FlinkRunner".

    Raises:
      ConfigError: the name or a limit cannot be.
      DataError: the set is there already, Beam is missing, there are no shards, or no image is left.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name must be small letters, digits and underscores, not {name!r}")
    limits = limits or Limits()
    try:
        from apache_beam.options.pipeline_options import PipelineOptions

        from can.recipes.web_images import beam_files, pipeline
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is missing: pip install -e '.[web]' installs what this command needs") from error
    target = f"{data_dir}/{name}/{VERSION}"
    work = f"{data_dir}/{name}/.looked"  # a hidden folder is no version of the set
    if tfds.core.Path(target).exists():
        raise DataError(f"{target} exists already: delete it, or pass another --name")
    shards = pipeline.find_shards(sources)
    settings = dataclasses.asdict(limits) | {"exclude": list(exclude)}
    transform = functools.partial(pipeline.WebImages, shards, limits, _excluded(exclude, data_dir), work, settings)
    features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "key": tfds.features.Text()})
    options = PipelineOptions([f"--{option}" for option in beam_options])

    def begin() -> None:
        beam_files.make_folder(work)
        beam_files.delete(f"{work}/{tally.FILE}")  # of a command that was stopped

    def build(temporary: Path) -> None:
        begin()
        write_tfds(name, VERSION, temporary, features, {"train": transform}, options)
        write_json(temporary / tally.FILE, beam_files.read_json(f"{work}/{tally.FILE}"))

    try:
        if "://" in data_dir:
            begin()
            prepare_tfds(name, VERSION, data_dir, features, {"train": transform}, options)
            beam_files.write_json(f"{target}/{tally.FILE}", beam_files.read_json(f"{work}/{tally.FILE}"))
        else:
            prepare_once(Path(target), build)
    except Exception as error:
        if (found := beam_files.read_json(f"{work}/{tally.FILE}")) and not found["kept"]:
            raise DataError(
                f"none of {found['read']} images is left: pass other limits or another --source\n{tally.shown(found)}"
            ) from error
        raise
    beam_files.delete(work)
    return beam_files.read_json(f"{target}/{tally.FILE}")


def _excluded(names: Sequence[str], data_dir: str) -> frozenset[int]:
    """The perceptual hashes of the images of these splits."""
    hashes = set()
    for name in names:
        base, _, split = name.rpartition("@")
        if not base:
            raise ConfigError(f"--exclude must name a split, such as {name}@test")
        images = load(base, split, data_dir=data_dir, labelled=False)
        if isinstance(images, ArrayImages):
            hashes |= {perceptual_hash(image) for image in images.images}
        elif isinstance(images, EncodedImages):
            for index in range(len(images)):
                hashes.add(perceptual_hash(decode_rgb(images[index][0], images.describe(index))))
    return frozenset(hashes)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m can.recipes.make_web_images", description=(__doc__ or "").partition("\n")[0]
    )
    limits = Limits()
    parser.add_argument("--source", required=True, help="folders of shards, and patterns, separated by commas")
    parser.add_argument("--data_dir", default=str(DEFAULT_DATA_DIR), help="where data sets are kept")
    parser.add_argument("--name", default="web_images", help="of the set, for --uncurated")
    parser.add_argument("--min_side", type=int, default=limits.min_side, help="pixels of the shorter side, at least")
    parser.add_argument(
        "--max_side", type=int, default=limits.max_side, help="to which larger ones are scaled; 0: none"
    )
    parser.add_argument("--max_aspect", type=float, default=limits.max_aspect, help="longer side over shorter, at most")
    parser.add_argument("--min_contrast", type=float, default=limits.min_contrast, help="standard deviation, of 255")
    parser.add_argument("--exclude", default="", help="sets whose images are left out: imagenet2012@validation,...")
    parser.add_argument("--beam_options", default="", help="Beam's own: runner=FlinkRunner,flink_master=HOST:PORT")
    flags = parser.parse_args(arguments)
    try:
        found = make_web_images(
            [_expanded(source) for source in _list(flags.source)],
            _expanded(flags.data_dir),
            name=flags.name,
            limits=Limits(flags.min_side, flags.max_aspect, flags.min_contrast, flags.max_side),
            exclude=_list(flags.exclude),
            beam_options=_list(flags.beam_options),
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(tally.shown(found))
    place = f"{flags.data_dir}/{flags.name}/{VERSION}"
    print(f"wrote {place}: use it with --uncurated={flags.name} --data_dir={flags.data_dir}")


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _expanded(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser())


if __name__ == "__main__":
    main()
