"""The table of edits, made on files and looked at by new processes; and one file met in every way there is."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_SPEC = importlib.util.spec_from_file_location(
    "fingerprint_probes", Path(__file__).parents[1] / "unit" / "test_fingerprint.py"
)
probes = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(probes)

# Prints the fingerprints of the task in every folder named, one import after the other.
LOOK = """
import json, sys
from d6tpipe.fingerprint import fingerprint

def is_task(cls):
    return any([base.__name__ == "Task" for base in cls.__mro__])

def skipped(name, value):
    return name in ("requires", "output", "complete") or type(value).__name__ == "Parameter"

if __name__ == "__main__":
    found = {}
    for folder in sys.argv[1:]:
        for name in [name for name in sys.modules if name.startswith("probe")]:
            del sys.modules[name]
        sys.path.insert(0, folder)
        import probe.tasks
        one = fingerprint(probe.tasks.Train, stop=is_task, skip=skipped)
        found[folder.rpartition("/")[2]] = [one.fast, one.stable, one.members]
        sys.path.pop(0)
    print(json.dumps(found))
"""
TASKS = """
from probe.parameter import Parameter
"""


def write(folder, modules):
    (folder / "probe").mkdir(parents=True)
    for name, text in modules.items():
        text = textwrap.dedent(text)
        if name == "probe.tasks":
            text = TASKS + text
        (folder / "probe" / f"{name.partition('.')[2] or '__init__'}.py").write_text(text)
    (folder / "probe" / "parameter.py").write_text(
        "class Parameter:\n    def __init__(self, default):\n        self.default = default\n"
    )


def test_edits_of_real_modules_seen_by_new_processes(tmp_path, run_python):
    (tmp_path / "look.py").write_text(LOOK)
    for side, seed in (("before", "1"), ("after", "2")):
        for number, probe in enumerate(probes.PROBES):
            modules = probes.MODULES if side == "before" else probes.edited(*probe[1:4])
            write(tmp_path / side / str(number), modules)
        folders = [str(tmp_path / side / str(number)) for number in range(len(probes.PROBES))]
        done = run_python(str(tmp_path / "look.py"), *folders, env={"PYTHONHASHSEED": seed})
        (tmp_path / f"{side}.json").write_text(done.stdout)
    before, after = [json.loads((tmp_path / f"{side}.json").read_text()) for side in ("before", "after")]
    wrong = {}
    for number, (name, _, _, _, expected, members) in enumerate(probes.PROBES):
        old, new = before[str(number)], after[str(number)]
        found = probes.SAME if old[0] == new[0] else probes.DIFFERENT
        changed = [one for one, _ in probes.changed_members(old[2], new[2])]
        if found != expected or (members and changed != members):
            wrong[name] = found, changed
    assert {} == wrong
    assert 1 == len({entry[0] for entry in before.values()})  # wherever the folder is
    assert 1 == len({entry[1] for entry in before.values()})
    assert None not in {entry[1] for entry in before.values()}


SCRIPT = """
import sys
sys.path[:0] = __PATH__
from look import fingerprint, is_task, skipped
import multiprocessing

def say(cls=None):
    print(fingerprint(cls or Train, stop=is_task, skip=skipped).fast, flush=True)

if __name__ == "__main__":
    say()
    if "spawn" in sys.argv:
        for method in ("spawn", "forkserver", "fork"):
            if method in multiprocessing.get_all_start_methods():
                child = multiprocessing.get_context(method).Process(target=say)
                child.start()
                child.join()
                child = multiprocessing.get_context(method).Process(target=say, args=(Train,))
                child.start()
                child.join()
"""


def test_one_file_met_in_every_way_has_one_hash(tmp_path, run_python):
    write(tmp_path / "a", probes.MODULES)
    (tmp_path / "a" / "look.py").write_text(LOOK)
    script = tmp_path / "a" / "script.py"
    tasks = (tmp_path / "a" / "probe" / "tasks.py").read_text()
    path = f"[{str(tmp_path / 'a')!r}]"
    # Without asserts -O changes nothing.
    script.write_text(tasks.replace("assert total >= 0", "total") + SCRIPT.replace("__PATH__", path))
    folder = tmp_path / "a"
    found = {
        "script": run_python(str(script), "spawn").stdout.split(),
        "-m": run_python("-m", "script", cwd=folder).stdout.split(),
        "-O": run_python("-O", str(script)).stdout.split(),
        "-OO": run_python("-OO", str(script)).stdout.split(),
        "imported": run_python("-c", "import script; script.say()", cwd=folder).stdout.split(),
        "seed 7": run_python(str(script), env={"PYTHONHASHSEED": "7"}).stdout.split(),
        "traced": run_python("-c", "import sys, script; sys.settrace(lambda *a: None); script.say()",
                             cwd=folder).stdout.split(),
    }  # fmt: skip
    shutil.copytree(folder, tmp_path / "elsewhere" / "b")
    moved = tmp_path / "elsewhere" / "b" / "script.py"
    moved.write_text(moved.read_text().replace(path, f"[{str(moved.parent)!r}]"))
    found["moved"] = run_python(str(moved)).stdout.split()
    everything = {one for lines in found.values() for one in lines}
    assert 1 == len(everything), found
    assert 5 <= len(found["script"])


HELPERS = """
import functools

RATE = {"a": 0.1}

def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args), RATE["a"]
    return wrapper

@logged
def clean(x):
    return Scaler().fit(x)

class Scaler:
    factor = 2

    def __init__(self):
        super().__init__()

    def fit(self, x):
        return [v * self.factor for v in x]
"""
SHIP = """
import sys
import cloudpickle
import helpers, look
from helpers import clean

class Task:
    pass

class Train(Task):
    sizes = (1, 2)

    def run(self):
        return clean(self.sizes)

def answer(cls):
    found = look.fingerprint(cls, stop=look.is_task, skip=look.skipped)
    return found.fast, sorted(found.members)

print(answer(Train))
cloudpickle.register_pickle_by_value(helpers)
cloudpickle.register_pickle_by_value(look)
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump((Train, answer), file)
"""
LOAD = """
import pickle, sys
cls, answer = pickle.load(open(sys.argv[1], "rb"))
print(answer(cls))
"""


def test_by_value_in_a_process_without_the_project_has_the_same_hash(tmp_path, run_python):
    pytest.importorskip("cloudpickle")
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in (("look", LOOK), ("helpers", HELPERS), ("ship", SHIP)):
        (folder / f"{name}.py").write_text(text)
    here = run_python(str(folder / "ship.py"), str(tmp_path / "value")).stdout
    assert "Scaler.fit" in here
    shutil.rmtree(folder)
    (tmp_path / "load.py").write_text(LOAD)
    assert here == run_python(str(tmp_path / "load.py"), str(tmp_path / "value")).stdout


# The package itself needs luigi and pandas, which the other interpreters may lack; the fingerprint does not.
WITHOUT_LUIGI = """
import sys, types
package = types.ModuleType("d6tpipe")
package.__path__ = [sys.argv.pop(1)]
sys.modules["d6tpipe"] = package
"""


def other_pythons():
    """Return the interpreters of other minor versions: listed in OTHER_PYTHONS, or on the PATH."""
    listed = os.environ.get("OTHER_PYTHONS", "").split()
    own = f"python3.{sys.version_info[1]}"
    return listed or [found for n in (10, 11, 12, 13) if (found := shutil.which(f"python3.{n}")) and own not in found]


def test_the_stable_hash_is_the_same_in_all_versions(tmp_path):
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other version of Python here: list some in OTHER_PYTHONS")
    write(tmp_path / "a", probes.MODULES)
    script = tmp_path / "look.py"
    script.write_text(WITHOUT_LUIGI + LOOK)
    package = Path(probes.fingerprint.__globals__["__file__"]).parents[1]
    found = {}
    for python in [sys.executable, *pythons]:
        done = subprocess.run([python, str(script), str(package), str(tmp_path / "a")], capture_output=True, text=True)
        if done.returncode == 127:  # a name that leads nowhere, as pyenv puts them on the PATH
            continue
        assert 0 == done.returncode, done.stderr
        found[python] = json.loads(done.stdout)["a"]
    assert 1 == len({stable for _, stable, _ in found.values()}), found
    assert len(found) == len({fast.partition("-")[0] for fast, _, _ in found.values()})
    assert 1 == len({tuple(sorted(members)) for _, _, members in found.values()})
