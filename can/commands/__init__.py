"""The command `can`: what each of its subcommands does, their flags, the presets behind these, and how one run is made.

Nothing else in `can` reads a flag. What a table is made of, and how many runs at a time, is in `experiments/`.
"""

from __future__ import annotations

COMMANDS = {  # modules of this room, each with `define_flags()` and `main()`
    "pretrain": "pre-train one run",
    "evaluate": "evaluate a pre-trained run: linear probe, finetuning, few-shot, robustness, neighbours",
    "evaluate_weights": "the same of an encoder that others trained",
    "show": "draw what a run makes of images, where it looks, which images it finds alike",
    "features": "write features of any images to a file",
    "export": "write a trained encoder in the form of timm, transformers or safetensors",
}
