"""Tags, marks that skip, failures that are tolerated."""

from __future__ import annotations

from typing import Any

import pytest

import d6tpipe
from d6tpipe import sweep, tag, tags
from d6tpipe.errors import BuildError, DeclarationError


class Base(d6tpipe.tasks.TaskPickle):
    layers = d6tpipe.IntParameter(default=1)
    name = d6tpipe.Parameter(default="x")

    def run(self) -> None:
        self.save(self.layers)


class Above(d6tpipe.tasks.TaskPickle):
    base = d6tpipe.TaskInstanceParameter(Base)
    lr = d6tpipe.FloatParameter(default=0.1)

    def run(self) -> None:
        self.save(self.lr)


class Odd(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()

    def run(self) -> None:
        if self.i % 3 == 0:
            raise ValueError(f"{self.i} is wrong")
        self.save(self.i)


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False


# ---- tags


def test_a_tag_is_a_value_and_no_part_of_the_identity() -> None:
    task = Base(layers=tag(3), name=tag("deep"))
    assert task is Base(layers=3, name="deep")
    assert task.layers == 3 and type(task.layers) is int
    assert tags(task) == {"layers": 3, "name": "deep"}
    assert Base(layers=tag("4")).layers == 4 and tags(Base(layers=4)) == {"layers": 4}
    with pytest.raises(d6tpipe.errors.ParameterError, match="does not fit"):
        Base(layers=tag("many"))


def test_tags_of_what_is_needed_are_merged_and_the_nearer_one_counts() -> None:
    task = Above(base=Base(layers=tag(5), name=tag("b")), lr=tag(0.2))
    assert tags(task) == {"lr": 0.2, "layers": 5, "name": "b"}


def test_a_sweep_tags_what_varies() -> None:
    found = sweep(Above, base=[Base(layers=7)], lr=[0.3, 0.4])
    assert tags(found.task_at(1))["lr"] == 0.4
    assert "name" not in tags(sweep(Base, layers=[11, 12], name="same").task_at(0))


# ---- marks


def test_what_is_marked_to_be_skipped_does_not_run_and_nothing_has_failed() -> None:
    @d6tpipe.mark.skip
    class Skipped(Base):
        pass

    class Needs(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Skipped()

        def run(self) -> None:
            self.save(1)

    result = d6tpipe.run([Needs(), Base(layers=9)])
    assert result.ok and result.counts == {"skipped": 2, "built": 1}


@pytest.mark.parametrize(("condition", "state"), [(True, "skipped"), (False, "built"), (lambda: True, "skipped")])
def test_skipif_asks_a_condition(condition: Any, state: str) -> None:
    @d6tpipe.mark.skipif(condition, reason="no such machine")
    class Maybe(Base):
        pass

    assert d6tpipe.run(Maybe()).counts == {state: 1}


def test_single_tasks_of_a_sweep_can_be_marked() -> None:
    found = sweep(Base, {"a": {"layers": 1}, "b": {"layers": 2}, "c": {"layers": 3}}, marks={"b": "smoke", "c": "skip"})
    assert list(found.select(marks="smoke").ids) == ["b"]
    assert d6tpipe.run(found, marks="smoke").counts == {"built": 1}
    assert d6tpipe.run(found).counts == {"fresh": 1, "built": 1, "skipped": 1}


# ---- tolerance


def aggregator(allowed: Any) -> Any:
    class Some(d6tpipe.tasks.TaskAggregator):
        tolerance = allowed

        def run(self) -> Any:
            yield sweep(Odd, i=[1, 2, 3, 4])

    class After(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Some()

        def run(self) -> None:
            self.save(self.inputLoad())

    return Some, After


@pytest.mark.parametrize("allowed", [1, 0.25, 3])
def test_an_aggregator_may_do_without_some_tasks(allowed: Any) -> None:
    some, after = aggregator(allowed)
    result = d6tpipe.run(after())
    assert result.ok and result.counts == {"built": 5, "failed": 1}
    assert "no more than is tolerated" in result.summary_text
    assert after().outputLoad() == [1, 2, 4]
    assert some().outputLoad() == [1, 2, 4] and some().outputLoad(as_dict=True) == {"i=1": 1, "i=2": 2, "i=4": 4}
    assert some().complete() and after().complete()  # as far as it can be: what failed is tried again when asked for
    assert d6tpipe.run(after(), stale="rerun").counts == {"fresh": 5}
    assert d6tpipe.run(some(), select="@state=failed", abort=False).counts["failed"] == 1


@pytest.mark.parametrize("allowed", [0, 0.2, None])
def test_more_failures_than_tolerated_are_failures(allowed: Any) -> None:
    _, after = aggregator(allowed)
    result = d6tpipe.run(after(), abort=False)
    assert not result.ok and result.counts == {"built": 3, "failed": 1, "upstream_failed": 2}
    with pytest.raises(BuildError, match="3 is wrong"):
        d6tpipe.run(after())


@pytest.mark.parametrize("allowed", [-1, 1.5, "some", True])
def test_a_tolerance_that_is_none_is_told(allowed: Any) -> None:
    _, after = aggregator(allowed)
    with pytest.raises(DeclarationError, match="a part of them"):
        d6tpipe.run(after())


def test_a_sweep_may_do_without_some_tasks() -> None:
    found = sweep(Odd, i=[1, 2, 3], tolerance=1)
    result = d6tpipe.run(found)
    assert result.ok and result.counts == {"built": 2, "failed": 1}
    assert found.load() == {"i=1": 1, "i=2": 2}
    assert not d6tpipe.run(sweep(Odd, i=[1, 3, 6], tolerance=1), abort=False)


def test_luigis_pages_show_the_id_that_a_sweep_gave() -> None:
    from d6tpipe.central.protocol import announcement

    class WithId(d6tpipe.tasks.TaskPickle):
        id = d6tpipe.Parameter()

    named = sweep(Base, {"deep": {"layers": 9}})["deep"]
    assert announcement(named, "w", "PENDING")["params"] == {"id": "deep", "layers": "9", "name": "x"}
    assert announcement(Base(layers=8), "w", "PENDING")["params"] == {"layers": "8", "name": "x"}
    own = sweep(WithId, {"deep": {"id": "own"}})["deep"]
    assert announcement(own, "w", "PENDING")["params"] == {"id": "own"}
