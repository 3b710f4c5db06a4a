"""Workflow: one flow with its parameters, path and default task."""

from pathlib import Path

from observe import (
    answering,
    attempt,
    files,
    main,
    named,
    observation,
    plain,
    printed,
    ran,
    states,
    taken,
    taken_any_order,
    tree,
)

import d6tflow


class Get(d6tflow.tasks.TaskPickle):
    rows = d6tflow.IntParameter(default=3)

    def run(self):
        ran(self)
        self.save(list(range(self.rows)))


@d6tflow.requires(Get)
class Clean(d6tflow.tasks.TaskPickle):
    persist = ["good", "bad"]
    limit = d6tflow.IntParameter(default=1)

    def run(self):
        ran(self)
        numbers = self.inputLoad()
        self.save({"good": [n for n in numbers if n <= self.limit], "bad": [n for n in numbers if n > self.limit]})
        self.saveMeta({"limit": self.limit})


@d6tflow.requires(Clean)
class Train(d6tflow.tasks.TaskPickle):
    model = d6tflow.Parameter(default="ols")

    def run(self):
        ran(self)
        good, bad = self.inputLoad()
        self.save({"model": self.model, "good": sum(good), "bad": sum(bad)})
        self.saveMeta({"model": self.model})


class Unrelated(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save("unrelated")


PARAMS = {"rows": 5, "limit": 2, "model": "gbm"}


@observation
def parameters_reach_every_task():
    flow = d6tflow.Workflow(Train, PARAMS)
    seen = {"tree": tree(flow.preview)[:1], "states": states(flow.preview)}
    seen["task"] = named(flow.get_task())
    seen["other task"] = [named(flow.get_task(Clean)), named(flow.get_task(Unrelated))]
    seen["complete before"] = flow.complete()
    seen["run"] = bool(flow.run())
    seen["ran"] = taken_any_order()
    seen["complete"] = [flow.complete(), flow.complete(Get), flow.complete(Unrelated)]
    seen["files"] = files()
    flow.run()
    seen["second run"] = taken()
    return seen


@observation
def loading():
    flow = d6tflow.Workflow(Train, PARAMS)
    seen = {"before": attempt(flow.outputLoad)}
    flow.run()
    seen["default"] = flow.outputLoad()
    seen["task"] = flow.outputLoad(Clean)
    seen["keys"] = flow.outputLoad(Clean, keys="bad")
    seen["list of keys"] = flow.outputLoad(Clean, keys=["bad"])
    seen["as_dict"] = flow.outputLoad(Clean, as_dict=True)
    seen["all"] = flow.outputLoadAll()
    seen["all as dict"] = flow.outputLoadAll(as_dict=True)
    seen["all of a task"] = flow.outputLoadAll(Clean)
    seen["meta"] = flow.outputLoadMeta()
    seen["meta of a task"] = flow.outputLoadMeta(Clean)
    seen["path"] = flow.outputPath()
    seen["paths"] = flow.outputPath(Clean)
    seen["output"] = type(flow.output()).__name__
    seen["outputs"] = {key: type(target).__name__ for key, target in flow.output(Clean).items()}
    return seen


@observation
def running_other_tasks():
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run(Clean)
    seen = {"task": taken()}
    flow.run([Train, Unrelated])
    seen["list"] = taken_any_order()
    flow.run([Train, Unrelated], forced_all=True)
    seen["forced_all"] = taken_any_order()
    flow.run(forced=flow.get_task(Clean))
    seen["forced"] = taken()
    flow.run(forced_all_upstream=True)
    seen["forced_all_upstream"] = taken()
    seen["states of two"] = states(flow.preview, [Clean, Unrelated])
    return seen


@observation
def without_a_default_task():
    flow = d6tflow.Workflow(params={"rows": 2})
    seen = {"get_task": attempt(flow.get_task), "run": attempt(flow.run), "load": attempt(flow.outputLoad)}
    flow.set_default(Get)
    flow.run()
    seen["after set_default"] = [taken(), flow.outputLoad()]
    seen["attributes"] = [flow.default_task.__name__, flow.params["rows"]]
    return seen


@observation
def without_anything():
    flow = d6tflow.Workflow()
    flow.run(Get)
    return {"ran": taken(), "loaded": flow.outputLoad(Get)}


@observation
def reset():
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run()
    taken()
    seen = {"reset": flow.reset(), "complete": [flow.complete(task) for task in (Get, Clean, Train)]}
    flow.run()
    seen["ran"] = taken()
    seen["reset of a task"] = flow.reset(Clean)
    seen["complete then"] = [flow.complete(task) for task in (Get, Clean, Train)]
    flow.run()
    seen["ran then"] = taken()
    with answering("n") as questions:
        flow.reset(confirm=True)
    seen["not confirmed"] = [len(questions), flow.complete()]
    with answering("y") as questions:
        flow.reset(confirm=True)
    seen["confirmed"] = [len(questions), flow.complete()]
    return seen


@observation
def reset_upstream():
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run()
    taken()
    seen = {"result": flow.reset_upstream(Clean)}
    seen["complete without cascade"] = [flow.get_task(task).complete(cascade=False) for task in (Get, Clean, Train)]
    flow.run()
    seen["ran"] = taken()
    with answering("n") as questions:
        flow.reset_upstream(Train, confirm=True)
    seen["not confirmed"] = [len(questions), flow.complete()]
    return seen


@observation
def reset_downstream():
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run()
    taken()
    seen = {"result": flow.reset_downstream(Clean, Train)}
    seen["complete without cascade"] = [flow.get_task(task).complete(cascade=False) for task in (Get, Clean, Train)]
    flow.run()
    seen["ran"] = taken()
    seen["to the default"] = flow.reset_downstream(Get)
    flow.run()
    seen["ran then"] = taken()
    seen["up to a task"] = flow.reset_downstream(Get, Clean)
    seen["complete then"] = [flow.get_task(task).complete(cascade=False) for task in (Get, Clean, Train)]
    seen["again"] = flow.reset_downstream(Get, Clean)
    flow.run()
    with answering("n") as questions:
        seen["not confirmed"] = flow.reset_downstream(Get, confirm=True)
    seen["questions"] = [len(questions), flow.complete()]
    return seen


@observation
def a_task_is_what_a_workflow_hands_out():
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run()
    taken()
    task = flow.get_task()
    seen = {"equal": task == Train(**PARAMS), "loaded": Train(**PARAMS).outputLoad() == flow.outputLoad()}
    d6tflow.run(Train(**PARAMS))
    seen["run outside"] = taken()
    return seen


@observation
def a_path_of_its_own():
    flow = d6tflow.Workflow(Train, PARAMS, path="elsewhere/deep")
    seen = {"complete before": flow.complete()}
    flow.run()
    seen["ran"] = taken_any_order()
    seen["files"] = files("elsewhere")
    seen["default folder"] = files()
    seen["loaded"] = flow.outputLoad()
    seen["path"] = flow.outputPath()
    seen["complete"] = flow.complete()
    flow.run()
    seen["second run"] = taken()
    return seen


class PathCopy(Train):
    """A class of its own, so that no instance of it was made before."""


@observation
def a_path_given_as_path_object():
    flow = d6tflow.Workflow(PathCopy, path=Path("obj"))
    flow.run()
    return {"files": files("obj"), "path": flow.outputPath()}


@observation
def an_environment():
    flow = d6tflow.Workflow(Unrelated, env="prod")
    flow.run()
    both = d6tflow.Workflow(Train, PARAMS, path="base", env="test")
    both.run()
    return {"files": files("data", "base"), "paths": [flow.outputPath(), both.outputPath()]}


class P1(Get):
    pass


@d6tflow.requires(P1)
class P2(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(len(self.inputLoad()))


@observation
def two_flows_in_two_folders():
    one, two = d6tflow.Workflow(P2, path="one"), d6tflow.Workflow(P2, path="two")
    one.run()
    seen = {"first": taken()}
    two.run()
    seen["second"] = taken()
    seen["paths"] = [one.outputPath(), two.outputPath()]
    seen["files"] = files("one", "two")
    seen["complete"] = [one.complete(), two.complete()]
    return seen


class Upper(d6tflow.tasks.TaskPickle):
    """Reads from another flow that was attached."""

    def run(self):
        ran(self)
        self.save(["with", self.flows["data"].outputLoad()])


@observation
def an_attached_flow():
    data = d6tflow.Workflow(Get, {"rows": 2})
    data.run()
    flow = d6tflow.Workflow(Upper)
    flow.attach_flow(data, "data")
    flow.run()
    return {"ran": taken(), "loaded": flow.outputLoad()}


class Lower(Upper):
    pass


@d6tflow.requires(Lower)
class AboveLower(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(["above", self.inputLoad(), sorted(self.flows)])


@observation
def an_attached_flow_reaches_upstream():
    first, second = d6tflow.Workflow(Get, {"rows": 1}), d6tflow.Workflow(Get, {"rows": 4})
    first.run()
    second.run()
    flow = d6tflow.Workflow(AboveLower)
    flow.attach_flow(first, "data")
    flow.attach_flow(second)
    flow.run()
    return {"ran": taken(), "loaded": flow.outputLoad()}


@observation
def parameters_nobody_knows():
    """A workflow may carry parameters that only some of its tasks have."""
    flow = d6tflow.Workflow(Train, PARAMS)
    flow.run(Unrelated)
    return {"ran": taken(), "loaded": flow.outputLoad(Unrelated)}


@observation
def the_summary_is_printed_or_not():
    flow = d6tflow.Workflow(Get, {"rows": 6})
    with_summary = printed(flow.run)
    flow.reset()
    without = printed(flow.run, execution_summary=False)
    return {"with": bool(with_summary.strip()), "without": without}


@observation
def luigi_keywords_pass_through():
    flow = d6tflow.Workflow(Get, {"rows": 7})
    result = flow.run(log_level="ERROR", no_lock=True)
    return {"ran": taken(), "result": plain(bool(result))}


if __name__ == "__main__":
    main()
