"""Finetuning of a run's encoder on the labelled data of its scale, by a recipe of `Scale.recipe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from can import trained
from can.commands.evaluations import labelled
from can.commands.evaluations.records import records_of
from can.commands.setting import Run, Setting
from can.config import FinetuneConfig
from can.data import ImageSet
from can.errors import ConfigError
from can.evals import finetune as finetuning
from can.runs import EvalRecord
from can.sharding import make_mesh
from can.system.files import write_atomic

# Fields that came after results were made: at their defaults, they are not stated.
LATER = frozenset({"rand_augment_policy", "rand_augment_std", "mix_share_of", "last_lr", "norm_after_pool"})


class Finetune:
    """See `can.evals.finetune`. The curve goes to `<name>.csv` beside the results."""

    def __init__(self, recipe: str, name: str | None = None, **changes: Any) -> None:
        """`name`, `changes`: of a trial, which changes fields of the recipe (experiments/tune_laptop.py)."""
        self.recipe, self.changes = recipe, changes
        self.name = name or ("finetune" if recipe == "paper" else f"finetune_{recipe}")

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """The recipe's, and the splits."""
        if self.recipe == "scratch" and run.config.optim.total_steps:
            raise ConfigError(f"{self.name} trains an untrained encoder: pass --method=random, or --eval=finetune")
        config = dataclasses.asdict(self._config(setting, run))
        usual = {field.name: field.default for field in dataclasses.fields(FinetuneConfig)}
        stated = {name: value for name, value in config.items() if name not in LATER or value != usual[name]}
        return {"name": self.name} | labelled.described(setting) | stated

    def images(self, setting: Setting) -> dict[str, ImageSet]:
        """The labelled splits."""
        return labelled.load(setting)

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """Top-1 of the last epoch, and what else the curve says."""

        def log(step: int, row: dict[str, float]) -> None:
            logging.info("%s %s: step %d, test top-1 %.4f", run.folder.name, self.name, step, row["top1"])

        work = self.work_dir(run)
        found = finetuning.evaluate(
            trained.load_encoder(run.config, run.folder),
            *labelled.train_and_test(setting, dict(images)),
            self._config(setting, run),
            seed=run.config.seed,
            work_dir=work,
            workers=setting.scale.workers,
            mesh=make_mesh(fsdp=setting.fsdp),
            log=log,
        )
        write_atomic(run.folder.results / f"{self.name}.csv", (work / "curve.csv").read_bytes())
        return records_of(found, run)

    def work_dir(self, run: Run) -> Path:
        """Where the finetuned weights are."""
        return run.folder.work / self.name

    def _config(self, setting: Setting, run: Run) -> FinetuneConfig:
        recipe = setting.scale.recipe(self.recipe, run.config.model.size) | self.changes
        return dataclasses.replace(setting.scale.finetune, **recipe | dict(setting.finetune))
