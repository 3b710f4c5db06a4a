"""Fit each model to each data set."""

from __future__ import annotations

from importlib import import_module

from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import d6tpipe as dp
from my_project.data_preparation.tasks import PREPARED, PrepareData
from my_project.estimation.config import MODELS


@dp.mark.costly
class EstimateModel(dp.tasks.TaskPickle):
    """A fitted model; its metadata hold the share of unseen tumours that it judges right."""

    data = dp.TaskInstanceParameter(PrepareData)
    model = dp.DictParameter()

    def run(self):
        options = dict(self.model)
        module, _, name = options.pop("class").rpartition(".")
        model = make_pipeline(StandardScaler(), getattr(import_module(module), name)(**options))

        df = self.data.outputLoad()
        train, test = train_test_split(df, test_size=0.3, random_state=0)
        model.fit(train.drop(columns="benign"), train["benign"])
        judged_benign = model.predict(test.drop(columns="benign")) > 0.5
        self.saveMeta({"accuracy": float((judged_benign == test["benign"]).mean())})
        self.save(model)


ESTIMATIONS = dp.sweep(EstimateModel, dp.product(data=PREPARED, model=MODELS), id="{data}_{model}")
