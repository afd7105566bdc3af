"""Robustness on hand-made cases with known answers."""

from __future__ import annotations

import io

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from flax import nnx
from PIL import Image

from can import data, train, training_step
from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.commands.evaluations.robustness import Robustness, summarised
from can.commands.evaluations.shifted_sets import shifted_sets
from can.commands.scales import SCALES
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.data import ArrayImages
from can.data.formats.tfds_records import write_tfds
from can.errors import ConfigError, DataError, UserError
from can.evals import robustness
from can.evals.class_subsets import imagenet_subset
from can.evals.corruption_error import ALEXNET_ERROR, mean_corruption_error
from can.evals.robustness import ShiftedSet
from can.recipes.make_imagenet import WNIDS
from can.runs import unpack_correct


def image_set(labels, *, size=2, name="made"):
    """Images whose pixels all hold the image's number."""
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 3), np.uint8)
    return ArrayImages(name, "test", 4, (), name, images, np.array(labels, np.int32))


PREDICTED = np.array([0, 1, 2, 3, 0])  # of image 0, 1, ...: and the class below it comes second


def logits(images):
    """One-hot of the class that PREDICTED gives the image, which its pixels tell."""
    first = PREDICTED[np.minimum(images[:, 0, 0, 0], 4)]
    rows = np.arange(len(images))
    out = np.zeros((len(images), 4), np.float32)
    out[rows, (first - 1) % 4] = 1
    out[rows, first] = 2
    return out


def evaluate(*sets, **settings):
    return numbers(robustness.evaluate(logits, sets, image_size=2, batch_size=2, **settings))


def numbers(found):
    """What an evaluation returned, without which images were right."""
    return {name: {key: score for key, score in scores.items() if key != "correct"} for name, scores in found.items()}


def test_top1_counts_every_image_once_also_in_a_short_last_batch():
    assert evaluate(ShiftedSet("a", image_set([0, 1, 0, 0, 0])))["a"] == {"top1": 3 / 5, "n": 5}


def test_reals_images_without_labels_are_skipped_and_any_label_is_right():
    right = [(0, 3), (), (1,), (1, 2, 3), ()]
    assert evaluate(ShiftedSet("real", image_set([0] * 5), right=right))["real"] == {"top1": 2 / 3, "n": 3}


def test_the_argmax_of_a_subset_ignores_the_other_classes():
    """Without class 0, image 0 falls to its second, class 3; without it and 3 image 3 falls to class 2."""
    sets = image_set([3, 1, 2, 2, 3])
    found = evaluate(ShiftedSet("a", sets, subsets={"without_0": (1, 2, 3), "only_1_2": (1, 2), "all": None}))["a"]
    assert found == {"without_0": 4 / 5, "only_1_2": 3 / 5, "all": 2 / 5, "n": 5}


def test_a_class_may_stand_for_several_and_those_that_stand_for_none_are_left_out():
    """ObjectNet's rule: its class 0 is the classifier's 0 or 1, its class 1 is 2, its class 2 is not evaluated."""
    stands_for = [(0, 1), (2,), (), ()]
    found = evaluate(ShiftedSet("o", image_set([0, 0, 0, 1, 2]), stands_for=stands_for))["o"]
    assert found == {"top1": 2 / 4, "n": 4}


def test_the_border_is_cut_off_first():
    images = np.full((1, 6, 6, 3), 255, np.uint8)
    images[:, 2:4, 2:4] = 1
    framed = ArrayImages("o", "test", 4, (), "framed", images, np.array([1], np.int32))
    assert evaluate(ShiftedSet("o", framed, border=2))["o"]["top1"] == 1


def test_an_interrupted_evaluation_classifies_no_set_twice(tmp_path):
    first, second = ShiftedSet("a", image_set([0, 1])), ShiftedSet("b", image_set([1, 1], name="other"))
    evaluate(first, cache_dir=tmp_path)
    seen = []

    def counted(images):
        seen.append(len(images))
        return logits(images)

    found = robustness.evaluate(counted, [first, second], image_size=2, batch_size=2, cache_dir=tmp_path)
    assert numbers(found) == {"a": {"top1": 1.0, "n": 2}, "b": {"top1": 0.5, "n": 2}}
    assert [scores["correct"].tolist() for scores in found.values()] == [[True, True], [False, True]]
    assert seen == [2]
    robustness.evaluate(
        counted, [first], image_size=2, batch_size=2, cache_dir=tmp_path, model_fingerprint="another model"
    )
    assert seen == [2, 2]


def test_broken_input_is_one_clear_error():
    with pytest.raises(DataError, match="no labels"):
        evaluate(ShiftedSet("a", image_set([0]).without_labels()))
    with pytest.raises(UserError, match="not finite"):
        robustness.evaluate(
            lambda images: np.full((2, 4), np.nan), [ShiftedSet("a", image_set([0]))], image_size=2, batch_size=2
        )


def test_the_mean_corruption_error_by_hand():
    accuracies = {"fog": [0.8, 0.6], "snow": [0.5, 0.1]}
    assert mean_corruption_error(accuracies, {"fog": 0.6, "snow": 0.7}) == pytest.approx((0.5 + 1.0) / 2)
    alexnet = {kind: [1 - error] * 5 for kind, error in ALEXNET_ERROR.items()}
    assert len(alexnet) == 15
    assert mean_corruption_error(alexnet) == pytest.approx(1)


PLAIN = {
    "imagenet2012": "validation",
    "imagenet_v2/matched-frequency": "test",
    "imagenet_a": "test",
    "imagenet_r": "test",
    "imagenet_sketch": "test",
    "imagenet2012_corrupted/gaussian_noise_1": "validation",
}


def jpeg(framed=False, kind="JPEG"):
    pixels = np.full((90, 100, 3), 60, np.uint8)
    if framed:
        pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:] = [[255, 0, 0]] * 4
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def imagenets(tmp_path_factory):
    """Three images a set, with the features of TFDS's builders."""
    data_dir = tmp_path_factory.mktemp("tfds")
    label = tfds.features.ClassLabel(names=list(WNIDS))

    def write(name, split, features, examples):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="jpeg"), **features})
        rows = [(i, {"image": io.BytesIO(jpeg()), **example}) for i, example in enumerate(examples)]
        target = data_dir / name / "1.0.0"
        target.mkdir(parents=True)
        write_tfds(name.split("/")[0], "1.0.0", target, features, {split: lambda: iter(rows)})

    plain = [{"label": 1}, {"label": 6}, {"label": 13}]
    for name, split in PLAIN.items():
        write(name, split, {"label": label}, plain)
    real = {"original_label": label, "real_label": tfds.features.Sequence(label), "file_name": tfds.features.Text()}
    rows = [([6, 1], "a"), ([], "b"), ([999], "c")]
    write(
        "imagenet2012_real",
        "validation",
        real,
        [{"original_label": 0, "real_label": found, "file_name": name} for found, name in rows],
    )
    return data_dir


def test_the_papers_sets_are_read_in_tfds_form_and_scored_by_their_rules(imagenets, tmp_path):
    for folder in ("banana", "alarm_clock", "basket_of_no_class"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(jpeg(framed=True, kind="PNG"))
    sets = shifted_sets("imagenet2012", imagenets, objectnet=str(tmp_path), imagenet_c=False, real_shifts=())
    seen = []

    def logits(images):
        """Label 6 first, then 1 and 530 (digital clock), then the rest in order."""
        seen.append(np.asarray(images))
        values = -np.arange(1000.0)
        values[[6, 1, 530]] = [30, 20, 10]
        return jnp.tile(jnp.asarray(values), (len(images), 1))

    found = robustness.evaluate(logits, sets, image_size=64, batch_size=3)
    third = {"top1": 1 / 3, "n": 3}
    assert numbers(found) == {
        **{name: third for name in ("imagenet2012", "imagenet_v2", "imagenet_sketch")},
        "imagenet_a": third,
        "imagenet_r": third,
        "imagenet2012_real": {"top1": 0.5, "n": 2},
        # 6 is no class of ObjectNet's, so the sliced argmax is 530, the alarm clock; of all it is 6, which is none.
        "objectnet": {"top1": 0.5, "top1_of_all": 0.0, "n": 2},
    }
    assert list(found)[-1] == "objectnet"
    assert seen[-1].max() < 70  # the frame is 255 red
    assert sets[3].subsets["top1"] == imagenet_subset("imagenet_a")


def test_a_missing_set_says_how_to_get_it_and_a_base_without_shifts_is_refused(imagenets, tmp_path):
    with pytest.raises(DataError, match="download_and_prepare"):
        shifted_sets("imagenet2012", imagenets, objectnet=None, imagenet_c=True, real_shifts=())
    with pytest.raises(ConfigError, match="cifar10"):
        shifted_sets("dtd", tmp_path, objectnet=None, imagenet_c=False, real_shifts=())


def test_damage_is_averaged():
    found = {"smoke": {"top1": 0.9, "n": 2}, "smoke_corruptions/fog": {"top1": 0.5, "n": 3}}
    found["smoke_corruptions/snow"] = {"top1": 0.1, "n": 3}
    assert list(summarised(found)) == [*found.items(), ("smoke_corruptions", {"top1": 0.3, "n": 6})]


SUPERVISED = Spec("supervised", "vit_b", "in1k", 300)


def test_a_method_that_learnt_with_labels_is_measured_by_its_own_classifier(tmp_path):
    here = Setting(SCALES["smoke"], results_dir=tmp_path, workdir=tmp_path / "work", data_dir=tmp_path)
    run = here.run(SUPERVISED, 0)
    test = data.load("smoke", "test", data_dir=tmp_path)
    method = training_step.new_method(run.config, test.num_classes)
    state = training_step.TrainState(jnp.zeros((), jnp.int32), nnx.split(method)[1], nnx.State({}), ())
    with train.Checkpoints(run.folder.checkpoints) as checkpoints:
        checkpoints.save(run.config.optim.last_step, state)

    images = {"smoke train": data.load("smoke", "train", data_dir=tmp_path), "smoke test": test}
    flipped = ArrayImages("flipped", "test", test.num_classes, (), "flipped", test.images[:, ::-1], test.labels)
    sets = {shifted.name: shifted for shifted in (ShiftedSet("smoke", test), ShiftedSet("flipped", flipped))}
    found = {record["metric"]: record for record in Robustness().measure(here, run, images | sets)}

    kernel, bias = np.asarray(method.classifier.kernel[...]), np.asarray(method.classifier.bias[...])
    for name, shown in (("smoke", test), ("flipped", flipped)):
        (batch,) = data.eval_batches(shown, batch_size=len(shown), image_size=run.config.model.image_size)
        views = (batch["image"] / np.float32(255) - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
        features = np.asarray(method.encoder.features(jnp.asarray(views, jnp.float32)))
        right = (features @ kernel + bias).argmax(1) == test.labels
        assert unpack_correct(found[f"{name}/top1"]["correct"], len(test)).tolist() == right.tolist()
        assert found[f"{name}/top1"]["value"] == pytest.approx(right.mean())
    assert not (run.folder.work / "finetune").exists()  # nothing is finetuned


def test_the_protocol_says_whose_classifier_is_measured_and_refuses_one_of_other_classes(tmp_path):
    here = Setting(SCALES["smoke"], results_dir=tmp_path, workdir=tmp_path, data_dir=tmp_path)
    protocol = Robustness().protocol
    assert "finetune" in protocol(here, here.run(Spec("can", "vit_b", "jft", 800), 0))
    own = protocol(here, here.run(SUPERVISED, 0))
    assert own == {"name": "robustness", "classifier": "the method's own, as its training left it", "sets": own["sets"]}
    with pytest.raises(
        ConfigError, match="supervised learnt the classes of dtd, and the shifted sets have those of smoke"
    ):
        protocol(here, here.run(Spec("supervised", "vit_b", "dtd", 300), 0))
