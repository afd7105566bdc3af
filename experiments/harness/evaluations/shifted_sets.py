"""Which test sets robustness is measured on: the paper's seven, or what is built by code for the small scales."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from can.data import ImageSet, load
from can.data.make_imagenet import WNIDS
from can.data.tfds_records import read_label_lists
from can.errors import DataError, check_choice
from can.evals.class_subsets import imagenet_subset, objectnet_classes, objectnet_labels
from can.evals.corruption_error import ALEXNET_ERROR
from can.evals.robustness import ShiftedSet
from can.offline_data.shifts.corruptions import CORRUPTIONS

IMAGENET, IMAGENET_C = "imagenet2012", "imagenet2012_corrupted"  # in TFDS
BUILT_FOR = ("fashion_mnist", "cifar10", "smoke")
# The shifts of can.offline_data.shifts; the first is the test set itself.
BUILT = {
    "": "the test set itself",
    "_v2": "captured again: rotated, shifted and scaled a little",
    "_corruptions": "fifteen kinds of damage at five strengths, on the first 1,000 test images",
    "_sketch": "edges alone",
    "_rendition": "posterised and recoloured",
    "_background": "rotated, before photographs that the pre-training mix does not have",
    "_adversarial": "the test images that a small network, trained by itself, gets wrong",
}
NEEDS_PHOTOS = "_background"  # a download; the smoke set has none
RULES = {
    "imagenet2012_real": "right if among the image's labels; images without labels are left out",
    "imagenet_a": "argmax over the set's 200 classes",
    "imagenet_r": "argmax over the set's 200 classes",
    "objectnet": "its border cut off; 113 classes; argmax over the labels that they stand for (top1) or over all "
    "(top1_of_all), right if it is any of the class's",
}


def rule_of(name: str) -> str:
    """What a set shows, or how it is counted, in a few words."""
    base, _, kind = name.partition("/")
    for built in BUILT_FOR:
        if base.startswith(built):
            return kind or BUILT[base.removeprefix(built)]
    return RULES.get(base, "argmax over 1000 classes")


def shifted_names(base: str, *, objectnet: str | None, imagenet_c: bool) -> list[str]:
    """The sets that `shifted_sets` opens, less the kinds of damage. Raises ConfigError for a base without any."""
    check_choice("set with shifted test sets", base, (IMAGENET, *BUILT_FOR))
    if base == IMAGENET:
        optional = [*(["objectnet"] if objectnet else []), *([IMAGENET_C] if imagenet_c else [])]
        return [IMAGENET, "imagenet_v2", "imagenet2012_real", "imagenet_a", "imagenet_r", "imagenet_sketch", *optional]
    return [f"{base}{shift}" for shift in _shifts_of(base)]


def shifted_sets(base: str, data_dir: str | Path, *, objectnet: str | None, imagenet_c: bool) -> list[ShiftedSet]:
    """The sets for a classifier of `base`'s classes; all of them are opened.

    `objectnet`: the folder of ObjectNet's class folders; None leaves that set out. `imagenet_c`: also the 75 sets of
    ImageNet-C. Raises ConfigError for a base without shifted sets, DataError if a set is missing or numbers its classes
    in another way.
    """
    check_choice("set with shifted test sets", base, (IMAGENET, *BUILT_FOR))
    if base == IMAGENET:
        return list(_imagenet_sets(Path(data_dir), objectnet, imagenet_c))
    return list(_built_sets(base, data_dir))


def _built_sets(base: str, data_dir: str | Path) -> Iterator[ShiftedSet]:
    for shift in _shifts_of(base):
        for split in CORRUPTIONS if shift == "_corruptions" else ("test",):
            name = f"{base}{shift}"
            yield ShiftedSet(name if split == "test" else f"{name}/{split}", load(name, split, data_dir=data_dir))


def _shifts_of(base: str) -> list[str]:
    return [shift for shift in BUILT if not (base == "smoke" and shift == NEEDS_PHOTOS)]


def _imagenet_sets(data_dir: Path, objectnet: str | None, imagenet_c: bool) -> Iterator[ShiftedSet]:
    yield ShiftedSet(IMAGENET, _numbered(IMAGENET, "validation", data_dir))
    yield ShiftedSet("imagenet_v2", _numbered("imagenet_v2/matched-frequency", "test", data_dir))
    right = read_label_lists("imagenet2012_real", "validation", "real_label", data_dir)
    images = load("imagenet2012_real", "validation", data_dir=data_dir)
    yield ShiftedSet("imagenet2012_real", images, right=right)
    for name in ("imagenet_a", "imagenet_r"):
        yield ShiftedSet(name, _numbered(name, "test", data_dir), subsets={"top1": imagenet_subset(name)})
    yield ShiftedSet("imagenet_sketch", _numbered("imagenet_sketch", "test", data_dir))
    if objectnet:
        images = load(f"folder:{objectnet}", "train", data_dir=data_dir)
        stands_for = [objectnet_classes().get(folder, ()) for folder in images.class_names]
        if not any(stands_for):
            raise DataError(f"no folder of {objectnet} is one of ObjectNet's classes: pass the folder that holds them")
        subsets = {"top1": objectnet_labels(), "top1_of_all": None}
        yield ShiftedSet("objectnet", images, stands_for=stands_for, subsets=subsets, border=2)
    if imagenet_c:
        for kind in ALEXNET_ERROR:
            for severity in range(1, 6):
                name = f"{IMAGENET_C}/{kind}_{severity}"
                yield ShiftedSet(name, _numbered(name, "validation", data_dir))


def _numbered(name: str, split: str, data_dir: Path) -> ImageSet:
    images = load(name, split, data_dir=data_dir)
    if images.class_names != WNIDS:
        raise DataError(f"{name} does not number its classes as {IMAGENET} does: prepare it with TFDS's own builder")
    return images
