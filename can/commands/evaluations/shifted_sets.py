"""Which test sets robustness is measured on: the paper's seven, or what is built by code for the small scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from can.data import ArrayImages, ImageSet, load
from can.data.formats.tfds_records import read_label_lists
from can.errors import ConfigError, DataError, check_choice
from can.evals.class_subsets import imagenet_subset, objectnet_classes, objectnet_labels
from can.evals.corruption_error import ALEXNET_ERROR
from can.evals.robustness import ShiftedSet
from can.recipes.cifar10_real_shifts import MIN_SHARE, load_cifar10_1, load_cifar10_c, read_cifar10h
from can.recipes.make_imagenet import WNIDS
from can.recipes.shifts.corruptions import CORRUPTIONS

IMAGENET, IMAGENET_C = "imagenet2012", "imagenet2012_corrupted"  # in TFDS
CIFAR10 = "cifar10"
BUILT_FOR = (CIFAR10, "smoke")
# The shifts of can.recipes.shifts; the first is the test set itself.
BUILT = {
    "": "the test set itself",
    "_v2": "captured again: rotated, shifted and scaled a little",
    "_corruptions": "fifteen kinds of damage at five strengths, on the first 1,000 test images",
    "_sketch": "edges alone",
    "_rendition": "posterised and recoloured",
    "_pose": "turned, off the centre and smaller, as objects in ObjectNet are",
    "_adversarial": "the test images that a small network, trained by itself, gets wrong",
}
ALL_CLASSES = "argmax over 1000 classes"
PAPER = {
    IMAGENET: ALL_CLASSES,
    "imagenet_v2": ALL_CLASSES,
    "imagenet2012_real": "right if among the image's labels; images without labels are left out",
    "imagenet_a": "argmax over the set's 200 classes",
    "imagenet_r": "argmax over the set's 200 classes",
    "imagenet_sketch": ALL_CLASSES,
}
OBJECTNET = (
    "its border cut off; 113 classes; argmax over the labels that they stand for (top1) or over all "
    "(top1_of_all), right if it is any of the class's"
)
# The published shifts of CIFAR-10.
REAL = {
    "cifar10_1": "CIFAR-10.1 v6",
    "cifar10_c": "CIFAR-10-C: fifteen kinds of damage at five strengths, on all test images",
    "cifar10h": f"the test set; right if {MIN_SHARE:.0%} or more of the image's annotators in CIFAR-10H chose the "
    "label; images without such a label are left out",
}


def shift_rules(base: str, *, objectnet: str | None, imagenet_c: bool, real_shifts: Sequence[str]) -> dict[str, str]:
    """The sets that `shifted_sets` opens, less the kinds of damage: what each shows, or how it is counted.

    Raises ConfigError for a base without any, or for a real shift that is not of the base.
    """
    check_choice("set with shifted test sets", base, (IMAGENET, *BUILT_FOR))
    for name in real_shifts:
        check_choice("set of --real_shifts", name, REAL)
    if real_shifts and base != CIFAR10:
        raise ConfigError(f"--real_shifts are {CIFAR10}'s, not {base}'s: leave it out, or pass --labelled={CIFAR10}")
    for flag, given in (("--objectnet", objectnet), ("--imagenet_c", imagenet_c)):
        if given and base != IMAGENET:
            raise ConfigError(f"{flag} is for {IMAGENET}, not {base}: leave it out, or pass --labelled={IMAGENET}")
    if base == IMAGENET:
        rules = PAPER | ({"objectnet": OBJECTNET} if objectnet else {})
        return rules | ({IMAGENET_C: ALL_CLASSES} if imagenet_c else {})
    return {f"{base}{shift}": shows for shift, shows in BUILT.items()} | {name: REAL[name] for name in real_shifts}


def shifted_sets(
    base: str, data_dir: str | Path, *, objectnet: str | None, imagenet_c: bool, real_shifts: Sequence[str]
) -> list[ShiftedSet]:
    """The sets for a classifier of `base`'s classes; all of them are opened.

    `objectnet`: the folder of ObjectNet's class folders; None leaves that set out. `imagenet_c`: also the 75 sets of
    ImageNet-C. `real_shifts`: also these published shifts of CIFAR-10, names of `REAL`.

    Raises ConfigError for a base without shifted sets, or without these; DataError if a set is missing or numbers its
    classes in another way.
    """
    names = shift_rules(base, objectnet=objectnet, imagenet_c=imagenet_c, real_shifts=real_shifts)
    if base == IMAGENET:
        return list(_imagenet_sets(Path(data_dir), objectnet, imagenet_c))
    return [*_built_sets(base, data_dir), *_real_sets([name for name in REAL if name in names], Path(data_dir))]


def _built_sets(base: str, data_dir: str | Path) -> Iterator[ShiftedSet]:
    for shift in BUILT:
        for split in CORRUPTIONS if shift == "_corruptions" else ("test",):
            name = f"{base}{shift}"
            yield ShiftedSet(name if split == "test" else f"{name}/{split}", load(name, split, data_dir=data_dir))


def _real_sets(names: Sequence[str], data_dir: Path) -> Iterator[ShiftedSet]:
    for name in names:
        if name == "cifar10_1":
            yield ShiftedSet(name, load_cifar10_1(data_dir))
            continue
        test = load(CIFAR10, "test", data_dir=data_dir)
        assert isinstance(test, ArrayImages) and test.labels is not None
        if name == "cifar10_c":
            for kind, images in load_cifar10_c(data_dir, CORRUPTIONS, test.labels).items():
                yield ShiftedSet(f"{name}/{kind}", images)
        else:
            yield ShiftedSet(name, test, right=read_cifar10h(data_dir, test.labels))


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
