"""Code written for d6tflow does the same here: every flow script is run by the real d6tflow 0.2.8 and by us.

The scripts in ``flows/`` know nothing of this file; each prints what it observed as one JSON document. Here the
two documents are compared field by field. What is deliberately different stands in ``differences.py``, with the
reason; an entry there that no longer differs fails as well.

The real d6tflow lives in an environment of its own, which is made once and kept in the temporary folder. Set
``D6TPIPE_PEER_PYTHON`` to an interpreter that has d6tflow 0.2.8 to use that one instead.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
FLOWS = HERE / "flows"
CHECKOUT = HERE.parents[1]
D6TFLOW = "d6tflow==0.2.8"

# Taken away now: to d6tpipe itself every D6TPIPE_ variable is a setting, and this one is none.
PEER_PYTHON = os.environ.pop("D6TPIPE_PEER_PYTHON", "")

pytestmark = pytest.mark.slow


def load_by_path(name: str) -> ModuleType:
    """Import a helper of this folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"peers_{name}", HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


differences = load_by_path("differences")
DIFFERENCES = differences.DIFFERENCES


def observations() -> Iterator[tuple[str, str]]:
    """Yield script and name of every observation, without importing the scripts."""
    for path in sorted(FLOWS.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                marks = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)]
                if "observation" in marks:
                    yield path.stem, node.name


# The handover script is not run in two folders, but twice in one.
EVERY = [each for each in observations() if each[0] != "handover"]
SAME_FOLDER = [name for script, name in observations() if script == "handover"]


# -- the two interpreters ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def peer_python() -> str:
    """Return an interpreter that has the real d6tflow; skip where none can be made (no network)."""
    if PEER_PYTHON:
        return PEER_PYTHON
    wanted = requirements()
    key = hashlib.sha256(" ".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"d6tpipe-peer-d6tflow-{key}"
    python = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")
    if not (home / python).exists():
        make_environment(home, python, wanted)
    return str(home / python)


def requirements() -> list[str]:
    """Return what the peer environment needs: the same versions as ours of everything that is shared."""
    wanted = [D6TFLOW]
    for name in ("luigi", "pandas", "numpy", "pyarrow", "openpyxl", "scikit-learn"):
        try:
            wanted.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            wanted.append(name)
    return wanted


def make_environment(home: Path, python: Path, wanted: list[str]) -> None:
    # Made under another name: an interrupted installation is never taken for a finished one.
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=home.name) as folder:
        made = Path(folder) / "made"
        steps = [
            [sys.executable, "-m", "venv", str(made)],
            [str(made / python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
        ]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no environment for {D6TFLOW}: {done.stderr.strip().splitlines()[-1:]}")
        if not home.exists():
            shutil.move(made, home)


Observe = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def observe(peer_python: str, tmp_path_factory: pytest.TempPathFactory) -> Observe:
    """Return a function that runs a script on one side, in a given or a new folder."""

    def run(side: str, script: str, folder: Path | None = None) -> dict[str, Any]:
        folder = folder or tmp_path_factory.mktemp(f"{side}-{script}")
        hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS")
        env = {name: text for name, text in os.environ.items() if name not in hidden}
        env = {name: text for name, text in env.items() if not name.startswith(("D6TPIPE_", "LUIGI_"))}
        env |= {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if side == "d6tpipe":
            env["PYTHONPATH"] = str(CHECKOUT)  # before the installed packages, so this checkout is what is tested
        command = [
            sys.executable if side == "d6tpipe" else peer_python,
            str(FLOWS / f"{script}.py"),
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=600, check=False)
        assert done.returncode == 0, f"{script}.py by {side}:\n{done.stderr[-3000:]}"
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        facts["stderr"] = done.stderr
        assert facts["which"] == side, f"{script}.py was to be run by {side}, and imported {facts['which']}"
        return facts

    return run


@pytest.fixture(scope="session")
def both(observe: Observe) -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """Return a function that gives the facts of a script from d6tflow and from us, each run once."""
    known: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def facts_of(script: str) -> tuple[dict[str, Any], dict[str, Any]]:
        if script not in known:
            with ThreadPoolExecutor(2) as sides:
                peer = sides.submit(observe, "d6tflow", script)
                here = sides.submit(observe, "d6tpipe", script)
                known[script] = peer.result(), here.result()
        return known[script]

    return facts_of


# -- comparing -----------------------------------------------------------------------------------------------


def differing(peer: Any, here: Any, field: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that differs, with both values."""
    if isinstance(peer, dict) and isinstance(here, dict):
        if peer.keys() == here.keys() == {"raises"}:
            # Ours may be more special, but whoever catches d6tflow's exception must catch ours.
            if peer["raises"][0] not in here["raises"]:
                yield f"{field}.raises", peer["raises"], here["raises"]
            return
        if peer.keys() != here.keys() or "crashed" in peer:
            if peer != here:
                yield field, peer, here
            return
        if list(peer) != list(here):
            yield f"{field}.order of keys", list(peer), list(here)
        for key in peer:
            yield from differing(peer[key], here[key], f"{field}.{key}")
    elif isinstance(peer, list) and isinstance(here, list) and len(peer) == len(here):
        for number, (one, other) in enumerate(zip(peer, here, strict=True)):
            yield from differing(one, other, f"{field}.{number}")
    elif type(peer) is not type(here) or peer != here:
        yield field, peer, here


def lacking(peer: Any, here: Any, field: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield what d6tflow's public surface has and ours has not; ours may have more."""
    if isinstance(peer, dict):
        if not isinstance(here, dict) or "crashed" in here:
            yield field, peer, here
            return
        for key in peer:
            if key not in here:
                yield f"{field}.{key}", peer[key], "missing"
            else:
                yield from lacking(peer[key], here[key], f"{field}.{key}")
    elif isinstance(peer, list) and isinstance(here, list):
        if here[: len(peer)] != peer:  # the same names in the same order, so that every call stays valid
            yield field, peer, here
    elif peer is not None and peer != here:
        yield field, peer, here


def listed(field: str) -> Any:
    """Return the entry of the table that covers a field, or None."""
    for entry in DIFFERENCES:
        for covered in entry.fields:
            if field == covered or field.startswith(covered + "."):
                return entry
    return None


def found_in(script: str, peer: dict[str, Any], here: dict[str, Any], name: str) -> list[tuple[str, Any, Any]]:
    compare = lacking if script == "surface" else differing
    return list(compare(peer[name], here[name], f"{script}/{name}"))


@pytest.mark.parametrize(("script", "name"), [pytest.param(*each, id=f"{each[0]}-{each[1]}") for each in EVERY])
def test_observation_is_what_d6tflow_users_see(script: str, name: str, both: Any) -> None:
    peer, here = both(script)
    unlisted = [
        f"{field}\n    d6tflow: {shown(one)}\n    d6tpipe: {shown(other)}"
        for field, one, other in found_in(script, peer, here, name)
        if listed(field) is None
    ]
    assert not unlisted, "\n".join(["differs from d6tflow and is not listed in differences.py:", *unlisted])


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 600 else text[:600] + " ..."


@pytest.mark.parametrize(
    ("field", "expected"),
    [pytest.param(*each, id=each[0]) for entry in DIFFERENCES for each in entry.fields.items()],
)
def test_listed_difference_is_real(field: str, expected: Any, both: Any, request: pytest.FixtureRequest) -> None:
    script, _, rest = field.partition("/")
    name = rest.partition(".")[0]
    if script == "handover":
        facts = request.getfixturevalue("we_first")
        assert facts["peer"][name]["ran"], f"{field}: d6tflow now finds what we have built; take it off the list"
        return
    peer, here = both(script)
    found = {where: other for where, _, other in found_in(script, peer, here, name)}
    covered = {where: other for where, other in found.items() if where == field or where.startswith(field + ".")}
    assert covered, f"{field}: no longer differs from d6tflow; take it off the list"
    if isinstance(expected, differences.Raises):
        raised = covered[field]["raises"] if isinstance(covered[field], dict) else covered[field]
        assert raised[0] == expected.name
    elif expected is not differences.ANY:
        assert covered == {field: expected}


# -- one folder, two programs --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def peer_first(observe: Observe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_one_folder(observe, tmp_path_factory.mktemp("peer-first"), "d6tflow", "d6tpipe")


@pytest.fixture(scope="session")
def we_first(observe: Observe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_one_folder(observe, tmp_path_factory.mktemp("we-first"), "d6tpipe", "d6tflow")


def in_one_folder(observe: Observe, folder: Path, first: str, second: str) -> dict[str, Any]:
    facts = {first: observe(first, "handover", folder)}
    before = contents(folder)
    facts[second] = observe(second, "handover", folder)
    return {"peer": facts["d6tflow"], "here": facts["d6tpipe"], "before": before, "after": contents(folder)}


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of every output, by name."""
    found = [path for path in folder.rglob("*") if path.is_file() and ".d6tpipe" not in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("name", [name for name in SAME_FOLDER if name != "csv_gz"])
def test_what_d6tflow_built_is_complete_here(name: str, peer_first: dict[str, Any]) -> None:
    taken_over(peer_first["peer"][name], peer_first["here"][name])
    unchanged(name, peer_first)


@pytest.mark.parametrize("name", [name for name in SAME_FOLDER if listed(f"handover/{name}") is None])
def test_what_we_built_is_complete_for_d6tflow(name: str, we_first: dict[str, Any]) -> None:
    taken_over(we_first["here"][name], we_first["peer"][name])
    unchanged(name, we_first)


def taken_over(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert "crashed" not in first, f"the first program did not get through: {first}"
    assert "crashed" not in second, f"the second program did not get through: {second}"
    assert first["ran"], "nothing was handed over"
    assert second["ran"] == []
    assert all(second["complete before"])
    assert second["loaded"] == first["loaded"]
    assert second.get("meta") == first.get("meta")


def unchanged(name: str, facts: dict[str, Any]) -> None:
    def part(found: dict[str, str]) -> dict[str, str]:
        return {path: digest for path, digest in found.items() if path.startswith(f"{name}/")}

    assert part(facts["after"]) == part(facts["before"])
