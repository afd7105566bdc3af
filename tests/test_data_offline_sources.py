"""Each offline labelled set, read from small packages of the real ones' form: classes, identities, and no leak."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from can.data import load
from can.offline_data.debian import Unpacked
from can.offline_data.offline_mix import clipart
from can.offline_data.offline_sets import OFFLINE_SETS, clip_art, emoji, fonts, icons, mixed, sprites, stamps

IDENTITIES = [f"{word}s" for word in ("cat", "dog", "owl", "cow")]  # of each class
COPIES = 10  # pictures of each identity: a class has 40, so that 20 are on either side
DEJAVU = ["DejaVuSans", "DejaVuSerif", "DejaVuSans-Bold", "DejaVuSerif-Bold"]
DRAWN = ("clipart", "emoji", "icons", "sprites", "stamps")


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


IN_MIX = png("mix food cats", 0)  # a picture of the pre-training mix, which every source holds a copy of


def make_clip_art(root: Path) -> None:
    """Two classes whose families are larger than the mix takes of one, and a class that the mix takes whole."""
    for label, identity, index in each_picture("animals", "signs"):
        write(root / label / f"{identity}_{index:02}.png", png(f"{label} {identity}", index))
    write(root / "food" / "cats_00.png", IN_MIX)


def make_sprites(root: Path) -> None:
    pictures = each_picture("monster", "wall")
    rows = [(f"./arch/{label}/{name}/{name}_{index}.111", png(label + name, index)) for label, name, index in pictures]
    rows += [("./arch/monster/cats/cats_0.112", png("another frame", 0)), ("./arch/misc/x.111", png("no kind", 0))]
    rows += [("./arch/monster/mix/mix.111", IN_MIX)]
    content = [f"IMAGE {len(data)} {name}\n".encode() + data for name, data in rows]
    write(root / "crossfire.base", b"".join(content[:50]))
    write(root / "crossfire.clsc", b"".join(content[50:]))


def make_stamps(root: Path) -> None:
    for label, identity, index in each_picture("animals", "food"):
        write(root / label / "some" / f"{identity}{index}.png", png(label + identity, index))
    write(root / "food" / "mix.png", IN_MIX)
    (root / "food" / "link.png").symlink_to(root / "food" / "mix.png")


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
    make_stamps(root / stamps.PACKAGE.name)
    for theme, package in enumerate(icons.PACKAGES):
        make_icons(root / package.name, theme)
    make_fonts(root / "fonts-freefont-ttf", ["FreeSans", "FreeSerif"])
    make_fonts(root / "fonts-liberation", ["LiberationSans", "LiberationSerif"])
    make_fonts(root / "fonts-dejavu-core", [*DEJAVU, "DejaVuOther"])
    make_emoji(folder / emoji.PACKAGE.file_name)
    digest = hashlib.sha256((folder / emoji.PACKAGE.file_name).read_bytes()).hexdigest()

    @contextlib.contextmanager
    def unpacked(package, data_dir, scratch):
        yield Unpacked(root / package.name, f"{package.name}_1.0_all.deb")

    with pytest.MonkeyPatch.context() as patch:
        for module in (clip_art, fonts, icons, mixed, sprites, stamps):
            patch.setattr(module, "unpacked", unpacked)
        patch.setattr(emoji, "PACKAGE", dataclasses.replace(emoji.PACKAGE, sha256=digest))
        patch.setitem(clipart.CAPS, "per_family", 2)
        patch.setattr(fonts, "_SCRIPTS", ("ARMENIAN", "GREEK"))  # of nineteen, to be quick
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
        ("clipart", ("animals", "signs")),
        ("emoji", ("Objects", "People")),
        ("icons", ("actions", "apps")),
        ("sprites", ("monster", "wall")),
        ("stamps", ("animals", "food")),
        ("scripts", ("armenian", "greek")),
    ],
)
def test_the_classes_are_those_of_the_source(name, classes, data_dir):
    assert load(name, "train", data_dir=data_dir).class_names == classes


def test_letters_of_unseen_fonts_are_the_test_images(data_dir, tmp_path):
    items = fonts.collect_glyphs(data_dir, tmp_path).items
    trained_on = {"FreeSans", "FreeSerif", "LiberationSans", "LiberationSerif"}
    assert {item.identity for item in items if not item.test} == trained_on
    assert {item.identity for item in items if item.test} == set(DEJAVU)  # and no other font that is installed there


def test_a_letter_is_one_identity_with_its_capital_and_its_accents(data_dir, tmp_path):
    identities = {item.identity for item in fonts.collect_scripts(data_dir, tmp_path).items}
    assert "\N{GREEK SMALL LETTER ALPHA}" in identities
    assert "\N{GREEK SMALL LETTER ALPHA WITH TONOS}" not in identities
    assert not any(identity.isupper() for identity in identities)
