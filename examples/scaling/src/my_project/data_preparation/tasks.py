"""Prepare the data sets."""

from __future__ import annotations

import pandas as pd

import d6tpipe as dp
from my_project.config import SRC
from my_project.data_preparation.config import DATA

RAW = SRC / "data" / "data.csv"  # 569 tumours of the breast, from scikit-learn; subset: four parts drawn at random


class PrepareData(dp.tasks.TaskPqPandas):
    """The rows of one subset, without the largest tumours if so asked."""

    subset = dp.Parameter()
    trim = dp.FloatParameter(default=0.0, description="share of the rows that is left out")

    depends_on = [RAW]

    def run(self):
        df = pd.read_csv(RAW)
        df = df[df["subset"] == self.subset].drop(columns="subset")
        df = df[df["area"] <= df["area"].quantile(1 - self.trim)]
        self.save(df.reset_index(drop=True))


PREPARED = dp.sweep(PrepareData, DATA)
