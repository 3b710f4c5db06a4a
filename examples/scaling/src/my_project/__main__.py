"""Build what is missing and compare the models: ``python -m my_project``."""

from __future__ import annotations

import pandas as pd

from my_project.estimation.tasks import ESTIMATIONS

if __name__ == "__main__":
    ESTIMATIONS.run()
    accuracy = pd.Series({name: task.outputLoadMeta()["accuracy"] for name, task in ESTIMATIONS.items()})
    print(accuracy.sort_values(ascending=False).round(3).to_string())
