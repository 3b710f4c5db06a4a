"""The models: an id, a class, and the options of the class."""

from __future__ import annotations

MODELS = {
    "linear_probability": {"class": "sklearn.linear_model.LinearRegression"},
    "logistic_model": {"class": "sklearn.linear_model.LogisticRegression", "C": 0.5},
    "decision_tree": {"class": "sklearn.tree.DecisionTreeClassifier", "max_depth": 4, "random_state": 0},
}
