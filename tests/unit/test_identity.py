"""Ids and file names: the text is d6tflow's, so that existing data folders stay valid."""

from __future__ import annotations

import datetime
import enum
import os
import pickle
from pathlib import Path

import luigi
import luigi.task
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from luigi.task_register import Register

import d6tpipe
from d6tpipe.identity import file_name, nearest, task_id_text


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def task_class(name="Made", base=d6tpipe.tasks.TaskPickle, **parameters):
    return type(name, (base,), parameters)


# ---------------------------------------------------------------------------------------- equal to luigi's

TEXTS = st.text(max_size=90)
NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.booleans(), st.none(), TEXTS)
NESTED = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))

KINDS = {
    "text": (luigi.Parameter, d6tpipe.Parameter, TEXTS),
    "int": (luigi.IntParameter, d6tpipe.IntParameter, st.integers(-(10**30), 10**30)),
    "float": (luigi.FloatParameter, d6tpipe.FloatParameter, st.floats()),
    "bool": (luigi.BoolParameter, d6tpipe.BoolParameter, st.booleans()),
    "date": (luigi.DateParameter, d6tpipe.DateParameter, st.dates()),
    "time": (
        luigi.DateSecondParameter,
        d6tpipe.DateSecondParameter,
        st.datetimes(min_value=datetime.datetime(1000, 1, 1)).map(lambda value: value.replace(microsecond=0)),
    ),
    "delta": (luigi.TimeDeltaParameter, d6tpipe.TimeDeltaParameter, st.timedeltas(min_value=datetime.timedelta(0))),
    "list": (luigi.ListParameter, d6tpipe.ListParameter, st.lists(NUMBERS, max_size=4)),
    "tuple": (luigi.TupleParameter, d6tpipe.TupleParameter, st.lists(NUMBERS, max_size=4).map(tuple)),
    "dict": (
        luigi.DictParameter,
        d6tpipe.DictParameter,
        st.dictionaries(TEXTS, NESTED, max_size=4).map(lambda value: sort_keys(value)),
    ),
    "optional": (luigi.OptionalIntParameter, d6tpipe.OptionalIntParameter, st.none() | st.integers()),
}


def sort_keys(value):
    """Return `value` with its keys in the order in which we write them: then luigi's id is ours."""
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    return [sort_keys(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def d6tflow_limits():
    """Set luigi's limits to those of d6tflow, for this module only."""
    before = luigi.task.TASK_ID_INCLUDE_PARAMS, luigi.task.TASK_ID_TRUNCATE_PARAMS
    luigi.task.TASK_ID_INCLUDE_PARAMS, luigi.task.TASK_ID_TRUNCATE_PARAMS = 20, 64
    yield
    luigi.task.TASK_ID_INCLUDE_PARAMS, luigi.task.TASK_ID_TRUNCATE_PARAMS = before


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), TEXTS, max_size=25))
def test_the_id_text_is_luigis(d6tflow_limits, texts):
    assert task_id_text("Family", texts) == luigi.task.task_id_str("Family", texts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_id_of_a_task_is_luigis_for_any_value(d6tflow_limits, kind):
    theirs_kind, ours_kind, values = KINDS[kind]
    theirs = type("Same", (luigi.Task,), {"x": theirs_kind(), "y": luigi.Parameter(default="fixed")})
    ours = task_class("Same", x=ours_kind(), y=d6tpipe.Parameter(default="fixed"))
    by_luigis = task_class("Same", x=theirs_kind(), y=luigi.Parameter(default="fixed"))

    @settings(max_examples=100, deadline=None)
    @given(value=values)
    def check(value):
        Register.clear_instance_cache()  # to luigi 0, 0.0 and False are one task, and the first one seen decides
        expected = theirs(x=value).task_id
        assert ours(x=value).task_id == expected
        assert by_luigis(x=value).task_id == expected

    check()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.integers() | TEXTS, min_size=1, max_size=25))
def test_the_id_of_a_task_with_many_parameters_is_luigis(d6tflow_limits, values):
    names = [f"p{number}" for number in range(len(values))]
    kinds = [luigi.IntParameter if isinstance(value, int) else luigi.Parameter for value in values]
    given_values = dict(zip(names, values, strict=True))
    theirs = type("Same", (luigi.Task,), {name: kind() for name, kind in zip(names, kinds, strict=True)})
    ours = task_class("Same", **{name: kind() for name, kind in zip(names, kinds, strict=True)})
    Register.clear_instance_cache()
    assert ours(**given_values).task_id == theirs(**given_values).task_id


def test_the_id_of_an_enum_and_a_choice_is_luigis(d6tflow_limits):
    for theirs_kind, ours_kind, options, value in (
        (luigi.EnumParameter, d6tpipe.EnumParameter, {"enum": Colour}, Colour.BLUE),
        (luigi.ChoiceParameter, d6tpipe.ChoiceParameter, {"choices": ["a", "b"]}, "b"),
        (luigi.MonthParameter, d6tpipe.MonthParameter, {}, datetime.date(2020, 5, 1)),
        (luigi.PathParameter, d6tpipe.PathParameter, {}, Path("some/where")),
        (luigi.DateIntervalParameter, d6tpipe.DateIntervalParameter, {}, luigi.date_interval.Week(2020, 5)),
    ):
        theirs = type("Same", (luigi.Task,), {"x": theirs_kind(**options)})
        ours = task_class("Same", x=ours_kind(**options))
        assert ours(x=value).task_id == theirs(x=value).task_id


# --------------------------------------------------------------------------------------------- stored ids

STORED = [
    # what d6tflow 0.2.8 gave
    (task_class("A"), {}, "A__99914b932b"),
    (task_class("A", x=d6tpipe.IntParameter()), {"x": 1}, "A_1_978d9e1e62"),
    (task_class("A_b", x=d6tpipe.FloatParameter()), {"x": 5}, "A_b_5_0_1fe5bc401f"),
    (
        task_class("A", x=d6tpipe.BoolParameter(), y=d6tpipe.Parameter()),
        {"x": True, "y": "a b/ü'\""},
        "A_True_a_b_____f44ab578b5",
    ),
    (
        task_class("A", x=d6tpipe.DictParameter()),
        {"x": {"b": [1, 2.5], "a": None}},
        "A___a___null___b____1__2_5___d8e9ec7c52",
    ),
    (task_class("A", x=d6tpipe.DateParameter()), {"x": datetime.date(2020, 1, 31)}, "A_2020_01_31_3321de835c"),
    (task_class("A", x=d6tpipe.Parameter()), {"x": "y" * 70}, f"A_{'y' * 64}_4f3b9063b4"),
    (
        task_class("A", **{f"p{n}": d6tpipe.IntParameter() for n in range(22)}),
        {f"p{n}": n for n in range(22)},
        "A_0_1_10_11_12_13_14_15_16_17_18_19_2_20_21_3_4_5_6_7_8ffbca2239",
    ),
]


@pytest.mark.parametrize(("cls", "values", "expected"), STORED)
def test_stored_ids_stay_what_they_were(cls, values, expected):
    assert cls(**values).task_id == expected


def test_ids_are_the_same_in_another_process(run_python):
    code = (
        "import d6tpipe\n"
        "class T(d6tpipe.tasks.TaskCache):\n"
        "    d = d6tpipe.DictParameter(); s = d6tpipe.Parameter(); f = d6tpipe.FloatParameter()\n"
        "print(T(d={'b': 1, 'a': {'y': 1, 'x': 2}}, s='é', f=1e-7).task_id)"
    )
    seen = {run_python("-c", code, env={"PYTHONHASHSEED": seed}).stdout for seed in ("0", "1", "77")}
    cls = task_class(
        "T", d6tpipe.tasks.TaskCache, d=d6tpipe.DictParameter(), s=d6tpipe.Parameter(), f=d6tpipe.FloatParameter()
    )
    assert seen == {cls(d={"a": {"x": 2, "y": 1}, "b": 1}, s="é", f=1e-7).task_id + "\n"}


def test_set_parameter_len_changes_our_ids_only():
    cls = task_class("A", x=d6tpipe.Parameter(), y=d6tpipe.Parameter())
    plain = type("A", (luigi.Task,), {"x": luigi.Parameter(), "y": luigi.Parameter()})
    values = {"x": "x" * 30, "y": "y" * 30}
    theirs = plain(**values).task_id
    assert "x" * 30 + "_" + "y" * 30 in cls(**values).task_id
    d6tpipe.settings.set_parameter_len(1, 5)
    assert cls(**{**values, "y": "z"}).task_id.startswith("A_xxxxx_")
    assert plain(**values).task_id == theirs
    assert luigi.task.TASK_ID_TRUNCATE_PARAMS == 16 or luigi.task.TASK_ID_TRUNCATE_PARAMS == 64


def test_a_living_task_keeps_its_id():
    cls = task_class("A", x=d6tpipe.Parameter())
    task = cls(x="x" * 30)
    before = task.task_id
    d6tpipe.settings.set_parameter_len(20, 5)
    assert cls(x="x" * 30) is task and task.task_id == before


# ------------------------------------------------------------------------------------------------- files


def test_the_folder_is_the_text_before_the_first_underscore():
    cls = task_class("Get_Data_now", x=d6tpipe.IntParameter())
    path = Path(cls(x=1).output().path)
    assert path.parent.name == "Get"
    assert path.name == f"{cls(x=1).task_id}-data.pkl"


def test_a_namespace_is_part_of_the_folder():
    cls = task_class("Name", task_namespace="space", x=d6tpipe.IntParameter())
    assert Path(cls(x=1).output().path).parent.name == "space.Name"


def test_without_parameters_in_names_the_file_is_the_key():
    cls = task_class("Name", save_attrib=False)
    assert Path(cls().output().path).name == "data.pkl"
    d6tpipe.settings.save_with_param = False
    assert Path(task_class("Other")().output().path).name == "data.pkl"


@pytest.mark.parametrize("letter", ["x", "ü", "/", "🙂"])
def test_a_name_longer_than_a_file_name_may_be_is_cut_and_stays_unique(letter):
    names = [f"p{number}" for number in range(10)]
    cls = task_class("Long", **{name: d6tpipe.Parameter(default=letter * 64) for name in names})
    task, other = cls(), cls(p9=letter * 63 + "y")
    d6tpipe.run([task, other], execution_summary=False, abort=False)
    paths = [Path(one.output().path) for one in (task, other)]
    assert paths[0] != paths[1]
    for path in paths:
        assert len(os.fsencode(path.name)) <= 255
        assert path.name.startswith("Long_") and path.name.endswith("-data.pkl")


def test_a_task_with_a_long_name_saves_and_loads():
    class Long(d6tpipe.tasks.TaskPickle):
        text = d6tpipe.Parameter()
        more = d6tpipe.ListParameter(default=list(range(100)))
        a = d6tpipe.Parameter(default="a" * 200)
        b = d6tpipe.Parameter(default="b" * 200)
        c = d6tpipe.Parameter(default="c" * 200)
        persist = ["one", "two"]

        def run(self):
            self.save({"one": 1, "two": 2})
            self.saveMeta({"m": 1})

    task = Long(text="t" * 200)
    d6tpipe.run(task, execution_summary=False)
    assert task.outputLoad() == [1, 2]
    assert task.outputLoadMeta() == {"m": 1}


def test_file_name_keeps_a_name_that_fits():
    assert file_name("A_1_0123456789", "data", "pkl") == "A_1_0123456789-data.pkl"
    exact = "A" * (255 - len("-data.pkl"))
    assert file_name(exact, "data", "pkl") == f"{exact}-data.pkl"
    assert len(file_name(exact + "A", "data", "pkl")) == 255


# ------------------------------------------------------------------------ what d6tflow wrote is found again

PEER_IDS = {
    # task_id_str of luigi with 20/64, for the values as d6tflow's user wrote them
    "float": (d6tpipe.FloatParameter, 5, "5"),
    "dict": (d6tpipe.DictParameter, {"b": 1, "a": 2}, '{"b": 1, "a": 2}'),
    "text": (d6tpipe.IntParameter, "7", "7"),
    "list": (d6tpipe.ListParameter, [{"b": 1, "a": 2}], '[{"b": 1, "a": 2}]'),
}


@pytest.mark.parametrize("name", PEER_IDS)
def test_a_file_written_by_d6tflow_is_found(name):
    kind, value, text = PEER_IDS[name]

    class Old(d6tpipe.tasks.TaskPickle):
        x = kind()

        def run(self):
            raise AssertionError("it is there")

    older = task_id_text("Old", {"x": text})
    path = Path(d6tpipe.settings.dirpath) / "Old" / f"{older}-data.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps("found"))
    task = Old(x=value)
    assert task.complete()
    assert d6tpipe.run(task, execution_summary=False).ok
    assert task.outputLoad() == "found"

    class Use(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return [Old(x=value)]

        def run(self):
            self.save(self.inputLoad()[0])

    d6tpipe.run(Use(), execution_summary=False)
    assert Use().outputLoad() == "found"
    task.reset(confirm=False)
    assert not task.complete() and not path.exists()


def test_what_is_built_now_gets_the_canonical_name():
    class New(d6tpipe.tasks.TaskPickle):
        x = d6tpipe.FloatParameter()

        def run(self):
            self.save(1)

    d6tpipe.run(New(x=5), execution_summary=False)
    (path,) = (Path(d6tpipe.settings.dirpath) / "New").iterdir()
    assert path.name.startswith("New_5_0_")
    assert New(x=5.0).complete()


# ------------------------------------------------------------------------------------------- nearest names


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("nmber", ["number", "word"], "number"),
        ("NUMBER", ["number"], "number"),
        ("zzz", ["number"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_name(name, names, found):
    assert nearest(name, names) == found
