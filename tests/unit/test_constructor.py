"""Identity: which tasks are the same object, which are equal, and what a constructor refuses."""

from __future__ import annotations

import copy
import datetime
import enum
import gc
import pickle
import threading
import weakref

import cloudpickle
import luigi
import pandas as pd
import pytest
from luigi.parameter import ParameterVisibility

import d6tpipe
from d6tpipe.constructor import blueprint
from d6tpipe.errors import DeclarationError, ParameterError


class Plain(d6tpipe.tasks.TaskCache):
    """Module level, so that it can be pickled by reference."""

    number = d6tpipe.IntParameter(default=1)
    word = d6tpipe.Parameter(default="a")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def task_class(**parameters):
    """Return a new task class with these parameters."""
    return type("Made", (d6tpipe.tasks.TaskCache,), parameters)


# ----------------------------------------------------------------------------------------------- interning


def test_equal_calls_give_one_object():
    assert Plain(number=3, word="x") is Plain(word="x", number=3)
    assert Plain() is Plain(number=1, word="a") is Plain(1) is Plain(1, "a")


def test_other_values_give_another_object():
    assert Plain(number=3) is not Plain(number=4)
    assert Plain(number=3) != Plain(number=4)


def test_text_that_is_a_number_is_that_number():
    task = Plain(number="7")
    assert task is Plain(number=7)
    assert task.number == 7 and type(task.number) is int


@pytest.mark.parametrize("value", [7.0, "7", " 7 ", True and 7])
def test_what_means_seven_is_seven(value):
    assert Plain(number=value) is Plain(number=7)


@pytest.mark.parametrize("value", [7.5, "seven", None, [7], "7.5"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ParameterError, match="number"):
        Plain(number=value)


def test_a_number_for_a_float_is_a_float():
    cls = task_class(x=d6tpipe.FloatParameter())
    assert cls(x=5) is cls(x=5.0) is cls(x="5")
    assert type(cls(x=5).x) is float


def test_one_true_and_one_point_zero_are_three_tasks():
    cls = task_class(x=d6tpipe.Parameter())
    one, true, decimal, text = cls(x=1), cls(x=True), cls(x=1.0), cls(x="1")
    assert [type(task.x) for task in (one, true, decimal, text)] == [int, bool, float, str]
    assert len({one, true, decimal, text}) == 4
    assert len({id(task) for task in (one, true, decimal, text)}) == 4


def test_the_first_caller_does_not_decide_for_later_ones():
    cls = task_class(x=d6tpipe.Parameter())
    first = cls(x=True)
    assert cls(x=1).x is not True
    assert first.x is True


def test_nested_values_are_as_strict():
    cls = task_class(x=d6tpipe.ListParameter())
    assert cls(x=[1]) != cls(x=[True])
    assert cls(x=[1]) is cls(x=(1,))


def test_minus_zero_is_not_zero():
    cls = task_class(x=d6tpipe.FloatParameter())
    minus, plus = cls(x=-0.0), cls(x=0.0)
    assert (minus == plus) == (minus.task_id == plus.task_id)
    assert str(cls(x=-0.0).x) == str(minus.x) and str(cls(x=0.0).x) == str(plus.x)


def test_not_a_number_is_equal_to_itself():
    cls = task_class(x=d6tpipe.FloatParameter())
    assert cls(x=float("nan")) == cls(x=float("nan"))
    assert cls(x=float("nan")) is cls(x=float("nan"))
    assert len({cls(x=float("nan")), cls(x=float("nan"))}) == 1


def test_the_order_of_dict_keys_does_not_matter():
    cls = task_class(x=d6tpipe.DictParameter())
    assert cls(x={"b": 1, "a": {"d": 2, "c": 3}}) is cls(x={"a": {"c": 3, "d": 2}, "b": 1})
    assert cls(x={"b": 1, "a": 2}).task_id == cls(x={"a": 2, "b": 1}).task_id


def test_two_frames_are_two_tasks_with_their_own_value():
    cls = task_class(x=d6tpipe.Parameter())
    one, other = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})
    tasks = cls(x=one), cls(x=other)
    assert tasks[0] != tasks[1]
    assert tasks[0].x is one and tasks[1].x is other
    assert len(set(tasks)) == 2


def test_unhashable_values_of_one_text_are_equal_tasks():
    cls = task_class(x=d6tpipe.Parameter())
    one, other = cls(x=[1, 2]), cls(x=[1, 2])
    assert one == other and hash(one) == hash(other)


def test_changing_a_given_list_does_not_change_the_task():
    cls = task_class(x=d6tpipe.ListParameter())
    given = [1, [2]]
    task = cls(x=given)
    given.append(3)
    given[1].append(4)
    assert task.x == (1, (2,))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (d6tpipe.DateParameter(), datetime.date(2020, 1, 2)),
        (d6tpipe.EnumParameter(enum=Colour), Colour.RED),
        (d6tpipe.TimeDeltaParameter(), datetime.timedelta(days=1)),
        (d6tpipe.ChoiceParameter(choices=["a", "b"]), "a"),
        (d6tpipe.TupleParameter(), (1, ("a",))),
        (d6tpipe.BoolParameter(), True),
        (d6tpipe.OptionalIntParameter(), None),
    ],
    ids=lambda one: type(one).__name__,
)
def test_every_kind_of_parameter_interns(parameter, value):
    cls = task_class(x=parameter)
    assert cls(x=value) is cls(x=value)
    assert cls(x=value).x == value


# --------------------------------------------------------------------------- what counts for the identity


def test_insignificant_values_make_equal_tasks():
    cls = task_class(x=d6tpipe.IntParameter(), threads=d6tpipe.IntParameter(default=1, significant=False))
    one, other = cls(x=1, threads=1), cls(x=1, threads=2)
    assert one == other and hash(one) == hash(other) and one.task_id == other.task_id
    assert (one.threads, other.threads) == (1, 2)


def test_of_two_tasks_that_differ_in_insignificant_values_the_first_runs():
    ran = []

    class Step(d6tpipe.tasks.TaskCache):
        threads = d6tpipe.IntParameter(default=1, significant=False)

        def run(self):
            ran.append(self.threads)
            self.save(1)

    d6tpipe.run([Step(threads=4), Step(threads=2)], execution_summary=False)
    assert ran == [4]


@pytest.mark.parametrize("visibility", [ParameterVisibility.HIDDEN, ParameterVisibility.PRIVATE])
def test_hidden_values_make_different_tasks(visibility):
    cls = task_class(x=d6tpipe.IntParameter(visibility=visibility))
    assert cls(x=1) != cls(x=2)


def test_two_identities_with_one_file_name_are_refused():
    class Hidden(d6tpipe.tasks.TaskPickle):
        x = d6tpipe.IntParameter(visibility=ParameterVisibility.HIDDEN)

        def run(self):
            self.save(self.x)

    with pytest.raises(d6tpipe.errors.GraphError, match="same output"):
        d6tpipe.run([Hidden(x=1), Hidden(x=2)])


def test_a_private_value_is_not_shown():
    cls = task_class(secret=d6tpipe.Parameter(visibility=ParameterVisibility.PRIVATE), x=d6tpipe.IntParameter(1))
    task = cls(secret="psst")
    assert "psst" not in repr(task) + str(task) + task.task_id
    assert "psst" not in str(task.to_str_params())


def test_a_parameter_with_ignore_default_is_not_in_the_id_at_its_default():
    old = type("Same", (d6tpipe.tasks.TaskCache,), {"x": d6tpipe.IntParameter()})
    new = type(
        "Same",
        (d6tpipe.tasks.TaskCache,),
        {"x": d6tpipe.IntParameter(), "seed": d6tpipe.IntParameter(0, ignore_default=True)},
    )
    assert new(x=1).task_id == old(x=1).task_id
    assert new(x=1, seed=0) is new(x=1)
    assert new(x=1, seed=2).task_id != old(x=1).task_id


# --------------------------------------------------------------------------------------- strict constructors


def test_a_misspelt_parameter_names_the_nearest():
    with pytest.raises(ParameterError, match="Did you mean 'number'") as caught:
        Plain(nmber=1)
    assert "nmber" in str(caught.value) and "Plain" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_unknown_parameters_can_be_ignored_while_porting():
    d6tpipe.settings.unknown_parameters = "ignore"
    assert Plain(number=2, other=3) is Plain(number=2)


def test_a_missing_value_names_the_parameter():
    cls = task_class(x=d6tpipe.IntParameter(), y=d6tpipe.IntParameter())
    with pytest.raises(ParameterError, match=r"parameter 'y'(.|\n)*needed\s+x, y") as caught:
        cls(x=1)
    assert "Made" in str(caught.value)


def test_too_many_positional_values():
    with pytest.raises(ParameterError, match="2 positional values, 3 were given"):
        Plain(1, "a", 3)


def test_a_value_by_position_and_by_name():
    with pytest.raises(ParameterError, match="two values for parameter 'number'"):
        Plain(1, number=2)


def test_positional_values_follow_the_order_of_declaration():
    cls = task_class(b=d6tpipe.IntParameter(), a=d6tpipe.Parameter())
    task = cls(1, "x")
    assert (task.b, task.a) == (1, "x")


def test_a_parameter_that_is_not_positional_is_left_out():
    cls = task_class(
        a=d6tpipe.IntParameter(), hidden=d6tpipe.IntParameter(default=9, positional=False), b=d6tpipe.IntParameter()
    )
    task = cls(1, 2)
    assert (task.a, task.hidden, task.b) == (1, 9, 2)
    assert cls(1, 2, hidden=3).hidden == 3
    with pytest.raises(ParameterError):
        cls(1, 2, 3)


def test_a_wrong_value_names_task_parameter_and_problem():
    with pytest.raises(ParameterError) as caught:
        Plain(number="seven")
    text = str(caught.value)
    assert "Plain" in text and "number" in text and "'seven'" in text and "IntParameter" in text


def test_a_type_error_inside_a_constructor_is_not_taken_for_a_wrong_call():
    class Own(d6tpipe.tasks.TaskCache):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            len(3)

    with pytest.raises(TypeError, match="has no len"):
        Own()


# ------------------------------------------------------------------------------------- classes that change


def test_parameters_are_inherited_and_may_be_replaced():
    class Sub(Plain):
        word = d6tpipe.IntParameter(default=5)
        more = d6tpipe.Parameter(default="m")

    assert (Sub().number, Sub().word, Sub().more) == (1, 5, "m")
    assert [name for name, _ in Sub.get_params()] == ["number", "word", "more"]


def test_a_subclass_may_replace_a_parameter_by_a_plain_value():
    class Sub(Plain):
        word = "fixed"

    assert Sub().word == "fixed"
    assert Sub.get_param_names() == ["number"]
    with pytest.raises(ParameterError):
        Sub(word="other")


def test_parameters_of_a_mixin_count():
    class Mixin:
        extra = d6tpipe.IntParameter(default=3)

    class Mixed(Mixin, Plain):
        pass

    assert Mixed(extra="4").extra == 4


def test_a_parameter_set_on_a_class_later_takes_effect():
    cls = task_class(x=d6tpipe.IntParameter(default=1))
    old = cls()
    cls.y = d6tpipe.IntParameter(default=2)
    assert cls().y == 2 and cls(y="3").y == 3
    assert cls.get_param_names() == ["x", "y"]
    assert old.x == 1


def test_a_parameter_set_on_a_base_class_reaches_subclasses_that_were_used():
    base = task_class(x=d6tpipe.IntParameter(default=1))
    sub = type("Sub", (base,), {})
    sub()
    base.y = d6tpipe.IntParameter(default=2)
    assert sub(y=5).y == 5


def test_one_parameter_object_under_two_names_on_two_classes():
    shared = d6tpipe.IntParameter(default=1)
    one = task_class(a=shared)
    other = task_class()
    other.a = shared
    assert one(a=2).a == 2 and other(a=3).a == 3


def test_one_parameter_object_under_two_names():
    shared = d6tpipe.IntParameter(default=1)
    one = task_class(a=shared)
    other = task_class()
    other.b = shared
    assert one(a=2).a == 2 and other(b=3).b == 3
    both = task_class(c=shared, d=shared)
    task = both(c=4, d=5)
    assert (task.c, task.d) == (4, 5)


def test_deleting_a_parameter_takes_effect():
    cls = task_class(x=d6tpipe.IntParameter(default=1), y=d6tpipe.IntParameter(default=1))
    cls(y=2)
    del cls.y
    with pytest.raises(ParameterError):
        cls(y=2)
    assert cls.get_param_names() == ["x"]


def test_replacing_a_default_takes_effect():
    cls = task_class(x=d6tpipe.IntParameter(default=1))
    cls()
    cls.x = d6tpipe.IntParameter(default=2)
    assert cls().x == 2


def test_clones_follow_a_changed_class():
    high = task_class(x=d6tpipe.IntParameter(default=1), y=d6tpipe.IntParameter(default=5))
    low = task_class(x=d6tpipe.IntParameter(default=1))
    assert high(x=3).clone(low).x == 3
    low.y = d6tpipe.IntParameter(default=2)
    assert high(x=3, y=8).clone(low).y == 8
    high.z = d6tpipe.IntParameter(default=0)
    assert high(x=3, z=4).clone(z=7).z == 7


def test_a_parameter_called_job_is_refused():
    with pytest.raises(DeclarationError, match="job"):
        task_class(job=d6tpipe.IntParameter())
    cls = task_class()
    with pytest.raises(DeclarationError, match="job"):
        cls.job = d6tpipe.IntParameter()


# ------------------------------------------------------------------------------------ constructors of users


def test_an_own_init_with_the_same_arguments():
    class Own(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter()

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.doubled = self.x * 2

    assert Own(x="3").doubled == 6
    assert Own(3) is Own(x=3)
    with pytest.raises(ParameterError, match="Did you mean 'x'"):
        Own(X=3)


def test_an_own_init_with_other_arguments():
    class Own(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter()
        y = d6tpipe.IntParameter(default=0)

        def __init__(self, both, **kwargs):
            super().__init__(x=both, y=both, **kwargs)

    task = Own(4)
    assert (task.x, task.y) == (4, 4)
    assert Own(4) is task and Own(both=4) is task


def test_an_own_init_that_changes_a_value_before_super():
    class Own(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter()

        def __init__(self, x, **kwargs):
            super().__init__(x=abs(x), **kwargs)

    assert Own(-4) is Own(4)


def test_an_own_init_that_forgets_super_is_told_so():
    class Own(d6tpipe.tasks.TaskCache):
        def __init__(self):
            self.x = 1

    with pytest.raises(DeclarationError, match=r"super\(\).__init__"):
        Own()


def test_an_init_of_a_mixin_is_called():
    class Mixin:
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.mixed = True

    class Own(Mixin, d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter(default=1)

    assert Own().mixed and Own(x=1) is Own()


def test_a_parameter_class_of_a_user_decides_with_its_own_normalize():
    class Lower(d6tpipe.Parameter):
        def normalize(self, value):
            return value.lower()

        def serialize(self, value):
            return f"<{value}>"

    cls = task_class(x=Lower())
    assert cls(x="ABC") is cls(x="abc")
    assert cls(x="ABC").x == "abc"
    assert cls(x="ABC").to_str_params() == {"x": "<abc>"}
    assert "__abc__" in cls(x="ABC").task_id


def test_a_normalize_that_raises_is_a_parameter_error():
    class Picky(d6tpipe.Parameter):
        def normalize(self, value):
            raise ValueError("too picky")

    with pytest.raises(ParameterError, match="too picky"):
        task_class(x=Picky())(x="a")


def test_plain_luigi_parameters_work_and_are_as_strict():
    cls = task_class(x=luigi.IntParameter(), d=luigi.DictParameter(default={}))
    assert cls(x="7") is cls(x=7)
    assert cls(x=1, d={"b": 1, "a": 2}) is cls(x=1, d={"a": 2, "b": 1})
    with pytest.raises(ParameterError):
        cls(x="seven")


# ----------------------------------------------------------------------------------- luigi's configuration


@pytest.fixture
def configured():
    """Give a function that writes one value of luigi's configuration, taken back at the end."""
    config = luigi.configuration.get_config()
    sections = set()

    def write(section, name, value):
        sections.add(section)
        config.set(section, name, value)

    yield write
    for section in sections:
        config.remove_section(section)


def test_a_default_may_come_from_luigis_configuration(configured):
    class FromConfig(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter()
        y = d6tpipe.IntParameter(default=1)

    with pytest.raises(ParameterError):
        FromConfig()
    configured("FromConfig", "x", "41")
    configured("FromConfig", "y", "42")
    assert (FromConfig().x, FromConfig().y) == (41, 42)
    assert FromConfig(y=2).y == 2


def test_taking_a_configured_default_back_takes_effect(configured):
    class FromConfig(d6tpipe.tasks.TaskCache):
        y = d6tpipe.IntParameter(default=1)

    assert FromConfig().y == 1
    configured("FromConfig", "y", "42")
    assert FromConfig().y == 42
    luigi.configuration.get_config().remove_section("FromConfig")
    assert FromConfig().y == 1


@pytest.mark.filterwarnings("ignore:The use of the configuration:DeprecationWarning")
def test_a_config_path_is_followed(configured):
    configured("somewhere", "else", "13")
    cls = task_class(x=d6tpipe.IntParameter(config_path={"section": "somewhere", "name": "else"}))
    assert cls().x == 13


# ------------------------------------------------------------------------------------------------ instances


def test_parameters_are_read_only():
    task = Plain(number=2)
    with pytest.raises(ParameterError, match=r"clone\(number=3\)"):
        task.number = 3
    assert task.number == 2


def test_other_attributes_may_be_set():
    task = Plain(number=3)
    task.note = "mine"
    assert task.note == "mine"
    del task.note
    assert not hasattr(task, "note")


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_here"):
        Plain().nothing_here


def test_pickle_gives_the_living_task():
    task = Plain(number=5)
    for library in (pickle, cloudpickle):
        assert library.loads(library.dumps(task)) is task


def test_pickle_of_a_class_from_nowhere_through_cloudpickle():
    cls = task_class(x=d6tpipe.IntParameter(), y=d6tpipe.DictParameter(default={"a": 1}))
    task = cls(x=3)
    again = cloudpickle.loads(cloudpickle.dumps(task))
    assert again is task or (again.x, again.y, again.task_id) == (3, task.y, task.task_id)


def test_a_pickle_outlives_the_task():
    data = pickle.dumps(Plain(number=77, word="w"))
    gc.collect()
    again = pickle.loads(data)
    assert (again.number, again.word) == (77, "w") and again is Plain(77, "w")


def test_a_pickle_keeps_the_binding():
    task = d6tpipe.Workflow(Plain, {"number": 6}, path="elsewhere").get_task()
    assert task.path == "elsewhere"
    again = pickle.loads(pickle.dumps(task))
    assert again is task
    own = Plain(number=6, path="own")
    assert pickle.loads(pickle.dumps(own)) is own


def test_a_pickle_keeps_insignificant_values():
    task = Several(x=1, threads=8)
    assert pickle.loads(pickle.dumps(task)).threads == 8


class Several(d6tpipe.tasks.TaskCache):
    x = d6tpipe.IntParameter()
    threads = d6tpipe.IntParameter(default=1, significant=False)


def test_a_copy_is_equal_and_not_the_shared_task():
    task = Plain(number=8)
    twin = copy.copy(task)
    assert twin == task and twin is not task
    twin.run = None
    assert callable(task.run)


def test_a_deep_copy_is_the_task():
    task = Plain(number=8)
    assert copy.deepcopy([task])[0] is task


def test_equality_with_other_things():
    assert Plain() != "Plain()" and Plain() is not None
    assert Plain() not in [3, "x"]


def test_tasks_of_two_classes_of_one_name_are_not_equal():
    one, other = task_class(x=d6tpipe.IntParameter()), task_class(x=d6tpipe.IntParameter())
    assert one(x=1) != other(x=1)


def test_tasks_that_nobody_holds_are_forgotten():
    cls = task_class(x=d6tpipe.IntParameter(), word=d6tpipe.Parameter(default="w"))
    for number in range(100_000):
        cls(x=number)
    gc.collect()
    assert len(blueprint(cls).instances) == 0


def test_a_class_that_nobody_holds_is_forgotten_except_by_luigi():
    """luigi's register keeps every task class; without it nothing of ours must hold one."""
    cls = task_class(x=d6tpipe.IntParameter())
    task = weakref.ref(cls(x=1))
    gc.collect()
    assert task() is None


def test_a_living_task_is_found_again_after_a_collection():
    task = Plain(number=1234)
    gc.collect()
    assert Plain(number=1234) is task


def test_threads_get_one_object():
    cls = task_class(x=d6tpipe.IntParameter(), word=d6tpipe.Parameter(default="w"))
    found = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def make(mine):
        start.wait()
        mine.extend(cls(x=number) for number in range(2000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tasks in zip(*found, strict=True):
        assert all(task == tasks[0] for task in tasks)


# -------------------------------------------------------------------------------------------------- binding


def test_a_path_makes_another_task():
    assert Plain(number=1, path="a") != Plain(number=1)
    assert Plain(number=1, path="a") is Plain(number=1, path="a")
    assert Plain(path="a").path == "a"
    assert Plain().path is None


def test_the_path_of_a_workflow_beats_that_of_a_class():
    class Placed(Plain):
        path = "class_path"

    assert Placed().path == "class_path"
    assert Placed().output().path.startswith("class_path")
    assert d6tpipe.Workflow(Placed, path="flow_path").get_task().output().path.startswith("flow_path")


def test_a_hand_written_task_in_requires_and_run_inherits_the_binding():
    seen = {}

    class Up(d6tpipe.tasks.TaskCache):
        a = d6tpipe.IntParameter()

        def run(self):
            self.save(self.a)

    class Down(d6tpipe.tasks.TaskCache):
        def requires(self):
            return Up(a=1)

        def run(self):
            seen["run"] = Up(a=2)
            seen["helper"] = helper()
            self.save(self.inputLoad())

    def helper():
        return Up(a=3)

    flow = d6tpipe.Workflow(Down, path="bound")
    task = flow.get_task()
    flow.run(execution_summary=False)
    assert task.requires().path == "bound"
    assert {name: up.path for name, up in seen.items()} == {"run": "bound", "helper": "bound"}
    assert Up(a=1).path is None
    assert Up(a=1) != task.requires()
    assert flow.outputLoad() == 1
    assert not Up(a=1).complete()


def test_a_clone_inherits_the_binding():
    task = d6tpipe.Workflow(Plain, path="bound").get_task()
    assert task.clone(number=4).path == "bound"
    assert task.clone(Several, x=4).path == "bound"


def test_a_binding_ends_when_requires_raises():
    class Down(d6tpipe.tasks.TaskCache):
        def requires(self):
            raise RuntimeError("no")

    task = d6tpipe.Workflow(Down, path="bound").get_task()
    with pytest.raises(RuntimeError):
        task.requires()
    assert Plain().path is None


def test_attached_flows_are_seen_by_the_task():
    other = d6tpipe.Workflow(Plain)
    flow = d6tpipe.Workflow(Plain)
    flow.attach_flow(other, "other")
    assert flow.get_task().flows["other"] is other
    assert not Plain().flows


# --------------------------------------------------------------------------------------------------- clones


def test_a_clone_takes_shared_parameters_only():
    class Other(d6tpipe.tasks.TaskCache):
        number = d6tpipe.IntParameter()
        extra = d6tpipe.IntParameter(default=9)

    clone = Plain(number=3, word="x").clone(Other)
    assert (clone.number, clone.extra) == (3, 9)


def test_a_clone_does_not_take_what_is_no_parameter():
    class Other(d6tpipe.tasks.TaskCache):
        note = d6tpipe.Parameter(default="default")

    task = Plain(number=55)
    task.note = "set on the instance"
    assert task.clone(Other).note == "default"


def test_a_clone_with_changes():
    assert Plain(number=3, word="x").clone(number="4") is Plain(number=4, word="x")
    assert Plain(number=3).clone() is Plain(number=3)


def test_a_clone_with_an_unknown_name():
    with pytest.raises(ParameterError, match="Did you mean 'number'"):
        Plain().clone(numbr=1)


def test_a_clone_as_a_plain_luigi_task():
    class Theirs(luigi.Task):
        number = luigi.IntParameter()
        more = luigi.IntParameter(default=2)

    clone = Plain(number=4).clone(Theirs)
    assert isinstance(clone, Theirs) and (clone.number, clone.more) == (4, 2)
    assert Plain(number=4).clone(Theirs, more=5).more == 5


def test_a_luigi_task_clones_into_ours():
    class Theirs(luigi.Task):
        number = luigi.IntParameter()

    assert Theirs(number=4).clone(Plain) is Plain(number=4)


def test_a_clone_without_a_needed_value_says_which():
    class Other(d6tpipe.tasks.TaskCache):
        needed = d6tpipe.IntParameter()

    with pytest.raises(ParameterError, match="needed"):
        Plain().clone(Other)


def test_an_own_init_drops_unknown_names_while_porting():
    class Own(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter(default=1)

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    d6tpipe.settings.unknown_parameters = "ignore"
    assert Own(x=2, y=3) is Own(x=2)


def test_what_an_own_init_takes_besides_parameters_is_never_another_instances():
    class Extra(d6tpipe.tasks.TaskPickle):
        a = d6tpipe.IntParameter(default=1)

        def __init__(self, *args, extra=None, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    one, two = Extra(extra=1), Extra(extra=2)
    assert (1, 2) == (one.extra, two.extra)
    assert one == two
    assert Extra(a=3) is Extra(a=3)
