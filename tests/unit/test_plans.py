"""What is said of many tasks: the table of `plan`, the tree of ``preview``, and what a run tells of stale tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi
import pytest

import d6tpipe
import d6tpipe.declared
from d6tpipe.errors import ParameterError
from d6tpipe.examiner import store_of
from d6tpipe.graphs import build_graph
from d6tpipe.interfaces import Reason, ReasonKind, State
from d6tpipe.plans import plan
from d6tpipe.tasks import TaskAggregator, TaskPickle
from d6tpipe.trees import tree_text
from d6tpipe.wording import Words, clipped

KINDS = [str(kind) for kind in ReasonKind]


class Number(TaskPickle):
    x = d6tpipe.IntParameter(default=1)
    version = "1"

    def run(self):
        self.save(self.x)


@d6tpipe.requires(Number)
class Double(TaskPickle):
    def run(self):
        self.save(2 * self.inputLoad())


class Sum(TaskPickle):
    def requires(self):
        return [Double(x=x) for x in range(5)]

    def run(self):
        self.save(sum(self.inputLoad()))


@pytest.fixture(autouse=True)
def version() -> Any:
    yield
    Number.version = "1"


def run(*tasks: Any, **options: Any) -> Any:
    return d6tpipe.run(list(tasks), execution_summary=False, progress=False, abort=False, **options)


def row(frame: Any, task: Any) -> dict[str, Any]:
    (found,) = frame[frame["task"] == repr(task)].to_dict("records")
    return dict(found)


def true_kinds(frame: Any, task: Any) -> list[str]:
    return [kind for kind in KINDS if row(frame, task)[kind]]


# ---- plan


def test_a_plan_has_a_row_per_task_in_building_order_and_a_column_per_kind():
    frame = plan(Double())
    assert [repr(Number()), repr(Double())] == list(frame["task"])
    assert ["task", "family", "x", "state", *KINDS, "reasons", "because_of"] == list(frame.columns)
    assert all(frame[kind].dtype == bool for kind in KINDS)
    assert ["pending", "pending"] == list(frame["state"])


def test_a_plan_of_nothing_has_the_same_columns():
    frame = plan([])
    assert ["task", "family", "state", *KINDS, "reasons", "because_of"] == list(frame.columns)
    assert 0 == len(frame)


def test_missing_tasks_name_the_ones_furthest_upstream():
    frame = plan(Sum())
    assert ["missing"] == true_kinds(frame, Number(x=0))
    assert ["missing", "upstream"] == true_kinds(frame, Double(x=0))
    assert "Number(x=0)" == row(frame, Double(x=0))["because_of"]
    assert "Number(x=0), Number(x=1), Number(x=2), ..." == row(frame, Sum())["because_of"]
    assert "" == row(frame, Number(x=0))["because_of"]


def test_stale_tasks_are_named_in_mode_warn_and_pending_in_mode_rerun():
    run(Double())
    Number.version = "2"
    warned = plan(Double())
    assert ["stale", "fresh"] == list(warned["state"])
    assert ["version"] == true_kinds(warned, Number())
    assert "version 1 -> 2" == row(warned, Number())["reasons"]
    assert ([], "Number(x=1)") == (true_kinds(warned, Double()), row(warned, Double())["because_of"])
    rerun = plan(Double(), stale="rerun")
    assert ["pending", "pending"] == list(rerun["state"])
    assert (["version"], ["upstream"]) == (true_kinds(rerun, Number()), true_kinds(rerun, Double()))
    ignored = plan(Double(), stale="ignore")
    assert ["fresh", "fresh"] == list(ignored["state"])
    assert not ignored[KINDS].to_numpy().any()


def test_missing_counts_in_mode_ignore_too():
    assert ["missing"] == true_kinds(plan(Number(), stale="ignore"), Number())


def test_a_plan_says_what_a_run_with_the_same_options_would_do():
    run(Double())
    assert ["forced"] == true_kinds(plan(Number(), forced=Number()), Number())
    assert ["pending", "pending"] == list(plan(Double(), forced_all_upstream=True)["state"])
    assert ["fresh", "pending"] == list(plan(Double(), forced_all=True)["state"])
    Number.version = "2"
    assert ["frozen", "fresh"] == list(plan(Double(), freeze=Number)["state"])
    assert ["stale", "fresh"] == list(plan(Double(), stale="rerun", stale_ok="Number")["state"])
    with pytest.raises(ParameterError):
        plan(Double(), stale="sometimes")


def test_of_more_root_causes_than_are_named_there_is_a_sign():
    class Top(TaskPickle):
        def requires(self):
            return Middle()

        def run(self):
            self.save(1)

    class Middle(TaskPickle):
        version = "1"

        def requires(self):
            return [Number(x=x) for x in range(3)]

        def run(self):
            self.save(1)

    run(Top())
    Number.version = Middle.version = "2"
    frame = plan(Top())
    assert "Number(x=0), Number(x=1), Number(x=2)" == row(frame, Middle())["because_of"]
    assert "Middle(), Number(x=0), Number(x=1), ..." == row(frame, Top())["because_of"]


def test_untracked_tasks_are_fresh_and_marked():
    run(Double())
    store_of(Number()).records.forget([Number().task_id])
    frame = plan(Double())
    assert ("fresh", "untracked") == (row(frame, Number())["state"], row(frame, Number())["reasons"])
    assert ["untracked"] == true_kinds(frame, Number())


def test_a_failed_and_an_interrupted_task_say_so():
    class Fails(TaskPickle):
        def run(self):
            raise ValueError("boom\nmore")

    run(Fails())
    run(Number())
    store_of(Number()).records.building([(Number().task_family, Number().task_id)], "killed")
    frame = plan([Fails(), Number()])
    assert ["missing", "failed"] == true_kinds(frame, Fails())
    assert "missing, failed: ValueError: boom" == row(frame, Fails())["reasons"]
    assert ["interrupted"] == true_kinds(frame, Number())


def test_input_that_another_run_has_changed_is_the_cause():
    run(Double())
    record = store_of(Number()).records.get(Number().task_id)
    record.outputs[0].digest = b"1" * 16
    store_of(Number()).records.write([record])
    store_of(Number()).records.flush()
    frame = plan(Double())
    assert ["input_data"] == true_kinds(frame, Double())
    assert ("other data from Number", "Number(x=1)") == (
        row(frame, Double())["reasons"],
        row(frame, Double())["because_of"],
    )


def test_parameters_that_are_called_like_a_column_keep_their_values():
    class Named(TaskPickle):
        state = d6tpipe.Parameter(default="Ohio")
        code = d6tpipe.IntParameter(default=43)
        size = d6tpipe.IntParameter(default=1)

        def run(self):
            self.save(1)

    found = row(plan(Named()), Named())
    assert ("Ohio", "43", "1") == (found["parameter_state"], found["parameter_code"], found["size"])
    assert ("pending", False) == (found["state"], found["code"])
    found = row(run(Named()).table(), Named())
    assert ("Ohio", "43", "built") == (found["parameter_state"], found["code"], found["state"])


def test_a_plan_runs_and_writes_nothing(isolated: Path):
    plan(Sum())
    assert [] == list(isolated.iterdir())


# ---- the tree


def tree(task: Any, **options: Any) -> list[str]:
    _, (goal,), view = build_graph(task)
    return [
        line.strip(" |-└─") for line in tree_text(goal, show_params=False, mode=view.mode, **options).split("\n")[1:]
    ]


def test_the_tree_says_complete_missing_and_upstream_as_before():
    assert ["[Double- (PENDING)] missing", "[Number- (PENDING)] missing"] == tree(Double())
    run(Double())
    assert ["[Double- (COMPLETE)]", "[Number- (COMPLETE)]"] == tree(Double())
    Number().reset(confirm=False)
    assert ["[Double- (PENDING)] upstream", "[Number- (PENDING)] missing"] == tree(Double())


def test_the_tree_names_what_is_stale_frozen_untracked_or_interrupted(monkeypatch):
    run(Double())
    Number.version = "2"
    assert ["[Double- (COMPLETE)]", "[Number- (COMPLETE)] stale: version 1 -> 2"] == tree(Double())
    monkeypatch.setattr(d6tpipe.settings, "stale", "rerun")
    assert ["[Double- (PENDING)] upstream", "[Number- (PENDING)] version 1 -> 2"] == tree(Double())
    monkeypatch.setattr(d6tpipe.settings, "stale", "warn")
    Number.freeze = True
    try:
        assert "[Number- (COMPLETE)] frozen: version 1 -> 2" in tree(Double())
    finally:
        del Number.freeze
    store = store_of(Number())
    store.records.building([(Number().task_family, Number().task_id)], "killed")
    assert ["[Double- (PENDING)] upstream", "[Number- (PENDING)] interrupted"] == tree(Double())
    store.records.forget([Number().task_id])
    assert "[Number- (COMPLETE)] untracked" in tree(Double())


def test_what_a_complete_of_ones_own_says_has_the_last_word(tmp_path):
    class Sure(luigi.Task):
        def complete(self):
            return True

        def output(self):
            return luigi.LocalTarget(str(tmp_path / "never"))

    assert ["[Sure- (COMPLETE)]"] == tree(Sure())
    assert ("fresh", [], "") == (
        row(plan(Sure()), Sure())["state"],
        true_kinds(plan(Sure()), Sure()),
        row(plan(Sure()), Sure())["reasons"],
    )


def test_in_mode_ignore_the_tree_says_missing_too(monkeypatch):
    monkeypatch.setattr(d6tpipe.settings, "stale", "ignore")
    assert ["[Double- (PENDING)] missing", "[Number- (PENDING)] missing"] == tree(Double())


def test_external_tasks_are_not_called_untracked(tmp_path):
    class Given(luigi.ExternalTask):
        def output(self):
            return luigi.LocalTarget(str(tmp_path))

    assert ["[Given- (COMPLETE)]"] == tree(Given())


def test_a_repeated_part_of_the_tree_keeps_its_state():
    class Twice(TaskPickle):
        def requires(self):
            return [Double(), Double(x=1), Again()]

        def run(self):
            self.save(1)

    class Again(TaskPickle):
        def requires(self):
            return Double()

        def run(self):
            self.save(1)

    assert "[Double- (PENDING)] missing, see above" in tree(Twice())


# ---- what a run tells


def test_a_run_names_what_is_stale_and_what_to_type():
    run(Sum())
    Number.version = "2"
    result = run(Sum())
    assert result.ok
    text = result.summary_text
    assert "    - 5 Number(x=0), (x=1), (x=2), (x=3), (x=4): version 1 -> 2" in text
    assert "5 tasks are stale, such as Number(x=0): version 1 -> 2.\n" in text
    for command in ("d6tpipe.explain(task)", 'stale="rerun"', "d6tpipe.accept(task)"):
        assert command in text
    assert "d6tpipe.explain" not in run(Sum(), stale="rerun").summary_text


def test_one_stale_task_is_named():
    run(Number())
    Number.version = "2"
    assert "\nNumber(x=1) is stale: version 1 -> 2.\n" in run(Number()).summary_text


def test_the_most_frequent_reasons_are_named_first():
    class Single(TaskPickle):
        version = "1"
        name = d6tpipe.Parameter()

        def run(self):
            self.save(1)

    class Other(Single):
        pass

    tasks = [Single(name="a"), Other(name="a"), Number(), Number(x=2)]
    run(*tasks)
    Single.version, Other.version, Number.version = "30", "20", "2"
    text = run(*tasks).summary_text
    assert "4 tasks are stale, such as Single(name='a'): version 1 -> 2, version 1 -> 30, version 1 -> 20." in text


def test_of_many_reasons_only_the_leading_ones_are_named(monkeypatch):
    class Careful(TaskPickle):
        depends_on = [d6tpipe.declared.env(f"NAME_{n}") for n in range(5)]

        def run(self):
            self.save(1)

    run(Careful())
    for n in range(5):
        monkeypatch.setenv(f"NAME_{n}", "set")
    text = run(Careful()).summary_text
    assert "Careful() is stale: env NAME_0, env NAME_1, env NAME_2 and 2 more reasons." in text
    assert "Careful(): env NAME_0, env NAME_1 and 3 more" in text


def test_a_dry_run_says_why():
    run(Double())
    Number.version = "2"
    text = run(Double(), stale="rerun", dry_run=True).summary_text
    assert "    - 1 Number(x=1): version 1 -> 2" in text
    assert "    - 1 Double(x=1): upstream" in text


def test_a_dry_run_marks_what_is_untracked():
    run(Double())
    store_of(Number()).records.forget([Number().task_id])
    assert "    - 1 Number(x=1): untracked\n" in run(Double(), dry_run=True).summary_text
    assert "    - 1 Number(x=1)\n" in run(Double()).summary_text


def test_many_different_reasons_of_a_family_are_not_all_listed():
    class Fails(TaskPickle):
        x = d6tpipe.IntParameter()

        def run(self):
            raise ValueError(f"number {self.x}")

    run(*[Fails(x=x) for x in range(20)])
    text = run(*[Fails(x=x) for x in range(20)], dry_run=True).summary_text
    assert 5 == text.count("\n    - ")
    assert "    - 16 Fails(x=4)" in text and "other reasons" in text


def test_tasks_saved_by_cut_off_are_counted():
    run(Sum())
    Number(x=0).reset(confirm=False)
    result = run(Sum())
    assert {State.BUILT: 1, State.CACHED: 2, State.FRESH: 8} == dict(result.counts)
    assert "* 2 not run after all: what they need came out equal, or another run built them:" in result.summary_text


def test_the_table_says_why_each_task_was_built():
    run(Double())
    Number.version = "2"
    frame = run(Double(), stale="rerun").table()
    assert ["task", "family", "x", "state", "reasons", "seconds", "error"] == list(frame.columns)
    assert ["built", "cached"] == list(frame["state"])
    assert ["version 1 -> 2", "upstream"] == list(frame["reasons"])
    frame = run(Double(x=9)).table()
    assert ["missing", "missing"] == list(frame["reasons"])
    assert ["", ""] == list(run(Double(x=9)).table()["reasons"])


def test_an_aggregator_in_a_plan_waits_for_its_tasks():
    class All(TaskAggregator):
        def run(self):
            yield Number(x=1)
            yield Number(x=2)

    run(Number(x=1))
    frame = plan(All())
    assert ("pending", ["upstream"], "Number(x=2)") == (
        row(frame, All())["state"],
        true_kinds(frame, All()),
        row(frame, All())["because_of"],
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("first\nsecond", "first"), ("x" * 70, "x" * 57 + "..."), ("", "")],
)
def test_texts_are_shortened_to_one_line(text: str, shown: str):
    assert shown == clipped(text)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason(ReasonKind.FORCED), "forced"),
        (Reason(ReasonKind.OTHER_CLASS, "Number", "elsewhere"), "built by another class Number"),
        (Reason(ReasonKind.VERSION, "", "", "2"), "version none -> 2"),
        (Reason(ReasonKind.PACKAGE, "numpy", "1.26", "2.0"), "package numpy 1.26 -> 2.0"),
        (Reason(ReasonKind.PACKAGE, "tools", "0" * 32, "1" * 32), "package tools"),
        (Reason(ReasonKind.FILE, "/a/" + "b" * 70 + "/data.csv"), "file ..." + "b" * 48 + "/data.csv"),
        (Reason(ReasonKind.FILE, "data.csv"), "file data.csv"),
        (Reason(ReasonKind.ENV, "REGION", "0" * 32, ""), "env REGION"),
        (Reason(ReasonKind.INPUT_SET, "1 then, 2 now"), "other requirements"),
        (Reason(ReasonKind.INPUT_DATA, "raw"), "other data from raw"),
        (Reason(ReasonKind.INPUT_DATA, "raw", because_of=Number()), "other data from Number"),
        (Reason(ReasonKind.OUTPUT_MODIFIED, "data"), "output data was modified"),
        (Reason(ReasonKind.OUTPUT_MODIFIED, "persist", "a", "a, b"), "other outputs declared"),
        (Reason(ReasonKind.CODE, "", "3.11-00", "3.11-11"), "code"),
        (Reason(ReasonKind.FAILED, after="ValueError: a\nb"), "failed: ValueError: a"),
        (Reason(ReasonKind.EXPIRED, after="2 days old"), "expired"),
    ],
)
def test_each_kind_of_reason_has_its_words(reason: Reason, words: str):
    assert words == Words().reason(Number(), reason)
