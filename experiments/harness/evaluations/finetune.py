"""Finetuning of a run's encoder on the labelled data of its scale, by one of the recipes of presets.RECIPES."""

from __future__ import annotations

import dataclasses
import shutil

from absl import flags, logging

from can import data, train
from can.config import RunConfig
from can.errors import ConfigError
from can.evals import finetune as finetuning
from can.files import write_atomic
from can.runs import EvalRecord, RunDir
from can.sharding import make_mesh
from experiments.harness import presets, run_flags


def finetune(config: RunConfig, run: RunDir, recipe: str = "paper") -> list[EvalRecord]:
    """See `can.evals.finetune`. The curve goes to `finetune.csv` (`finetune_<recipe>.csv`) beside the results."""
    if recipe == "scratch" and config.method.name != "random":
        raise ConfigError("finetune_scratch trains an untrained encoder: pass --method=random, or --eval=finetune")
    scale, values = run_flags.scale(), flags.FLAGS
    name = eval_name(recipe)
    chosen = presets.recipe(recipe, config.model.size) | run_flags.protocol_flags("finetune")
    protocol = dataclasses.replace(scale.finetune, **chosen)
    labelled = scale.data["in1k"]
    work_dir = run.work / name
    if values.force:
        shutil.rmtree(work_dir, ignore_errors=True)
    found = finetuning.evaluate(
        train.load_encoder(config, run),
        data.load(labelled, values.train_split, data_dir=values.data_dir),
        data.load(labelled, scale.test_split, data_dir=values.data_dir),
        protocol,
        seed=config.seed,
        work_dir=work_dir,
        workers=scale.workers,
        mesh=make_mesh(fsdp=values.fsdp),
        log=lambda step, row: logging.info("%s %s: step %d, test top-1 %.4f", run.name, name, step, row["top1"]),
    )
    write_atomic(run.results / f"{name}.csv", (work_dir / "curve.csv").read_bytes())
    described = {
        "name": name,
        "train": f"{labelled} {values.train_split}",
        "test": f"{labelled} {scale.test_split}",
    } | dataclasses.asdict(protocol)
    n = int(found.pop("n"))
    return [
        EvalRecord(metric=metric, value=value, n=n, seed=config.seed, protocol=described)
        for metric, value in found.items()
    ]


def eval_name(recipe: str) -> str:
    """What `--eval=` and the files on disk call finetuning by a recipe."""
    return "finetune" if recipe == "paper" else f"finetune_{recipe}"
