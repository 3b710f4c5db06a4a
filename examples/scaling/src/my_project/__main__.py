"""Build what is missing and compare the models: ``python -m my_project``."""

from __future__ import annotations

import pandas as pd

from my_project.estimation.tasks import ESTIMATIONS

if __name__ == "__main__":
    ESTIMATIONS.run()
    scores = [{"data": task.data.subset, "model": task.model, **task.outputLoadMeta()} for task in ESTIMATIONS.values()]
    print(pd.DataFrame(scores).pivot(index="data", columns="model", values="accuracy").round(3))
