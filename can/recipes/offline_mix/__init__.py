"""The offline mix: a stand-in for an uncurated web-scale set such as JFT-300M, out of Debian packages and CIFAR-10."""

from __future__ import annotations

from can.recipes.offline_mix.build import load_offline_mix

__all__ = ["load_offline_mix"]
