"""What run() does: order, results, failures, forcing, and the questions about a graph."""

import luigi
from observe import (
    answering,
    attempt,
    files,
    main,
    named,
    observation,
    printed,
    ran,
    states,
    taken,
    taken_any_order,
)

import d6tflow


class Body(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(named(self))


class Source(Body):
    n = d6tflow.IntParameter(default=1)


class Left(Body):
    def requires(self):
        return Source()


class Right(Body):
    def requires(self):
        return [Source(), Source(n=2)]


class Bottom(Body):
    def requires(self):
        return {"left": Left(), "right": Right()}


class Alone(Body):
    pass


class Fails(Body):
    def run(self):
        ran(self)
        raise ValueError("this body always fails")


@d6tflow.requires(Fails)
class AfterFailure(Body):
    pass


class Mixed(Body):
    def requires(self):
        return [Left(), Fails(), Alone()]


EVERY = (Source(), Source(n=2), Left(), Right(), Bottom())


def complete():
    return {named(task): task.complete(cascade=False) for task in EVERY}


@observation
def a_diamond():
    seen = {
        "result": bool(d6tflow.run(Bottom())),
        "ran": taken_any_order(),
        "states": states(d6tflow.preview, Bottom()),
    }
    seen["complete"] = complete()
    d6tflow.run(Bottom())
    seen["second run"] = taken()
    return seen


@observation
def a_list_of_tasks_runs_in_its_order():
    d6tflow.run([Alone(), Source(n=5), Left()])
    return {"ran": taken()}


@observation
def only_what_is_missing():
    d6tflow.run(Bottom())
    taken()
    Right().reset(confirm=False)
    d6tflow.run(Bottom())
    seen = {"middle was missing": taken()}
    Source(n=2).reset(confirm=False)
    d6tflow.run(Bottom())
    seen["source was missing"] = taken()
    Bottom().reset(confirm=False)
    d6tflow.run(Bottom())
    seen["end was missing"] = taken()
    d6tflow.run(Left())
    seen["another end"] = taken()
    return seen


# -- results -------------------------------------------------------------------------------------------------


@observation
def what_run_returns():
    result = d6tflow.run(Bottom())
    seen = {"ok": bool(result), "scheduling_succeeded": result.scheduling_succeeded}
    seen["status"] = [isinstance(result.status, luigi.LuigiStatusCode), result.status.name]
    seen["summary is text"] = isinstance(result.summary_text, str)
    seen["nothing to do"] = [bool(d6tflow.run(Bottom())), d6tflow.run(Bottom()).status.name]
    seen["without summary"] = bool(d6tflow.run(Bottom(), execution_summary=False))
    seen["empty list"] = bool(d6tflow.run([]))
    return seen


@observation
def what_run_prints():
    seen = {"summary": bool(printed(d6tflow.run, Alone()).strip())}
    seen["switched off by the call"] = printed(d6tflow.run, Alone(), execution_summary=False)
    d6tflow.settings.execution_summary = False
    seen["switched off by the settings"] = printed(d6tflow.run, Alone())
    seen["switched on by the call"] = bool(printed(d6tflow.run, Alone(), execution_summary=True).strip())
    return seen


@observation
def a_failing_task():
    seen = {"run": attempt(lambda: d6tflow.run(AfterFailure())), "ran": taken()}
    seen["complete"] = [Fails().complete(), AfterFailure().complete()]
    seen["files"] = files()
    return seen


@observation
def a_failing_task_without_abort():
    result = d6tflow.run(AfterFailure(), abort=False)
    seen = {"ran": taken(), "scheduling_succeeded": result.scheduling_succeeded, "status": result.status.name}
    seen["without summary"] = bool(d6tflow.run(AfterFailure(), abort=False, execution_summary=False))
    return seen


@observation
def truth_of_a_failed_result():
    return {"bool": bool(d6tflow.run(Fails(), abort=False))}


@observation
def other_branches_finish():
    seen = {"run": attempt(lambda: d6tflow.run(Mixed())), "ran": sorted(taken())}
    seen["complete"] = [Left().complete(), Alone().complete(), Mixed().complete()]
    seen["run again"] = [attempt(lambda: d6tflow.run(Mixed())), taken()]
    return seen


@observation
def keywords_of_luigi_pass_through():
    seen = {"ok": bool(d6tflow.run(Alone(), log_level="ERROR", no_lock=True, local_scheduler=True))}
    seen["ran"] = taken()
    seen["detailed"] = bool(d6tflow.run(Alone(), detailed_summary=True))
    return seen


@observation
def two_workers():
    seen = {"result": bool(d6tflow.run(Bottom(), workers=2)), "complete": complete(), "files": files()}
    taken()  # what other processes did is not seen here
    d6tflow.run(Bottom())
    seen["second run"] = taken()
    return seen


@observation
def priority_goes_first():
    class Low(Body):
        priority = -5

    class High(Body):
        priority = 10

    class Middle(Body):
        pass

    class Needs(Body):
        def requires(self):
            return [Low(), Middle(), High()]

    d6tflow.run(Needs())
    # Where the other two come is luigi's secret: each inherits the priority of who needs it, then chance decides.
    first, *others = taken()
    return {"first": first, "others": sorted(others)}


@observation
def run_by_hand():
    Source().run()
    seen = {"ran": taken(), "complete": Source().complete(), "loaded": Source().outputLoad()}
    Left().run()
    seen["downstream"] = [taken(), Left().complete()]
    return seen


# -- force ---------------------------------------------------------------------------------------------------


@observation
def forced_reruns_everything_downstream_of_the_family():
    d6tflow.run(Bottom())
    taken()
    d6tflow.run(Bottom(), forced=Left())
    seen = {"one": taken()}
    d6tflow.run(Bottom(), forced=[Right(), Bottom()])
    seen["list"] = taken()
    d6tflow.run(Bottom(), forced=Source())
    seen["source"] = taken_any_order()
    return seen


@observation
def forced_by_another_parameter_of_the_family():
    d6tflow.run(Bottom())
    taken()
    d6tflow.run(Bottom(), forced=Source(n=99))
    return {"ran": taken_any_order()}


@observation
def forced_of_one_of_two_of_a_family():
    d6tflow.run(Bottom())
    taken()
    d6tflow.run(Bottom(), forced=Source(n=2))
    return {"ran": taken_any_order()}


@observation
def forced_outside_the_graph():
    d6tflow.run(Bottom())
    taken()
    d6tflow.run(Bottom(), forced=Alone())
    return {"ran": taken(), "complete": Alone().complete()}


@observation
def forced_all():
    d6tflow.run([Bottom(), Alone()])
    taken()
    d6tflow.run([Bottom(), Alone()], forced_all=True)
    seen = {"roots": sorted(taken())}
    d6tflow.run(Bottom(), forced_all=True, forced=Source())
    seen["with forced"] = taken()
    return seen


@observation
def forced_all_upstream():
    d6tflow.run([Bottom(), Alone()])
    taken()
    d6tflow.run([Bottom(), Alone()], forced_all_upstream=True)
    seen = {"all": taken_any_order()}
    d6tflow.run(Left(), forced_all_upstream=True, forced_all=True)
    seen["of one"] = taken()
    return seen


@observation
def forced_when_nothing_is_complete():
    d6tflow.run(Left(), forced=Left())
    return {"ran": taken()}


@observation
def force_asks_when_told_to():
    d6tflow.run(Bottom())
    taken()
    with answering("n") as questions:
        result = d6tflow.run(Bottom(), forced=Left(), confirm=True)
    seen = {"no": [len(questions), result, taken(), Bottom().complete()]}
    with answering("y") as questions:
        d6tflow.run(Bottom(), forced=Left(), confirm=True)
    seen["yes"] = [len(questions), taken()]
    with answering("n") as questions:
        d6tflow.run(Bottom(), confirm=True)
    seen["nothing forced"] = [len(questions), taken()]
    return seen


class Turns(Body):
    works = True

    def run(self):
        ran(self)
        if not Turns.works:
            raise RuntimeError("not today")
        self.save("it worked")


@observation
def a_forced_run_that_fails():
    d6tflow.run(Turns())
    Turns.works = False
    seen = {"run": attempt(lambda: d6tflow.run(Turns(), forced=Turns()))}
    Turns.works = True
    seen["files"] = files()
    return seen


# -- the graph -----------------------------------------------------------------------------------------------


@observation
def taskflow_upstream():
    def names(tasks):
        return [named(task) for task in tasks]

    seen = {
        "all": names(d6tflow.taskflow_upstream(Bottom())),
        "of a source": names(d6tflow.taskflow_upstream(Source())),
    }
    seen["complete before"] = names(d6tflow.taskflow_upstream(Bottom(), only_complete=True))
    d6tflow.run(Left())
    seen["complete"] = names(d6tflow.taskflow_upstream(Bottom(), only_complete=True))
    return seen


@observation
def taskflow_downstream():
    def names(tasks):
        return sorted(named(task) for task in tasks)

    seen = {
        "of a source": names(d6tflow.taskflow_downstream(Source(), Bottom())),
        "by family": names(d6tflow.taskflow_downstream(Source(n=77), Bottom())),
        "of the middle": names(d6tflow.taskflow_downstream(Right(), Bottom())),
        "of itself": names(d6tflow.taskflow_downstream(Bottom(), Bottom())),
        "of a stranger": names(d6tflow.taskflow_downstream(Alone(), Bottom())),
        "complete before": names(d6tflow.taskflow_downstream(Source(), Bottom(), only_complete=True)),
    }
    d6tflow.run(Left())
    seen["complete"] = names(d6tflow.taskflow_downstream(Source(), Bottom(), only_complete=True))
    seen["kind"] = type(d6tflow.taskflow_downstream(Source(), Bottom())).__name__
    return seen


@observation
def invalidate_upstream():
    d6tflow.run([Bottom(), Alone()])
    taken()
    seen = {"result": d6tflow.invalidate_upstream(Right()), "complete": complete()}
    seen["again"] = d6tflow.invalidate_upstream(Right())
    d6tflow.run(Bottom())
    seen["ran"] = taken_any_order()
    with answering("n") as questions:
        seen["not confirmed"] = d6tflow.invalidate_upstream(Bottom(), confirm=True)
    seen["questions"] = [len(questions), Bottom().complete()]
    with answering("y"):
        d6tflow.invalidate_upstream(Bottom(), confirm=True)
    seen["confirmed"] = complete()
    return seen


@observation
def invalidate_downstream():
    d6tflow.run([Bottom(), Alone()])
    taken()
    seen = {"result": d6tflow.invalidate_downstream(Right(), Bottom()), "complete": complete()}
    seen["again"] = d6tflow.invalidate_downstream(Right(), Bottom())
    d6tflow.run(Bottom())
    seen["ran"] = taken()
    seen["stranger"] = d6tflow.invalidate_downstream(Alone(), Bottom())
    with answering("n") as questions:
        seen["not confirmed"] = d6tflow.invalidate_downstream(Source(), Bottom(), confirm=True)
    seen["questions"] = [len(questions), Bottom().complete()]
    with answering("y"):
        seen["confirmed"] = d6tflow.invalidate_downstream(Source(), Bottom(), confirm=True)
    seen["complete then"] = complete()
    return seen


@observation
def reset_asks_unless_told_not_to():
    d6tflow.run(Alone())
    with answering("n") as questions:
        seen = {"no": [Alone().reset(), len(questions), Alone().complete()]}
    with answering("y") as questions:
        seen["yes"] = [Alone().reset(), len(questions), Alone().complete()]
    seen["when missing"] = Alone().reset(confirm=False)
    d6tflow.run(Alone())
    seen["invalidate"] = [Alone().invalidate(confirm=False), Alone().complete()]
    seen["positional"] = Alone().reset(False)
    return seen


# -- tasks that write nothing or are not what they should be -------------------------------------------------


class NeverSaves(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)


@observation
def a_check_that_saves_nothing():
    seen = {
        "run": attempt(lambda: bool(d6tflow.run(NeverSaves()))),
        "ran": taken(),
        "complete": NeverSaves().complete(),
    }
    seen["again"] = [attempt(lambda: bool(d6tflow.run(NeverSaves()))), taken()]
    return seen


class RequiresRaises(Body):
    def requires(self):
        raise KeyError("no idea what is needed")


@observation
def requires_that_raises():
    return {"run": attempt(lambda: d6tflow.run(RequiresRaises())), "ran": taken()}


class RequiresText(Body):
    def requires(self):
        return "Source"


@observation
def requires_that_returns_no_task():
    return {"run": attempt(lambda: d6tflow.run(RequiresText())), "ran": taken()}


@observation
def something_that_is_no_task():
    return {"class": attempt(lambda: d6tflow.run(Alone)), "text": attempt(lambda: d6tflow.run("Alone"))}


@observation
def a_tuple_of_tasks():
    return {"run": attempt(lambda: bool(d6tflow.run((Alone(), Source())))), "ran": taken()}


class Yields(Body):
    """A requirement that is found out while running, as in luigi: the body starts again at the top."""

    def run(self):
        ran(self)
        target = yield Source(n=3)
        self.save(target.load())


@observation
def a_requirement_found_while_running():
    seen = {"run": attempt(lambda: bool(d6tflow.run(Yields())))}
    names = taken()
    seen["source ran once"] = names.count("Source(n=3)")
    seen["last"] = names[-1]
    seen["loaded"] = Yields().outputLoad()
    return seen


if __name__ == "__main__":
    main()
