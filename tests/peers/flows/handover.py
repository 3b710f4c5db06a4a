"""One folder, two programs: what one has built is complete for the other.

Unlike the other scripts this one is run twice in the same folder, by d6tflow and by d6tpipe, in both orders.
Each observation says what was complete before, which bodies ran, and what is loaded afterwards.
"""

import datetime
import enum
from pathlib import Path

import luigi
import pandas as pd
from observe import main, named, observation, ran, taken

import d6tflow

FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [0.5, None, 2.0],
        "word": ["a", "ü", "c,d"],
        "when": pd.to_datetime(["2020-01-01", "2020-06-01", "2021-01-01"]),
    }
)


def hand_over(*tasks):
    """Return what was complete, what ran and what is there now."""
    seen = {"complete before": [task.complete() for task in tasks]}
    d6tflow.run(list(tasks))
    seen["ran"] = sorted(taken())
    seen["complete"] = [task.complete() for task in tasks]
    seen["loaded"] = [task.outputLoad() for task in tasks]
    return seen


class Csv(d6tflow.tasks.TaskCSVPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class Zipped(d6tflow.tasks.TaskCSVGZPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class Excel(d6tflow.tasks.TaskExcelPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class Parquet(d6tflow.tasks.TaskPqPandas):
    def run(self):
        ran(self)
        self.save(FRAME.set_index("word"))


class Json(d6tflow.tasks.TaskJson):
    def run(self):
        ran(self)
        self.save({"ü": [1, None, 0.5], "a": {"b": True}})


class Pickle(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save({"when": datetime.date(2020, 1, 1), "frame": FRAME})


class Pair(d6tflow.tasks.TaskPqPandas):
    persist = ["x", "y"]
    n = d6tflow.IntParameter(default=1)

    def run(self):
        ran(self)
        self.save({"x": FRAME[["n"]], "y": FRAME[["x"]]})
        self.saveMeta({"rows": len(FRAME)})


@observation
def formats():
    return hand_over(Csv(), Excel(), Parquet(), Json(), Pickle(), Pair())


@observation
def csv_gz():
    return hand_over(Zipped())


@d6tflow.requires({"csv": Csv, "pair": Pair})
class Middle(d6tflow.tasks.TaskPickle):
    factor = d6tflow.FloatParameter(default=0.5)

    def run(self):
        ran(self)
        self.save(float(self.inputLoad(task="csv")["n"].sum()) * self.factor)
        self.saveMeta([self.factor, self.metaLoad_if_any()])

    def metaLoad_if_any(self):
        return self.requires()["pair"].outputLoadMeta()


@d6tflow.requires(Middle)
class End(d6tflow.tasks.TaskJson):
    word = d6tflow.Parameter(default="end")

    def run(self):
        ran(self)
        self.save([self.word, self.inputLoad()])


@observation
def a_flow():
    seen = hand_over(End())
    seen["meta"] = [Middle().outputLoadMeta(), Pair().outputLoadMeta()]
    return seen


@observation
def flows_with_parameters():
    flow = d6tflow.WorkflowMulti(End, {"factor": [0.25, 2.0], "word": ["a", "b c"], "n": [7]})
    seen = {"complete before": [flow.get_flow(name).complete() for name in flow.params]}
    flow.run()
    seen["ran"] = sorted(set(taken()))
    seen["complete"] = [flow.get_flow(name).complete() for name in flow.params]
    seen["loaded"] = flow.outputLoad()
    return seen


@observation
def a_flow_with_a_path():
    flow = d6tflow.Workflow(End, {"word": "pathed", "factor": 1.5, "n": 9}, path="other", env="prod")
    seen = {"complete before": [flow.complete()]}
    flow.run()
    seen["ran"] = sorted(taken())
    seen["complete"] = [flow.complete()]
    seen["loaded"] = [flow.outputLoad(), flow.outputLoadMeta(Middle)]
    return seen


class Color(enum.Enum):
    RED = 1


class Kinds(d6tflow.tasks.TaskPickle):
    text = d6tflow.Parameter(default="t")
    i = d6tflow.IntParameter(default=1)
    f = d6tflow.FloatParameter(default=0.5)
    b = d6tflow.BoolParameter(default=False)
    day = d6tflow.DateParameter(default=datetime.date(2020, 1, 1))
    words = d6tflow.ListParameter(default=["a"])
    options = d6tflow.DictParameter(default={"a": 1, "b": [None, True]})
    color = d6tflow.EnumParameter(enum=Color, default=Color.RED)
    maybe = d6tflow.OptionalParameter(default=None)
    from_luigi = luigi.IntParameter(default=2)
    threads = d6tflow.IntParameter(default=1, significant=False)

    def run(self):
        ran(self)
        self.save(named(self))


class AnyValue(d6tflow.tasks.TaskPickle):
    value = d6tflow.Parameter()

    def run(self):
        ran(self)
        self.save(named(self))


Many = type("Many", (AnyValue,), {f"p{n:02}": d6tflow.IntParameter(default=n) for n in range(25)})


@observation
def parameters_of_every_kind():
    texts = ['it\'s "q"', "a/b\\c", "../up", "Ünï 日本", "x" * 150, "", "a\nb"]
    tasks = [AnyValue(value=text) for text in texts]
    tasks += [Kinds(), Kinds(text="é", i=-5, f=1e-07, b=True, words=("q", 1), maybe="m", threads=9)]
    tasks += [Many(value="v"), Many(value="v", p24=0), AnyValue(value=None), AnyValue(value=(1, "a"))]
    return hand_over(*tasks)


@observation
def values_that_are_not_canonical():
    """d6tflow puts what was given into the file name; d6tpipe brings it into one form, and finds the other."""
    return hand_over(Kinds(f=5), Kinds(options={"b": 2, "a": 1}), Kinds(i="7"))


class Placed(d6tflow.tasks.TaskPickle):
    path = "placed"
    target_dir = "in/here"
    target_ext = "thing"

    def run(self):
        ran(self)
        self.save("placed")


class Plain(d6tflow.tasks.TaskCSVPandas):
    save_attrib = False
    persist = ["one", "two"]

    def run(self):
        ran(self)
        self.save({"one": FRAME[["n"]], "two": FRAME[["word"]]})
        self.saveMeta("plain")


class With_Under_Score(d6tflow.tasks.TaskPickle):
    p = d6tflow.IntParameter(default=1)

    def run(self):
        ran(self)
        self.save(self.p)


class Namespaced(With_Under_Score):
    task_namespace = "space"


class _Private(With_Under_Score):
    pass


@observation
def places_and_names():
    seen = hand_over(Placed(), Plain(), With_Under_Score(), Namespaced(), _Private())
    seen["meta"] = Plain().outputLoadMeta()
    return seen


class Collects(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield Kinds(i=50)
        yield With_Under_Score(p=60)


@observation
def an_aggregator():
    task = Collects()
    seen = {"complete before": [task.complete()]}
    d6tflow.run(task)
    seen["ran"] = sorted(set(taken()))
    seen["complete"] = [task.complete()]
    seen["loaded"] = task.outputLoad()
    return seen


@observation
def exported_classes():
    """Whoever comes first builds and exports; whoever comes second imports that file."""
    if not Path("exported.py").exists():
        flow = d6tflow.Workflow(End, {"word": "exported", "factor": 0.125})
        flow.run()
        d6tflow.FlowExport(flows=flow, save=True, path_export="exported.py").generate()
        return {"complete before": [], "ran": sorted(taken()), "loaded": [flow.outputLoad(), flow.outputLoad(Pair)]}
    tasks = d6tflow.FlowImport(path=".", module="exported", path_data="data").tasks
    end, pair = tasks.End(), tasks.Pair()
    d6tflow.run([end, pair])
    loaded = [end.outputLoad(), pair.outputLoad()]
    return {"complete before": [end.complete(), pair.complete()], "ran": taken(), "loaded": loaded}


@observation
def functions():
    from d6tflow.functional import Workflow

    flow = Workflow()

    @flow.task(d6tflow.tasks.TaskPickle)
    def first_step(task):
        ran(task)
        task.save([1, 2])

    @flow.task(d6tflow.tasks.TaskJson)
    @flow.requires(first_step)
    def second(task):
        ran(task)
        task.save(sum(task.inputLoad()))

    flow.run([second, first_step])
    return {
        "complete before": [],
        "ran": sorted(taken()),
        "loaded": [flow.outputLoad(second), flow.outputLoad(first_step)],
    }


if __name__ == "__main__":
    main()
