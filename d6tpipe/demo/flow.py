"""Which model predicts the course of diabetes best, and does preprocessing help?

The comparison that ``d6tpipe demo`` runs, written as a user would write it; copy it as a start. The data are 442
patients, ten measurements each, and how far the disease had advanced a year later (Efron, Hastie, Johnstone and
Tibshirani, 2004, "Least Angle Regression"); scikit-learn carries them, so nothing is downloaded.

``d6tpipe list d6tpipe/demo/flow.py`` shows what is in this file.
"""

# mypy: disable-error-code="call-arg"
# (type checkers do not see the constructor that a task class gets from its parameters)

from __future__ import annotations

import d6tpipe

MODELS = ("ols", "ridge", "random_forest", "gradient_boosting")


class GetData(d6tpipe.tasks.TaskPqPandas):
    """Ten measurements per patient and the target, in their own units."""

    def run(self):
        from sklearn.datasets import load_diabetes

        self.save(load_diabetes(as_frame=True, scaled=False).frame)


@d6tpipe.requires(GetData)
class Preprocess(d6tpipe.tasks.TaskPqPandas):
    """The measurements as they are, or standardised and with their squares added."""

    do_preprocess = d6tpipe.BoolParameter(default=True)

    def run(self):
        df = self.inputLoad()
        if self.do_preprocess:
            measured = df.drop(columns=["sex", "target"])  # sex has two values: its square says nothing new
            measured = (measured - measured.mean()) / measured.std()
            df = measured.join((measured**2).add_suffix("_squared")).join(df[["sex", "target"]])
        self.save(df)


@d6tpipe.requires(Preprocess)
class Train(d6tpipe.tasks.TaskPickle):
    """A model fitted to all patients; its metadata say how well it does on patients it has not seen."""

    model = d6tpipe.ChoiceParameter(choices=MODELS, default="ols")

    def run(self):
        from sklearn.model_selection import KFold, cross_validate

        df = self.inputLoad()
        x, y = df.drop(columns="target"), df["target"]
        model = make_model(self.model)
        folds = KFold(n_splits=5, shuffle=True, random_state=0)
        scores = cross_validate(model, x, y, cv=folds, scoring=("r2", "neg_mean_absolute_error"))
        # The metadata first: the model is the output, and once it is there the task counts as complete.
        self.saveMeta(
            {
                "r2": float(scores["test_r2"].mean()),
                "r2_spread": float(scores["test_r2"].std()),
                "mean_error": float(-scores["test_neg_mean_absolute_error"].mean()),
            }
        )
        self.save(model.fit(x, y))


class CompareModels(d6tpipe.tasks.TaskAggregator):
    """Every model, with and without preprocessing."""

    def run(self):
        for do_preprocess in (False, True):
            for model in MODELS:
                yield Train(model=model, do_preprocess=do_preprocess)


def make_model(name):
    """Return an unfitted scikit-learn regressor."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LinearRegression, Ridge

    return {
        "ols": LinearRegression(),
        "ridge": Ridge(alpha=20.0),
        "random_forest": RandomForestRegressor(n_estimators=100, min_samples_leaf=5, random_state=0),
        "gradient_boosting": GradientBoostingRegressor(
            n_estimators=100, learning_rate=0.05, max_depth=2, random_state=0
        ),
    }[name]
