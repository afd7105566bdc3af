"""The offline mix: duplicates, caps, views, overlays, and a small mix built whole."""

from __future__ import annotations

import contextlib
import hashlib
import json

import cv2
import numpy as np
import pytest

from can.data import ArrayImages, load
from can.errors import DataError
from can.recipes.debian import Unpacked
from can.recipes.near_copies import near_any, thumbnails
from can.recipes.offline_mix import build, clipart, photos
from can.recipes.offline_mix.duplicates import Picture, first_of_each, thin_out
from can.recipes.offline_mix.overlays import watermarked
from can.recipes.offline_mix.views import clipart_view, is_plain, photo_view, pyramid
from can.recipes.perceptual_hash import perceptual_hash


def scene(height, width, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def made(name, content, perceptual, family):
    pixels = np.zeros((2, 2, 4), np.uint8)
    return Picture(name, family, hashlib.sha256(content).hexdigest(), perceptual, pixels)


def test_copies_are_kept_once():
    pictures = [made(str(index), b"same", 0, (f"folder{index}", "")) for index in range(4)]
    kept, dropped = thin_out(pictures, per_family=9, per_folder=9, per_likeness=9)
    assert len(kept) == 1
    assert dropped == {"copies": 3}


def test_families_folders_and_likenesses_are_capped():
    def pictures(count, family, perceptual):
        return [made(str(i), f"{family}{i}".encode(), perceptual(i), family) for i in range(count)]

    def far_apart(i):
        return int.from_bytes(hashlib.sha256(bytes([i])).digest()[:8], "big")

    kept, dropped = thin_out(pictures(50, ("shapes", "star"), far_apart), per_family=5, per_folder=9, per_likeness=2)
    assert (len(kept), dropped) == (5, {"over the family cap": 45})
    several = [p for word in "abcd" for p in pictures(4, ("icons", word), lambda i, w=word: far_apart(i * 7 + ord(w)))]
    kept, dropped = thin_out(several, per_family=5, per_folder=9, per_likeness=2)
    assert (len(kept), dropped) == (9, {"over the folder cap": 7})
    alike = pictures(8, ("a", "a"), lambda i: 0b111 if i % 2 else 0)  # three bits apart
    kept, dropped = thin_out(alike, per_family=9, per_folder=9, per_likeness=2)
    assert (len(kept), dropped) == (2, {"near copies": 6})
    different = pictures(8, ("a", "a"), lambda i: 0b1111 << (8 * i))  # eight bits apart
    assert len(thin_out(different, per_family=9, per_folder=9, per_likeness=1)[0]) == 8


def test_the_selection_does_not_depend_on_the_order_of_the_files():
    pictures = [made(str(i), bytes([i]), i * 977, ("a", "a")) for i in range(30)]
    first, _ = thin_out(pictures, per_family=6, per_folder=9, per_likeness=2)
    second, _ = thin_out(pictures[::-1], per_family=6, per_folder=9, per_likeness=2)
    assert [picture.path for picture in first] == [picture.path for picture in second]


def test_the_perceptual_hash_survives_resizing_and_tells_pictures_apart():
    def distance(one, other):
        return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()

    picture = scene(270, 360, 0)
    assert distance(picture, cv2.resize(picture, (120, 90), interpolation=cv2.INTER_AREA)) <= 3
    assert distance(picture, np.clip(picture.astype(int) + 12, 0, 255).astype(np.uint8)) <= 6
    assert np.mean([distance(picture, scene(270, 360, seed)) for seed in range(1, 20)]) > 20


def test_families_are_folder_and_first_word():
    assert clipart.family_of("shapes/stars/star_05pt02step.png") == ("shapes/stars", "star")
    assert clipart.family_of("computer/icons/70a001.png") == ("computer/icons", "")


def test_the_first_of_equal_images_stays():
    images = [scene(8, 8, seed) for seed in (0, 1, 0, 2, 1)]
    np.testing.assert_array_equal(first_of_each(images), [0, 1, 3])


def test_plain_views_are_told_from_textured_ones():
    gradient = np.broadcast_to(np.linspace(90, 130, 32)[:, None, None], (32, 32, 3)).astype(np.uint8)
    assert is_plain(np.full((32, 32, 3), 99, np.uint8))
    assert is_plain(gradient)
    assert not is_plain(scene(32, 32, 0))


def test_a_plain_photo_gives_no_view_and_a_scene_gives_different_ones():
    rng = np.random.default_rng(0)
    assert photo_view(pyramid(np.full((200, 300, 3), 99, np.uint8)), rng) is None
    views = [photo_view(pyramid(scene(200, 300, 0)), rng) for _ in range(20)]
    assert {view.shape for view in views} == {(32, 32, 3)}
    assert len({view.tobytes() for view in views}) == 20


def test_clip_art_is_composited_by_its_alpha_on_varied_backgrounds():
    drawing = np.zeros((60, 60, 4), np.uint8)
    drawing[15:45, 15:45] = (255, 0, 0, 255)
    photos = [pyramid(scene(200, 300, 1))]
    views = [clipart_view(photos, drawing, np.random.default_rng(seed)) for seed in range(60)]
    red = [(view == (255, 0, 0)).all(-1).mean() for view in views]
    assert min(red) > 0.1  # the opaque part covers the background
    corners = {tuple(view[0, 0] // 32) for view in views}
    assert len(corners) > 20
    transparent = np.zeros((60, 60, 4), np.uint8)
    assert clipart_view(photos, transparent, np.random.default_rng(0)) is None


def test_watermarks_change_a_part_of_the_view_and_not_the_original():
    view = scene(32, 32, 0)
    before = view.copy()
    changed = []
    for seed in range(60):
        marked = watermarked(view, np.random.default_rng(seed))
        assert marked.dtype == np.uint8
        changed.append((marked != view).any(-1).mean())
    np.testing.assert_array_equal(view, before)
    assert 0.02 < np.mean(changed) < 0.5
    assert max(changed) < 0.9


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Small packages and a small CIFAR-10 in place of the real ones; the 60 training images are grey."""
    art, backgrounds = tmp_path / "clipart", tmp_path / "photos"
    for index in range(40):
        drawing = np.zeros((50, 40, 4), np.uint8)
        drawing[5:45, 5:35, :3] = scene(40, 30, index)
        drawing[5:45, 5:35, 3] = 255
        folder = art / ("shapes/stars" if index < 30 else f"animals/{index}")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"star_{index:02}.png"), drawing)
    (art / "animals" / "copy").mkdir()
    (art / "animals" / "copy" / "x.png").write_bytes((art / "animals" / "30" / "star_30.png").read_bytes())
    (art / "animals" / "link.png").symlink_to(art / "animals" / "31" / "star_31.png")
    for index in range(7):
        folder = backgrounds / ("nature" if index < 5 else "desktop")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index}.png"), scene(200, 300, 100 + index))
    small = cv2.resize(scene(200, 300, 100), (150, 100), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(backgrounds / "nature" / "copy.jpg"), small)
    folders = {"openclipart-png": art, "mate-backgrounds": backgrounds}

    @contextlib.contextmanager
    def unpacked(package, data_dir, scratch):
        yield Unpacked(folders[package.name], f"{package.name}_1.0_all.deb")

    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (60, 32, 32, 1), dtype=np.uint8), 3, axis=3)
    grey[:, 0, 0] = np.arange(60)[:, None]
    tested = np.stack([grey[5], np.clip(grey[7].astype(int) + 3, 0, 255).astype(np.uint8), 255 - grey[9]])
    cifar10 = {
        split: ArrayImages("cifar10", split, 10, tuple("abcdefghij"), split, images, np.zeros(len(images), np.int32))
        for split, images in (("train", grey), ("test", tested))
    }
    monkeypatch.setattr(build, "unpacked", unpacked)
    monkeypatch.setattr(build, "load_cifar10", lambda data_dir: cifar10)
    for name, count in (("CLIPART_IMAGES", 110), ("PHOTO_IMAGES", 50), ("CIFAR10_IMAGES", 40)):
        monkeypatch.setattr(build, name, count)
    return tmp_path


def test_a_mix_is_unlabelled_without_duplicates_listed_with_counts_and_licences(sources):
    mix = load("offline_mix", "train", data_dir=sources / "a")
    manifest = json.loads((sources / "a" / "offline_mix" / "3" / "manifest.json").read_text())
    assert mix.images.shape[1:] == (32, 32, 3)
    assert (mix.labels, mix.num_classes) == (None, None)
    assert 190 <= len(mix) <= 200
    assert manifest["images"] == len(mix)
    assert manifest["fingerprint"] == mix.fingerprint
    assert mix.shares == {name: part["share"] for name, part in manifest["sources"].items()}
    assert sum(mix.shares.values()) == pytest.approx(1, abs=1e-3)
    parts = manifest["sources"]
    dropped = manifest["equal_images_dropped"] + manifest["like_a_test_image_dropped"]
    assert sum(part["views"] for part in parts.values()) - dropped == len(mix)
    assert sum(part["images"] for part in parts.values()) == len(mix)
    for part in parts.values():
        assert part["share"] == pytest.approx(part["images"] / len(mix), abs=1e-4)
    assert parts["openclipart-png"]["families"] == {"shapes/stars star": 12} | {
        f"animals/{index} star": 1 for index in range(31, 40)
    } | ({"animals/30 star": 1} if "animals/30 star" in parts["openclipart-png"]["families"] else {"animals/copy x": 1})
    assert parts["openclipart-png"]["dropped"]["over the family cap"] == 18
    assert parts["openclipart-png"]["dropped"]["copies"] == 1
    assert parts["mate-backgrounds"]["dropped"] == {"near copies": 1}
    assert all(part["license"] and part["origin"] for part in parts.values())
    assert len({image.tobytes() for image in mix.images}) == len(mix)


def test_a_mix_is_the_same_again_and_its_slices_are_fair_samples(sources):
    one, other = (load("offline_mix", "train", data_dir=sources / place) for place in "ab")
    np.testing.assert_array_equal(one.images, other.images)
    assert one.fingerprint == other.fingerprint
    grey = (one.images[..., :1] == one.images).all((1, 2, 3))  # CIFAR-10's
    assert 30 <= grey.sum() <= 42
    half = load("offline_mix", "train[:100]", data_dir=sources / "a")
    assert len(half) == 100
    assert 10 <= grey[:100].sum() <= 30


def test_the_mix_has_the_first_training_images_of_cifar10_and_nothing_like_a_test_image(sources):
    mix = load("offline_mix", "train", data_dir=sources / "a")
    cifar10 = build.load_cifar10(sources)
    found = {image.tobytes() for image in mix.images}
    there = {index for index, image in enumerate(cifar10["train"].images) if image.tobytes() in found}
    assert len(there) >= 30  # the others have watermarks
    assert max(there) < 40  # images 40 to 59 stay unseen
    assert not there & {5, 7}  # a test image, and nearly one; 9 is another's negative
    assert not near_any(thumbnails(mix.images), thumbnails(cifar10["test"].images)).any()
    manifest = json.loads((sources / "a" / "offline_mix" / "3" / "manifest.json").read_text())
    assert manifest["sources"]["cifar10"]["views"] == 40
    assert manifest["sources"]["cifar10"]["like_a_test_image_dropped"] == 2


def test_photographs_are_parted_once_between_the_mix_and_what_it_never_shows(sources):
    found = photos.read_photos(sources / "photos")
    parts = photos.split_photos(found)
    mixed, held_out = ({photo.path for photo in part} for part in (parts.mix, parts.held_out))
    assert len(held_out) == 2 and all(path.startswith("nature/") for path in held_out)
    assert not mixed & held_out
    assert len(mixed) + len(held_out) == 7  # the copy is in neither, whichever of the two it is
    assert {photo.path for photo in photos.split_photos(found[::-1]).held_out} == held_out

    load("offline_mix", "train", data_dir=sources / "a")
    manifest = json.loads((sources / "a" / "offline_mix" / "3" / "manifest.json").read_text())
    assert manifest["sources"]["mate-backgrounds"]["held out"] == sorted(held_out)
    assert set(manifest["sources"]["mate-backgrounds"]["families"]) == mixed


def test_a_package_without_photographs_to_hold_out_is_an_error(sources):
    wallpapers = [photo for photo in photos.read_photos(sources / "photos") if photo.path.startswith("desktop")]
    with pytest.raises(DataError, match="mate-backgrounds has no photographs in nature/"):
        photos.split_photos(wallpapers)
