"""requires, inherits and clone_parent: which parameters go upstream."""

from __future__ import annotations

import luigi
import luigi.util
import pytest

import d6tpipe
from d6tpipe.errors import DeclarationError, ParameterError


class Low(d6tpipe.tasks.TaskCache):
    x = d6tpipe.IntParameter(default=1)
    y = d6tpipe.Parameter(default="y")


class Other(d6tpipe.tasks.TaskCache):
    y = d6tpipe.Parameter(default="other")
    z = d6tpipe.FloatParameter(default=0.5)


class TheirLow(luigi.Task):
    x = luigi.IntParameter(default=1)
    w = luigi.Parameter(default="w")


def test_requires_of_one_class_is_one_task_with_our_values():
    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskCache):
        own = d6tpipe.IntParameter(default=0)

    high = High(x=3, y="z")
    assert high.requires() is Low(x=3, y="z")
    assert [name for name, _ in High.get_params()] == ["x", "y", "own"]


def test_requires_of_several_classes_is_a_list():
    @d6tpipe.requires(Low, Other)
    class High(d6tpipe.tasks.TaskCache):
        pass

    assert High(x=3, z=2).requires() == [Low(x=3, y="y"), Other(y="y", z=2.0)]


def test_requires_of_a_dict_is_a_dict():
    @d6tpipe.requires({"low": Low, "other": Other})
    class High(d6tpipe.tasks.TaskCache):
        pass

    required = High(y="s").requires()
    assert required == {"low": Low(y="s"), "other": Other(y="s")}
    assert list(required) == ["low", "other"]


def test_requires_by_name_as_luigi_spells_it():
    @d6tpipe.requires(low=Low, other=Other)
    class High(d6tpipe.tasks.TaskCache):
        pass

    assert High(y="s").requires() == {"low": Low(y="s"), "other": Other(y="s")}


def test_the_class_that_comes_first_gives_a_shared_parameter_its_default():
    @d6tpipe.requires(Other, Low)
    class High(d6tpipe.tasks.TaskCache):
        pass

    assert High().y == "other"
    assert [task.y for task in High().requires()] == ["other", "other"]


def test_a_parameter_of_the_class_itself_wins():
    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter(default=7)

    assert High().requires().x == 7


def test_a_plain_value_of_the_class_itself_is_not_sent_upstream():
    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskCache):
        x = 9

    assert High().requires().x == 1


def test_requires_may_be_stacked_on_inherits():
    @d6tpipe.requires(Low)
    @d6tpipe.inherits(Other)
    class High(d6tpipe.tasks.TaskCache):
        pass

    assert High(x=2, z=3).requires() is Low(x=2, y="other")
    assert High(z=3).z == 3.0


def test_a_subclass_keeps_what_it_requires():
    @d6tpipe.requires(Low)
    class High(d6tpipe.tasks.TaskCache):
        pass

    class Sub(High):
        more = d6tpipe.IntParameter(default=2)

    assert Sub(x=4).requires() is Low(x=4)


def test_inherits_of_one_class():
    @d6tpipe.inherits(Low)
    class High(d6tpipe.tasks.TaskCache):
        def requires(self):
            return self.clone_parent(y="changed")

    assert High(x=3).requires() is Low(x=3, y="changed")
    assert High(x=3).clone_parents() == [Low(x=3)]


def test_inherits_of_several_classes():
    @d6tpipe.inherits(Low, Other)
    class High(d6tpipe.tasks.TaskCache):
        def requires(self):
            return self.clone_parents()

    assert High(z=2).requires() == [Low(), Other(y="y", z=2)]
    assert High(z=2).clone_parent() is Low()


def test_inherits_of_a_dict():
    @d6tpipe.inherits({"low": Low, "other": Other})
    class High(d6tpipe.tasks.TaskCache):
        def requires(self):
            return self.clone_parents_dict()

    assert High(x=2).requires() == {"low": Low(x=2), "other": Other(y="y")}


def test_clone_parent_is_the_old_spelling():
    with pytest.warns(DeprecationWarning, match="requires"):

        @d6tpipe.clone_parent
        @d6tpipe.inherits(Low)
        class High(d6tpipe.tasks.TaskCache):
            pass

    assert High(x=3).requires() is Low(x=3)


def test_luigis_decorators_on_our_classes():
    @luigi.util.requires(Low)
    class One(d6tpipe.tasks.TaskCache):
        pass

    @luigi.util.requires(Low, Other)
    class Two(d6tpipe.tasks.TaskCache):
        pass

    @luigi.util.inherits(Low)
    class Three(d6tpipe.tasks.TaskCache):
        def requires(self):
            return self.clone_parent()

    assert One(x=2).requires() is Low(x=2)
    assert Two(x=2, z=1).requires() == [Low(x=2), Other(y="y", z=1)]
    assert Three(x=2).requires() is Low(x=2)


def test_ours_on_luigi_classes_and_over_luigi_classes():
    @d6tpipe.requires(TheirLow)
    class Ours(d6tpipe.tasks.TaskCache):
        pass

    @d6tpipe.requires(Ours)
    class Theirs(luigi.Task):
        pass

    assert Ours(x=2, w="v").requires() == TheirLow(x=2, w="v")
    assert Theirs(x=3).requires() is Ours(x=3)


def test_an_aggregator_only_borrows_parameters_from_what_it_requires():
    @d6tpipe.requires(Low)
    class All(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield self.clone(Low, y="one")
            yield self.clone(Low, y="two")

    upstream = d6tpipe.taskflow_upstream(All(x=5))
    assert upstream == [All(x=5), Low(x=5, y="one"), Low(x=5, y="two")]


def test_a_missing_value_of_what_is_required_is_a_missing_value_here():
    class Needs(d6tpipe.tasks.TaskCache):
        needed = d6tpipe.IntParameter()

    @d6tpipe.requires(Needs)
    class High(d6tpipe.tasks.TaskCache):
        pass

    with pytest.raises(ParameterError, match=r"High needs a value for parameter 'needed'"):
        High()
    assert High(needed="3").requires().needed == 3


@pytest.mark.parametrize("decorator", [d6tpipe.requires, d6tpipe.inherits])
@pytest.mark.parametrize(
    "arguments", [(), ("text",), (Low(),), ({},), ({"a": 3},), (Low, "text"), ([Low, Other],)], ids=repr
)
def test_what_is_no_task_class_is_refused_where_it_is_written(decorator, arguments):
    with pytest.raises(DeclarationError, match=decorator.__name__):
        decorator(*arguments)


def test_the_values_of_a_flow_go_upstream_whole():
    @d6tpipe.requires({"low": Low, "other": Other})
    class High(d6tpipe.tasks.TaskCache):
        def run(self):
            self.save(1)

    tasks = d6tpipe.taskflow_upstream(d6tpipe.Workflow(High, {"x": "8", "z": 2}, path="flow").get_task())
    assert [(type(task).__name__, task.path) for task in tasks] == [
        ("High", "flow"),
        ("Low", "flow"),
        ("Other", "flow"),
    ]
    assert tasks[1].x == 8 and tasks[2].z == 2.0
