"""Fit each model to each data set."""

from __future__ import annotations

from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import d6tpipe as dp
from my_project.data_preparation.tasks import PREPARED, PrepareData
from my_project.estimation.config import MODELS


def make_model(name):
    """Return a model that is not fitted yet."""
    if name == "linear_probability":
        return LinearRegression()
    if name == "logistic_model":
        return make_pipeline(StandardScaler(), LogisticRegression())
    if name == "decision_tree":
        return DecisionTreeClassifier(max_depth=4, random_state=0)
    raise ValueError(f"there is no model {name!r}")


@dp.mark.costly
class EstimateModel(dp.tasks.TaskPickle):
    """A fitted model; its metadata hold the share of unseen tumours that it judges right."""

    data = dp.TaskInstanceParameter(PrepareData)
    model = dp.Parameter()

    def run(self):
        df = self.data.outputLoad()
        train, test = train_test_split(df, test_size=0.3, random_state=0)
        model = make_model(self.model).fit(train.drop(columns="benign"), train["benign"])
        judged_benign = model.predict(test.drop(columns="benign")) > 0.5
        self.saveMeta({"accuracy": float((judged_benign == test["benign"]).mean())})
        self.save(model)


ESTIMATIONS = dp.sweep(EstimateModel, dp.product(data=PREPARED, model=MODELS), id="{data}_{model}")
