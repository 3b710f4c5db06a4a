"""``d6tflow`` and ``d6tpipe`` are the same objects, submodules included."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUBMODULES = ["tasks", "tasks.h5", "targets", "functional", "settings", "utils", "cache", "pipes"]


@pytest.mark.parametrize("name", SUBMODULES)
@pytest.mark.parametrize("first", ["d6tflow", "d6tpipe"])
def test_submodule_is_one_object_whichever_name_comes_first(run_python, first, name):
    second = "d6tpipe" if first == "d6tflow" else "d6tflow"
    run_python(
        "-c",
        f"""
import importlib, sys
one = importlib.import_module("{first}.{name}")
two = importlib.import_module("{second}.{name}")
assert one is two
assert sys.modules["d6tflow.{name}"] is sys.modules["d6tpipe.{name}"]
assert one.__name__ == one.__spec__.name == "d6tpipe.{name}", (one.__name__, one.__spec__)
""",
    )


def test_package_is_one_object(run_python):
    run_python(
        "-c",
        """
import d6tflow, d6tpipe
assert d6tflow is d6tpipe and d6tflow.__spec__.name == "d6tpipe"
""",
    )


def test_every_import_form_gives_the_real_thing(run_python):
    run_python(
        "-c",
        """
import d6tflow.tasks.h5
import d6tflow.functional as functional
from d6tflow import settings, tasks
from d6tflow.functional import Workflow
from d6tflow.tasks import *
import d6tpipe
assert functional is d6tpipe.functional and Workflow is d6tpipe.functional.Workflow
assert settings is d6tpipe.settings and tasks is d6tpipe.tasks and tasks.h5 is d6tflow.tasks.h5
assert TaskPickle is d6tpipe.tasks.TaskPickle
""",
    )


def test_no_class_exists_twice(run_python):
    run_python(
        "-c",
        """
import d6tflow.tasks, d6tflow.targets, d6tpipe.tasks, sys
ours = {n: m for n, m in sys.modules.items() if n.startswith("d6tflow")}
assert all(m is sys.modules[n.replace("d6tflow", "d6tpipe", 1)] for n, m in ours.items()), ours
assert issubclass(d6tflow.tasks.TaskPickle, d6tpipe.tasks.TaskData)
""",
    )


def test_reload_keeps_one_object(run_python):
    run_python(
        "-c",
        """
import importlib, sys
import d6tflow.utils
assert importlib.reload(d6tflow.utils) is sys.modules["d6tpipe.utils"]
import d6tpipe
assert d6tpipe.utils is d6tflow.utils
""",
    )


def test_pickles_name_d6tpipe():
    d6tflow = importlib.import_module("d6tflow")
    data = pickle.dumps(d6tflow.tasks.TaskPickle)
    assert b"d6tpipe" in data
    assert b"d6tflow" not in data


def test_pickles_that_name_d6tflow_load():
    import d6tpipe

    assert pickle.loads(b"cd6tflow.tasks\nTaskPickle\n.") is d6tpipe.tasks.TaskPickle


@pytest.mark.parametrize("name", ["d6tflow.nope", "d6tflow.tasks.nope"])
def test_missing_submodule_is_an_ordinary_error(name):
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(name)
    assert caught.value.name == name
    assert name in str(caught.value)


def test_python_m_runs_the_command_line(run_python):
    assert "demo" in run_python("-m", "d6tflow", "--help").stdout
    run_python("-m", "d6tflow.utils")  # a submodule: nothing to do, and no error


def test_package_walk_sees_the_submodules(run_python):
    run_python(
        "-c",
        """
import pkgutil, d6tflow
names = {m.name for m in pkgutil.iter_modules(d6tflow.__path__, "d6tflow.")}
assert {"d6tflow.tasks", "d6tflow.targets", "d6tflow.utils"} <= names
""",
    )


def test_threads_importing_submodules_at_once_neither_hang_nor_double(run_python):
    run_python(
        "-c",
        """
import threading, importlib, sys
import d6tflow
names = ["tasks", "targets", "functional", "utils", "cache", "pipes", "tasks.h5", "settings"]
barrier, got, wrong = threading.Barrier(len(names)), {}, []
def load(name):
    barrier.wait()
    try:
        got[name] = importlib.import_module("d6tflow." + name)
    except BaseException as error:
        wrong.append(error)
threads = [threading.Thread(target=load, args=(name,), daemon=True) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
assert not any(thread.is_alive() for thread in threads) and not wrong, wrong
assert all(got[name] is sys.modules["d6tpipe." + name] for name in names)
""",
    )


def alias_beside(folder: Path, source: str) -> dict[str, str]:
    """Make a package d6tflow in `folder` and return an environment in which that folder comes first."""
    (folder / "d6tflow").mkdir(parents=True)
    (folder / "d6tflow" / "__init__.py").write_text(source)
    (folder / "d6tflow" / "tasks.py").write_text("WHOSE = 'theirs'\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


REAL_WINS = """
import d6tflow, d6tflow.tasks
assert d6tflow.WHOSE == d6tflow.tasks.WHOSE == "theirs"
import d6tpipe.tasks
assert d6tpipe is not d6tflow and not hasattr(d6tpipe.tasks, "WHOSE")
"""


def test_a_real_d6tflow_earlier_on_the_path_wins(run_python, tmp_path):
    env = alias_beside(tmp_path / "site", "WHOSE = 'theirs'\n")
    run_python("-c", REAL_WINS, env=env)
    run_python("-c", "import d6tpipe\n" + REAL_WINS, env=env)


def test_a_real_d6tflow_in_the_same_folder_wins(run_python, tmp_path):
    env = alias_beside(tmp_path / "site", "WHOSE = 'theirs'\n")
    shutil.copy(ROOT / "d6tflow.py", tmp_path / "site")
    run_python("-c", REAL_WINS, env=env)


def test_the_alias_without_d6tpipe_says_what_is_missing(tmp_path):
    shutil.copy(ROOT / "d6tflow.py", tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import d6tflow"
    # -S: without site-packages d6tpipe cannot be found
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "d6tpipe is not installed" in done.stderr
