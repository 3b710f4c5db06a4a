"""The models."""

from __future__ import annotations

MODELS = ["linear_probability", "logistic_model", "decision_tree"]
