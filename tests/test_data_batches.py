"""Batches: exact order and resumption, equal parts on many hosts, crops as a function of (seed, step)."""

from __future__ import annotations

import itertools
import textwrap

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from can.augment import augment
from can.augment.simclr import to_float
from can.config import AugmentConfig
from can.data import ArrayImages, EncodedImages, batches, eval_batches, load
from can.errors import ConfigError, DataError


class PngRecords:
    """Photos drawn from the index, each of another size."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = cv2.resize(small, (60 + 3 * index, 50 + 2 * index), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode(".png", image)[1].tobytes(), index

    def label(self, index):
        return index

    def describe(self, index):
        return f"photo {index}"


def encoded(count=10):
    return EncodedImages("photos", "train", count, tuple(map(str, range(count))), "f", PngRecords(count))


def numbered(count, labelled=True):
    """Images whose pixels and labels are their index."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 3))
    labels = np.arange(count, dtype=np.int32) if labelled else None
    return ArrayImages("numbers", "train", count if labelled else None, (), "f", np.ascontiguousarray(images), labels)


def first(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_each_epoch_has_every_image_once_in_another_order():
    made = first(batches(numbered(60), batch_size=20, seed=0, image_size=4), 6)
    labels = np.concatenate([batch["label"] for batch in made])
    for epoch in (labels[:60], labels[60:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(60))
    assert not np.array_equal(labels[:60], labels[60:])
    assert not np.array_equal(labels[:60], np.arange(60))
    for batch in made:
        assert batch["image"].dtype == np.uint8
        assert batch["label"].dtype == np.int32
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["label"])


def test_other_seeds_give_other_orders_also_in_later_epochs():
    orders = []
    for seed in range(4):
        made = first(batches(numbered(50), batch_size=50, seed=seed, image_size=4), 4)
        orders += [tuple(batch["label"]) for batch in made]
    assert len(set(orders)) == 16


@pytest.mark.parametrize("images", [numbered(23), encoded()], ids=["arrays", "encoded"])
def test_starting_at_step_k_gives_the_batches_of_a_run_from_zero(images):
    options = {"batch_size": 8, "seed": 5, "views": 2, "image_size": 16}
    assert_equal(
        first(batches(images, start_step=5, **options), 3),
        first(batches(images, **options), 8)[5:],
    )


def test_a_late_step_is_reached_without_making_the_earlier_ones():
    options = {"batch_size": 8, "seed": 0, "image_size": 4}  # a billion batches would take days
    assert_equal(
        first(batches(numbered(23), start_step=10**9, **options), 1),
        first(batches(numbered(23), start_step=10**9 - 1, **options), 2)[1:],
    )


@pytest.mark.parametrize("images", [numbered(23), encoded()], ids=["arrays", "encoded"])
def test_the_rows_of_all_hosts_make_the_batch_of_one(images):
    options = {"batch_size": 12, "seed": 1, "image_size": 8}
    whole = first(batches(images, **options), 3)
    for rows in ([0, 1, 2], [3, 4, 8, 9]):  # devices that are no neighbours may be one host's
        part = first(batches(images, rows=rows, **options), 3)
        assert_equal(part, [{key: batch[key][rows] for key in batch} for batch in whole])


@pytest.mark.parametrize("images", [numbered(23), encoded()], ids=["arrays", "encoded"])
def test_the_rows_of_all_hosts_make_each_evaluation_batch(images):
    options = {"batch_size": 12, "image_size": 8}
    whole = list(eval_batches(images, **options))
    for rows in ([0, 1, 2], [3, 9], [10, 11]):
        parts = list(eval_batches(images, rows=rows, **options))
        there = [[row for row in rows if row < len(batch["label"])] for batch in whole]
        assert_equal(parts, [{key: batch[key][own] for key in batch} for batch, own in zip(whole, there, strict=True)])


def test_a_set_smaller_than_a_batch_fills_it_with_new_epochs():
    (batch,) = first(batches(numbered(3), batch_size=12, seed=0, image_size=4), 1)
    np.testing.assert_array_equal(np.bincount(batch["label"]), [4, 4, 4])


def test_unlabelled_sets_give_no_label():
    assert set(next(batches(numbered(9, labelled=False), batch_size=4, seed=0, image_size=4))) == {"image"}
    assert set(next(batches(encoded().without_labels(), batch_size=4, seed=0, image_size=8))) == {"image"}
    assert set(next(eval_batches(numbered(9, labelled=False), batch_size=4, image_size=4))) == {"image"}
    assert set(next(eval_batches(encoded().without_labels(), batch_size=4, image_size=8))) == {"image"}


def test_crops_have_their_shape_and_differ_between_views_images_and_epochs():
    made = first(batches(encoded(), batch_size=10, seed=0, views=2, image_size=24), 2)
    assert made[0]["image"].shape == (10, 2, 24, 24, 3)
    crops = [view.tobytes() for batch in made for image in batch["image"] for view in image]
    assert len(set(crops)) == 40


def test_crop_area_one_shows_nearly_the_whole_image_and_a_small_one_little_of_it():
    def contrast(area):
        batch = next(batches(encoded(), batch_size=50, seed=0, image_size=16, crop_area=area))
        return batch["image"].astype(float).std((2, 3)).mean()

    assert contrast((0.9, 1.0)) > 1.5 * contrast((0.01, 0.02))


@pytest.mark.parametrize("images", [numbered(10), encoded()], ids=["arrays", "encoded"])
def test_without_augmentation_training_sees_the_evaluation_views(images):
    """Of both kinds of sets, in every view and epoch, to the bit, and on the device as well."""
    config = AugmentConfig("none")
    (expected,) = eval_batches(images, batch_size=10, image_size=16)
    for batch in first(batches(images, batch_size=10, seed=0, views=2, image_size=16, crop_area=config.crop_area), 2):
        views = augment(jax.random.key(0), jnp.asarray(batch["image"]), config, image_size=16, views=2)
        np.testing.assert_array_equal(batch["image"], expected["image"][batch["label"]])
        for view in views:
            np.testing.assert_array_equal(view, to_float(jnp.asarray(batch["image"])))


@pytest.mark.parametrize("images", [numbered(23), encoded()], ids=["arrays", "encoded"])
def test_evaluation_views_resume_and_divide_among_hosts_as_crops_do(images):
    options = {"batch_size": 8, "seed": 5, "views": 2, "image_size": 16, "crop_area": None}
    whole = first(batches(images, **options), 4)
    assert_equal(first(batches(images, start_step=2, **options), 2), whole[2:])
    part = first(batches(images, rows=[1, 6], **options), 4)
    assert_equal(part, [{key: batch[key][[1, 6]] for key in batch} for batch in whole])


def test_worker_processes_make_the_same_batches(tmp_path, run_python):
    """In a program of its own, since worker processes start by importing the main module again."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(6):
        (photos / f"{index}.png").write_bytes(PngRecords(6)[index + 5][0])
    script = tmp_path / "main.py"
    script.write_text(
        textwrap.dedent(
            """
            import itertools
            import multiprocessing
            import numpy as np
            from can.data import batches, load
            from can.errors import UserError

            def main():
                images = load("folder:photos", "train", data_dir="data")
                made = []
                for workers in (0, 2):
                    iterator = batches(images, batch_size=4, seed=3, views=2, image_size=16, workers=workers)
                    made.append(list(itertools.islice(iterator, 5)))
                for one, two in zip(*made, strict=True):
                    np.testing.assert_array_equal(one["image"], two["image"])
                print("equal", made[1][4]["image"].shape)
                multiprocessing.active_children()[0].kill()
                try:
                    while True:  # what is made already comes first
                        next(iterator)
                except UserError as error:
                    print(error)

            if __name__ == "__main__":
                main()
            """
        )
    )
    said = run_python(script, timeout=120).stdout
    assert "equal (4, 2, 16, 16, 3)" in said
    assert "a process that decodes images is gone (killed by signal 9, as the system does for lack of memory)" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size .* not 0"),
        ({"batch_size": 4, "crop_area": (0.0, 1.0)}, r"crop_area .* not \(0.0, 1.0\)"),
        ({"batch_size": 4, "crop_area": (0.5, 0.2)}, "crop_area"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(options, message):
    with pytest.raises(ConfigError, match=message):
        batches(numbered(9), seed=0, image_size=4, **options)


def test_a_corrupt_image_is_named():
    class Damaged(PngRecords):
        def __getitem__(self, index):
            data, label = super().__getitem__(index)
            return (data[: len(data) // 2] if index == 7 else data), label

    images = EncodedImages("photos", "train", 10, (), "f", Damaged(10))
    with pytest.raises(DataError, match="photo 7 is cut short"):
        first(batches(images, batch_size=10, seed=0, image_size=8), 1)
    with pytest.raises(DataError, match="photo 7 is cut short"):
        list(eval_batches(images, batch_size=4, image_size=8))


def test_another_image_stands_in_for_a_damaged_one_and_is_the_same_on_every_host(caplog):
    class Damaged(PngRecords):
        def __getitem__(self, index):
            data, label = super().__getitem__(index)
            return (data[: len(data) // 2] if index == 7 else data), label

    options = {"batch_size": 10, "seed": 0, "image_size": 8}
    sound = first(batches(EncodedImages("photos", "train", 10, (), "f", PngRecords(10)), **options), 3)
    images = EncodedImages("photos", "train", 10, (), "f", Damaged(10))
    made = first(batches(images, skip_bad=True, **options), 3)
    for ours, theirs in zip(made, sound, strict=True):
        assert ours["skipped"].tolist() == (theirs["label"] == 7).tolist()
        assert not (ours["label"] == 7).any()
        kept = ~ours["skipped"]
        np.testing.assert_array_equal(ours["image"][kept], theirs["image"][kept])
    assert "skipped: photo 7 is cut short" in caplog.text
    assert_equal(first(batches(images, skip_bad=True, start_step=2, **options), 1), made[2:])
    part = first(batches(images, skip_bad=True, rows=[2, 3, 5], **options), 3)
    assert_equal(part, [{key: batch[key][[2, 3, 5]] for key in batch} for batch in made])


def test_where_all_are_damaged_nothing_stands_in():
    class Damaged(PngRecords):
        def __getitem__(self, index):
            data, label = super().__getitem__(index)
            return data[: len(data) // 2], label

    images = EncodedImages("photos", "train", 10, (), "f", Damaged(10))
    with pytest.raises(DataError, match=r"photo \d is cut short"):
        first(batches(images, batch_size=10, seed=0, image_size=8, skip_bad=True), 1)


def test_evaluation_sees_every_image_once_in_order_and_the_last_batch_may_be_short():
    for images, size in ((numbered(10), 4), (encoded(10), 8)):
        made = list(eval_batches(images, batch_size=4, image_size=size))
        assert [len(batch["image"]) for batch in made] == [4, 4, 2]
        assert all(batch["image"].shape[1:] == (size, size, 3) for batch in made)
        np.testing.assert_array_equal(np.concatenate([batch["label"] for batch in made]), np.arange(10))


def test_arrays_of_the_right_size_are_evaluated_untouched_and_others_resized(tmp_path):
    images = load("smoke", "test[:8]", data_dir=tmp_path)
    (same,) = eval_batches(images, batch_size=8, image_size=32)
    np.testing.assert_array_equal(same["image"], images.images)
    (larger,) = eval_batches(images, batch_size=8, image_size=64)
    assert larger["image"].shape == (8, 64, 64, 3)
    halved = larger["image"].reshape(8, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(halved - images.images).mean() < 6


def test_a_resize_smaller_than_the_crop_is_refused_at_once():
    with pytest.raises(ConfigError, match="resize 8 is smaller than image_size 16"):
        eval_batches(encoded(), batch_size=4, image_size=16, resize=8)
