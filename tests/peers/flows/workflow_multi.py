"""WorkflowMulti: several flows of one task, by name, by number, or as a product of lists."""

from observe import attempt, files, main, named, observation, ran, states, taken, taken_any_order

import d6tflow


class Get(d6tflow.tasks.TaskPickle):
    rows = d6tflow.IntParameter(default=2)

    def run(self):
        ran(self)
        self.save(self.rows)


@d6tflow.requires(Get)
class Train(d6tflow.tasks.TaskPickle):
    persist = ["score", "name"]
    model = d6tflow.Parameter(default="ols")
    fast = d6tflow.BoolParameter(default=False)

    def run(self):
        ran(self)
        if self.model == "broken":
            raise RuntimeError("cannot train")
        self.save({"score": self.inputLoad() * 10, "name": self.model})
        self.saveMeta(f"meta of {self.model}")


NAMED = {"first": {"model": "ols"}, "second": {"model": "gbm", "rows": 3}}


@observation
def named_flows():
    flow = d6tflow.WorkflowMulti(Train, NAMED)
    seen = {"params": flow.params, "trees": states(flow.preview)}
    results = flow.run()
    seen["results"] = {name: bool(result) for name, result in results.items()}
    seen["ran"] = taken_any_order()
    seen["load"] = flow.outputLoad()
    seen["load as dict"] = flow.outputLoad(as_dict=True)
    seen["load a key"] = flow.outputLoad(keys="score")
    seen["load one flow"] = flow.outputLoad(flow="second")
    seen["load one task"] = flow.outputLoad(task=Get)
    seen["load all"] = flow.outputLoadAll()
    seen["load all of one"] = flow.outputLoadAll(flow="first")
    seen["meta"] = flow.outputLoadMeta()
    seen["meta of one"] = flow.outputLoadMeta(flow="first")
    seen["path"] = flow.outputPath()
    seen["path of one"] = flow.outputPath(task=Get, flow="second")
    seen["task"] = {name: named(task) for name, task in flow.get_task().items()}
    seen["task of one"] = named(flow.get_task(flow="second"))
    seen["other task"] = {name: named(task) for name, task in flow.get_task(Get).items()}
    one = flow.get_flow("second")
    seen["flow"] = [type(one).__name__, one.outputLoad(keys="name"), one.complete()]
    flow.run()
    seen["second run"] = taken()
    seen["files"] = files()
    return seen


@observation
def a_list_of_flows():
    flow = d6tflow.WorkflowMulti(Train, [{"model": "a"}, {"model": "b", "fast": True}])
    seen = {"results": {repr(name): bool(result) for name, result in flow.run().items()}}
    seen["ran"] = taken_any_order()
    seen["load"] = flow.outputLoad(keys="name")
    seen["one"] = flow.outputLoad(flow=1)
    seen["tasks"] = {repr(name): named(task) for name, task in flow.get_task().items()}
    return seen


@observation
def a_product_of_lists():
    flow = d6tflow.WorkflowMulti(Train, {"model": ["ols", "gbm"], "fast": [False, True]})
    seen = {"params": flow.params, "tasks": {name: named(task) for name, task in flow.get_task().items()}}
    seen["results"] = sorted(flow.run())
    seen["ran"] = taken_any_order()
    seen["load"] = flow.outputLoad(keys="name")
    return seen


@observation
def a_product_of_three():
    flow = d6tflow.WorkflowMulti(Train, {"rows": [1, 2], "model": ["x"], "fast": [True, False]})
    return {"params": flow.params, "tasks": {name: named(task) for name, task in flow.get_task().items()}}


@observation
def a_product_of_one():
    flow = attempt(lambda: d6tflow.WorkflowMulti(Train, {"model": ["ols", "gbm"]}))
    return {"params": attempt(lambda: flow.params)}


@observation
def a_list_that_is_empty():
    return {
        "product": attempt(lambda: d6tflow.WorkflowMulti(Train, {"model": [], "fast": [True]}).params),
        "list": attempt(lambda: d6tflow.WorkflowMulti(Train, []).params),
    }


@observation
def wrong_parameters():
    return {
        "none": attempt(lambda: d6tflow.WorkflowMulti(Train)),
        "empty": attempt(lambda: d6tflow.WorkflowMulti(Train, {})),
        "text": attempt(lambda: d6tflow.WorkflowMulti(Train, "model")),
        "unknown flow": attempt(lambda: d6tflow.WorkflowMulti(Train, NAMED).outputLoad(flow="third")),
        "run unknown flow": attempt(lambda: d6tflow.WorkflowMulti(Train, NAMED).run(flow="third")),
    }


@observation
def one_flow_at_a_time():
    flow = d6tflow.WorkflowMulti(Train, NAMED)
    result = flow.run(flow="second")
    seen = {"result": bool(result), "ran": taken(), "states": states(flow.preview)}
    seen["preview of one"] = states(flow.preview, flow="second")
    seen["load"] = attempt(lambda: flow.outputLoad())
    flow.run(tasks=Get)
    seen["another task"] = taken()
    flow.run(tasks=[Get, Train], flow="first")
    seen["list of tasks"] = taken()
    return seen


@observation
def default_task():
    flow = d6tflow.WorkflowMulti(params=NAMED)
    seen = {"get_task": attempt(flow.get_task), "run": attempt(flow.run)}
    flow.set_default(Train)
    flow.run()
    seen["ran"] = taken_any_order()
    flow.set_default(Get)
    seen["load"] = flow.outputLoad()
    return seen


@observation
def forced():
    flow = d6tflow.WorkflowMulti(Train, NAMED)
    flow.run()
    taken()
    flow.run(forced=Get())
    seen = {"forced": taken_any_order()}
    flow.run(forced_all=True)
    seen["forced_all"] = taken_any_order()
    flow.run(forced_all_upstream=True)
    seen["forced_all_upstream"] = taken_any_order()
    return seen


@observation
def shared_upstream_is_forced_once_or_for_each_flow():
    flow = d6tflow.WorkflowMulti(Train, {"a": {"model": "a"}, "b": {"model": "b"}})
    flow.run()
    taken()
    flow.run(forced_all_upstream=True)
    return {"ran": taken_any_order()["bodies"]}


@observation
def reset():
    flow = d6tflow.WorkflowMulti(Train, NAMED)
    flow.run()
    taken()

    def complete():
        tasks = [flow.get_task(task, name) for name in NAMED for task in (Get, Train)]
        return [task.complete(cascade=False) for task in tasks]

    seen = {"reset": flow.reset(), "complete": complete()}
    flow.run()
    seen["reset one"] = [flow.reset(flow="first"), complete()]
    flow.run()
    seen["reset task"] = [flow.reset(task=Get), complete()]
    flow.run()
    seen["reset_upstream"] = [flow.reset_upstream(), complete()]
    flow.run()
    seen["reset_downstream"] = [flow.reset_downstream(Get), complete()]
    flow.run()
    return seen


@observation
def reset_around_one_task_of_one_flow():
    flow = d6tflow.WorkflowMulti(Train, NAMED)
    flow.run()

    def complete():
        tasks = [flow.get_task(task, name) for name in NAMED for task in (Get, Train)]
        return [task.complete(cascade=False) for task in tasks]

    seen = {"reset_upstream": [flow.reset_upstream(Train, flow="first"), complete()]}
    flow.run()
    seen["reset_downstream"] = [flow.reset_downstream(Get, flow="first"), complete()]
    return seen


@observation
def a_path_and_an_environment():
    flow = d6tflow.WorkflowMulti(Train, NAMED, path="there", env="dev")
    flow.run()
    return {"files": files("there"), "paths": flow.outputPath(task=Get)}


@observation
def a_failing_flow():
    flow = d6tflow.WorkflowMulti(Train, {"bad": {"model": "broken"}, "good": {"model": "fine"}})
    seen = {"run": attempt(flow.run)}
    seen["good is complete"] = flow.get_flow("good").complete()
    return seen


@observation
def a_failing_flow_without_abort():
    flow = d6tflow.WorkflowMulti(Train, {"bad": {"model": "broken"}, "good": {"model": "fine"}})
    results = flow.run(abort=False, execution_summary=False)
    seen = {"results": {name: bool(result) for name, result in results.items()}}
    seen["complete"] = [flow.get_flow(name).complete() for name in ("bad", "good")]
    return seen


if __name__ == "__main__":
    main()
