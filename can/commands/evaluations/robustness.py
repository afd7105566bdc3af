"""Robustness of a run's classifier on shifted test sets: the finetuned one, or the one that it was trained with."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from can import trained
from can.augment import eval_view
from can.commands.evaluations import labelled
from can.commands.evaluations.finetune import Finetune
from can.commands.evaluations.records import records_of
from can.commands.evaluations.shifted_sets import IMAGENET_C, shift_rules, shifted_sets
from can.commands.setting import Run, Setting
from can.errors import ConfigError
from can.evals import robustness as shifts
from can.evals.corruption_error import mean_corruption_error
from can.evals.finetune import load_finetuned
from can.evals.finetune_step import FinetunedViT
from can.methods import method_class
from can.methods.supervised import Supervised
from can.models.fingerprint import fingerprint_of
from can.runs import EvalRecord
from can.sharding import make_mesh, put_copies

FINETUNE = Finetune("paper")
OWN_CLASSIFIER = "the method's own, as its training left it"


class Robustness:
    """See `can.evals.robustness`; an interrupted one finds the sets that it has done.

    It finetunes first where that is not done, by the protocol that it states as its own. A method that was trained with
    labels has a classifier: that one is measured as it is.
    """

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """Where the classifier is from, and the sets with their rules."""
        rules = rules_of(setting)
        if not _has_classifier(run):
            return {"name": "robustness", "finetune": FINETUNE.protocol(setting, run), "sets": rules}
        if run.config.data.name != setting.labelled:
            raise ConfigError(
                f"{run.config.method.name} learnt the classes of {run.config.data.name}, and the shifted sets have "
                f"those of {setting.labelled}: train it on --data=in1k"
            )
        return {"name": "robustness", "classifier": OWN_CLASSIFIER, "sets": rules}

    def images(self, setting: Setting) -> dict[str, Any]:
        """The labelled splits, and the shifted sets by their names."""
        sets = shifted_sets(setting.labelled, setting.data_dir, **_optional_sets(setting))
        return labelled.load(setting) | {shifted.name: shifted for shifted in sets}

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """Metrics `<set>/top1`, and of damaged sets `<set>/<kind>/top1` too."""
        sets = [entry for entry in images.values() if isinstance(entry, shifts.ShiftedSet)]
        graphdef, params = nnx.split(_classifier(setting, run, images))
        fingerprint = fingerprint_of(params, run.config.model, run.config.model.image_size)
        params = put_copies(params, make_mesh())

        @jax.jit
        def logits(params: nnx.State, images: Array) -> Array:
            return nnx.merge(graphdef, params).logits(eval_view(images))

        found = shifts.evaluate(
            lambda images: logits(params, images),
            sets,
            image_size=run.config.model.image_size,
            model_fingerprint=fingerprint,
            cache_dir=run.folder.work / "robustness",
        )
        return [record for name, scores in summarised(found) for record in records_of(scores, run, prefix=f"{name}/")]


def rules_of(setting: Setting) -> dict[str, str]:
    """The sets of a setting, by name: what each shows, or how it is counted. Raises ConfigError if it has none."""
    return shift_rules(setting.labelled, **_optional_sets(setting))


def _has_classifier(run: Run) -> bool:
    return issubclass(method_class(run.config.method.name), Supervised)


def _classifier(setting: Setting, run: Run, images: Mapping[str, Any]) -> Supervised | FinetunedViT:
    """What has the logits of normalised images; it is finetuned here if it has to be."""
    num_classes = labelled.train_and_test(setting, dict(images))[0].num_classes
    assert num_classes is not None
    if _has_classifier(run):
        method = trained.load_method(run.config, run.folder, num_classes)
        assert isinstance(method, Supervised)
        return method
    FINETUNE.measure(setting, run, images)  # reads what is finished, and refuses a finetuning by other settings
    return load_finetuned(trained.load_encoder(run.config, run.folder), num_classes, FINETUNE.work_dir(run))


def _optional_sets(setting: Setting) -> dict[str, Any]:
    return {
        "objectnet": setting.objectnet,
        "imagenet_c": setting.imagenet_c,
        "real_shifts": setting.real_shifts,
    }


def summarised(found: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each set with its scores; the kinds of damage of one set are also averaged, as that set."""
    yield from found.items()
    damaged: dict[str, dict[str, dict[str, Any]]] = {}  # set -> kind -> scores
    for name, scores in found.items():
        base, _, kind = name.partition("/")
        if kind:
            damaged.setdefault(base, {})[kind] = scores
    for base, kinds in damaged.items():
        mean = statistics.fmean(scores["top1"] for scores in kinds.values())
        over_all = {"top1": mean, "n": sum(scores["n"] for scores in kinds.values())}
        if base == IMAGENET_C:
            accuracies: dict[str, list[float]] = {}
            for kind, scores in kinds.items():
                accuracies.setdefault(kind.rpartition("_")[0], []).append(scores["top1"])
            over_all["mce"] = mean_corruption_error(accuracies)
        yield base, over_all
