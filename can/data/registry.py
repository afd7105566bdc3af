"""Data sets by name: those that the modules of `can.sources` have, TFDS's, and images that lie in files."""

from __future__ import annotations

import difflib
import functools
import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from can.data.formats.folder import load_folder
from can.data.formats.hf_sets import load_hf
from can.data.formats.named_columns import split_asked
from can.data.formats.parquet_files import load_parquet
from can.data.formats.tar_shards import load_tars
from can.data.formats.tfds_records import read_tfds
from can.data.image_set import ImageSet
from can.data.joined import join
from can.data.small_sets import check_decoded, decode_if_small
from can.data.splits import select_split
from can.errors import ConfigError, DataError
from can.sources import MODULES, SHIFTED
from can.system.machine import user_cache

DEFAULT_DATA_DIR = Path(os.path.expanduser(os.environ.get("CAN_DATA_DIR") or user_cache() / "can"))

Load = Callable[[Path], Mapping[str, ImageSet]]


def _folder(name: str, place: str, data_dir: Path) -> Mapping[str, ImageSet]:
    return load_folder(_expanded(name, place), data_dir)


def _hf(name: str, place: str, data_dir: Path) -> Mapping[str, ImageSet]:
    path, asked = split_asked(place)
    return load_hf(name, _expanded(name, path), asked, data_dir)


def _parquet(name: str, place: str, data_dir: Path) -> Mapping[str, ImageSet]:
    return load_parquet(name, *split_asked(place), data_dir)


def _tars(name: str, place: str, data_dir: Path) -> Mapping[str, ImageSet]:
    return load_tars(name, *split_asked(place), data_dir)


# What stands before the place of a set that lies in files.
_KINDS: dict[str, Callable[[str, str, Path], Mapping[str, ImageSet]]] = {
    "folder:": _folder,
    "hf:": _hf,
    "parquet:": _parquet,
    "wds:": _tars,
}
_PLACES = ", ".join(f"{kind}PATH" for kind in _KINDS)


@functools.cache
def _sources() -> dict[str, Load]:
    """The sets with names of their own, less the shifted ones."""
    return {name: load for module in MODULES for name, load in importlib.import_module(module).SETS.items()}


def _shifted() -> dict[str, Load]:
    """The shifted test sets of the small scales' labelled sets."""
    return importlib.import_module(SHIFTED).SETS


def available() -> tuple[str, ...]:
    """The names `load` has of its own, less those of shifted test sets; TFDS names and `folder:PATH` work too."""
    return tuple(sorted(_sources()))


def load(name: str, split: str, *, data_dir: Path | str, labelled: bool = True) -> ImageSet:
    """A split of a data set, fetched and prepared under `data_dir` if it is not there yet.

    Args:
      name: one of `available()`, a shifted test set ("cifar10_sketch"), a TFDS name ("imagenet2012", "dtd",
        "imagenet2012_subset/10pct"), "folder:PATH" (one subfolder a class, or images without labels), "hf:PATH" (of
        save_to_disk), "parquet:FILES", "wds:FILES" (tar archives; `docs/data.md`). "a+b" joins small sets, without
        labels.
      split: in TFDS's syntax: "train", "test", "train[:55000]", "train[90%:]".
      data_dir: everything that is fetched or prepared lies below it; `DEFAULT_DATA_DIR` is the usual one.
      labelled: False drops the labels.

    Returns:
      `ArrayImages` for small sets of one image size, else `EncodedImages`.

    Raises:
      ConfigError: the name or the split is unknown (names the nearest one).
      DataError: the images cannot be had, are damaged, or have another form; says what to do.
    """
    data_dir = Path(data_dir).expanduser()
    kind = next((kind for kind in _KINDS if name.startswith(kind)), None)
    if "+" in name and kind is None:
        return join(name, split, [load(part, split, data_dir=data_dir) for part in name.split("+")])
    if kind is not None:
        if not (place := name.removeprefix(kind)):  # would be the working directory, and whatever images are there
            raise ConfigError(f"{name} names no {'folder' if kind == 'folder:' else 'place'}: write {kind}PATH")
        splits = _KINDS[kind](name, place, data_dir)
    elif load_splits := (_sources() | _shifted()).get(name):
        splits = load_splits(data_dir)
    else:
        _check_tfds_name(name, data_dir)
        splits = decode_if_small(read_tfds(name, data_dir), data_dir)
    image_set = select_split(splits, split)
    image_set = image_set if labelled else image_set.without_labels()
    check_decoded(image_set)
    return image_set


def _expanded(name: str, path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{name}: {error}: write the folder out") from error


def _check_tfds_name(name: str, data_dir: Path) -> None:
    base = name.split("/")[0].split(":")[0]
    known = {*_sources(), *_shifted(), *tfds.list_builders(with_community_datasets=False)}
    if base in known or (base and (data_dir / base).is_dir()):  # a set that a builder of the user's own prepared there
        return
    near = difflib.get_close_matches(base, sorted(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown data set {name!r}{hint} (valid: {', '.join(available())}, {_PLACES}, or any TFDS name)")
