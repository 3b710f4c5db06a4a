"""Aggregators: the "collector task" snippets of d6tflow's page on dynamic tasks, and what else they do."""

from observe import attempt, files, main, named, observation, plain, ran, states, taken

import d6tflow


class TrainModel1(d6tflow.tasks.TaskPickle):
    depth = d6tflow.IntParameter(default=2)

    def run(self):
        ran(self)
        self.save({"model": 1, "depth": self.depth})


class TrainModel2(d6tflow.tasks.TaskPickle):
    rate = d6tflow.FloatParameter(default=0.5)

    def run(self):
        ran(self)
        self.save({"model": 2, "rate": self.rate})


@d6tflow.requires(TrainModel1, TrainModel2)  # inherit all params from input tasks
class TrainAllModels(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield self.clone(TrainModel1)
        yield self.clone(TrainModel2)


class TaskTrain(d6tflow.tasks.TaskPickle):
    do_preprocess = d6tflow.BoolParameter(default=True)

    def run(self):
        ran(self)
        self.save(f"trained {self.do_preprocess}")


class TaskAggregator(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield TaskTrain(do_preprocess=False)
        yield TaskTrain(do_preprocess=True)


class TwoOutputs(d6tflow.tasks.TaskPickle):
    persist = ["x", "y"]
    n = d6tflow.IntParameter()

    def run(self):
        ran(self)
        self.save({"x": self.n, "y": -self.n})


class Pairs(d6tflow.tasks.TaskAggregator):
    def run(self):
        for n in (1, 2):
            yield TwoOutputs(n=n)


class Both(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield TaskAggregator()
        yield TaskTrain(do_preprocess=True)


@d6tflow.requires(TaskAggregator)
class Compare(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(" | ".join(self.inputLoad()))


class CompareByName(d6tflow.tasks.TaskPickle):
    def requires(self):
        return {"trained": TaskAggregator(), "pairs": Pairs()}

    def run(self):
        ran(self)
        self.save(self.inputLoad())


class YieldsList(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield [TaskTrain(do_preprocess=False), TaskTrain(do_preprocess=True)]


class Nothing(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield from []


class Failing(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        raise RuntimeError("no")


class GoodAndBad(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield Failing()
        yield TaskTrain(do_preprocess=False)


@observation
def collects_without_processing():
    task = TrainAllModels(depth=3)
    seen = {"parameters": task.to_str_params(), "complete before": task.complete()}
    d6tflow.run(task)
    seen["ran"] = sorted(set(taken()))
    seen["complete"] = task.complete()
    seen["loaded"] = task.outputLoad()
    seen["outputs"] = sorted(plain(target.path)["path"] for target in task.output())
    seen["files"] = files()
    d6tflow.run(task)
    seen["second run"] = taken()
    return seen


@observation
def requirements_of_a_collector_run_too():
    """What the clones do not take over, the requirements still bring with their default values."""
    task = TrainAllModels(depth=3)
    d6tflow.run(task)
    return {"names": [named(each) for each in d6tflow.taskflow_upstream(task)], "ran": sorted(set(taken()))}


@d6tflow.requires(TrainModel1, TrainModel2)
class LendsParameters(d6tflow.tasks.TaskAggregator):
    def run(self):
        yield self.clone(TrainModel1)


@observation
def requirements_that_are_not_yielded():
    d6tflow.run(LendsParameters(depth=9, rate=0.75))
    return {"ran": sorted(taken())}


@observation
def several_parameters_at_once():
    task = TaskAggregator()
    d6tflow.run(task)
    seen = {"ran": taken(), "loaded": task.outputLoad(), "complete": task.complete(), "files": files()}
    d6tflow.run(task)
    seen["second run"] = taken()
    seen["upstream"] = [named(each) for each in d6tflow.taskflow_upstream(task)]
    seen["reset"] = attempt(task.reset, confirm=False)
    seen["complete after reset"] = [task.complete(), TaskTrain(do_preprocess=False).complete()]
    return seen


@observation
def preview_of_an_aggregator():
    return {"pending": states(d6tflow.preview, TaskAggregator())}


@observation
def one_child_missing():
    task = TaskAggregator()
    d6tflow.run(task)
    taken()
    TaskTrain(do_preprocess=True).reset(confirm=False)
    seen = {"complete": task.complete(), "load": attempt(task.outputLoad)}
    d6tflow.run(task)
    seen["ran"] = taken()
    return seen


@observation
def children_with_several_outputs():
    task = Pairs()
    d6tflow.run(task)
    return {
        "loaded": task.outputLoad(),
        "as_dict": task.outputLoad(as_dict=True),
        "one key": task.outputLoad(keys="y"),
        "keys": task.outputLoad(keys=["y"]),
        "output": [sorted(output) for output in task.output()],
    }


@observation
def aggregators_of_aggregators():
    task = Both()
    d6tflow.run(task)
    return {"ran": sorted(set(taken())), "loaded": task.outputLoad(), "complete": task.complete()}


@observation
def a_task_may_require_an_aggregator():
    task = Compare()
    seen = {"complete before": task.complete()}
    d6tflow.run(task)
    seen["ran"] = taken()
    seen["loaded"] = task.outputLoad()
    seen["complete"] = task.complete()
    d6tflow.run(task)
    seen["second run"] = taken()
    return seen


@observation
def aggregators_as_named_requirements():
    seen = {"run": attempt(lambda: bool(d6tflow.run(CompareByName())))}
    seen["loaded"] = attempt(CompareByName().outputLoad)
    seen["ran"] = sorted(set(taken()))
    return seen


@observation
def a_yielded_list():
    seen = {"run": attempt(lambda: bool(d6tflow.run(YieldsList())))}
    seen["ran"] = sorted(set(taken()))
    seen["loaded"] = attempt(YieldsList().outputLoad)
    return seen


@observation
def an_empty_aggregator_is_complete():
    seen = {"complete": Nothing().complete(), "run": attempt(lambda: bool(d6tflow.run(Nothing())))}
    seen["loaded"] = Nothing().outputLoad()
    return seen


@observation
def a_failing_child():
    seen = {"run": attempt(lambda: bool(d6tflow.run(GoodAndBad())))}
    seen["other child complete"] = TaskTrain(do_preprocess=False).complete()
    seen["complete"] = GoodAndBad().complete()
    return seen


@observation
def an_aggregator_in_a_workflow():
    flow = attempt(lambda: d6tflow.Workflow(TrainAllModels, {"depth": 4}))
    return {"run": attempt(lambda: bool(flow.run())), "loaded": attempt(lambda: flow.outputLoad())}


if __name__ == "__main__":
    main()
