"""`hf:`, `parquet:` and `wds:` beside `folder:`: equal sets, exact resume, and errors that name the record."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import datasets
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from can.data import ArrayImages, EncodedImages, batches, eval_batches, load
from can.data.formats.numbered import fixed_order
from can.errors import ConfigError, DataError, UserError
from can.evals.classes import check_same_classes
from can.evals.encoder import Encoder, extract_features
from can.methods.pixels import RawPixels

CLASSES = ("cat", "dog", "emu")
KINDS = ("folder", "hf", "parquet", "wds")


def png(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def photographs(size: tuple[int, int]) -> dict[str, dict[str, bytes]]:
    """{split: {class/number.png: content}}, sorted by class, as files lie in folders."""
    return {
        split: {
            f"{CLASSES[n % 3]}/{n:02}.png": png(100 * place + n, size) for n in sorted(range(12), key=lambda n: n % 3)
        }
        for place, split in enumerate(("train", "test"))
    }


def write_all(root: Path, size: tuple[int, int]) -> dict[str, str]:
    """The same photographs in each form, and the names that open them."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    saved = datasets.DatasetDict()
    (root / "shards").mkdir(parents=True)
    for split, files in photographs(size).items():
        for name, content in files.items():
            (root / "photos" / split / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "photos" / split / name).write_bytes(content)
        rows = [
            {"image": {"bytes": data, "path": Path(name).name}, "label": CLASSES.index(name.split("/")[0])}
            for name, data in files.items()
        ]
        saved[split] = datasets.Dataset.from_list(rows, features=features)
        saved[split].to_parquet(str(root / "shards" / f"{split}-00000-of-00001.parquet"))
        for shard in range(2):
            samples = {name: data for place, (name, data) in enumerate(files.items()) if place % 2 == shard}
            labelled = {name: (data, {"cls": name.split("/")[0].encode()}) for name, data in samples.items()}
            write_tar(root / "shards" / f"x-{split}-{shard:03}.tar", labelled)
    saved.save_to_disk(str(root / "saved"))
    return {
        "folder": f"folder:{root}/photos",
        "hf": f"hf:{root}/saved",
        "parquet": f"parquet:{root}/shards/*.parquet",
        "wds": f"wds:{root}/shards/x-{{train,test}}-{{000..001}}.tar",
    }


def write_tar(path: Path, samples: dict[str, tuple[bytes, dict[str, bytes]]]) -> None:
    """Each image by its name, with files beside it by what follows the dot."""
    with tarfile.open(path, "w") as archive:
        for name, (data, beside) in samples.items():
            key = name.rpartition(".")[0]
            for member, content in {name: data, **{f"{key}.{kind}": text for kind, text in beside.items()}}.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    root = tmp_path_factory.mktemp("small")
    yield write_all(root, (32, 32)), root / "data"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    root = tmp_path_factory.mktemp("large")
    yield write_all(root, (80, 90)), root / "data"


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_same_photographs_have_equal_pixels_labels_and_features_in_every_form(small, kind: str) -> None:
    names, data_dir = small
    encoder = Encoder.from_model(RawPixels(32), batch_size=8)

    def known(form: str, split: str) -> dict[object, tuple[int, bytes]]:
        images = load(names[form], split, data_dir=data_dir)
        assert isinstance(images, ArrayImages) and images.class_names == CLASSES
        features, labels = extract_features(encoder, images)
        return {
            print_: (int(label), np.asarray(row).tobytes())
            for print_, label, row in zip(images.contents(), labels, features, strict=True)
        }

    for split in ("train", "test"):
        assert known(kind, split) == known("folder", split)
        assert len(known(kind, split)) == 12


def test_tar_archives_are_in_the_order_of_the_folder_and_have_its_fingerprint(small) -> None:
    names, data_dir = small
    for split in ("train", "test[:50%]"):
        ours, folders = (load(names[kind], split, data_dir=data_dir) for kind in ("wds", "folder"))
        assert ours.fingerprint == folders.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_large_images_stay_encoded_and_training_resumes_to_the_bit_in_every_form(large, kind: str) -> None:
    names, data_dir = large
    images = load(names[kind], "train", data_dir=data_dir)
    assert isinstance(images, EncodedImages)
    expected = {content: CLASSES.index(name.split("/")[0]) for name, content in photographs((80, 90))["train"].items()}
    assert dict(images[index] for index in range(len(images))) == expected
    assert [images.label(index) for index in range(12)] == [images[index][1] for index in range(12)]
    again = pickle.loads(pickle.dumps(images))  # as workers get it
    whole = batches(images, batch_size=5, seed=3, views=2, image_size=16)
    resumed = batches(again, batch_size=5, seed=3, views=2, image_size=16, start_step=3)
    for _ in range(3):
        next(whole)
    for _ in range(2):
        ours, theirs = next(whole), next(resumed)
        np.testing.assert_array_equal(ours["image"], theirs["image"])
        np.testing.assert_array_equal(ours["label"], theirs["label"])


@pytest.mark.parametrize("kind", ["hf", "parquet"])
def test_sets_that_come_sorted_by_class_are_shuffled_once(large, kind: str) -> None:
    names, data_dir = large
    labels = [load(names[kind], "train", data_dir=data_dir).label(index) for index in range(12)]
    assert labels != sorted(labels)
    assert sorted(fixed_order(1000)) == list(range(1000))
    first = fixed_order(1000)[:500]
    assert 200 < (first < 500).sum() < 300  # a fair half


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_split_is_answered_with_what_is_there_and_a_slice(small, kind: str) -> None:
    names, data_dir = small
    with pytest.raises(ConfigError) as error:
        load(names[kind], "validation", data_dir=data_dir)
    assert str(error.value) == (
        f"unknown split 'validation' of {names[kind]} (valid: train (12 images), test (12 images)): use train[:90%] to "
        "train on and train[90%:] to judge"
    )


def test_webdataset_itself_reads_the_same_samples(large) -> None:
    """Images and classes, of archives that its own writer wrote, too."""
    import webdataset

    names, data_dir = large
    root = data_dir.parent / "shards"
    with webdataset.TarWriter(str(root / "own.tar")) as writer:
        for number in range(4):
            writer.write({"__key__": f"sub/{number:03}", "png": png(number, (80, 90)), "cls": number % 2})
    for name, paths in {
        f"wds:{root}/own.tar": [root / "own.tar"],
        names["wds"]: sorted(root.glob("x-train-*.tar")),
    }.items():
        theirs = webdataset.WebDataset(list(map(str, paths)), shardshuffle=False, empty_check=False)
        expected = {sample["png"]: sample["cls"].decode() for sample in theirs}
        images = load(name, "train", data_dir=data_dir)
        found = dict(images[index] for index in range(len(images)))
        assert {
            data: images.class_names[label] if images.class_names else str(label) for data, label in found.items()
        } == expected
    (root / "own.tar").unlink()


def test_what_webdataset_puts_beside_images_gives_classes_and_their_names(tmp_path: Path) -> None:
    def set_of(samples: dict[str, dict[str, bytes]], name: str = "a.tar", more: str = "") -> EncodedImages:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images = {key: (png(place, (80, 80)), files) for place, (key, files) in enumerate(samples.items())}
        write_tar(tmp_path / name, images)
        loaded = load(f"wds:{tmp_path / name}{more}", "train", data_dir=tmp_path / "data")
        assert isinstance(loaded, EncodedImages)
        return loaded

    of_json = {f"{n}.png": {"json": json.dumps({"label": n % 2, "coarse": "xy"[n % 2]}).encode()} for n in range(4)}
    assert set_of(of_json).num_classes == 2 and set_of(of_json).class_names == ()
    assert set_of(of_json, more="#label=coarse").class_names == ("x", "y")
    assert set_of(of_json, more="#label=").num_classes is None
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "classnames.txt").write_text("ant\nbee\n")
    assert set_of({f"{n}.png": {"cls": b"%d" % (n % 2)} for n in range(4)}, "named/a.tar").class_names == ("ant", "bee")
    assert set_of({"p/ant/1.png": {}, "p/bee/2.png": {}}).class_names == ("ant", "bee")  # as a packed folder
    assert set_of({"1.png": {"txt": b"a caption"}, "2.png": {"txt": b"another"}}).num_classes is None


def rows(labels: list[object], **more: list[object]) -> pa.Table:
    return pa.table({"image": [png(n, (80, 80)) for n in range(len(labels))], "label": labels, **more})


def test_parquet_files_without_features_have_their_classes_by_number_or_name(tmp_path: Path) -> None:
    parquet.write_table(rows(["b", "a", "b"]), tmp_path / "train-0.parquet")
    parquet.write_table(rows(["c", "a"]), tmp_path / "val-0.parquet")
    train, held_out = (
        load(f"parquet:{tmp_path}", split, data_dir=tmp_path / "data") for split in ("train", "validation")
    )
    assert train.class_names == held_out.class_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"images of 1 class that .* has none of \(c\)"):
        check_same_classes("a probe", train, held_out)
    parquet.write_table(rows([0, 1, 2]), tmp_path / "numbers.parquet")
    assert load(f"parquet:{tmp_path}/numbers.parquet", "train", data_dir=tmp_path / "data").num_classes == 3


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        (rows([0, None, 1]), "", "record 1 of .* has no label, others have.*#label="),
        (rows([0, -1, 1]), "", "record 1 of .* has no label, others have"),
        (
            rows([0, 1], img=[b"", b""]).rename_columns(["a", "label", "b"]),
            "",
            r"could be the image \(a, b\): add #image=a",
        ),
        (rows([0, 1]), "#label=colour", r"has no column 'colour' \(it has: image, label\)"),
        (rows([0, 1]), "#label=image", "column 'image' is of binary: labels are numbers or texts"),
        (pa.table({"pixels": [[1, 2]], "label": [0]}), "", r"no column of encoded images \(it has: pixels, label\)"),
        (rows([0, 1]).slice(0, 0), "", "no images in"),
    ],
)
def test_tables_that_cannot_be_a_set_are_errors(tmp_path: Path, table: pa.Table, more: str, message: str) -> None:
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message) as error:
        load(f"parquet:{tmp_path}/a.parquet{more}", "train", data_dir=tmp_path / "data")
    assert "\n" not in str(error.value)


def test_a_split_whose_labels_are_not_published_is_unlabelled(tmp_path: Path) -> None:
    parquet.write_table(rows([0, 1]), tmp_path / "train.parquet")
    parquet.write_table(rows([-1, -1]), tmp_path / "test.parquet")
    test = load(f"parquet:{tmp_path}", "test", data_dir=tmp_path / "data")
    assert test.num_classes is None and test[0][1] is None
    with pytest.raises(DataError, match="needs labelled sets of the same classes"):
        check_same_classes("a probe", load(f"parquet:{tmp_path}", "train", data_dir=tmp_path / "data"), test)


@pytest.mark.parametrize("kind", ["hf", "parquet", "wds"])
def test_a_damaged_image_is_named_by_its_record(tmp_path: Path, kind: str) -> None:
    cut = png(0, (80, 80))[:900]
    table = pa.table({"image": [png(1, (80, 80)), cut], "label": [0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    datasets.Dataset(table).save_to_disk(str(tmp_path / "saved"))
    write_tar(tmp_path / "a.tar", {"1.png": (png(1, (80, 80)), {}), "2.png": (cut, {})})
    name = {"hf": f"hf:{tmp_path}/saved", "parquet": f"parquet:{tmp_path}/a.parquet", "wds": f"wds:{tmp_path}/a.tar"}
    named = {"hf": "record 1 of .*saved train", "parquet": r"record 1 of .*a\.parquet train", "wds": r"a\.tar/2\.png"}
    # Which of the two comes first is a matter of the order: a set whose first image is damaged is refused at once.
    with pytest.raises(DataError, match=rf"{named[kind]} is cut short \(900 bytes\)"):
        images = load(name[kind], "train", data_dir=tmp_path / "data")
        list(eval_batches(images, batch_size=2, image_size=16))


def test_files_that_are_missing_damaged_or_of_another_kind_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    write_tar(tmp_path / "whole.tar", {f"{n}.png": (png(n), {}) for n in range(4)})
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:7000])
    (tmp_path / "empty").mkdir()
    for name, message in {
        "hf:{}/nowhere": "there is no folder .*nowhere",
        "hf:{}/empty": "not written by save_to_disk .*parquet:.* wds:.* folder:",
        "parquet:{}/a.parquet": "a.parquet is not a whole parquet file",
        "parquet:{}/*.pq": r"no \.parquet files at",
        "wds:{}/x-{{000..001}}.tar": "no file .*x-000.tar",
        "wds:{}/cut.tar": "cut.tar is not a whole tar archive",
        "wds:{}/empty": r"no \.tar files at",
        "wds:{}/{{": "braces of .* do not close",
    }.items():
        with pytest.raises(DataError, match=message) as error:
            load(name.format(tmp_path), "train", data_dir=tmp_path / "data")
        assert "\n" not in str(error.value)
    for name in ("hf:", "parquet:", "wds:"):
        with pytest.raises(ConfigError, match=f"{name} names no place: write {name}PATH"):
            load(name, "train", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "package"), [("hf:x", "datasets"), ("parquet:x", "pyarrow"), ("wds:x{1}", "braceexpand")]
)
def test_a_missing_package_is_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}: pip install -e '\.\[sources\]'"):
        load(name, "train", data_dir=tmp_path)


def test_names_of_files_tell_splits_and_some_that_do_not_are_refused(tmp_path: Path) -> None:
    for name in ("train2017.tar", "val2017.tar"):
        write_tar(tmp_path / name, {"1.png": (png(len(name)), {"cls": b"0"})})
    assert len(load(f"wds:{tmp_path}", "val", data_dir=tmp_path / "data")) == 1
    write_tar(tmp_path / "extra.tar", {"1.png": (png(1), {"cls": b"0"})})
    with pytest.raises(DataError, match=r"extra\.tar is of no split and train2017\.tar of train"):
        load(f"wds:{tmp_path}", "train", data_dir=tmp_path / "data")
