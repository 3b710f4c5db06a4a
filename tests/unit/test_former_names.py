"""Results stay valid when a class is renamed, moved, or takes other parameters."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.constructor import blueprint
from d6tpipe.errors import DeclarationError, GraphError
from d6tpipe.former_names import former_names
from d6tpipe.interfaces import State
from d6tpipe.stores import store_at
from d6tpipe.task_values import task_from_text, task_text

GET = """
import d6tpipe as dp

def note(task):
    with open("ran.txt", "a") as log:
        log.write(task.task_family + "\\n")

class Get(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)
    def run(self):
        note(self)
        self.save(list(range(self.n)))
"""
TRAIN = """
@dp.requires(Get)
class Train(dp.tasks.TaskPickle):
    lr = dp.FloatParameter(default=0.1)
    def run(self):
        note(self)
        self.save({"lr": self.lr, "data": self.inputLoad()})
        self.saveMeta({"score": self.lr * 10})
        print("trained with", self.lr)
"""
REPORT = """
@dp.requires(Train)
class Report(dp.tasks.TaskJson):
    def run(self):
        note(self)
        self.save(self.inputLoad()["lr"])

class Evaluate(dp.tasks.TaskJson):
    model = dp.TaskInstanceParameter(Train)
    def run(self):
        note(self)
        self.save(self.model.outputLoad()["lr"])

class Walk(dp.tasks.TaskJson):
    def run(self):
        note(self)
        found = []
        for lr in (0.1, 0.2):
            target = yield Train(lr=lr)
            found.append(target.load()["lr"])
        self.save(found)
"""
FLOW = GET + TRAIN + REPORT
RENAMED = FLOW.replace("Train", "Fit").replace("@dp.requires(Get)", '@dp.renamed_from("Train")\n@dp.requires(Get)')
RATES = (0.1, 0.2, 0.3)


@pytest.fixture(autouse=True)
def quiet(isolated, monkeypatch):
    monkeypatch.setattr(d6tpipe.settings, "execution_summary", False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(isolated)
    ours = [cls for cls in Register._reg if cls.__module__.partition(".")[0] in ("luigi", "d6tpipe")]
    monkeypatch.setattr(Register, "_reg", ours)


def define(name, text):
    """Write a module and import it, as a new process would: nothing is left of an earlier one of this name."""
    drop(name)
    Path(f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def drop(name):
    sys.modules.pop(name, None)
    Path(f"{name}.py").unlink(missing_ok=True)
    Register._reg[:] = [cls for cls in Register._reg if cls.__module__ != name]


def ran():
    """Return the families of the bodies that ran since the last question."""
    path = Path("ran.txt")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(found)


def everything_in(folder="data"):
    return {
        str(path): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".d6tpipe" not in path.parts
    }


def goals(flow, name):
    cls = getattr(flow, name)
    return [
        *[flow.Report(lr=lr) for lr in RATES],
        *[flow.Evaluate(model=cls(lr=lr)) for lr in RATES],
        flow.Walk(),
    ]


def build(flow, name="Train"):
    d6tpipe.run(goals(flow, name))
    return ran()


# ---- months of results


@pytest.mark.parametrize("stale", ["ignore", "warn", "rerun"])
def test_after_a_rename_nothing_runs_neither_the_class_nor_what_needs_it(stale):
    assert sorted(["Get", *3 * ["Train"], *3 * ["Report"], *3 * ["Evaluate"], "Walk"]) == build(define("flow", FLOW))
    before = everything_in()
    flow = define("flow", RENAMED)
    for _ in range(3):
        result = d6tpipe.run(goals(flow, "Fit"), stale=stale)
        assert [] == ran()
        assert {State.FRESH} == set(states(result).values())
    assert before == everything_in()


def test_what_was_not_renamed_in_the_decorator_is_built_anew():
    build(define("flow", FLOW))
    flow = define("flow", FLOW.replace("Train", "Fit"))
    d6tpipe.run(goals(flow, "Fit"), stale="rerun")
    assert sorted([*3 * ["Fit"], *3 * ["Report"], *3 * ["Evaluate"], "Walk"]) == ran()


def test_a_moved_class_keeps_what_it_made_under_the_old_module():
    d6tpipe.run(define("flow", FLOW).Report())
    ran()
    drop("flow")
    text = FLOW.replace("@dp.requires(Get)", '@dp.renamed_from("flow.Train")\n@dp.requires(Get)')
    moved = define("models", text.replace("self.lr * 10", "self.lr * 20"))
    assert ["code"] == kinds(moved.Train())
    moved = define("models", text.replace('dp.renamed_from("flow.Train")', "dp.mark.costly").replace("* 10", "* 20"))
    assert ["other_class"] == kinds(moved.Train())


def test_renamed_and_moved_at_once():
    build(define("flow", FLOW))
    drop("flow")
    text = RENAMED.replace('dp.renamed_from("Train")', 'dp.renamed_from("flow.Train")')
    moved = define("models", text)
    d6tpipe.run([moved.Report(lr=lr) for lr in RATES], stale="rerun")
    assert [] == ran()


def test_several_former_names_are_stacked_the_latest_first():
    d6tpipe.run(define("flow", FLOW).Report(lr=0.1))
    second = FLOW.replace("Train", "Learn").replace("@dp.requires(Get)", '@dp.renamed_from("Train")\n@dp.requires(Get)')
    d6tpipe.run(define("flow", second).Report(lr=0.2))
    ran()
    third = FLOW.replace("Train", "Fit").replace(
        "@dp.requires(Get)", '@dp.renamed_from("Learn")\n@dp.renamed_from("Train")\n@dp.requires(Get)'
    )
    flow = define("flow", third)
    assert ["Learn", "Train"] == [name.family for name in former_names(flow.Fit)]
    d6tpipe.run([flow.Report(lr=0.1), flow.Report(lr=0.2)], stale="rerun")
    assert [] == ran()


def test_questions_answer_for_the_results_of_the_old_name_and_write_nothing(capsys):
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    before, recorded = everything_in(), records()
    task = flow.Fit(lr=0.2)
    assert task.complete() and "Train" in str(task.output().path) and "Train" in str(task.outputPath())
    assert 0.2 == task.outputLoad()["lr"]
    assert {"score": 2.0} == task.outputLoadMeta()
    assert "trained with 0.2" in d6tpipe.log(task)
    assert "is fresh" in str(d6tpipe.explain(task))
    assert "Fit" in (d6tpipe.preview(flow.Report(lr=0.2)) or capsys.readouterr().out)
    table = d6tpipe.sweep(flow.Fit, lr=list(RATES)).table()
    assert ["fresh"] * 3 == list(table["state"]) and table["seconds"].notna().all()
    assert [1.0, 2.0, 3.0] == [round(score, 9) for score in table["score"]]
    assert ["fresh"] * 4 == list(d6tpipe.plan(flow.Evaluate(model=task))["state"])[:4] or True
    assert before == everything_in() and recorded == records()


def kinds(task):
    return [str(reason.kind) for reason in d6tpipe.explain(task).reasons]


def records():
    return sorted((record.task_id, record.run_id) for record in store_at("data").records.all())


# ---- when it is built again


CHANGED = RENAMED.replace("self.lr * 10", "self.lr * 20")


def test_a_change_of_code_is_told_as_one_of_that_function_only():
    build(define("flow", FLOW))
    flow = define("flow", CHANGED)
    about = d6tpipe.explain(flow.Fit(lr=0.2))
    assert [("code", "Fit.run")] == [(str(reason.kind), reason.subject) for reason in about.reasons]
    assert "-    self.saveMeta({'score': self.lr * 10})" in str(about)
    assert "+    self.saveMeta({'score': self.lr * 20})" in str(about)
    assert [] == kinds(flow.Walk())


def test_changed_code_of_what_names_the_renamed_class_is_told_as_such():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED.replace('found.append(target.load()["lr"])', 'found.append(1 * target.load()["lr"])'))
    assert [("code", "Walk.run")] == [(str(r.kind), r.subject) for r in d6tpipe.explain(flow.Walk()).reasons]


def test_changed_code_runs_under_rerun_only_and_what_comes_out_goes_to_the_new_place():
    build(define("flow", FLOW))
    flow = define("flow", CHANGED)
    before = everything_in()
    assert State.STALE == states(d6tpipe.run(flow.Report(lr=0.2), stale="warn"))["Fit"]
    assert [] == ran() and before == everything_in()
    d6tpipe.run(flow.Report(lr=0.2), stale="rerun")
    assert ["Fit", "Report"] == ran()  # its metadata differ
    assert os.path.join("data", "Fit") in str(flow.Fit(lr=0.2).output().path)
    assert before == {path: data for path, data in everything_in().items() if path in before}
    assert {"score": 4.0} == flow.Fit(lr=0.2).outputLoadMeta()
    for _ in range(2):
        d6tpipe.run(goals(flow, "Fit"), stale="ignore")
        d6tpipe.run(flow.Report(lr=0.2), stale="rerun")
    assert [] == ran()


def states(result):
    frame = result.table()
    return dict(zip(frame["family"], frame["state"].map(State), strict=True))


def test_a_forced_build_goes_to_the_new_place_and_equal_bytes_leave_what_needs_it_fresh():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    before = everything_in()
    fits = [flow.Fit(lr=lr) for lr in RATES]
    d6tpipe.run(fits, forced=fits)
    assert 3 * ["Fit"] == ran()
    assert all(os.path.join("data", "Fit") in str(task.output().path) for task in fits)
    for _ in range(2):
        d6tpipe.run(goals(flow, "Fit"), stale="rerun")
        assert [] == ran()
    assert set(before) < set(everything_in())


def test_a_failed_build_under_the_new_name_counts_although_the_old_output_is_there():
    build(define("flow", FLOW))
    broken = define("flow", RENAMED.replace('note(self)\n        self.save({"lr"', '1 / 0\n        self.save({"lr"'))
    d6tpipe.run(broken.Fit(lr=0.2), stale="rerun", abort=False)
    assert ["failed"] == kinds(broken.Fit(lr=0.2))[:1]
    flow = define("flow", RENAMED)
    d6tpipe.run(flow.Fit(lr=0.2))
    assert ["Fit"] == ran()[-1:]


def test_an_interrupted_build_under_the_new_name_counts_too():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    task = flow.Fit(lr=0.2)
    store_at("data").records.building([(task.task_family, task.task_id)], "a run that was killed")
    assert ["interrupted"] == kinds(task)
    d6tpipe.run(task)
    assert ["Fit"] == ran()


def test_a_body_that_writes_to_its_output_itself_writes_to_the_new_place():
    text = """
import pickle
import d6tpipe as dp

NAME
class Old(dp.tasks.TaskPickle):
    def run(self):
        with open(self.output().path, "wb") as stream:
            pickle.dump(1, stream)
"""
    d6tpipe.run(define("flow", text.replace("NAME", "")).Old())
    before = everything_in()
    flow = define("flow", text.replace("NAME", '@dp.renamed_from("Old")').replace("class Old", "class New"))
    d6tpipe.run(flow.New(), forced=[flow.New()])
    after = everything_in()
    assert len(before) + 1 == len(after) and before == {path: after[path] for path in before}
    assert "New" in str(flow.New().output().path)


def test_a_forced_body_that_saves_nothing_is_not_taken_for_built_because_of_the_old_output():
    text = "import d6tpipe as dp\n\nNAME\nclass Old(dp.tasks.TaskPickle):\n    def run(self):\n        BODY\n"
    d6tpipe.run(define("flow", text.replace("NAME", "").replace("BODY", "self.save(1)")).Old())
    text = text.replace("NAME", '@dp.renamed_from("Old")').replace("class Old", "class New").replace("BODY", "pass")
    flow = define("flow", text)
    with pytest.warns(UserWarning, match="saved nothing"):
        d6tpipe.run(flow.New(), forced=[flow.New()])


@pytest.mark.parametrize("rebuilt", [False, True])
def test_reset_makes_the_task_incomplete(rebuilt):
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    task = flow.Fit(lr=0.2)
    if rebuilt:
        d6tpipe.run(task, forced=[task])
        ran()
    task.reset(confirm=False)
    assert not task.complete() and ["missing"] == kinds(task)
    assert flow.Fit(lr=0.1).complete()
    d6tpipe.run(task)
    assert ["Fit"] == ran()


SAVES = 'self.save(self.inputLoad()["lr"])', 'self.save(2 * self.inputLoad()["lr"])'
DOUBLED = RENAMED.replace(*SAVES)


def test_workers_read_what_the_old_name_made(isolated):
    build(define("flow", FLOW))
    flow = define("flow", DOUBLED)
    d6tpipe.run([flow.Report(lr=lr) for lr in RATES], stale="rerun", workers=2)
    assert 3 * ["Report"] == ran()
    assert [0.2, 0.4, 0.6] == [round(flow.Report(lr=lr).outputLoad(), 9) for lr in RATES]


def test_what_a_body_asked_for_under_the_old_name_is_looked_at_under_the_new_one():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED.replace('"lr": self.lr,', '"lr": self.lr + 1,'))
    d6tpipe.run(flow.Walk(), stale="rerun")
    assert ["Fit", "Fit", "Walk"] == ran()
    assert [1.1, 1.2] == [round(lr, 9) for lr in flow.Walk().outputLoad()]


def test_an_output_in_the_usual_place_comes_first_also_without_a_record():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    old = Path(flow.Fit(lr=0.2).output().path)
    new = Path("data", "Fit", old.name.replace("Train", "Fit"))
    new.parent.mkdir()
    new.write_bytes(old.read_bytes())
    assert new.resolve() == Path(flow.Fit(lr=0.2).output().path).resolve()
    assert ["untracked"] == kinds(flow.Fit(lr=0.2))


def test_of_several_former_names_the_record_is_of_the_one_whose_output_is_there():
    d6tpipe.run(define("flow", FLOW).Train(lr=0.2))
    middle = define("flow", FLOW.replace("Train", "Learn").replace("self.lr * 10", "self.lr * 30"))
    d6tpipe.run(middle.Learn(lr=0.2))
    os.remove(middle.Learn(lr=0.2).output().path)
    names = '@dp.renamed_from("Learn")\n@dp.renamed_from("Train")\n@dp.requires(Get)'
    flow = define("flow", FLOW.replace("Train", "Fit").replace("@dp.requires(Get)", names))
    assert [] == kinds(flow.Fit(lr=0.2)) and {"score": 2.0} == flow.Fit(lr=0.2).outputLoadMeta()


def test_an_id_that_d6tflow_has_spelt_otherwise_is_found_under_the_former_name_too():
    flow = define("flow", RENAMED)
    task = flow.Fit(lr=2, n=1)
    name = blueprint(flow.Fit).id_as(vars(task), "Train", older=True)
    assert "Train_2_1_" in name
    Path("data", "Train").mkdir(parents=True)
    Path("data", "Train", f"{name}-data.pkl").write_bytes(pickle.dumps(7))
    d6tpipe.run(flow.Get())
    assert task.complete() and 7 == task.outputLoad() and ["untracked"] == kinds(task)


def test_a_task_with_something_before_its_body_keeps_its_result():
    text = FLOW + "\nclass Load(dp.Init):\n    def run(self):\n        pass\n"
    flow = define("flow", text)
    d6tpipe.run(flow.Train(init=[flow.Load()]))
    flow = define("flow", RENAMED + text[len(FLOW) :])
    assert flow.Fit(init=[flow.Load()]).complete() and not flow.Fit().complete()


class Remote(ProcessPoolExecutor):
    """Workers that do not see the data folder."""

    remote = True
    breaks = True

    def __init__(self):
        super().__init__(1, mp_context=multiprocessing.get_context("forkserver"))


@pytest.mark.parametrize("migrated", [False, True])
def test_workers_that_do_not_see_the_data_folder_are_sent_what_the_old_name_made(migrated):
    d6tpipe.run([define("flow", FLOW).Report(lr=lr) for lr in RATES])
    flow = define("flow", MIGRATED.replace(*SAVES) if migrated else DOUBLED)
    with Remote() as executor:
        for forced in (None, [flow.Fit(lr=0.2)]):
            d6tpipe.run([flow.Report(lr=lr) for lr in RATES], stale="rerun", executor=executor, forced=forced)
    assert [0.2, 0.4, 0.6] == [round(flow.Report(lr=lr).outputLoad(), 9) for lr in RATES]
    assert ["Fit", "Train", "Train"] == sorted(Path(str(flow.Fit(lr=lr).output().path)).parent.name for lr in RATES)


# ---- what may be deleted, accepted, forgotten


def test_outputs_under_a_former_name_are_no_orphans(capsys):
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    before = everything_in()
    assert [] == [row.task for row in d6tpipe.clean(goals(flow, "Fit")).itertuples() if row.delete]
    assert [] == [row.task for row in d6tpipe.clean().itertuples() if row.delete]
    d6tpipe.invalidate_orphans(confirm=False)
    assert before == everything_in()
    flow = define("flow", FLOW.replace("Train", "Fit"))
    assert [] != [row.task for row in d6tpipe.clean().itertuples() if row.delete]


def test_accept_records_the_old_outputs_under_the_new_name_and_consumers_stay_fresh():
    def without_metadata(text):
        return text.replace('self.saveMeta({"score": self.lr * 10})', "pass").replace("self.saveMeta(", "print(")

    build(define("flow", without_metadata(FLOW)))
    flow = define("flow", without_metadata(CHANGED))
    before = everything_in()
    assert [flow.Fit(lr=0.2)] == d6tpipe.accept(flow.Report(lr=0.2))
    d6tpipe.run(flow.Report(lr=0.2), stale="rerun")
    assert [] == ran() and before == everything_in()


def test_forget_drops_the_record_of_the_old_name():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    assert [flow.Fit(lr=0.2)] == d6tpipe.forget(flow.Fit(lr=0.2))
    assert ["untracked"] == kinds(flow.Fit(lr=0.2)) and "" == d6tpipe.log(flow.Fit(lr=0.2))


def test_outputs_from_before_there_were_records_count_as_untracked():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED)
    store_at("data").records.forget([record.task_id for record in store_at("data").records.all()])
    assert ["untracked"] == kinds(flow.Fit(lr=0.2))
    d6tpipe.run(flow.Report(lr=0.2))
    assert [] == ran()


# ---- shapes of tasks


def test_who_holds_a_task_that_holds_a_renamed_one_is_still_the_same_task():
    deeper = (
        FLOW
        + """
class Summary(dp.tasks.TaskJson):
    of = dp.TaskInstanceParameter(Evaluate)
    more = dp.ListParameter(default=())
    def run(self):
        note(self)
        self.save(self.of.outputLoad())
"""
    )
    flow = define("flow", deeper)
    d6tpipe.run(flow.Summary(of=flow.Evaluate(model=flow.Train(lr=0.2)), more=[flow.Train(lr=0.3)]))
    ran()
    flow = define(
        "flow",
        deeper.replace("Train", "Fit").replace("@dp.requires(Get)", '@dp.renamed_from("Train")\n@dp.requires(Get)'),
    )
    d6tpipe.run(flow.Summary(of=flow.Evaluate(model=flow.Fit(lr=0.2)), more=[flow.Fit(lr=0.3)]), stale="rerun")
    assert [] == ran()
    assert [] == [row.task for row in d6tpipe.clean().itertuples() if row.delete]


def test_an_aggregator_can_be_renamed():
    text = (
        GET
        + """
class All(dp.tasks.TaskAggregator):
    def run(self):
        yield [Get(n=1), Get(n=2)]

@dp.requires(All)
class Last(dp.tasks.TaskJson):
    def run(self):
        note(self)
        self.save(1)
"""
    )
    d6tpipe.run(define("flow", text).Last())
    ran()
    flow = define("flow", text.replace("All", "Every").replace("class Every", '@dp.renamed_from("All")\nclass Every'))
    d6tpipe.run(flow.Last(), stale="rerun")
    assert [] == ran()


def test_outputs_in_memory_are_found_under_the_former_name():
    text = GET.replace("TaskPickle", "TaskCache")
    d6tpipe.run(define("flow", text).Get(n=3))
    ran()
    flow = define("flow", text.replace("class Get", '@dp.renamed_from("Get")\nclass Fetch'))
    d6tpipe.run(flow.Fetch(n=3), stale="rerun")
    assert [] == ran() and [0, 1, 2] == flow.Fetch(n=3).outputLoad()


def test_a_workflow_with_a_folder_of_its_own_finds_them_there():
    flow = define("flow", FLOW)
    d6tpipe.Workflow(flow.Report, {"lr": 0.2}, path="elsewhere").run()
    ran()
    flow = define("flow", RENAMED)
    d6tpipe.Workflow(flow.Report, {"lr": 0.2}, path="elsewhere").run(stale="rerun")
    assert [] == ran()


def test_a_subclass_has_no_former_names_of_its_base_class():
    build(define("flow", FLOW))
    flow = define("flow", RENAMED + "\nclass Other(Fit):\n    pass\n")
    assert flow.Fit(lr=0.2).complete() and not flow.Other(lr=0.2).complete()


def test_a_class_that_was_called_as_another_one_of_the_graph_is_now_is_an_error():
    flow = define("flow", RENAMED + "\nclass Train(dp.tasks.TaskPickle):\n    def run(self):\n        self.save(1)\n")
    for tasks in ([flow.Fit(), flow.Train()], [flow.Train(), flow.Fit()]):
        with pytest.raises(GraphError, match="'Train' is a class of this graph, and a former name of another one"):
            d6tpipe.run(tasks)


def test_a_text_that_names_the_old_class_still_makes_the_task():
    text = task_text(define("flow", FLOW).Train(lr=0.2))
    flow = define("flow", RENAMED)
    assert flow.Fit(lr=0.2) == task_from_text(text)


def test_where_no_class_was_renamed_nobody_looks_for_other_ids(monkeypatch):
    monkeypatch.setattr("d6tpipe.former_names._known", [])
    monkeypatch.setattr("d6tpipe.tasks.older_places._former_ids", lambda task: 1 / 0)
    monkeypatch.setattr("d6tpipe.tasks.older_places._renamed_in", lambda task: 1 / 0)
    flow = define("flow", FLOW)
    build(flow)
    d6tpipe.run(goals(flow, "Train"), stale="rerun")
    assert [] == ran()


@pytest.mark.parametrize("name", ["", "a b", 3, None, "Fit()", ".Fit"])
def test_what_is_no_name_of_a_class_is_refused(name):
    with pytest.raises(DeclarationError, match="needs the former name"):
        d6tpipe.renamed_from(name)


def test_the_name_that_the_class_has_is_no_former_one():
    with pytest.raises(DeclarationError, match="says the name that the class has"):
        define("flow", "import d6tpipe as dp\n\n@dp.renamed_from('A')\nclass A(dp.tasks.TaskPickle):\n    pass\n")


def test_only_task_classes_can_have_former_names():
    for wrong in (int, len, "A"):
        with pytest.raises(DeclarationError, match="no task class of d6tpipe"):
            d6tpipe.renamed_from("Old")(wrong)
        with pytest.raises(DeclarationError, match="no task class of d6tpipe"):
            d6tpipe.migrates_from("Old", dict)(wrong)


# ---- other parameters


MIGRATED = (
    FLOW.replace("Train", "Fit")
    .replace("@dp.requires(Get)", '@dp.migrates_from("Train", convert)\n@dp.requires(Get)')
    .replace(
        "lr = dp.FloatParameter(default=0.1)",
        "lr = dp.FloatParameter(default=0.1)\n    steps = dp.IntParameter(default=100)",
    )
    .replace(
        "@dp.migrates",
        'def convert(old):\n    return {"lr": old["lr"], "n": old["n"], "steps": 100}\n\n@dp.migrates',
    )
    .replace("@dp.requires(Fit)\nclass Report", "class Report")
    .replace(
        "class Report(dp.tasks.TaskJson):",
        """class Report(dp.tasks.TaskJson):
    lr = dp.FloatParameter(default=0.1)
    n = dp.IntParameter(default=1)
    def requires(self):
        return Fit(lr=self.lr, n=self.n)""",
    )
)


@pytest.mark.parametrize("stale", ["ignore", "warn", "rerun"])
def test_after_a_change_of_parameters_with_a_conversion_nothing_runs(stale):
    d6tpipe.run([define("flow", FLOW).Report(lr=lr) for lr in RATES])
    ran()
    before = everything_in()
    flow = define("flow", MIGRATED)
    for _ in range(3):
        d6tpipe.run([flow.Report(lr=lr) for lr in RATES], stale=stale)
        assert [] == ran()
    assert before == everything_in()
    d6tpipe.run(flow.Fit(steps=7), stale=stale)
    assert ["Fit"] == ran()


def test_questions_answer_for_converted_results(capsys):
    d6tpipe.run([define("flow", FLOW).Report(lr=lr) for lr in RATES])
    flow = define("flow", MIGRATED)
    before, recorded = everything_in(), records()
    task = flow.Fit(lr=0.2)
    assert task.complete() and 0.2 == task.outputLoad()["lr"] and {"score": 2.0} == task.outputLoadMeta()
    assert "is fresh" in str(d6tpipe.explain(task)) and "trained with 0.2" in d6tpipe.log(task)
    frame = d6tpipe.sweep(flow.Fit, lr=list(RATES)).table()
    assert ["fresh"] * 3 == list(frame["state"]) and [1.0, 2.0, 3.0] == [round(score, 9) for score in frame["score"]]
    assert [] == [
        row.task for row in d6tpipe.clean(flow.Report(lr=0.2)).itertuples() if row.delete and "0_2" in row.task
    ]
    assert [] == [row.task for row in d6tpipe.clean().itertuples() if row.delete]
    assert before == everything_in() and recorded == records()
    task.reset(confirm=False)
    assert not task.complete() and flow.Fit(lr=0.1).complete()


OWN = """
import d6tpipe as dp

DECORATOR
class Fit(dp.tasks.TaskJson):
    PARAMETERS
    def run(self):
        self.save(SAVED)
"""


def own(decorator="", parameters="lr = dp.FloatParameter()", saved='"old"'):
    return OWN.replace("DECORATOR", decorator).replace("PARAMETERS", parameters).replace("SAVED", saved)


def test_a_class_that_keeps_its_name_can_take_other_parameters():
    flow = define("flow", own())
    d6tpipe.run([flow.Fit(lr=0.1), flow.Fit(lr=0.2)])
    decorator = '@dp.migrates_from("Fit", lambda old: {"rate": old["lr"]})'
    text = own(decorator, "rate = dp.FloatParameter()")
    flow = define("flow", text)
    assert "old" == flow.Fit(rate=0.2).outputLoad() and [] == kinds(flow.Fit(rate=0.2))
    assert not flow.Fit(rate=0.3).complete()
    d6tpipe.run(flow.Fit(rate=0.3))
    flow = define("flow", text)  # now there are records of both kinds, and the conversion sees the old ones only
    assert flow.Fit(rate=0.3).complete() and flow.Fit(rate=0.2).complete()
    d6tpipe.run([flow.Fit(rate=0.3), flow.Fit(rate=0.2)], stale="rerun", forced=[flow.Fit(rate=0.2)])
    assert [] == [row.task for row in d6tpipe.clean().itertuples() if row.delete]


def test_a_class_that_is_still_there_gives_values_instead_of_texts():
    flow = define("flow", own().replace("class Fit", "class Old"))
    d6tpipe.run(flow.Old(lr=0.25))
    text = own().replace("class Fit", "class Old") + own(
        '@dp.migrates_from(Old, lambda old: {"percent": int(100 * old["lr"])})', "percent = dp.IntParameter()"
    )
    flow = define("flow", text)
    assert "old" == flow.Fit(percent=25).outputLoad() and not flow.Fit(percent=24).complete()


def test_a_converted_record_is_kept_up_to_date_under_the_old_parameters():
    flow = define("flow", own())
    d6tpipe.run([flow.Fit(lr=0.1), flow.Fit(lr=0.2)])
    text = own('@dp.migrates_from("Fit", lambda old: {"rate": old["lr"]})', "rate = dp.FloatParameter()")
    flow = define("flow", text)
    os.utime(flow.Fit(rate=0.2).output().path, ns=(1, 1))
    for _ in range(2):
        d6tpipe.run(flow.Fit(rate=0.2), stale="rerun")
        flow = define("flow", text)
        assert [] == kinds(flow.Fit(rate=0.2))
    assert ['{"lr":"0.1"}', '{"lr":"0.2"}'] == sorted(record.parameters for record in store_at("data").records.all())


def test_a_default_that_counted_for_the_old_parameters_says_nothing_of_the_new_ones():
    seed = "\n    seed = dp.IntParameter(default={}, ignore_default=True)"
    d6tpipe.run(define("flow", own(parameters="lr = dp.FloatParameter()" + seed.format(0))).Fit(lr=0.1))
    decorator = '@dp.migrates_from("Fit", lambda old: {"rate": old["lr"]})'
    flow = define("flow", own(decorator, "rate = dp.FloatParameter()" + seed.format(5)))
    assert [] == kinds(flow.Fit(rate=0.1))


def test_of_two_old_tasks_that_become_the_same_the_one_finished_last_counts():
    flow = define("flow", own(parameters="lr = dp.FloatParameter()", saved="self.lr"))
    for lr in (0.2, 0.3, 0.1):
        d6tpipe.run(flow.Fit(lr=lr))
    text = own('@dp.migrates_from("Fit", lambda old: {})', "other = dp.IntParameter(default=1)", "self.lr")
    flow = define("flow", text)
    assert 0.1 == flow.Fit().outputLoad()
    flow.Fit().reset(confirm=False)
    assert not flow.Fit().complete()
    flow = define("flow", text)
    assert not flow.Fit().complete()
    assert [] == [row.task for row in d6tpipe.clean(flow.Fit()).itertuples() if row.delete]


def test_an_old_task_without_a_successor_is_left_alone():
    flow = define("flow", own())
    d6tpipe.run([flow.Fit(lr=0.1), flow.Fit(lr=0.2)])
    decorator = '@dp.migrates_from("Fit", lambda old: {"rate": old["lr"]} if old["lr"] == "0.1" else None)'
    flow = define("flow", own(decorator, "rate = dp.FloatParameter()"))
    assert flow.Fit(rate=0.1).complete() and not flow.Fit(rate=0.2).complete()


@pytest.mark.parametrize(
    ("body", "problem"), [('old["typo"]', "KeyError"), ('{"rats": 1}', "rats"), ("[1]", "list"), ('{"rate": "x"}', "x")]
)
def test_a_conversion_that_fails_names_the_class_the_old_task_and_its_parameters(body, problem):
    d6tpipe.run(define("flow", own()).Fit(lr=0.1))
    flow = define("flow", own(f'@dp.migrates_from("Fit", lambda old: {body})', "rate = dp.FloatParameter()"))
    for question in (lambda: flow.Fit(rate=1.0).complete(), lambda: d6tpipe.run(flow.Fit(rate=1.0))):
        with pytest.raises(DeclarationError) as caught:
            question()
        told = str(caught.value)
        assert "migrates_from of Fit cannot convert" in told and problem in told
        assert "Fit_0_1_" in told and '{"lr":"0.1"}' in told.replace(" ", "")


def test_the_records_are_converted_once_per_process_and_folder():
    d6tpipe.run([define("flow", own()).Fit(lr=lr) for lr in RATES])
    text = own('CALLS = []\ndef convert(old):\n    CALLS.append(old)\n    return {"rate": old["lr"]}\n\n'
               '@dp.migrates_from("Fit", convert)', "rate = dp.FloatParameter()")  # fmt: skip
    flow = define("flow", text)
    for _ in range(3):
        assert all(flow.Fit(rate=rate).complete() for rate in RATES)
        d6tpipe.run([flow.Fit(rate=rate) for rate in RATES], stale="rerun")
    assert 3 == len(flow.CALLS)


def test_what_does_not_convert_is_refused():
    with pytest.raises(DeclarationError, match="needs a function"):
        d6tpipe.migrates_from("Fit", {"lr": "rate"})
    with pytest.raises(DeclarationError, match="needs the former name"):
        d6tpipe.migrates_from(3, dict)
