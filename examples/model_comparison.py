"""Compare models, as d6tflow's users write it: one flow per combination, shared steps built once.

Real data and models from scikit-learn; the only example that takes more than a second.
"""

from __future__ import annotations

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

import d6tflow


class TaskGetData(d6tflow.tasks.TaskPqPandas):
    """569 tumours: thirty measurements each, and whether they were benign."""

    def run(self):
        self.save(load_breast_cancer(as_frame=True).frame)


@d6tflow.requires(TaskGetData)
class TaskSplit(d6tflow.tasks.TaskPqPandas):
    """The rows to learn from and the rows to be judged by, scaled if asked for."""

    persist = ["train", "test"]
    do_preprocess = d6tflow.BoolParameter(default=True)

    def run(self):
        train, test = train_test_split(self.inputLoad(), random_state=0)
        if self.do_preprocess:
            columns = train.columns.drop("target")
            mean, std = train[columns].mean(), train[columns].std()
            train = train.assign(**(train[columns] - mean) / std)
            test = test.assign(**(test[columns] - mean) / std)
        self.save({"train": train, "test": test})


@d6tflow.requires(TaskSplit)
class TaskTrain(d6tflow.tasks.TaskPickle):
    """A fitted model; its metadata hold the share of unseen tumours that it judges right."""

    model = d6tflow.ChoiceParameter(choices=["logistic", "tree"], default="logistic")

    def run(self):
        train, test = self.inputLoad()
        model = {
            "logistic": LogisticRegression(solver="liblinear"),
            "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
        }[self.model]
        model.fit(train.drop(columns="target"), train["target"])
        self.saveMeta({"accuracy": model.score(test.drop(columns="target"), test["target"])})
        self.save(model)


if __name__ == "__main__":
    flow = d6tflow.WorkflowMulti(TaskTrain, {"model": ["logistic", "tree"], "do_preprocess": [False, True]})
    flow.run()
    print(pd.DataFrame(flow.outputLoadMeta()).T.sort_values("accuracy").round(3))
