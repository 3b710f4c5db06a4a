"""Keeping expensive results: freeze, per-run waivers, expiry; what each leaves behind for the next run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import d6tpipe
from d6tpipe.errors import ParameterError
from d6tpipe.examiner import store_of

RULE = {"factor": 1}  # plain data of this module: it counts as code of the tasks that use it
ran: list[str] = []


class Cheap(d6tpipe.tasks.TaskPickle):
    def run(self):
        ran.append("Cheap")
        self.save(RULE["factor"])


@d6tpipe.requires(Cheap)
class Costly(d6tpipe.tasks.TaskPickle):
    freeze = True

    def run(self):
        ran.append("Costly")
        self.save(self.inputLoad() + 1)


@d6tpipe.requires(Costly)
class Report(d6tpipe.tasks.TaskPickle):
    def run(self):
        ran.append("Report")
        self.save(self.inputLoad())


@d6tpipe.mark.freeze
class Marked(d6tpipe.tasks.TaskPickle):
    def run(self):
        ran.append("Marked")
        self.save(RULE["factor"])


class Daily(d6tpipe.tasks.TaskPickle):
    expires = timedelta(days=1)

    def run(self):
        ran.append("Daily")
        self.save(1)


@pytest.fixture(autouse=True)
def _as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULE, "factor", 1)
    ran.clear()


def run(task: Any, **options: Any) -> dict[str, str]:
    ran.clear()
    result = d6tpipe.run(task, execution_summary=False, **options)
    return {task.task_family: str(state) for task, state in result.states.items()}


def test_a_frozen_task_is_accepted_as_it_is_and_the_next_run_finds_nothing_changed():
    run(Report())
    RULE["factor"] = 5
    assert {"Cheap": "built", "Costly": "frozen", "Report": "cached"} == run(Report(), stale="rerun")
    assert ["Cheap"] == ran
    assert {"Cheap": "fresh", "Costly": "fresh", "Report": "fresh"} == run(Report(), stale="rerun")
    assert 2 == Costly().outputLoad()


def test_the_mark_does_what_the_class_option_does():
    run(Marked())
    RULE["factor"] = 5
    assert {"Marked": "frozen"} == run(Marked(), stale="rerun")


def test_force_wins_over_freeze():
    run(Report())
    run(Report(), forced=Costly())
    assert ["Costly", "Report"] == ran


def test_a_frozen_task_whose_output_is_missing_is_built():
    run(Report())
    Costly().reset(confirm=False)
    run(Report(), stale="rerun")
    assert ["Costly"] == ran


def test_outputs_from_before_there_were_records_are_adopted():
    run(Marked())
    store_of(Marked()).records.forget([Marked().task_id])
    assert {"Marked": "frozen"} == run(Marked(), stale="rerun")
    assert {"Marked": "fresh"} == run(Marked(), stale="rerun")


def test_a_class_that_is_frozen_can_be_thawed_for_one_run():
    run(Marked())
    RULE["factor"] = 5
    assert {"Marked": "built"} == run(Marked(), stale="rerun", no_freeze=True)


@pytest.mark.parametrize(
    "meant", ["cheap", Cheap, lambda: Cheap(), lambda: [Cheap()]], ids=["text", "class", "task", "list"]
)
def test_a_task_can_be_frozen_for_one_run(meant):
    run(Cheap())
    RULE["factor"] = 5
    meant = meant() if callable(meant) and not isinstance(meant, type) else meant
    assert {"Cheap": "frozen"} == run(Cheap(), stale="rerun", freeze=meant)
    assert {"Cheap": "fresh"} == run(Cheap(), stale="rerun"), "it was accepted for good"


def test_what_is_tolerated_once_is_stale_the_next_time():
    run(Cheap())
    RULE["factor"] = 5
    assert {"Cheap": "stale"} == run(Cheap(), stale="rerun", stale_ok="Cheap")
    assert [] == ran
    assert {"Cheap": "built"} == run(Cheap(), stale="rerun")


def test_a_dry_run_accepts_nothing():
    run(Marked())
    RULE["factor"] = 5
    assert {"Marked": "frozen"} == run(Marked(), stale="rerun", dry_run=True)
    assert {"Marked": "built"} == run(Marked(), stale="rerun", no_freeze=True)


def test_what_has_expired_is_built_again_and_what_has_not_is_kept(monkeypatch):
    run(Daily())
    assert {"Daily": "fresh"} == run(Daily(), stale="rerun")
    import d6tpipe.examiner as examiner

    now = examiner.time.time()
    monkeypatch.setattr(examiner.time, "time", lambda: now + 2 * 86_400)
    assert {"Daily": "stale"} == run(Daily(), stale="warn")
    assert "2 days" in str(d6tpipe.explain(Daily(), stale="rerun"))
    assert {"Daily": "built"} == run(Daily(), stale="rerun")


def test_a_mode_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match="Did you mean 'rerun'"):
        d6tpipe.run(Cheap(), stale="re-run")


def test_a_class_can_have_a_mode_of_its_own():
    class Always(d6tpipe.tasks.TaskPickle):
        stale = "rerun"

        def run(self):
            ran.append("Always")
            self.save(RULE["factor"])

    run(Always())
    RULE["factor"] = 5
    assert {"Always": "built"} == run(Always())
    assert {"Always": "fresh"} == run(Always())
