"""Requirements that are bound while the body runs: what ``self.input(param=value)`` means."""

from __future__ import annotations

from typing import Any

import pytest

import d6tpipe
from d6tpipe.errors import BuildError, DeclarationError, OutputKeyError


class Part(d6tpipe.tasks.TaskPickle):
    i: Any = d6tpipe.IntParameter()
    by: Any = d6tpipe.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.i * self.by)


class Other(d6tpipe.tasks.TaskPickle):
    def run(self) -> None:
        self.save("other")


def build(task: Any) -> Any:
    d6tpipe.run(task, execution_summary=False)
    return task.outputLoad()


def test_values_that_both_have_are_passed_on() -> None:
    class Whole(d6tpipe.tasks.TaskPickle):
        by: Any = d6tpipe.IntParameter(default=3)

        def requires(self) -> Any:
            return Part

        def run(self) -> None:
            self.save([self.input(i=2).load(), self.input(i=2, by=5).load()])

    assert build(Whole()) == [6, 10]


def test_a_class_among_others_is_bound_by_its_name_or_place() -> None:
    class Named(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return {"part": Part, "other": Other()}

        def run(self) -> None:
            self.save([self.input("part", i=1).load(), self.inputLoad(task="other"), list(self.input())])

    class Placed(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return [Other(), Part]

        def run(self) -> None:
            self.save([self.input(1, i=4).load(), self.input(Part, i=5).load()])

    assert build(Named()) == [1, "other", ["other"]]
    assert build(Placed()) == [4, 5]


def test_a_name_that_is_no_class_is_an_error_with_the_nearest() -> None:
    class Misspells(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return {"part": Part}

        def run(self) -> None:
            self.input("prt", i=1)

    with pytest.raises(BuildError) as caught:
        build(Misspells())
    assert isinstance(caught.value.failures[0].error, OutputKeyError)
    assert "Did you mean 'part'?" in str(caught.value.failures[0].error)


def test_the_task_without_its_values_is_taken_for_the_class_and_warns() -> None:
    class Literal(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Part()

        def run(self) -> None:
            self.save(self.input(i=7).load())

    with pytest.warns(UserWarning, match="return Part"):
        assert build(Literal()) == 7


def test_a_class_in_requires_is_an_error_where_the_body_binds_nothing() -> None:
    class Forgot(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Part

        def run(self) -> None:
            self.save(self.inputLoad())

    with pytest.raises(d6tpipe.errors.GraphError, match=r"write Part\(...\)"):
        d6tpipe.run(Forgot())


def test_outside_a_body_it_says_what_to_write() -> None:
    class Whole(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Part

        def run(self) -> None:
            self.save(self.input(i=2).load())

    with pytest.raises(DeclarationError, match="outputLoad"):
        Whole().input(i=2)


def test_a_circle_of_bodies_is_an_error() -> None:
    class Ping(d6tpipe.tasks.TaskPickle):
        m: Any = d6tpipe.IntParameter(default=1)

        def requires(self) -> Any:
            return Pong

        def run(self) -> None:
            self.save(self.input(n=1).load())

    class Pong(d6tpipe.tasks.TaskPickle):
        n: Any = d6tpipe.IntParameter()

        def requires(self) -> Any:
            return Ping

        def run(self) -> None:
            self.save(self.input(m=1).load())

    with pytest.raises(BuildError, match="never end"):
        d6tpipe.run(Ping(), execution_summary=False)


def test_explain_and_preview_see_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    class Whole(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Part

        def run(self) -> None:
            self.save(self.input(i=2).load())

    build(Whole())
    Part(i=2).save(1000)
    assert "Part" in str(d6tpipe.explain(Whole()))
    d6tpipe.preview(Whole())
    assert "Part" in capsys.readouterr().out


def test_it_works_by_hand() -> None:
    class Whole(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return Part

        def run(self) -> None:
            self.save([target.load() for target in self.inputs([{"i": i} for i in range(3)])])

    Whole().run()
    assert Whole().outputLoad() == [0, 1, 2]
