"""The functional interface: functions become tasks."""

from observe import attempt, files, main, observation, printed, ran, states, taken, taken_any_order

import d6tflow
from d6tflow.functional import Workflow


def named(**parameters):
    """Tell each parameter its name.

    luigi 3.6 and later learn it when a class is created; d6tflow puts these on a class that exists already.
    How users write it, without this help, is observed at the end.
    """
    for name, parameter in parameters.items():
        if hasattr(parameter, "__set_name__"):
            parameter.__set_name__(None, name)
    return parameters


def make():
    """Return a workflow of four functions, and the functions; memory outputs live as long as the process."""
    d6tflow.data.clear()
    flow = Workflow()

    @flow.task(d6tflow.tasks.TaskCache)
    def numbers(task):
        ran(task)
        task.save([1, 2, 3])

    @flow.task(d6tflow.tasks.TaskPickle)
    @flow.requires(numbers)
    @flow.params(**named(times=d6tflow.IntParameter(default=2)))
    def multiplied(task):
        ran(task)
        task.save([n * task.times for n in task.inputLoad()])

    @flow.task(d6tflow.tasks.TaskPickle)
    @flow.requires({"plain": numbers, "more": multiplied})
    @flow.persists(["total", "count"])
    def summed(task):
        ran(task)
        inputs = task.inputLoad()
        task.save({"total": sum(inputs["more"]) + sum(inputs["plain"]), "count": len(inputs)})
        task.saveMeta("a note")

    @flow.task(d6tflow.tasks.TaskJson)
    @flow.requires(numbers, multiplied)
    def listed(task):
        ran(task)
        task.save(task.inputLoad())

    return flow, multiplied, summed, listed


@observation
def run_one_function():
    flow, multiplied, summed, _ = make()
    seen = {"not run": attempt(flow.outputLoad, summed)}
    seen["result"] = flow.run(summed)
    seen["ran"] = taken_any_order()
    seen["loaded"] = flow.outputLoad(summed)
    seen["as_dict"] = flow.outputLoad(summed, as_dict=True)
    seen["one key"] = flow.outputLoad(summed, keys="total")
    seen["all"] = flow.outputLoadAll(summed)
    seen["files"] = files()
    flow.run(summed)
    seen["second run"] = taken()
    seen["upstream was not asked for"] = attempt(flow.outputLoad, multiplied)
    return seen


@observation
def run_several_functions():
    flow, multiplied, _, listed = make()
    flow.run([listed, multiplied])
    return {
        "ran": taken_any_order(),
        "loaded": [flow.outputLoad(listed), flow.outputLoad(multiplied)],
        "files": files(),
    }


@observation
def with_parameters():
    flow, multiplied, _, listed = make()
    flow.run(multiplied, params={"times": 5})
    seen = {"ran": taken(), "loaded": flow.outputLoad(multiplied)}
    flow.run(listed, params={"times": 7})
    seen["ran then"] = taken_any_order()
    seen["loaded then"] = [flow.outputLoad(listed), flow.outputLoad(multiplied)]
    return seen


@observation
def with_several_sets_of_parameters():
    flow, multiplied, _, _ = make()
    flow.run(multiplied, multi_params={"a": {"times": 3}, "b": {"times": 4}})
    seen = {"ran": taken(), "loaded": flow.outputLoad(multiplied), "all": flow.outputLoadAll(multiplied)}
    flow.run(multiplied)
    seen["back to one"] = [taken(), flow.outputLoad(multiplied)]
    return seen


@observation
def preview():
    flow, multiplied, _, _ = make()
    seen = {
        "plain": states(flow.preview, multiplied, None),
        "set": states(flow.preview, multiplied, {"times": 9}),
    }
    flow.run(multiplied, params={"times": 9})
    seen["after"] = states(flow.preview, multiplied, {"times": 9})
    seen["of what ran"] = states(flow.preview, multiplied, None)
    return seen


@observation
def reset():
    flow, multiplied, summed, listed = make()
    flow.run(multiplied, params={"times": 2})
    flow.run(multiplied, params={"times": 3})
    taken()
    seen = {"one": flow.reset(multiplied, params={"times": 3}, confirm=False), "files": files()}
    seen["all used"] = flow.reset(multiplied, confirm=False)
    seen["files then"] = files()
    flow.run([summed, listed])
    taken()
    seen["by name"] = flow.reset("summed", confirm=False)
    seen["resetAll"] = flow.resetAll(confirm=False)
    seen["files at last"] = [name for name in files() if "meta" not in name]
    return seen


@observation
def delete():
    flow, _, summed, listed = make()
    flow.run([summed, listed])
    flow.delete(listed)
    seen = {"after delete": files()}
    flow.deleteAll()
    seen["after deleteAll"] = files()
    return seen


def make_with_a_common_beginning():
    flow = Workflow()

    @flow.task(d6tflow.tasks.TaskPickle)
    def get_left(task):
        task.save("left")

    @flow.task(d6tflow.tasks.TaskPickle)
    def get_right(task):
        task.save("right")

    return flow, get_left, get_right


@observation
def names_with_underscores():
    flow, get_left, get_right = make_with_a_common_beginning()
    flow.run([get_left, get_right])
    return {"files": files()}


@observation
def delete_of_one_of_two_with_a_common_beginning():
    flow, get_left, get_right = make_with_a_common_beginning()
    flow.run([get_left, get_right])
    flow.delete(get_left)
    return {"files": files()}


@observation
def global_parameters():
    made = Workflow()

    @made.task(d6tflow.tasks.TaskPickle)
    def gone(task):
        task.save(task.base)

    @made.task(d6tflow.tasks.TaskPickle)
    @made.requires(gone)
    def gtwo(task):
        task.save(task.inputLoad() + task.base)

    made.add_global_params(**named(base=d6tflow.IntParameter(default=10)))
    made.run(gtwo)
    seen = {"default": made.outputLoad(gtwo)}
    made.run([gtwo, gone], params={"base": 4})
    seen["given"] = [made.outputLoad(gtwo), made.outputLoad(gone)]
    seen["files"] = files()
    return seen


@observation
def what_the_decorators_leave():
    called = []
    made = Workflow()

    @made.task(d6tflow.tasks.TaskPickle)
    def direct(task):
        called.append(task)
        return "value"

    seen = {"name": direct.__name__, "result of a call": direct("anything"), "called with": called}
    seen["steps"] = [
        made.steps["direct"].__name__,
        issubclass(made.steps["direct"], d6tflow.tasks.TaskPickle),
    ]
    seen["not a format"] = attempt(made.task, object)
    seen["a format of one's own"] = attempt(made.task, type("Own", (d6tflow.tasks.TaskPickle,), {}))
    return seen


@observation
def options_of_run_pass_through():
    flow, multiplied, _, _ = make()
    text = printed(flow.run, multiplied, execution_summary=False)
    seen = {"printed": text.strip(), "ran": taken()}
    flow.run(multiplied, forced_all_upstream=True)
    seen["forced"] = taken()
    return seen


@observation
def parameters_as_users_write_them():
    made = Workflow()

    @made.task(d6tflow.tasks.TaskPickle)
    @made.params(times=d6tflow.IntParameter(default=2))
    def direct(task):
        task.save([1] * task.times)

    seen = {"run": attempt(made.run, direct), "loaded": attempt(made.outputLoad, direct)}
    made.add_global_params(more=d6tflow.IntParameter(default=1))
    seen["global"] = attempt(made.run, direct, params={"more": 5})
    seen["files"] = files()
    return seen


if __name__ == "__main__":
    main()
