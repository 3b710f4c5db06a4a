"""What is asked for while a build goes on."""

from __future__ import annotations

import pytest

from d6tpipe.errors import CycleError
from d6tpipe.testing import ScriptedIntake


def test_what_is_asked_for_later_is_part_of_the_same_graph(world):
    intake = ScriptedIntake([["b"], ["c", "d"]])
    found = world({"b": ["a"], "c": ["a"], "d": ["b", "c"]}).build(intake=intake)
    assert found.ran == ["a", "b", "c", "d"] and intake.goals == ["b", "c", "d"]
    assert set(found.states.values()) == {"built"}


def test_what_is_asked_for_twice_runs_once(world):
    intake = ScriptedIntake([["b"], ["b"], ["a"]])
    found = world({"b": ["a"]}).build(intake=intake)
    assert found.ran == ["a", "b"] and intake.goals == ["b", "b", "a"]


def test_what_is_there_is_not_built(world):
    found = world({"b": ["a"]}, present={"a", "b"}).build(intake=ScriptedIntake([["b"]]))
    assert found.ran == [] and found.states == {"a": "fresh", "b": "fresh"}


def test_what_needs_something_that_has_failed_is_not_started(world):
    intake = ScriptedIntake([["a"], ["b", "c"]])
    found = world({"b": ["a"]}, bodies={"a": ValueError("no")}).build(intake=intake)
    assert found.ran == ["a", "c"]
    assert found.states == {"a": "failed", "b": "upstream_failed", "c": "built"}


def test_a_circle_is_refused_and_the_others_go_on(world):
    intake = ScriptedIntake([["x"], ["b"], ["y"]])
    found = world({"a": ["b"], "b": ["a"], "y": ["x"]}).build(intake=intake)
    assert isinstance(intake.errors[0], CycleError) and len(intake.errors) == 1
    assert found.ran == ["x", "y"]


def test_nothing_of_what_there_is_never_enough_for_is_taken_in(world):
    from d6tpipe.engine.limits import Limits
    from d6tpipe.errors import GraphError

    intake = ScriptedIntake([["x"], ["b"], ["a"]])
    some = world({"b": ["a"]}, demands={"b": {"gpu": 3}})
    plan_limits = Limits({"gpu": 1.0}, lambda name: 1)
    taken, take = [], intake.take

    def limited():
        if not taken:
            taken.append(some.plan.limit(plan_limits))
        return take()

    intake.take = limited
    found = some.build(intake=intake)
    assert isinstance(intake.errors[0], GraphError)
    assert found.ran == ["x", "a"] and "b" not in found.states


def test_records_are_made_safe_before_the_build_waits_for_more(world):
    intake, seen = ScriptedIntake([["a"], ["b"]]), []
    found = world({})
    wait = intake.wait

    def waiting():
        seen.append(list(found.ran))
        return wait()

    intake.wait = waiting
    found.build(intake=intake)
    assert seen == [["a"], ["a", "b"]]


def test_after_too_many_failures_nothing_more_starts(world):
    intake = ScriptedIntake([["a"], ["b"]])
    found = world({}, bodies={"a": ValueError("no")}).build(intake=intake, max_failures=1)
    assert found.states == {"a": "failed", "b": "cancelled"}


def test_an_intake_that_is_cancelled_ends_the_build(world):
    intake = ScriptedIntake([["a"]])

    def cancelled():
        raise KeyboardInterrupt

    take = intake.take
    intake.take = lambda: take() if not found.ran else cancelled()
    found = world({"b": ["a"]})
    with pytest.raises(KeyboardInterrupt):
        found.build(intake=intake)
    assert found.ran == ["a"]


def test_work_per_task_does_not_grow_with_what_was_asked_for_before(world):
    def looked(parts):
        found = world({f"{part}.{n}": [f"{part}.{n - 1}"] for part in range(parts) for n in range(1, 20)})
        found.build(intake=ScriptedIntake([[f"{part}.19"] for part in range(parts)]))
        return len(found.view.asked) if hasattr(found.view, "asked") else len(found.told.events)

    assert looked(40) == 10 * looked(4)
