"""TFDS's slicing syntax (`train[:55000]`, `train[90%:]`, `train+test`) for every source."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import tensorflow_datasets as tfds

from can.data.formats.layout import TEST, TRAIN, VALIDATION, split_named
from can.data.image_set import ImageSet
from can.errors import ConfigError, DataError, first_line


def select_split(splits: Mapping[str, ImageSet], spec: str) -> ImageSet:
    """The images that `spec` names out of a source's `splits`.

    Raises:
      ConfigError: a split that the source does not have (names the nearest one).
      DataError: a slice that cannot be read or is empty.
    """
    asked, terms = spec, []
    for name, bracket, rest in (term.strip().partition("[") for term in spec.split("+")):
        known = _known(name.strip(), splits)
        if known not in splits:
            raise _unknown(known, splits)
        terms.append(f"{known}{bracket}{rest}")
    spec = "+".join(terms)
    if asked in splits:
        return splits[asked]
    infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=[len(part)], num_bytes=0) for name, part in splits.items()
    }
    try:
        ranges = tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos)
    except (ValueError, AssertionError) as error:
        reason = first_line(error)
        raise DataError(f"cannot read split {spec!r}: {reason} (write train[:1000], train[90%:], ...)") from error
    names = {piece.splitname for piece in ranges}
    if len(names) > 1:
        raise DataError(f"split {spec!r} joins {' and '.join(sorted(names))}: load them one by one")
    whole = splits[names.pop()]
    # TFDS leaves the ends of a range that reaches the split's ends unset.
    return whole.take(asked, [(piece.from_ or 0, len(whole) if piece.to is None else piece.to) for piece in ranges])


def _unknown(name: str, splits: Mapping[str, ImageSet]) -> ConfigError:
    """Says what is there and, for a usual split, what can stand in for it."""
    there = ", ".join(f"{split} ({len(part)} images)" for split, part in splits.items())
    near = difflib.get_close_matches(name, [*splits], n=1, cutoff=0.4)
    text = f"unknown split {name!r} of {next(iter(splits.values())).name}"
    if split_named(name) is None:
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return ConfigError(f"{text}{hint} (valid: {there})")
    whole = TRAIN if TRAIN in splits else next(iter(splits))
    held_out = f"{VALIDATION}, or " if split_named(name) == TEST and VALIDATION in splits else ""
    return ConfigError(f"{text} (valid: {there}): use {held_out}{whole}[:90%] to train on and {whole}[90%:] to judge")


def _known(name: str, splits: Mapping[str, ImageSet]) -> str:
    """The source's own name of a split that goes by several: `val` is `validation`."""
    usual = split_named(name)
    return usual if usual is not None and name not in splits and usual in splits else name
