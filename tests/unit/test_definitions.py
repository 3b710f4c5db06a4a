"""What a class says that its results depend on: what changes it, what does not, and how it is met in other ways."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import textwrap
import time
import types
from datetime import timedelta
from pathlib import Path

import luigi
import luigi.util
import pytest

import d6tpipe
from d6tpipe import definitions, watched
from d6tpipe.declared import OPTIONS, env, mark
from d6tpipe.definitions import definition, same_module
from d6tpipe.errors import DeclarationError

BASES = [d6tpipe.tasks.TaskPickle, d6tpipe.tasks.TaskAggregator, luigi.Task]

HEAD = """
import luigi, luigi.util
import d6tpipe as dp
from d6tpipe.declared import env, mark
from pathlib import Path
from datetime import timedelta
"""
FLOW = """
LIMIT = 3

def clean(x):
    return [v for v in x if v < LIMIT]

class Up(dp.tasks.TaskPickle):
    def run(self):
        return [1, 2, 3]

class Train(dp.tasks.TaskPickle):
    rate = dp.FloatParameter(default=0.1)
    factor = 2

    def requires(self):
        return Up()

    def helper(self, x):
        return [v * self.factor for v in clean(x)]

    def run(self):
        self.save(self.helper(self.inputLoad()))
"""


@pytest.fixture
def load(tmp_path):
    """Return a function that writes a module and imports it, again if it was imported before."""
    sys.path.insert(0, str(tmp_path))

    def load(text, name="pipeline", head=HEAD):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + textwrap.dedent(text))
        sys.modules.pop(name, None)
        module = sys.modules[name] = types.ModuleType(name)
        module.__file__ = str(path)
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        return module

    return load


@pytest.fixture
def codes(load):
    """Return a function: the codes of `Train` before and after an edit of `FLOW`."""

    def codes(before, after, flow=FLOW):
        assert before in flow
        found = [definition(load(flow.replace(before, text)).Train) for text in (before, after)]
        assert isinstance(found[0].code, bytes) and len(found[0].code) == 16
        return [one.code for one in found]

    return codes


def body(text, base="dp.tasks.TaskPickle"):
    lines = textwrap.indent(textwrap.dedent(text), "    ")
    return f"class Train({base}):\n    def run(self):\n        self.save(1)\n{lines}\n"


# ---- what changes the code, and what does not


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("v * self.factor", "v + self.factor"), ("v < LIMIT", "v <= LIMIT"), ("LIMIT = 3", "LIMIT = 4"),
        ("factor = 2", "factor = 3"), ("    def helper", "    def save(self, data): pass\n\n    def helper"),
        ("    def run(self):\n        self", "    def input(self): return None\n\n    def run(self):\n        self"),
        ("Train(dp.tasks.TaskPickle)", "Train(dp.tasks.TaskJson)"), ("factor = 2", "factor = 2\n    version = '2'"),
        ("factor = 2", "factor = 2\n    depends_on = [Up]"), ("factor = 2", "factor = 2\n    ignore_code = True"),
        ("factor = 2", "factor = 2\n    persist = ['x', 'y']"),
        ("factor = 2", "factor = 2\n    target_class = luigi.LocalTarget"),
    ],
)  # fmt: skip
def test_what_a_result_depends_on_changes_the_code(codes, before, after):
    one, other = codes(before, after)
    assert one != other


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return Up()", "return [Up(), Up()]"),
        ("factor = 2", "factor = 2\n    def complete(self): return True\n    def output(self): return []"),
        ("factor = 2", "factor = 2\n    def deps(self): return []\n    def on_failure(self, error): return LIMIT + 7"),
        ("factor = 2", "factor = 2\n    priority = 7\n    resources = {'gpu': 1}\n    retry_count = 2"),
        ("factor = 2", "factor = 2\n    worker_timeout = 9\n    disable_window = 3\n    owner_email = 'x'"),
        ("factor = 2", "factor = 2\n    task_group = 'g'\n    path = 'elsewhere'\n    target_dir = 't'"),
        ("factor = 2", "factor = 2\n    target_ext = 'pkl2'\n    save_attrib = False\n    pipename = 'p'"),
        ("factor = 2", "factor = 2\n    external = False\n    task_namespace = 'n'"),
        ("factor = 2", "factor = 2\n    freeze = True\n    expires = timedelta(1)"),
        ("factor = 2", "factor = 2\n    stale = 'warn'\n    marks = {'a'}"),
        ("factor = 2", "factor = 2\n    version = None\n    depends_on = []\n    ignore_code = False"),
        ("rate = dp.FloatParameter(default=0.1)", "rate = dp.IntParameter(default=2, significant=False)"),
        ("factor = 2", "factor = 2\n    knob = dp.IntParameter(default=0)"),
        ("    def requires(self):\n        return Up()\n", ""),
        ("return [1, 2, 3]", "return [1]"),
        ("class Train", "@mark.costly\nclass Train"),
        ("class Train", "@mark.freeze\nclass Train"),
        ("class Train", "@dp.requires(Up)\nclass Train"),
        ("class Train", "@dp.requires({'a': Up, 'b': Up})\nclass Train"),
        ("class Train", "@dp.inherits(Up)\nclass Train"),
        ("class Train", "@luigi.util.requires(Up)\nclass Train"),
        ("class Train", "@luigi.util.inherits(Up)\nclass Train"),
    ],
)  # fmt: skip
def test_scheduling_places_parameters_and_decorators_of_ours_do_not(codes, before, after):
    one, other = codes(before, after)
    assert one == other


def test_editing_an_own_requires_output_or_complete_does_not(codes):
    hooks = body("""
        def requires(self): return 1 + 1
        def output(self): return 1 + 1
        def complete(self): return 1 + 1
    """)
    one, other = codes("1 + 1", "2 * 2 * len('x')", hooks)
    assert one == other


def test_another_task_class_that_a_body_names_counts_by_its_name_only(codes):
    flow = FLOW.replace("def run(self):\n        self", "def run(self):\n        yield Up()\n        self")
    assert len(set(codes("[1, 2, 3]", "[1]", flow))) == 1
    assert len(set(codes("yield Up()", "yield Train()", flow))) == 2


def test_a_base_class_of_the_user_counts_but_not_its_scheduling(codes):
    flow = """
    class Base(dp.tasks.TaskPickle):
        def requires(self): return 7
        def prepare(self): return 8

    class Train(Base):
        def run(self): return self.prepare()
    """
    assert len(set(codes("return 8", "return 9", textwrap.dedent(flow)))) == 2
    assert len(set(codes("return 7", "return 9", textwrap.dedent(flow)))) == 1


def test_the_user_s_own_target_class_counts(codes):
    flow = """
    class Target(dp.targets.PickleTarget):
        def save(self, value): return super().save([value, 1])

    class Train(dp.tasks.TaskPickle):
        target_class = Target
        def run(self): return 1
    """
    one, other = codes("[value, 1]", "[value, 2]", textwrap.dedent(flow))
    assert one != other


def test_our_own_code_is_never_entered(load):
    found = definition(load(FLOW).Train)
    assert {"Train", "Train.factor", "Train.helper", "Train.run", "clean", "LIMIT"} == set(found.members)


def test_what_lies_where_counts_for_a_plain_luigi_class_for_whom_the_words_mean_nothing(codes):
    flow = body("path = 'a.csv'", "luigi.Task")
    assert len(set(codes("a.csv", "b.csv", flow))) == 2
    assert len(set(codes("a.csv", "b.csv", body("path = 'a.csv'")))) == 1


@pytest.mark.parametrize("base", ["dp.tasks.TaskPickle", "dp.tasks.TaskAggregator", "luigi.Task", "luigi.WrapperTask"])
def test_every_kind_of_task_has_a_definition(load, codes, base):
    found = definition(load(body("", base)).Train)
    assert found.code_fast.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}-")
    assert found.code_stable
    assert ("Train", "pipeline", frozenset(), {}) == (found.family, found.module, found.marks, found.extras)
    assert len(set(codes("self.save(1)", "self.save(2)", body("", base)))) == 2
    assert len(set(codes("version = 1", "version = 2", body("version = 1", base)))) == 2


def test_classes_of_ours_and_luigi_s_have_one_too():
    for cls in (d6tpipe.tasks.TaskPickle, d6tpipe.tasks.TaskAggregator, luigi.Task, luigi.ExternalTask):
        assert definition(cls) is definition(cls)


def test_the_demo_counts_as_the_user_s():
    from d6tpipe.demo import flow

    classes = [
        thing
        for thing in vars(flow).values()
        if isinstance(thing, type) and issubclass(thing, d6tpipe.tasks.TaskData) and thing.__module__ == flow.__name__
    ]
    assert classes
    for cls in classes:
        assert f"{cls.__name__}.run" in definition(cls).members


def test_a_class_made_by_a_call_is_looked_through(load):
    text = """
    def run(self): return 1
    Train = type(dp.tasks.TaskPickle)("Train", (dp.tasks.TaskPickle,), {"run": run})
    class Child(Train):
        def more(self): return 1
    """
    one, other = [load(text.replace("return 1", f"return {n}")) for n in (1, 2)]
    assert definition(one.Train).code != definition(other.Train).code
    assert "pipeline" == definition(one.Train).module
    assert definition(one.Child).code != definition(other.Child).code
    assert {"run", "Child.more"} <= set(definition(one.Child).members)


def test_an_abstract_base_class_brings_nothing_of_python_s_own(load):
    text = "import abc\nclass Base(abc.ABC):\n    def f(self): pass\n" + body("").replace("(dp", "(Base, dp")
    assert {"Base", "Base.f", "Train", "Train.run"} == set(definition(load(text).Train).members)


def test_a_config_class_that_a_body_uses_is_no_task_to_stop_at(codes):
    flow = """
    class Setup(luigi.Config):
        def rate(self): return 5

    class Train(dp.tasks.TaskPickle):
        def run(self): return Setup().rate()
    """
    one, other = codes("return 5", "return 6", textwrap.dedent(flow))
    assert one != other


# ---- options


def test_what_a_class_declares_is_there(load):
    found = definition(
        load("""
        @mark.costly
        class Train(dp.tasks.TaskPickle):
            version = 3
            ignore_code = True
            freeze = True
            expires = timedelta(days=1)
            stale = "rerun"
            marks = {"nightly"}
            def run(self): return 1
    """).Train
    )
    assert ("3", True, True) == (found.version, found.ignore_code, found.freeze)
    assert (timedelta(days=1), "rerun") == (found.expires, found.stale)
    assert {"costly", "nightly", "freeze"} == found.marks
    assert sys.version.split()[0] == found.python


def test_a_version_bump_changes_the_code_and_nothing_else(load):
    one, other = [definition(load(body(f"version = {n}")).Train) for n in (1, 2)]
    assert one.code != other.code
    assert (one.code_fast, one.code_stable, one.members) == (other.code_fast, other.code_stable, other.members)


def test_with_ignore_code_only_the_rest_counts(load):
    one, two, three = [
        definition(load(body(f"ignore_code = True\nversion = '{v}'\ndef helper(self): return {n}")).Train)
        for v, n in (("a", 1), ("a", 2), ("b", 2))
    ]
    assert one.code == two.code != three.code
    assert one.code_fast != two.code_fast  # recorded all the same: another day it may count


@pytest.mark.parametrize("word", sorted(OPTIONS))
@pytest.mark.parametrize("base", ["dp.tasks.TaskPickle", "luigi.Task"])
def test_a_word_that_is_a_parameter_is_no_option(load, word, base):
    plain = definition(load(body("", base)).Train)
    found = definition(load(body(f"{word} = dp.Parameter(default='x')", base)).Train)
    assert plain.code == found.code
    assert ("", None, False, None, frozenset(), {}) == (
        found.version, found.stale, found.freeze, found.expires, found.marks, found.extras,
    )  # fmt: skip


@pytest.mark.parametrize("word", sorted(OPTIONS))
@pytest.mark.parametrize("base", ["dp.tasks.TaskPickle", "luigi.Task"])
def test_a_word_that_is_a_method_is_code(codes, word, base):
    flow = body(f"def {word}(self): return 7", base)
    assert len(set(codes("return 7", "return 8", flow))) == 2
    marked = "@mark.freeze\n@mark.costly\n" + flow
    assert len(set(codes("return 7", "return 8", marked))) == 2


def test_a_plain_value_that_settles_a_parameter_of_the_base_class_is_code(codes):
    flow = """
    class Base(dp.tasks.TaskPickle):
        expires = dp.IntParameter(default=1)

    class Train(Base):
        expires = 5
        def run(self): return self.expires
    """
    one, other = codes("expires = 5", "expires = 6", textwrap.dedent(flow))
    assert one != other


def test_an_attribute_of_a_plain_luigi_class_that_only_looks_like_an_option_is_code(codes):
    for word, before, after in (
        ("version", "1.5", "1.6"),
        ("expires", "3600", "60"),
        ("depends_on", "['q0', 1]", "['q1']"),
    ):
        assert len(set(codes(before, after, body(f"{word} = {before}", "luigi.Task")))) == 2


def test_an_option_that_does_not_fit_is_an_error(load):
    with pytest.raises(DeclarationError, match="version"):
        definition(load(body("version = 1.5")).Train)


# ---- parameters with ignore_default


def test_adding_a_parameter_with_ignore_default_changes_code_but_not_the_fingerprint(load):
    one, two, three, four = [
        definition(load(body(text)).Train)
        for text in (
            "",
            "seed = dp.IntParameter(default=0, ignore_default=True)",
            "seed = dp.IntParameter(default=1, ignore_default=True)",
            "seed = dp.IntParameter(default=1, ignore_default=True, significant=False)",
        )
    ]
    assert one.code_fast == two.code_fast == three.code_fast == four.code_fast
    assert 3 == len({one.code, two.code, three.code})
    assert one.code == four.code
    assert [{}, {"seed": "0"}, {"seed": "1"}, {}] == [found.defaults for found in (one, two, three, four)]


def test_a_default_from_luigi_s_configuration_counts(load):
    cls = load(body("seed = dp.IntParameter(default=0, ignore_default=True)")).Train
    before = definition(cls)
    config = luigi.configuration.get_config()
    config.set("Train", "seed", "5")
    try:
        assert {"seed": "5"} == definition(cls).defaults
        assert before.code != definition(cls).code
    finally:
        config.remove_section("Train")
    assert before.code == definition(cls).code


def test_a_parameter_with_ignore_default_and_no_default_has_none(load):
    assert {} == definition(load(body("seed = dp.IntParameter(ignore_default=True)")).Train).defaults


# ---- memory


def test_an_unchanged_class_is_looked_at_once(load):
    module = load(FLOW)
    assert definition(module.Train) is definition(module.Train)
    watching = load(body("depends_on = ['numpy', env('HOME'), len]\nseed = dp.IntParameter(0, ignore_default=True)"))
    assert definition(watching.Train) is definition(watching.Train)


@pytest.mark.parametrize(
    "change",
    [
        "LIMIT = 9", "def clean(x):\n    return x", "Train.factor = 9", "Train.version = '9'",
        "Train.ignore_code = True",
        "Train.extra = lambda self: 1", "Train.run = lambda self: self.save(7)", "Train.depends_on = [clean]",
    ],
)  # fmt: skip
def test_a_cell_run_later_is_seen(load, change):
    module = load(FLOW)
    before = definition(module.Train).code
    exec(change, vars(module))
    assert before != definition(module.Train).code


def test_a_class_defined_again_takes_the_place_of_the_one_before(load):
    module = load(FLOW)
    old, before = module.Train, definition(module.Train)
    exec(textwrap.dedent(FLOW), vars(module))
    assert module.Train is not old
    again = definition(module.Train)
    assert again is not before and again.cls is module.Train
    assert again.code == before.code
    exec(FLOW.replace("v * self", "v - self"), vars(module))
    assert definition(module.Train).code != before.code
    assert definition(old).code == before.code


def test_marks_and_modes_set_later_are_seen(load):
    cls = load(FLOW).Train
    before = definition(cls)
    mark.costly(cls)
    cls.stale = "rerun"
    assert ({"costly"}, "rerun") == (definition(cls).marks, definition(cls).stale)
    assert (frozenset(), None) == (before.marks, before.stale)


def test_a_depends_on_list_that_grows_is_seen(load):
    cls = load(body("depends_on = []")).Train
    before = definition(cls).code
    cls.depends_on.append(env("HOME"))
    assert before != definition(cls).code


# ---- members and sources


def test_sources_show_what_the_members_are(load):
    found = definition(load(FLOW).Train)
    sources = found.sources()
    assert set(sources) == set(found.members)
    assert "return [v for v in x if v < LIMIT]" in sources["clean"]
    assert sources["LIMIT"] == "3"
    changed = definition(load(FLOW.replace("LIMIT = 3", "LIMIT = 4")).Train)
    assert {"LIMIT"} == {name for name, one in found.members.items() if changed.members[name] != one}


def test_a_class_without_source_has_a_code_but_nothing_that_holds_for_all_versions():
    space = {"dp": d6tpipe, "__name__": "from_nowhere"}
    exec("class Train(dp.tasks.TaskPickle):\n    def run(self): return 1", space)
    found = definition(space["Train"])
    assert found.code_fast
    assert "" == found.code_stable
    assert "# source not available" == found.sources()["Train.run"]


def test_a_class_that_cannot_be_looked_through_warns_once_and_counts_by_its_version(load, monkeypatch):
    module = load(FLOW + "\nclass Other(Train):\n    version = 2\n")

    def fail(*args, **options):
        raise RuntimeError("no way")

    monkeypatch.setattr(definitions, "fingerprint", fail)
    monkeypatch.setattr(definitions, "_warned", set())
    with pytest.warns(UserWarning, match="Train cannot be looked through.*no way") as caught:
        found, again = definition(module.Train), definition(module.Train)
    assert len(caught) == 1
    assert ("", "", {}, {}, {}, True) == (
        found.code_fast, found.code_stable, found.members, found.sources(), found.packages, found.ignore_code,
    )  # fmt: skip
    assert found.code == again.code
    with pytest.warns(UserWarning, match="Other"):
        assert found.code != definition(module.Other).code
    monkeypatch.undo()
    assert definition(module.Train).code_fast


@pytest.mark.slow
def test_packages_names_the_libraries_that_the_code_reaches(load):
    text = """
    import json, math
    import numpy as np
    from pandas import DataFrame as Frame
    helpers = 3

    class Train(dp.tasks.TaskPickle):
        def run(self):
            import xxhash
            return np.arange(3), Frame(), math.pi, json.dumps, xxhash.xxh32, helpers
    """
    found = definition(load(text).Train)
    assert {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "xxhash")} == found.packages


@pytest.mark.slow
def test_a_library_whose_package_has_another_name_is_found(load):
    pytest.importorskip("sklearn")
    found = definition(load("import sklearn.linear_model as m\n" + body("def f(self): return m.Ridge()")).Train)
    assert {"scikit-learn": importlib.metadata.version("scikit-learn")} == found.packages


# ---- dynamic


@pytest.mark.parametrize("base", ["dp.tasks.TaskPickle", "luigi.Task"])
def test_a_generator_body_is_dynamic(load, base):
    text = f"class Train({base}):\n    def run(self):\n        yield\n"
    assert definition(load(text).Train).dynamic
    assert definition(load(text + "class Child(Train): pass\nTrain = Child").Train).dynamic
    decorated = "import functools\ndef same(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n"
    assert definition(load(decorated + text.replace("    def", "    @same\n    def")).Train).dynamic
    assert not definition(load(text.replace("yield", "return 1")).Train).dynamic


def test_aggregators_and_external_tasks_are_not_dynamic(load):
    assert not definition(load("class Train(dp.tasks.TaskAggregator):\n    def run(self): yield").Train).dynamic
    assert not definition(luigi.ExternalTask).dynamic
    assert not definition(load("class Train(dp.tasks.TaskPickle):\n    run = None").Train).dynamic


# ---- depends_on: objects


def extras(load, text, **names):
    module = load(f"class Train(dp.tasks.TaskPickle):\n    depends_on = {text}\n    def run(self): return 1\n")
    return definition(module.Train).extras


def test_objects_count_with_all_that_they_use(load):
    flow = """
    LIMIT = 3
    TABLE = {"a": [1]}
    def deep(): return LIMIT
    def clean(): return deep()
    class Model:
        def fit(self): return 4
    class Train(dp.tasks.TaskPickle):
        depends_on = [clean, Model, TABLE]
        def run(self): return 1
    """
    first = definition(load(flow).Train)
    assert {"object:clean", "object:Model", "object:dict"} == set(first.extras)
    json.dumps(first.extras)
    for before, after, key in (("LIMIT = 3", "LIMIT = 4", "clean"), ("return 4", "return 5", "Model"),
                               ("[1]", "[2]", "dict")):  # fmt: skip
        found = definition(load(flow.replace(before, after)).Train)
        assert found.code != first.code and found.code_fast == first.code_fast
        assert {f"object:{key}"} == {name for name in found.extras if found.extras[name] != first.extras[name]}
    same = definition(load(flow.replace("return 4", "return 4  # comment")).Train)
    assert (same.code, same.extras) == (first.code, first.extras)


def test_what_is_recorded_of_an_object_holds_for_all_versions_of_python(load):
    module = load("def clean(): return 1\n" + body("depends_on = [clean]"))
    assert [definitions.fingerprint(module.clean).stable] == list(definition(module.Train).extras.values())


def test_things_of_one_name_are_told_apart_whatever_their_order(load):
    one = extras(load, "[lambda: 1,\n lambda: 2, {'a': 1}, {'a': 2}, {'a': 1}]")
    other = extras(load, "[{'a': 2}, {'a': 1}, lambda: 2,\n lambda: 1]")
    assert one == other
    assert 4 == len(one)
    assert one != extras(load, "[lambda: 1,\n lambda: 3, {'a': 1}, {'a': 2}]")


def test_a_task_class_counts_with_its_code_but_not_its_scheduling(load):
    flow = FLOW.replace("class Train", "class Model").replace("class Up", "class Source")
    flow = flow.replace("return Up()", "return Source()")
    text = flow + "class Train(dp.tasks.TaskPickle):\n    depends_on = [Model]\n"
    first, scheduled, edited = [
        definition(load(text.replace(*edit)).Train).code
        for edit in (("", ""), ("return Source()", "return []"), ("v * self", "v - self"))
    ]
    assert first == scheduled != edited


def test_a_function_of_the_running_program_is_no_library_s_whatever_program_that_is(monkeypatch):
    installed = "/venv/lib/python3.11/site-packages/worker/__main__.py"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", installed, raising=False)
    space = {"dp": d6tpipe, "__name__": "__main__"}
    exec("def clean(): return 1\nclass Train(dp.tasks.TaskPickle):\n    depends_on = [clean]", space)
    assert {"object:clean"} == set(definition(space["Train"]).extras)


def test_an_object_that_cannot_be_looked_through_warns_once(load, monkeypatch):
    module = load("def clean(): return 1\n" + body("depends_on = [clean]"))
    real = definitions.fingerprint

    def fail(item, **options):
        if item is module.clean:
            raise RuntimeError("no way")
        return real(item, **options)

    monkeypatch.setattr(definitions, "fingerprint", fail)
    monkeypatch.setattr(watched, "_told", set())
    with pytest.warns(UserWarning, match="Train.*object:clean.*no way") as caught:
        assert {"object:clean": "unreadable"} == definition(module.Train).extras == definition(module.Train).extras
    assert len(caught) == 1


def test_of_a_library_object_the_version_counts(load):
    found = extras(load, "[__import__('numpy').linalg.norm, __import__('numpy').ndarray, len, __import__('numpy')]")
    assert importlib.metadata.version("numpy") == found["package:numpy"]
    assert {"package:numpy", "package:builtins"} == set(found)


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        ("Up()", "requires"), ("luigi.LocalTarget('f.csv')", "pathlib.Path"), ("object()", "plain data"),
        ("dp.IntParameter()", "plain data"), ("__import__('pandas').DataFrame()", "plain data"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_an_error(load, item, hint):
    module = load(
        f"class Up(dp.tasks.TaskPickle): pass\nclass Train(dp.tasks.TaskPickle):\n    depends_on = [{item}]\n"
    )
    with pytest.raises(DeclarationError, match="(?s)Train.*" + hint):
        definition(module.Train)


# ---- depends_on: packages


def test_a_package_counts_by_its_version(load):
    pytest.importorskip("sklearn")
    found = extras(load, "['numpy', 'scikit-learn', 'sklearn', 'sklearn.linear_model', 'json']")
    version = importlib.metadata.version("scikit-learn")
    assert found == {
        "package:numpy": importlib.metadata.version("numpy"),
        "package:scikit-learn": version,
        "package:sklearn": f"scikit-learn {version}",
        "package:sklearn.linear_model": f"scikit-learn {version}",
        "package:json": f"Python {sys.version.split()[0]}",
    }


def install(folder, version):
    for old in folder.glob("colours-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    info = folder / f"colours-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: colours\nVersion: {version}\n")
    (info / "RECORD").write_text("colours_/__init__.py,,\ncolours.py,,\n")


def test_an_upgrade_is_seen_while_the_process_runs(load, tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    install(site, "1.0")
    sys.path.append(str(site))
    cls = load(body("depends_on = ['colours']")).Train
    first = definition(cls)
    assert {"package:colours": "1.0"} == first.extras
    assert definition(cls) is first
    install(site, "1.1")
    os.utime(site, (1, 1))  # as time goes by
    importlib.invalidate_caches()
    assert {"package:colours": "1.1"} == definition(cls).extras
    assert first.code != definition(cls).code


def test_a_module_of_the_project_counts_by_its_source(load, tmp_path):
    (tmp_path / "helpers.py").write_text("x = 1")
    (tmp_path / "kit" / "inner").mkdir(parents=True)
    for name in ("__init__", "one", "inner/__init__", "inner/two"):
        (tmp_path / "kit" / f"{name}.py").write_text("x = 1")
    importlib.invalidate_caches()
    cls = load(body("depends_on = ['helpers', 'kit', 'kit.one', 'kit.inner']")).Train

    def changed(path, text):
        before = definition(cls).extras
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        after = definition(cls).extras
        return {name.partition(":")[2] for name in after if after[name] != before[name]}

    assert {"helpers"} == changed("helpers.py", "x = 2")
    assert {"kit", "kit.one"} == changed("kit/one.py", "x = 2")
    assert {"kit", "kit.inner"} == changed("kit/inner/two.py", "x = 2")
    assert {"kit", "kit.inner"} == changed("kit/inner/three.py", "")
    assert set() == changed("kit/data.csv", "1")
    assert set() == changed("kit/__pycache__/one.py", "1")
    assert not {"helpers", "kit", "kit.one"} & set(sys.modules)  # looked at, not imported


def test_a_module_object_counts_as_its_name_does(load, tmp_path):
    (tmp_path / "helpers.py").write_text("x = 1")
    importlib.invalidate_caches()
    assert extras(load, "['helpers']") == extras(load, "[__import__('helpers')]")


def test_a_project_that_is_installed_to_be_edited_counts_by_version_and_source(load, tmp_path):
    install(tmp_path, "1.0")
    (tmp_path / "colours.py").write_text("x = 1")
    importlib.invalidate_caches()
    one = extras(load, "['colours']")["package:colours"]
    (tmp_path / "colours.py").write_text("x = 2")
    other = extras(load, "['colours']")["package:colours"]
    assert one.startswith("1.0 ") and other.startswith("1.0 ")
    assert one != other


@pytest.mark.parametrize(
    ("text", "hint"),
    [("nunpy", "'numpy'"), ("zzqqyy", "installed package"), ("data/raw.csv", "Path"), ("here.csv", "Path"), ("", "")],
)
def test_a_package_that_does_not_exist_is_an_error_with_the_nearest_name(load, text, hint):
    Path("here.csv").write_text("")
    module = load(body(f"depends_on = [{text!r}]"))
    with pytest.raises(DeclarationError, match="(?s)Train.*" + hint):
        definition(module.Train)


# ---- depends_on: files


def settle(path):
    """Make a file look as if it had not been written just now."""
    moment = time.time() - 100
    os.utime(path, (moment, moment))


def test_a_file_counts_by_its_content(load, tmp_path):
    import xxhash

    file = tmp_path / "f.csv"
    file.write_text("a")
    cls = load(body(f"depends_on = [Path({str(file)!r})]")).Train
    key = f"file:{file.as_posix()}"
    first = definition(cls)
    assert {key: xxhash.xxh3_128(b"a").hexdigest()} == first.extras
    settle(file)
    assert definition(cls) is first
    file.write_text("b")
    assert first.code != definition(cls).code
    file.unlink()
    assert {key: "missing"} == definition(cls).extras
    file.write_text("a")
    assert first.code == definition(cls).code


def test_a_file_is_read_again_only_when_it_looks_different(load, tmp_path, monkeypatch):
    file = tmp_path / "f.csv"
    file.write_text("a")
    settle(file)
    cls = load(body(f"depends_on = [Path({str(file)!r})]")).Train
    first = definition(cls)
    monkeypatch.setattr("builtins.open", lambda *args, **options: pytest.fail("read again"))
    assert definition(cls) is first


def test_a_file_that_was_just_written_is_not_trusted_by_its_time(load, tmp_path):
    file = tmp_path / "f.csv"
    file.write_text("a")
    cls = load(body(f"depends_on = [Path({str(file)!r})]")).Train
    first, status = definition(cls), file.stat()
    watched._digests[str(file)] = ((), "")  # as little as a coarse clock would show
    file.write_text("b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert first.code != definition(cls).code
    assert watched._digests[str(file)] == ((), "")


def test_relative_paths_are_beside_the_file_of_the_class_or_else_in_the_working_directory(load, tmp_path):
    cls = load(body("depends_on = [Path('f.csv')]")).Train
    assert {"file:f.csv": "missing"} == definition(cls).extras
    Path("f.csv").write_text("working directory")
    second = definition(cls).extras
    (tmp_path / "f.csv").write_text("beside")
    third = definition(cls).extras
    assert 2 == len({second["file:f.csv"], third["file:f.csv"]} - {"missing"})
    Path("f.csv").write_text("another")
    assert third == definition(cls).extras


def test_relative_paths_of_a_base_class_are_beside_the_base_class(load, tmp_path):
    load(body("depends_on = [Path('f.csv')]").replace("Train", "Base"), "base")
    (tmp_path / "f.csv").write_text("beside the base class")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f.csv").write_text("beside the child")
    load("", "sub")
    child = load("from base import Base\nclass Train(Base): pass", "sub.flow").Train
    assert definition(child).extras == definition(sys.modules["base"].Base).extras


def test_a_folder_counts_by_names_and_contents(load, tmp_path):
    folder = tmp_path / "raw"
    (folder / "in").mkdir(parents=True)
    (folder / "a.csv").write_text("1")
    (folder / "in" / "b.csv").write_text("2")
    cls = load(body("depends_on = [Path('raw')]")).Train
    seen = {definition(cls).code}
    changes = [
        lambda: (folder / "in" / "b.csv").write_text("3"),
        lambda: (folder / "in" / "b.csv").rename(folder / "in" / "c.csv"),
        lambda: (folder / "new.csv").write_text("1"),
        lambda: (folder / "new.csv").unlink(),
        lambda: (folder / "a.csv").rename(folder / "in" / "a.csv"),
    ]
    for number, change in enumerate(changes):
        change()
        seen.add(definition(cls).code)
        assert len(seen) == (number + 2 if number < 3 else number + 1)  # the fourth is the way back
    before = definition(cls).code
    for name in ("__pycache__", ".d6tpipe"):  # Python writes there, and so do we
        (folder / name).mkdir()
        (folder / name / "x").write_text("x")
    assert before == definition(cls).code
    (folder / "in" / "round").symlink_to(folder, target_is_directory=True)
    definition(cls)


def test_what_would_wait_to_be_read_is_not_read(load, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert {"file:pipe": "no file"} == extras(load, "[Path('pipe')]")


def test_a_file_that_cannot_be_read_warns_once(load, tmp_path, monkeypatch):
    (tmp_path / "f.csv").write_text("x")

    def fail(path, status):
        raise PermissionError(13, "not yours", path)

    monkeypatch.setattr(watched, "_of_file", fail)
    monkeypatch.setattr(watched, "_told", set())
    with pytest.warns(UserWarning, match="not yours") as caught:
        assert {"file:f.csv": "unreadable"} == extras(load, "[Path('f.csv')]") == extras(load, "[Path('f.csv')]")
    assert len(caught) == 1


# ---- depends_on: the environment


def test_an_environment_variable_counts_and_its_value_is_not_told(load, monkeypatch):
    cls = load(body("depends_on = [env('REGION')]")).Train
    monkeypatch.delenv("REGION", raising=False)
    unset = definition(cls)
    assert {"env:REGION": None} == unset.extras
    monkeypatch.setenv("REGION", "")
    empty = definition(cls)
    monkeypatch.setenv("REGION", "secret")
    full = definition(cls)
    assert 3 == len({unset.code, empty.code, full.code})
    assert "secret" not in json.dumps(full.extras)
    monkeypatch.setenv("REGION", "caf\udce9")
    assert full.code != definition(cls).code


# ---- where a class comes from


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("pkg.flow", "pkg.flow", True), ("pkg.flow", "pkg.other", False), ("pkg.flow", "flow", False),
        ("__main__", "pkg.flow", True), ("__main__", "__main__/flow", True), ("__main__/flow", "pkg.flow", True),
        ("__main__/flow", "flow", True), ("__main__/flow", "pkg.flow.deep", False), ("__main__/flow", "myflow", False),
        ("__main__/flow", "__main__/other", False), ("__main__/flow", "__main__/my.flow", False),
        ("", "pkg.flow", True),
    ],
)  # fmt: skip
def test_which_modules_can_be_the_same(a, b, same):
    assert same == same_module(a, b) == same_module(b, a)


SCRIPT = """
import sys
import d6tpipe
from d6tpipe.declared import env, mark
from d6tpipe.definitions import definition
from pathlib import Path
import helpers

LIMIT = 3

def clean(x):
    return x[:LIMIT]

class Up(d6tpipe.tasks.TaskPickle):
    pass

@mark.costly
@d6tpipe.requires(Up)
class Train(d6tpipe.tasks.TaskPickle):
    version = 2
    depends_on = [clean, Path("f.csv"), env("REGION"), "helpers"]
    seed = d6tpipe.IntParameter(default=1, ignore_default=True)

    def run(self):
        return clean(self.inputLoad())

def say(cls=None):
    found = definition(cls or Train)
    print(found.module, found.code.hex(), found.code_fast, ",".join(sorted(found.marks)), flush=True)
"""
MAIN = """
if __name__ == "__main__":
    say()
    if "dump" in sys.argv:
        import cloudpickle
        with open("class.pkl", "wb") as file:
            cloudpickle.dump((Train, say), file)
    if "spawn" in sys.argv:
        import multiprocessing
        child = multiprocessing.get_context("spawn").Process(target=say)
        child.start()
        child.join()
"""


@pytest.mark.slow
def test_one_class_met_in_every_way_has_one_code(tmp_path, run_python):
    (tmp_path / "pkg").mkdir()
    for folder in (tmp_path, tmp_path / "pkg"):
        (folder / "flow.py").write_text(SCRIPT + MAIN)
        (folder / "f.csv").write_text("1")
    (tmp_path / "helpers.py").write_text("x = 1")

    def lines(*arguments, **options):
        options = {"cwd": tmp_path, **options}
        return [line.split() for line in run_python(*arguments, **options).stdout.splitlines()]

    found = lines("flow.py", "spawn", "dump")
    assert ["__main__/flow", "__main__/flow"] == [line[0] for line in found]
    load = "import pickle; cls, say = pickle.load(open('class.pkl', 'rb')); say(cls)"
    found += lines("-c", load)
    assert "__main__/flow" == found[-1][0]
    found += lines("-c", "import flow; flow.say()")
    assert "flow" == found[-1][0]
    found += lines("-m", "flow")
    assert "flow" == found[-1][0]
    found += lines("-m", "pkg.flow", "spawn")
    assert ["pkg.flow", "pkg.flow"] == [line[0] for line in found[-2:]]
    found += lines("-c", "exec(open('flow.py').read())")  # as a notebook does
    assert "__main__" == found[-1][0]
    found += lines("-m", "cProfile", "-o", "profile", "flow.py")
    assert "__main__/flow" == found[-1][0]
    assert 1 == len({tuple(line[1:]) for line in found}), found
    assert "costly" == found[0][3]


@pytest.mark.slow
def test_a_changed_file_is_seen_by_a_class_that_came_as_a_pickle(tmp_path, run_python):
    (tmp_path / "flow.py").write_text(SCRIPT + MAIN)
    (tmp_path / "helpers.py").write_text("x = 1")
    (tmp_path / "f.csv").write_text("1")
    first = run_python("flow.py", "dump", cwd=tmp_path).stdout.split()
    (tmp_path / "f.csv").write_text("2")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    load = f"import sys, pickle; sys.path.append({str(tmp_path)!r})\n"
    load += f"cls, say = pickle.load(open({str(tmp_path / 'class.pkl')!r}, 'rb')); say(cls)"
    again = run_python("-c", load, cwd=elsewhere).stdout.split()
    assert first[1] != again[1]
    assert first[2] == again[2]
