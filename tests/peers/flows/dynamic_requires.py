"""Requirements that are computed: the "fixed dynamic" snippets of d6tflow's page on dynamic tasks."""

import glob
from pathlib import Path

import luigi
import pandas as pd
from observe import attempt, files, flat, main, named, observation, ran, states, taken, taken_any_order

import d6tflow


class TaskInput(d6tflow.tasks.TaskPqPandas):
    param = luigi.Parameter()

    def run(self):
        ran(self)
        self.save(pd.DataFrame({"letter": [self.param] * 2, "n": [1, 2]}))


class TaskYieldFixed(d6tflow.tasks.TaskPqPandas):
    """The snippet as printed, completed so that it saves."""

    def requires(self):
        return dict([(s, TaskInput(param=s)) for s in ["a", "b", "c"]])  # noqa: C404 - as printed there

    def run(self):
        ran(self)
        df = self.inputLoad()
        df = pd.concat(df)
        self.save(df.reset_index(names=["source", "row"]))


class TaskNeverSaves(d6tflow.tasks.TaskPqPandas):
    """The snippet as printed: nothing is saved."""

    def requires(self):
        return dict([(s, TaskInput(param=s)) for s in ["a", "b"]])  # noqa: C404 - as printed there

    def run(self):
        ran(self)
        df = self.inputLoad()
        df = pd.concat(df)


@d6tflow.requires(TaskNeverSaves)
class TaskUsesNothing(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(len(self.inputLoad()))


class TaskFile(d6tflow.tasks.TaskCSVPandas):
    param = luigi.Parameter()

    def run(self):
        ran(self)
        self.save(pd.read_csv(self.param))


class TaskAllFiles(d6tflow.tasks.TaskPickle):
    def requires(self):
        return dict([(s, TaskFile(param=s)) for s in sorted(glob.glob("*.csv"))])  # noqa: C404 - as printed there

    def run(self):
        ran(self)
        self.save({name: int(df["n"].sum()) for name, df in self.inputLoad().items()})


@observation
def a_dict_of_requirements_keeps_its_keys():
    task = TaskYieldFixed()
    seen = {"before": states(d6tflow.preview, task)}
    d6tflow.run(task)
    seen["ran"] = taken_any_order()
    seen["keys"] = list(task.inputLoad())
    seen["loaded"] = task.outputLoad()
    seen["one"] = task.inputLoad(task="b")
    seen["upstream"] = [named(each) for each in d6tflow.taskflow_upstream(task)]
    seen["files"] = files()
    d6tflow.run(task)
    seen["second run"] = taken()
    return seen


@observation
def the_snippet_as_printed_never_saves():
    task = TaskNeverSaves()
    seen = {"run": attempt(lambda: bool(d6tflow.run(task)))}
    seen["ran"] = taken_any_order()
    seen["complete"] = task.complete()
    seen["load"] = attempt(task.outputLoad)
    seen["run again"] = [attempt(lambda: bool(d6tflow.run(task))), taken()]
    return seen


@observation
def something_consumes_a_task_that_never_saves():
    seen = {"run": attempt(lambda: bool(d6tflow.run(TaskUsesNothing())))}
    seen["consumer ran"] = "TaskUsesNothing()" in taken()
    seen["complete"] = TaskUsesNothing().complete()
    return seen


@observation
def an_unknown_number_of_files():
    for number, name in enumerate(["one", "two"]):
        Path(f"{name}.csv").write_text(f"n\n{number}\n10\n")
    task = TaskAllFiles()
    d6tflow.run(task)
    seen = {"ran": taken_any_order(), "loaded": task.outputLoad()}
    Path("three.csv").write_text("n\n7\n")
    seen["complete with a new file"] = TaskAllFiles().complete()
    seen["needed now"] = [named(each) for each in flat(TaskAllFiles().requires())]
    d6tflow.run(TaskAllFiles(), forced=TaskAllFiles())
    seen["run again"] = taken_any_order()
    seen["loaded again"] = TaskAllFiles().outputLoad()
    seen["files"] = files()
    return seen


@observation
def no_files_at_all():
    task = TaskAllFiles()
    d6tflow.run(task)
    return {"ran": taken(), "loaded": task.outputLoad(), "complete": task.complete()}


if __name__ == "__main__":
    main()
