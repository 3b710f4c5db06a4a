"""Which task starts when."""

from __future__ import annotations

import random

import pytest


def test_every_task_runs_once_and_after_all_that_it_needs(world):
    needs = {"d": ["b", "c"], "b": ["a"], "c": ["a"]}
    assert ["a", "b", "c", "d"] == world(needs).build("d").ran


def test_priority_goes_before_everything_else(world):
    needs = {"top": ["x", "long2", "y"], "long2": ["long1"]}
    assert ["y", "long1", "long2", "x", "top"] == world(needs, priority={"y": 1, "x": -1}).build("top").ran


def test_the_longest_chain_goes_before_short_ones(world):
    needs = {"top": ["x", "y", "c3"], "c3": ["c2"], "c2": ["c1"]}
    assert ["c1", "c2", "x", "y", "c3", "top"] == world(needs).build("top").ran


def test_equals_start_in_the_order_of_asking(world):
    names = [f"leaf {number}" for number in range(50)]
    random.Random(3).shuffle(names)
    assert [*names, "top"] == world({"top": names}).build("top").ran


def test_roots_are_built_in_the_order_given(world):
    assert ["c", "a", "b"] == world({}).build("c", "a", "b").ran


def test_what_becomes_ready_does_not_wait_for_the_rest_of_its_layer(world):
    needs = {"top": ["x2", "y2"], "x2": ["x1"], "y2": ["y1"]}
    found = world(needs).build("top", capacity=2, order=["y1", "y2", "x1", "x2", "top"])
    assert ("submit", "y2") in found.executor.log[: found.executor.log.index(("done", "x1"))]


def test_no_more_work_is_handed_out_than_the_executor_takes(world):
    found = world({"top": [f"l{n}" for n in range(20)]}).build("top", capacity=3)
    under_way = most = 0
    for what, _ in found.executor.log:
        under_way += 1 if what == "submit" else -1
        most = max(most, under_way)
    assert 3 == most


def test_a_need_named_twice_counts_once(world):
    assert ["a", "b"] == world({"b": ["a", "a", "a"]}).build("b", "b", "a").ran


def test_only_what_is_missing_runs(world):
    needs = {"c": ["b"], "b": ["a"]}
    found = world(needs, present="ab").build("c")
    assert ["c"] == found.ran
    assert {"a": "fresh", "b": "fresh", "c": "built"} == found.states


def test_a_missing_output_upstream_rebuilds_what_needs_it(world):
    assert ["a", "b", "c"] == world({"c": ["b"], "b": ["a"]}, present="bc").build("c").ran


def test_without_cascade_only_missing_outputs_count(world):
    found = world({"c": ["b"], "b": ["a"]}, present="c", cascade=False).build("c")
    assert [] == found.ran
    assert {"c": "fresh"} == found.states


def test_what_no_goal_needs_is_left_alone(world):
    # asked for b, which is there; a is not, and would matter to nobody
    found = world({"b": ["a"], "d": ["b"]}, present="b", cascade=False).build("d")
    assert ["d"] == found.ran


def test_forced_tasks_run_although_complete(world):
    found = world({"c": ["b"], "b": ["a"]}, present="abc").build("c", forced="bc")
    assert ["b", "c"] == found.ran
    assert "fresh" == found.states["a"]


def test_a_second_build_runs_nothing(world):
    needs = {"d": ["b", "c"], "b": ["a"], "c": ["a"]}
    first = world(needs).build("d")
    assert [] == world(needs, present=first.ran).build("d").ran


def test_each_task_is_asked_and_looked_at_once(world):
    needs = {"d": ["b", "c"], "b": ["a"], "c": ["a"]}
    found = world(needs).build("d", "b", "c")
    assert dict.fromkeys("abcd", 1) == found.view.asked == found.view.looked


def test_the_body_learns_whether_its_output_is_used(world):
    assert {"a": True, "b": False} == world({"b": ["a"]}).build("b").work.used


def test_every_started_task_is_reported_started_and_then_settled_once(world):
    found = world({"c": ["a", "b"]}, bodies={"b": ValueError()}).build("c")
    assert [("started", "a"), ("completed", "a"), ("started", "b"), ("failed", "b"), ("skipped", "c")] == [
        (event.kind, event.task) for event in found.told.events
    ]


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_any_order_of_finishing_builds_everything_after_its_needs(world, capacity):
    dice = random.Random(capacity)
    for _ in range(50):
        needs = {n: dice.sample(range(n), dice.randint(0, min(n, 3))) for n in range(12)}
        priority = {n: dice.random() for n in needs}
        found = world(needs, priority=priority).build(*needs, capacity=capacity)
        done = [task for what, task in found.executor.log if what == "done"]
        assert sorted(done) == sorted(needs)
        assert all(done.index(need) < done.index(task) for task in needs for need in needs[task])
