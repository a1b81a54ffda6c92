"""Measurements: medians and ratios taken in one run. Nothing imports this; see README.md."""
