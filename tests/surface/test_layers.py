"""Imports point one way: the table of layers, checked on the syntax trees, inside functions too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# (layer, group). A module may import from a lower layer and from its own group; groups of one layer are
# siblings and never import each other. A package's name covers everything in it. A new module needs a line.
LAYERS = {
    "d6tflow": (3, "face"),
    "d6tpipe": (3, "face"),
    "d6tpipe.__main__": (3, "face"),
    "d6tpipe.cli": (3, "face"),
    "d6tpipe.cli_records": (3, "face"),
    "d6tpipe.cli_shared": (3, "face"),
    "d6tpipe.cli_target": (3, "face"),
    "d6tpipe.demo": (3, "face"),
    "d6tpipe.flow": (2, "call"),
    "d6tpipe.coordinator": (2, "call"),
    "d6tpipe.sessions": (2, "call"),
    "d6tpipe.taskview": (2, "call"),
    "d6tpipe.stores": (2, "call"),
    "d6tpipe.policy": (2, "call"),
    "d6tpipe.ledger": (2, "call"),
    "d6tpipe.tasklogs": (2, "call"),
    "d6tpipe.hand_runs": (2, "call"),
    "d6tpipe.integrity": (2, "call"),
    "d6tpipe.examiner": (2, "call"),
    "d6tpipe.bodies": (2, "call"),
    "d6tpipe.dispatch": (2, "call"),
    "d6tpipe.payloads": (2, "call"),
    "d6tpipe.shipping": (2, "call"),
    "d6tpipe.worker": (2, "call"),
    "d6tpipe.progress": (2, "call"),
    "d6tpipe.testing": (2, "call"),
    "d6tpipe.workflows": (2, "call"),
    "d6tpipe.functional": (2, "call"),
    "d6tpipe.export": (2, "call"),
    "d6tpipe.results": (2, "call"),
    "d6tpipe.trees": (2, "call"),
    "d6tpipe.plots": (2, "call"),
    "d6tpipe.tables": (2, "call"),
    "d6tpipe.searches": (2, "call"),
    "d6tpipe.selection": (2, "call"),
    "d6tpipe.graphs": (2, "call"),
    "d6tpipe.explanations": (2, "call"),
    "d6tpipe.plans": (2, "call"),
    "d6tpipe.wording": (2, "call"),
    "d6tpipe.utils": (2, "call"),
    "d6tpipe.pipes": (2, "call"),
    "d6tpipe.definitions": (2, "call"),
    "d6tpipe.watched": (2, "call"),
    "d6tpipe.acceptance": (2, "call"),
    "d6tpipe.catalogs": (2, "call"),
    "d6tpipe.holds": (2, "call"),
    "d6tpipe.deadlocks": (2, "call"),
    "d6tpipe.origins": (2, "call"),
    "d6tpipe.predecessors": (2, "call"),
    "d6tpipe.removal": (2, "call"),
    "d6tpipe.readers": (2, "call"),
    "d6tpipe.tokens": (2, "call"),
    "d6tpipe.tasks": (1, "declarations"),
    "d6tpipe.targets": (1, "declarations"),
    "d6tpipe.parameters": (1, "declarations"),
    "d6tpipe.task_values": (1, "declarations"),
    "d6tpipe.labels": (1, "declarations"),
    "d6tpipe.points": (1, "declarations"),
    "d6tpipe.sweeps": (1, "declarations"),
    "d6tpipe.caches": (2, "call"),
    "d6tpipe.callbacks": (2, "call"),
    "d6tpipe.cards": (2, "call"),
    "d6tpipe.emissions": (2, "call"),
    "d6tpipe.jobs": (2, "call"),
    "d6tpipe.watchers": (2, "call"),
    "d6tpipe.typed": (1, "declarations"),
    "d6tpipe.configs": (1, "declarations"),
    "d6tpipe.hooks": (1, "declarations"),
    "d6tpipe.shared_dirs": (1, "declarations"),
    "d6tpipe.task_paths": (1, "declarations"),
    "d6tpipe.parameter_names": (1, "declarations"),
    "d6tpipe.sweep_sources": (1, "declarations"),
    "d6tpipe.id_templates": (1, "declarations"),
    "d6tpipe.grids": (1, "declarations"),
    "d6tpipe.external_files": (1, "declarations"),
    "d6tpipe.values": (1, "declarations"),
    "d6tpipe.decorators": (1, "declarations"),
    "d6tpipe.constructor": (1, "declarations"),
    "d6tpipe.binding": (1, "declarations"),
    "d6tpipe.former_names": (1, "declarations"),
    "d6tpipe.declared": (1, "declarations"),
    "d6tpipe.engine": (1, "engine"),
    "d6tpipe.storage": (1, "adapters"),
    "d6tpipe.formats": (1, "adapters"),
    "d6tpipe.executors": (1, "adapters"),
    "d6tpipe.central": (1, "adapters"),
    "d6tpipe.errors": (0, "vocabulary"),
    "d6tpipe.interfaces": (0, "vocabulary"),
    "d6tpipe.expressions": (0, "vocabulary"),
    "d6tpipe.grammar": (0, "vocabulary"),
    "d6tpipe.literals": (0, "vocabulary"),
    "d6tpipe.near_misses": (0, "vocabulary"),
    "d6tpipe.identity": (0, "vocabulary"),
    "d6tpipe.plugins": (0, "vocabulary"),
    "d6tpipe.settings": (0, "vocabulary"),
    "d6tpipe.cache": (0, "vocabulary"),
    "d6tpipe.records": (0, "vocabulary"),
    "d6tpipe.fingerprint": (0, "vocabulary"),
    "d6tpipe.failpoints": (0, "vocabulary"),
    "d6tpipe.machine": (0, "vocabulary"),
    "d6tpipe.watchdog": (0, "vocabulary"),
    "d6tpipe.capture": (0, "vocabulary"),
    "d6tpipe.cancellation": (0, "vocabulary"),
}

# What a pure engine must not reach for: disk, clock, chance, processes.
IMPURE = {
    "asyncio", "datetime", "glob", "io", "multiprocessing", "os", "pathlib", "random", "shutil", "signal",
    "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
STANDARD = sys.stdlib_module_names | {"tomli"}  # tomli: tomllib before Python 3.11
HEAVY = {
    "dask", "distributed", "numpy", "openpyxl", "pandas", "polars", "pyarrow", "ray", "sklearn", "tables",
    "torch",
}  # fmt: skip


class Import:
    """One import statement: who, what, where, and whether it runs when the module is loaded."""

    def __init__(self, source: str, target: str, line: int, at_load: bool, typing_only: bool) -> None:
        self.source, self.target, self.line = source, target, line
        self.at_load, self.typing_only = at_load, typing_only

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]


def module_files(root: Path) -> dict[str, Path]:
    """Return {dotted name: file} of the package and the alias below `root`."""
    files = {"d6tflow": root / "d6tflow.py"} if (root / "d6tflow.py").exists() else {}
    for path in sorted((root / "d6tpipe").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports_of(name: str, path: Path, known: set[str]) -> list[Import]:
    """Return every import in `path`, with ``from package import submodule`` resolved to the submodule."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: list[Import] = []

    def visit(node: ast.AST, at_load: bool, typing_only: bool) -> None:
        def add(target: str) -> None:
            found.append(Import(name, target, node.lineno, at_load, typing_only))  # type: ignore[attr-defined]

        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                add(inner if inner in known else base)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                add(str(first.value))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            at_load = False
        # "if False" is how a module hides names from the interpreter without importing typing.
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if isinstance(node, ast.If) and (test == "False" or "TYPE_CHECKING" in test):
            for child in node.body:
                visit(child, False, True)
            for child in node.orelse:
                visit(child, at_load, typing_only)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, at_load, typing_only)

    visit(ast.parse(path.read_text(encoding="utf-8"), str(path)), True, False)
    return found


def all_imports(root: Path) -> list[Import]:
    files = module_files(root)
    return [found for name, path in files.items() for found in imports_of(name, path, set(files))]


def layer_of(name: str) -> tuple[int, str] | None:
    """Return (layer, group): the entry of the longest prefix; the package root stands for itself only."""
    while name not in LAYERS:
        name = name.rpartition(".")[0]
        if name in ("", "d6tpipe", "d6tflow"):
            return None
    return LAYERS[name]


def violations(root: Path) -> list[str]:
    """Return one sentence per import that breaks a rule."""
    bad = [f"{name} has no layer: add it to LAYERS" for name in module_files(root) if layer_of(name) is None]
    for found in all_imports(root):
        here, there = layer_of(found.source), layer_of(found.target)
        if here is None:
            continue
        if found.top in ("d6tpipe", "d6tflow"):
            if there is None:
                bad.append(f"{found}, which has no layer")
            elif there[0] > here[0]:
                bad.append(f"{found}: upwards, from {here[1]} to {there[1]}")
            elif there[0] == here[0] and there[1] != here[1]:
                bad.append(f"{found}: sideways, from {here[1]} to {there[1]}")
        elif here[1] in ("vocabulary", "engine") and found.top not in STANDARD:
            bad.append(f"{found}: {here[1]} uses the standard library only")
        elif here[1] == "engine" and found.top in IMPURE:
            bad.append(f"{found}: the engine is pure (no disk, clock, chance or processes)")
        elif found.top == "luigi" and here[1] == "adapters":
            bad.append(f"{found}: luigi lives in the declarations")
        elif found.top in HEAVY and found.at_load:
            bad.append(f"{found} when it is loaded: heavy packages are imported on first use, in functions")
    return bad


def cycles(root: Path) -> list[list[str]]:
    """Return the groups of modules that import each other, type checking and the package root left out."""
    files = module_files(root)
    edges: dict[str, set[str]] = {name: set() for name in files}
    for found in all_imports(root):
        if not found.typing_only and found.target in files and found.target not in ("d6tpipe", found.source):
            edges[found.source].add(found.target)
    # Peel off what imports nothing that is left and what nobody left imports; circles remain.
    left = set(edges)
    while True:
        leaves = {name for name in left if not edges[name] & left or not any(name in edges[o] for o in left)}
        if not leaves:
            return [sorted(left)] if left else []
        left -= leaves


def test_imports_point_one_way():
    found = violations(ROOT)
    assert not found, "\n".join(found)


def test_no_module_imports_itself_in_a_circle():
    assert cycles(ROOT) == []


def test_every_layer_entry_is_needed():
    modules = set(module_files(ROOT))
    optional = {"d6tpipe.__main__"}
    assert sorted(set(LAYERS) - modules - optional) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("errors.py", "from d6tpipe import flow", "upwards, from vocabulary to call"),
        ("errors.py", "from . import flow", "upwards, from vocabulary to call"),
        ("errors.py", "def f():\n    import d6tpipe.flow", "upwards"),
        ("engine/plan.py", "from d6tpipe import run", "upwards, from engine to face"),
        ("engine/plan.py", "from ..tasks import TaskData", "sideways, from engine to declarations"),
        ("engine/plan.py", "import importlib\nimportlib.import_module('d6tpipe.tasks')", "sideways"),
        ("engine/plan.py", "import time", "the engine is pure"),
        ("engine/plan.py", "import luigi", "standard library only"),
        ("formats/frames.py", "import pandas as pd", "imported on first use"),
        ("storage/files.py", "import luigi", "luigi lives in the declarations"),
        ("novelty.py", "", "has no layer"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, file, text, complaint):
    for name in ("__init__.py", "flow.py", "tasks/__init__.py", "engine/__init__.py", "formats/__init__.py",
                 "storage/__init__.py", file):  # fmt: skip
        path = tmp_path / "d6tpipe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "d6tpipe" / file).write_text(text)
    found = violations(tmp_path)
    assert len(found) == 1
    assert complaint in found[0]


def test_lawful_imports_are_not_reported(tmp_path):
    package = tmp_path / "d6tpipe"
    (package / "formats").mkdir(parents=True)
    (package / "__init__.py").write_text("from d6tpipe.flow import run")
    (package / "errors.py").write_text("import difflib")
    (package / "flow.py").write_text("from d6tpipe import errors\nimport luigi\nimport time")
    (package / "formats/__init__.py").write_text("")
    (package / "formats/frames.py").write_text("from ..errors import PipeError\ndef f():\n    import pandas")
    assert violations(tmp_path) == []
    assert cycles(tmp_path) == []


def test_a_planted_circle_is_caught(tmp_path):
    package = tmp_path / "d6tpipe"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flow.py").write_text("def f():\n    from d6tpipe import trees")
    (package / "trees.py").write_text("from d6tpipe.flow import f")
    assert cycles(tmp_path) == [["d6tpipe.flow", "d6tpipe.trees"]]
