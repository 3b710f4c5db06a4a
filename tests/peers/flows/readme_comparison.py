"""The flow d6tflow is known for: get data, preprocess it or not, train models, compare their scores."""

import pandas as pd
import sklearn.datasets
from observe import attempt, files, main, observation, ran, states, taken, taken_any_order
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import scale

import d6tflow


class GetData(d6tflow.tasks.TaskPqPandas):
    def run(self):
        ran(self)
        ds = sklearn.datasets.load_diabetes()
        df = pd.DataFrame(ds.data, columns=ds.feature_names)
        df["y"] = ds.target
        self.save(df)


@d6tflow.requires(GetData)
class Preprocess(d6tflow.tasks.TaskPqPandas):
    do_preprocess = d6tflow.BoolParameter(default=True)

    def run(self):
        ran(self)
        df = self.inputLoad()
        if self.do_preprocess:
            df.iloc[:, :-1] = scale(df.iloc[:, :-1])
        self.save(df)


@d6tflow.requires(Preprocess)
class Train(d6tflow.tasks.TaskPickle):
    model = d6tflow.Parameter(default="ols")

    def run(self):
        ran(self)
        df = self.inputLoad()
        if self.model == "ols":
            model = LinearRegression()
        elif self.model == "gbm":
            model = GradientBoostingRegressor(n_estimators=10, random_state=0)
        else:
            raise ValueError(f"no such model: {self.model}")
        features, target = df.drop(columns="y"), df["y"]
        model.fit(features, target)
        self.save(model)
        self.saveMeta({"score": round(model.score(features, target), 6)})


MODELS = {
    "linear": {"do_preprocess": False, "model": "ols"},
    "boosted": {"do_preprocess": True, "model": "gbm"},
}


@observation
def one_model_from_nothing():
    seen = {"before": states(d6tflow.preview, Train()), "complete before": Train().complete()}
    d6tflow.run(Train())
    seen["bodies"] = taken()
    seen["after"] = states(d6tflow.preview, Train())
    seen["complete after"] = Train().complete()
    model = Train().outputLoad()
    seen["model"] = [type(model).__name__, len(model.coef_)]
    seen["meta"] = Train().outputLoadMeta()
    seen["data"] = GetData().outputLoad().head(3).round(4)
    seen["files"] = files()
    d6tflow.run(Train())
    seen["second run"] = taken()
    return seen


@observation
def another_parameter_reuses_what_it_shares():
    d6tflow.run(Train())
    taken()
    d6tflow.run(Train(model="gbm"))
    seen = {"other model": taken()}
    d6tflow.run(Train(do_preprocess=False))
    seen["other data"] = taken()
    d6tflow.run([Train(), Train(model="gbm"), Train(do_preprocess=False)])
    seen["all again"] = taken()
    seen["files"] = files()
    return seen


@observation
def a_changed_task_is_reset_and_run_again():
    d6tflow.run(Train())
    taken()
    Preprocess().reset(confirm=False)
    seen = {"complete after reset": [GetData().complete(), Preprocess().complete(), Train().complete()]}
    seen["tree after reset"] = states(d6tflow.preview, Train())
    d6tflow.run(Train())
    seen["after reset of the middle"] = taken()
    d6tflow.run(Train(), forced=Preprocess())
    seen["forced"] = taken()
    return seen


@observation
def two_models_as_flows():
    flow = d6tflow.WorkflowMulti(Train, MODELS)
    results = flow.run()
    seen = {"bodies": taken_any_order(), "results": {name: bool(result) for name, result in results.items()}}
    seen["scores"] = {name: meta["score"] for name, meta in flow.outputLoadMeta().items()}
    seen["models"] = {name: type(model).__name__ for name, model in flow.outputLoad().items()}
    seen["data means"] = {
        name: round(float(data["Preprocess"]["bmi"].std()), 6) for name, data in flow.outputLoadAll().items()
    }
    seen["one flow"] = type(flow.outputLoad(flow="linear")).__name__
    seen["one task of it"] = list(flow.outputLoad(task=GetData)["boosted"].columns)
    flow.run()
    seen["second run"] = taken()
    seen["files"] = files()
    return seen


@observation
def a_model_that_does_not_exist():
    flow = d6tflow.Workflow(Train, {"model": "oracle"})
    seen = {"run": attempt(flow.run), "bodies": taken(), "load": attempt(flow.outputLoad)}
    seen["complete"] = [flow.complete(), flow.complete(Preprocess), flow.complete(GetData)]
    return seen


if __name__ == "__main__":
    main()
