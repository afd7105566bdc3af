"""What is done to images on the device, inside the jitted step: pure batched functions."""

from can.augment.simclr import IMAGENET_MEAN, IMAGENET_STD, View, augment, eval_view, normalize

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "View", "augment", "eval_view", "normalize"]
