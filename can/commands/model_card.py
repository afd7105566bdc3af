"""The model card of an exported encoder: what it is, what it was trained on, and what was measured of it."""

from __future__ import annotations

from can.commands.methods import preset
from can.commands.setting import Run
from can.runs.provenance import without_folder
from can.system.files import read_json

HOW = {
    "timm": '    model = timm.create_model("local-dir:FOLDER").eval()\n    features = model(pixels)',
    "transformers": "    model = AutoModel.from_pretrained(FOLDER)\n"
    "    features = model(pixels).last_hidden_state.mean(1)  # of a ViTModel: [:, 1:].mean(1)",
    "safetensors": '    features = can.load_encoder("FOLDER")(images)  # uint8 [B, size, size, 3]',
}
LICENCES = "docs/data.md of the repository says where each part of the data comes from and under which licence."


def model_card(run: Run, form: str, difference: float, by: str) -> str:
    """Markdown with the metadata that model hubs read. Every number is read from the run's files."""
    config = run.config
    made = read_json(run.folder.results / "provenance.json")
    git = made.get("git") or {}
    images = config.optim.last_step * config.optim.batch_size
    lines = [
        "---",
        "license: apache-2.0",
        "tags: [can, self-supervised-learning, image-feature-extraction]",
        f"library_name: {form if form != 'safetensors' else 'jax'}",
        "pipeline_tag: image-feature-extraction",
        "---",
        "",
        f"# {run.folder.name}",
        "",
        f"An image encoder pre-trained with {preset(config.method.name).title}: {config.model.depth} blocks of width "
        f"{config.model.width}, patches of {config.model.patch_size} pixels in images of {config.model.image_size}.",
        "",
        HOW[form],
        "",
        f"- Pre-trained on `{without_folder(config.data.name)}` ({config.data.split}), {images:,} images, seed "
        f"{config.seed}, scale `{config.scale}`.",
        *(f"- Of the images {name}: {100 * share:.1f} %." for name, share in made.get("shares", {}).items()),
        f"- {LICENCES}",
        f"- Made by commit `{git.get('commit', 'unknown')}`{' with changes' if git.get('dirty') else ''}.",
        f"- Largest difference to the features of the original, on 8 images, read by {by}: {difference:.1e}.",
        "",
        "| evaluation | metric | value | test images | seed |",
        "|---|---|---:|---:|---:|",
    ]
    for path in sorted(run.folder.results.glob("eval-*.json")):
        name = path.stem.removeprefix("eval-")
        lines += [
            f"| {name} | {record['metric']} | {record['value']:.4f} | {record['n']} | {record['seed']} |"
            for record in run.folder.read_eval(name).records
            if record["metric"] in ("top1", "chance")
        ]
    return "\n".join(lines) + "\n"
