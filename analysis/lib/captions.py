"""What heads a table: what played the paper's roles, what an epoch stands for, what was recast, what was left out."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Sequence

from analysis.lib.markup import code, literal
from analysis.lib.origins import joined
from analysis.lib.results import PUBLISHED, YOURS, Results, differing
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.setting import RESULTS, Run, Setting
from can.commands.spec import Need, Spec
from can.config import ModelConfig
from can.runs.provenance import without_folder
from can.system.files import read_json
from experiments.harness.rows import row_name

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
        sentences.append(f"**Recast with {code(' '.join(setting.given))}.**")
    runs = [run for _, run in found.runs]
    if not runs:
        return [*sentences, "Nothing is measured yet."]
    trained = [run for run in runs if run.config.optim.total_steps]
    for role, name in MODEL_ROLES.items():
        if players := dict.fromkeys(_model(run.config.model) for run in runs if run.spec.model == role):
            sentences.append(f"{name} is played by {' and '.join(players)}.")
    labelled = code(without_folder(setting.labelled))
    splits = f"trained on its {code(setting.train_split)} and tested on its {code(setting.scale.test_split)}"
    sentences.append(f"{DATA_ROLES['in1k']} is played by {labelled}: classifiers are {splits}.")
    for role, name in DATA_ROLES.items():
        if sets := dict.fromkeys(_data(run) for run in trained if run.spec.data == role):
            sentences.append(f"{name} in pre-training is played by {' and '.join(sets)}.")
    seen = sorted({(run.spec.epochs, _images(run), run.config.optim.last_step) for run in trained})
    lengths = "; ".join(f"{epochs:g} → {images:,} ({steps:,} steps)" for epochs, images, steps in seen)
    return [*sentences, *([f"Epochs of the paper → images seen here: {lengths}."] if lengths else [])]


def whose(found: Results, setting: Setting, command: str) -> str:
    """Whose numbers stand where."""
    meanings = {PUBLISHED: "Published: what this repository gives.", YOURS: "Yours: what this machine made."}
    sentences = [meanings[source] for source in found.shown]
    remade = setting.results_dir.resolve() == setting.published_dir.resolve()
    if found.sources == [PUBLISHED] and not remade:
        sentences.append(f"Yours will stand beside it: {command_line(setting, command)}.")
    return " ".join(sentences)


def warnings(found: Results) -> list[str]:
    """What may not compare: settings, images or makers differ where a table takes them to be equal."""
    sentences = [*found.mixed, *joined(found.origins)]
    groups: dict[Spec, list[Run]] = {}
    for _, run in found.runs:
        groups.setdefault(dataclasses.replace(run.spec, epochs=0), []).append(run)
    for spec, runs in groups.items():
        if fields := differing([run.config.to_dict() for run in runs], _LENGTH):
            sentences.append(f"The rows of {spec.method}/{spec.model} have different settings: {fields}.")
    return sentences


def missing(found: Results, needs: Sequence[Need], setting: Setting, command: str) -> list[str]:
    """An item for each row that nobody has measured in full: the row and the command that makes it."""
    there = set(zip(found.records["row"], found.records["eval"], strict=True))
    lines = []
    for need in needs:
        absent = [name for name in need.evals if (need.spec, name) not in there]
        if absent:
            part = f" ({', '.join(absent)})" if len(absent) < len(need.evals) else ""
            row = row_name(need.spec, needs)
            lines.append(f"{row}{part}: {command_line(setting, command, f'--rows={row}')}")
    return lines


def how_to_measure(setting: Setting, command: str) -> str:
    """What introduces `missing`."""
    return f"Not measured. {command_line(setting, command)} makes all of it; one row:"


def command_line(setting: Setting, command: str, *flags: str) -> str:
    """What makes the results of a setting, as code."""
    usual = setting.results_dir.resolve() in (RESULTS, setting.published_dir.resolve())
    elsewhere = [] if usual else [f"--results_dir={setting.results_dir}"]
    asked = [f"--scale={setting.scale.name}", *setting.given, *elsewhere, *flags]
    return code(f"bash experiments/{command}.sh {' '.join(map(shlex.quote, asked))}")


def plays(setting: Setting, spec: Spec, *, length: bool = True) -> str:
    """What plays the roles of a row here: `here tiny of 4 layers, offline_mix, 146 k images`."""
    config = setting.run(spec, 0).config
    parts = [f"here {config.model.size} of {config.model.depth} layers", without_folder(config.data.name)]
    seen = config.optim.last_step * config.optim.batch_size
    return ", ".join([*parts, *([f"{short(seen)} images"] if length else [])])


def short(count: float) -> str:
    """`1.0 bn`, `47 k` or `48`."""
    for unit, name, digits in ((1e9, " bn", 1), (1e3, " k", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return f"{count:.0f}"


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def _data(run: Run) -> str:
    """The data set, with what it is put together of."""
    shares = read_json(run.folder.results / "provenance.json").get("shares", {})
    parts = ", ".join(f"{literal(name)} {100 * share:.1f} %" for name, share in shares.items())
    name = code(without_folder(run.config.data.name))
    return f"{name} (of its images {parts}; labels are not read)" if parts else name


def _images(run: Run) -> int:
    return run.config.optim.last_step * run.config.optim.batch_size


def _model(model: ModelConfig) -> str:
    patches = f"{model.num_patches} patches of {model.patch_size} px in images of {model.image_size} px"
    return f"`{model.size}` (width {model.width}, depth {model.depth}, {patches})"
