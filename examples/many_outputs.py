"""One task with several outputs, each in a format of its own."""

from __future__ import annotations

import pandas as pd

import d6tpipe


class Fit(d6tpipe.tasks.TaskData):
    """A straight line through some points: the model, what it predicts, and a note for people."""

    persist = {"model": "pickle", "predicted": "parquet", "summary": "json", "note": "text"}
    slope = d6tpipe.FloatParameter(default=2.0)

    def run(self):
        points = pd.DataFrame({"x": range(10)}, dtype=float)
        points["y"] = self.slope * points["x"] + 1
        fitted = float(points["x"].cov(points["y"]) / points["x"].var())
        model = {"slope": fitted, "intercept": float(points["y"].mean() - fitted * points["x"].mean())}
        return {  # the same as self.save({...})
            "model": model,
            "predicted": points.assign(predicted=model["slope"] * points["x"] + model["intercept"]),
            "summary": {"rows": len(points)},
            "note": f"y = {model['slope']:.1f} x + {model['intercept']:.1f}\n",
        }


@d6tpipe.requires(Fit)
class Report(d6tpipe.tasks.TaskCSVPandas):
    """The largest prediction: loads two of the outputs."""

    def run(self):
        loaded = self.inputLoad(keys=["predicted", "summary"], as_dict=True)
        largest = loaded["predicted"]["predicted"].max()
        return pd.DataFrame({"rows": [loaded["summary"]["rows"]], "largest": [largest]})


if __name__ == "__main__":
    d6tpipe.run(Report())
    print(Fit().outputLoad(keys="note").strip())
    print(Report().outputLoad().to_string(index=False))
    for name, path in Fit().outputPath().items():
        print(f"{name:<10} {path}")
