"""What heads a table: what played the paper's roles, what an epoch stands for, what was recast, what was left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from analysis.lib.results import Results, differing
from can.config import ModelConfig
from experiments.harness.scales import DATA_ROLES, MODEL_ROLES
from experiments.harness.setting import RESULTS, Run, Setting
from experiments.harness.spec import Need

NOT_A_RESULT = "smoke: not a result"
# In these the runs of one method and model may differ.
_LENGTH = ("epochs", "seed", "optim.max_steps", "optim.total_steps", "optim.warmup_steps")


def title(text: str, setting: Setting) -> str:
    """The heading, with the scale."""
    smoke = f" ({NOT_A_RESULT})" if setting.scale.name == "smoke" else ""
    return f"# {text}, scale `{setting.scale.name}`{smoke}"


def describe(found: Results, setting: Setting) -> list[str]:
    """Sentences about what `found` was made of."""
    sentences = []
    if setting.given:
        sentences.append(f"**Recast with `{' '.join(setting.given)}`.**")
    runs = [run for _, run in found.runs]
    if not runs:
        return [*sentences, "Nothing is measured at this scale yet."]
    trained = [run for run in runs if run.config.optim.total_steps]
    for role, name in MODEL_ROLES.items():
        if players := dict.fromkeys(_model(run.config.model) for run in runs if run.spec.model == role):
            sentences.append(f"{name} is played by {' and '.join(players)}.")
    for role, name in DATA_ROLES.items():
        if sets := dict.fromkeys(f"`{run.config.data.name}`" for run in trained if run.spec.data == role):
            sentences.append(f"{name} is played by {' and '.join(sets)}.")
    seen = sorted({(run.spec.epochs, _images(run), run.config.optim.last_step) for run in trained})
    lengths = "; ".join(f"{epochs:g} → {images:,} ({steps:,} steps)" for epochs, images, steps in seen)
    return [*sentences, *([f"Epochs of the paper → images seen here: {lengths}."] if lengths else [])]


def warnings(found: Results) -> list[str]:
    """Sentences about rows that cannot be compared: their settings differ where a table takes them to be equal."""
    sentences = []
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for _, run in found.runs:
        groups.setdefault((run.spec.method, run.spec.model, str(run.spec.overrides)), []).append(run)
    for (method, model, _), runs in groups.items():
        if fields := differing([run.config.to_dict() for run in runs], _LENGTH):
            sentences.append(f"The rows of {method}/{model} have different settings: {fields}.")
    return sentences


def missing(found: Results, needs: Sequence[Need], setting: Setting, command: str) -> list[str]:
    """A line for each row that nobody has measured: the row and the command that makes it."""
    there = set(found.records["row"])
    elsewhere = [] if setting.results_dir.resolve() == RESULTS else [f"--results_dir={setting.results_dir}"]
    flags = [f"--scale={setting.scale.name}", *setting.given, *elsewhere]
    asked = " ".join(map(shlex.quote, flags))
    rows = [str(need.spec) for need in needs if str(need.spec) not in there]
    return [f"{row}: `bash experiments/{command}.sh {asked} --rows={row}`" for row in rows]


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def _images(run: Run) -> int:
    return run.config.optim.last_step * run.config.optim.batch_size


def _model(model: ModelConfig) -> str:
    patches = f"{model.num_patches} patches of {model.patch_size} px in images of {model.image_size} px"
    return f"`{model.size}` (width {model.width}, depth {model.depth}, {patches})"
