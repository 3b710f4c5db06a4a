"""The same tasks in two data folders, and one flow that looks at the results of another."""

from __future__ import annotations

import pandas as pd

import d6tpipe


class Orders(d6tpipe.tasks.TaskPqPandas):
    """Some orders."""

    count = d6tpipe.IntParameter(default=100)

    def run(self):
        self.save(pd.DataFrame({"amount": range(1, self.count + 1)}))


@d6tpipe.requires(Orders)
class Revenue(d6tpipe.tasks.TaskJson):
    """What they amount to."""

    def run(self):
        self.save(int(self.inputLoad()["amount"].sum()))


class Check(d6tpipe.tasks.TaskJson):
    """How large the trial is, in parts of production."""

    def run(self):
        trial, production = self.flows["trial"].outputLoad(), self.flows["production"].outputLoad()
        self.save(round(trial / production, 4))


trial = d6tpipe.Workflow(Revenue, {"count": 10}, path="shop", env="trial")
production = d6tpipe.Workflow(Revenue, path="shop", env="production")
check = d6tpipe.Workflow(Check, path="shop")
check.attach_flow(trial, "trial")
check.attach_flow(production, "production")

if __name__ == "__main__":
    for flow in (trial, production, check):  # what an attached flow has to offer must be there
        flow.run()
        print(flow.outputPath(), flow.outputLoad())
