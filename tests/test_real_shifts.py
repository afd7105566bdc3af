"""CIFAR-10's published shifts, read out of invented files of their form and scored with known answers."""

from __future__ import annotations

import shutil
import tarfile

import numpy as np
import pytest

from can.commands.evaluations import shifted_sets as evaluated
from can.commands.evaluations.robustness import summarised
from can.commands.evaluations.shifted_sets import BUILT, shift_rules, shifted_sets
from can.data import ArrayImages
from can.errors import ConfigError, DataError
from can.evals import robustness
from can.recipes import cifar10_real_shifts
from can.recipes.cifar10_formats import CLASS_NAMES
from can.recipes.cifar10_real_shifts import load_cifar10_1, load_cifar10_c, read_cifar10h
from can.recipes.shifts.corruptions import CORRUPTIONS

ALL = ("cifar10_1", "cifar10_c", "cifar10h")
LABELS = np.array([3, 5, 0, 9], np.int32)  # of four test images
# Of 50 people: one label, two that a quarter chose, one label and mistakes, and none that a quarter chose.
COUNTS = np.array([[50 * (label == 3) for label in range(10)], [0, 0, 0, 13, 0, 37, 0, 0, 0, 0]])
COUNTS = np.concatenate([COUNTS, [[40, 0, 10, 0, 0, 0, 0, 0, 0, 0], [10, 10, 10, 10, 10, 0, 0, 0, 0, 0]]])


def pictures(labels):
    """Images whose pixels all hold their label."""
    return np.array(labels, np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """The files as their authors give them, of four test images and five of CIFAR-10.1."""
    monkeypatch.setattr(cifar10_real_shifts, "CIFAR10_1_IMAGES", 5)
    monkeypatch.setattr(cifar10_real_shifts, "MIN_AGREEMENT", 0.75)  # nobody can say what the fourth image shows
    shown = np.tile(LABELS, 5)
    (tmp_path / "CIFAR-10-C").mkdir()
    for number, kind in enumerate([*CORRUPTIONS, "spatter"]):
        harmed = np.where(np.arange(20) < number, (shown + 1) % 10, shown)  # `number` of the 20 show another class
        np.save(tmp_path / "CIFAR-10-C" / f"{kind}.npy", pictures(harmed))
    np.save(tmp_path / "CIFAR-10-C" / "labels.npy", shown.astype(np.uint8))
    np.save(tmp_path / "cifar10.1_v6_data.npy", pictures([1, 2, 3, 4, 5]))
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.array([1, 2, 3, 0, 0]))
    np.save(tmp_path / "cifar10h-counts.npy", COUNTS)
    return tmp_path


@pytest.fixture
def small_cifar10(monkeypatch):
    """Four test images in the place of CIFAR-10 and of its shifts that are built."""
    test = ArrayImages("cifar10", "test", 10, CLASS_NAMES, "four", pictures([3, 3, 2, 9]), LABELS)
    monkeypatch.setattr(evaluated, "load", lambda name, split, *, data_dir: test)


def logits(images):
    """One-hot of the class that the pixels tell."""
    return np.eye(10, dtype=np.float32)[np.minimum(images[:, 0, 0, 0], 9)]


def test_the_published_shifts_are_scored_by_their_rules(data_dir, small_cifar10):
    sets = shifted_sets("cifar10", data_dir, objectnet=None, imagenet_c=False, real_shifts=ALL)
    found = robustness.evaluate(logits, sets, image_size=32, batch_size=8)
    scores = {name: (score["top1"], score["n"]) for name, score in summarised(found)}
    assert scores["cifar10_1"] == (3 / 5, 5)
    # The images show 3, 3, 2, 9: two labels that count, one that only a fifth chose, and an image without any.
    assert scores["cifar10h"] == (2 / 3, 3)
    assert scores["cifar10"] == (2 / 4, 4)
    by_kind = [scores[f"cifar10_c/{kind}"] for kind in CORRUPTIONS]
    assert by_kind == [((20 - number) / 20, 20) for number in range(15)]
    assert scores["cifar10_c"] == (pytest.approx(1 - 7 / 20), 300)


def test_sets_that_are_not_asked_for_need_no_files(tmp_path, small_cifar10):
    sets = shifted_sets("cifar10", tmp_path, objectnet=None, imagenet_c=False, real_shifts=())
    assert {shifted.name.split("/")[0] for shifted in sets} == {f"cifar10{shift}" for shift in BUILT}
    assert len(BUILT) == 7


def test_the_archive_of_cifar10_c_is_read_without_being_unpacked(data_dir):
    unpacked = load_cifar10_c(data_dir, CORRUPTIONS, LABELS)
    with tarfile.open(data_dir / "CIFAR-10-C.tar", "w") as archive:
        archive.add(data_dir / "CIFAR-10-C", "CIFAR-10-C")
    shutil.rmtree(data_dir / "CIFAR-10-C")
    packed = load_cifar10_c(data_dir, CORRUPTIONS, LABELS)
    for kind, images in packed.items():
        assert isinstance(images.images, np.memmap)
        np.testing.assert_array_equal(images.images, unpacked[kind].images)
        assert images.fingerprint == unpacked[kind].fingerprint
    assert len({images.fingerprint for images in packed.values()}) == 15


def test_shares_and_counts_of_cifar10h_are_one(data_dir):
    labels = read_cifar10h(data_dir, LABELS)
    assert labels == [(3,), (3, 5), (0,), ()]
    (data_dir / "cifar10").mkdir()
    (data_dir / "cifar10h-counts.npy").unlink()
    np.save(data_dir / "cifar10" / "cifar10h-probs.npy", COUNTS / 50)
    assert read_cifar10h(data_dir, LABELS) == labels


@pytest.mark.parametrize(
    ("name", "file", "home"),
    [
        ("cifar10_1", "cifar10.1_v6_data.npy", "github.com/modestyachts/CIFAR-10.1"),
        ("cifar10_c", "CIFAR-10-C/fog.npy", "zenodo.org/record/2535967"),
        ("cifar10_c", "CIFAR-10-C/labels.npy", "CIFAR-10-C.tar"),
        ("cifar10h", "cifar10h-counts.npy", "github.com/jcpeterson/cifar-10h"),
    ],
)
def test_a_missing_file_is_named_with_its_home(data_dir, small_cifar10, name, file, home):
    (data_dir / file).unlink()
    with pytest.raises(DataError) as raised:
        shifted_sets("cifar10", data_dir, objectnet=None, imagenet_c=False, real_shifts=(name,))
    assert file in str(raised.value) and home in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_of_another_form_is_an_error(data_dir):
    path = data_dir / "cifar10.1_v6_data.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged"):
        load_cifar10_1(data_dir)
    np.save(path, np.zeros((5, 28, 28), np.uint8))
    with pytest.raises(DataError, match="does not hold colour images of 32x32"):
        load_cifar10_1(data_dir)
    np.save(path, pictures([0, 1]))
    with pytest.raises(DataError, match="a label of 0 to 9 for each of 2 images"):
        load_cifar10_1(data_dir)
    with pytest.raises(DataError, match="people for 10,000 images"):
        read_cifar10h(data_dir, np.zeros(10_000, np.int32))


def save(path, array, version):
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=version)


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_newer_forms_of_npy_are_read(data_dir, version):
    before = read_cifar10h(data_dir, LABELS), load_cifar10_1(data_dir).fingerprint
    save(data_dir / "cifar10h-counts.npy", COUNTS, version)
    save(data_dir / "cifar10.1_v6_data.npy", pictures([1, 2, 3, 4, 5]), version)
    assert (read_cifar10h(data_dir, LABELS), load_cifar10_1(data_dir).fingerprint) == before


@pytest.mark.parametrize("name", ["cifar10h-counts", "cifar10.1_v6_data", "cifar10.1_v6_labels"])
def test_pickled_objects_are_refused(data_dir, name):
    """Their addresses were followed: a segmentation fault."""
    path = data_dir / f"{name}.npy"
    np.save(path, np.load(path).astype(object), allow_pickle=True)
    path.write_bytes(path.read_bytes() + bytes(1 << 16))  # enough for an address each
    with pytest.raises(DataError, match=f"{name}.npy does not hold numbers, but pickled Python objects: get it again"):
        read_cifar10h(data_dir, LABELS) if "10h" in name else load_cifar10_1(data_dir)


def test_files_of_other_images_or_in_another_order_are_refused(data_dir, monkeypatch):
    np.save(data_dir / "cifar10h-counts.npy", COUNTS[::-1])
    with pytest.raises(DataError, match="in the order of the test images .* is the label of 0.0% of them"):
        read_cifar10h(data_dir, LABELS)
    np.save(data_dir / "cifar10h-counts.npy", -COUNTS)
    with pytest.raises(DataError, match="from 0 on"):
        read_cifar10h(data_dir, LABELS)
    np.save(data_dir / "CIFAR-10-C" / "labels.npy", np.repeat(LABELS, 5))
    with pytest.raises(DataError, match="the labels of the 4 test images, 5 times"):
        load_cifar10_c(data_dir, CORRUPTIONS, LABELS)
    monkeypatch.setattr(cifar10_real_shifts, "CIFAR10_1_IMAGES", 2000)
    with pytest.raises(DataError, match="the 2,000 images of v6, but 5"):
        load_cifar10_1(data_dir)


def test_a_changed_file_is_another_set(data_dir):
    before = load_cifar10_1(data_dir).fingerprint
    np.save(data_dir / "cifar10.1_v6_labels.npy", np.array([1, 2, 3, 0, 1]))
    assert load_cifar10_1(data_dir).fingerprint != before


def test_only_cifar10_has_these_shifts():
    with pytest.raises(ConfigError, match="--labelled=cifar10"):
        shift_rules("smoke", objectnet=None, imagenet_c=False, real_shifts=ALL)
    with pytest.raises(ConfigError, match="did you mean 'cifar10_c'"):
        shift_rules("cifar10", objectnet=None, imagenet_c=False, real_shifts=("cifar10-c",))
    rules = shift_rules("cifar10", objectnet=None, imagenet_c=False, real_shifts=ALL)
    assert set(cifar10_real_shifts.HOMES) == set(ALL) <= set(rules)


@pytest.mark.parametrize("given", [{"objectnet": "/somewhere"}, {"imagenet_c": True}])
def test_imagenets_sets_are_refused_for_another_base(given: dict[str, object]) -> None:
    """They were left out without a word."""
    with pytest.raises(ConfigError, match=f"--{next(iter(given))} is for imagenet2012, not smoke"):
        shift_rules("smoke", **{"objectnet": None, "imagenet_c": False, "real_shifts": ()} | given)
