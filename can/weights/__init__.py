"""Weights that others trained, as our encoder or our MAE, and ours in the forms that others read."""
