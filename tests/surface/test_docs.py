"""Documentation tells the truth: every code block of README.rst and docs/ is executed, and every docstring example.

The blocks of one page run in order, in one module and one working folder, as a reader would type them:

===================================  =================================================================================
``.. code-block:: python``           executed; if it starts with ``>>>``, as a doctest: outputs are compared
... with ``:caption: name``          written to the file ``name`` instead (any language)
``.. code-block:: console``          each ``$ command`` runs in a shell; what it prints is compared
``.. code-block:: sh``               for the reader only: it installs something
``.. check:``                        a comment with Python that nobody sees; executed
===================================  =================================================================================

Comparing means: ``...`` stands for anything, and one stretch of white space is as good as another.
"""

from __future__ import annotations

import doctest
import importlib
import linecache
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import d6tpipe

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.rst"
PAGES = sorted((ROOT / "docs").glob("*.rst"))
EXAMPLES = ROOT / "examples" / "README.rst"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

_START = re.compile(r"^(?P<indent> *)\.\. (?:code-block:: (?P<language>\S+)|(?P<check>check):)\s*$")
_OPTION = re.compile(r"^\s+:(?P<name>[\w-]+):\s*(?P<value>.*)$")


@dataclass
class Block:
    """One block of a page, without its indentation."""

    page: str
    line: int
    language: str
    options: dict[str, str]
    text: str


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        start = _START.match(lines[number])
        number += 1
        if not start:
            continue
        options = {}
        while number < len(lines) and (option := _OPTION.match(lines[number])):
            options[option["name"]] = option["value"]
            number += 1
        first, deeper = number, len(start["indent"]) + 1
        while number < len(lines) and (not lines[number].strip() or lines[number].startswith(" " * deeper)):
            number += 1
        text = textwrap.dedent("\n".join(lines[first:number])).strip("\n") + "\n"
        skipped = next((n for n, line in enumerate(lines[first:number]) if line.strip()), 0)
        yield Block(page.name, first + skipped + 1, start["language"] or "check", options, text)


def run_doctest(text: str, block: Block, module: types.ModuleType) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, block.page, block.page, block.line - 1)
    test.globs = module.__dict__  # the parser's own would be a copy
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append, clear_globs=False)
    if said:
        pytest.fail("".join(said), pytrace=False)


def run_console(block: Block) -> None:
    wanted: list[tuple[str, str]] = []
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            wanted.append((line[2:], ""))
        else:
            command, output = wanted[-1]
            wanted[-1] = command, output + line
    for command, output in wanted:
        got = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        if not doctest.OutputChecker().check_output(output, got, FLAGS):
            pytest.fail(f"{block.page}, line {block.line}: {command}expected:\n{output}got:\n{got}", pytrace=False)


def run_page(page: Path) -> types.ModuleType:
    """Execute the blocks of a page; return the module that they ran in."""
    module = types.ModuleType(f"page_{page.stem}")
    sys.modules[module.__name__] = module  # so that its classes can be pickled and found, as in a notebook
    try:
        for block in blocks(page):
            if "caption" in block.options:
                path = Path(block.options["caption"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "python" and block.text.startswith(">>>"):
                run_doctest(block.text, block, module)
            elif block.language in ("python", "check"):
                text = "\n" * (block.line - 1) + block.text  # tracebacks show the line of the page
                name = f"<{page}, block at line {block.line}>"
                linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # as notebooks do
                exec(compile(text, name, "exec"), module.__dict__)
            elif block.language == "console":
                run_console(block)
            elif block.language != "sh":
                pytest.fail(f"{page.name}, line {block.line}: nobody checks a block of {block.language}")
        return module
    finally:
        del sys.modules[module.__name__]
        for name in [name for name in linecache.cache if name.startswith(f"<{page},")]:
            del linecache.cache[name]


@pytest.fixture
def shell(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``d6tpipe`` and ``python`` in a shell mean this checkout and this interpreter."""
    programs = isolated.parent / f"{isolated.name}-bin"
    programs.mkdir()
    for name, words in {"d6tpipe": ["-m", "d6tpipe"], "python": []}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *words])} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # what goes to the two streams comes in the order of writing


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_does_what_it_says(page, shell):
    del d6tpipe.settings.dir, d6tpipe.settings.isinit  # a reader has not set them either
    run_page(page)


@pytest.mark.slow
def test_readme_example_compares_four_results_once(capsys):
    module = run_page(README)
    scores = {name: meta["score"] for name, meta in module.flow.outputLoadMeta().items()}
    assert scores == {
        "model_Ridge_scaled_False": pytest.approx(0.5176, abs=2e-3),
        "model_Ridge_scaled_True": pytest.approx(0.4513, abs=2e-3),
        "model_Lasso_scaled_False": pytest.approx(0.5107, abs=2e-3),
        "model_Lasso_scaled_True": pytest.approx(0.3574, abs=2e-3),
    }
    assert str(scores["model_Lasso_scaled_True"])[:5] in capsys.readouterr().out
    assert type(module.model).__name__ == "Lasso"
    again = module.flow.run(execution_summary=False)
    assert {state.value for result in again.values() for state in result.states.values()} == {"fresh"}


def test_every_code_block_is_found():
    """A block that is indented or spelt in a way that `blocks` does not see would never be run."""
    for page in [README, *PAGES, EXAMPLES]:
        marked = re.findall(r"^ *\.\. (?:code-block|code|sourcecode)::", page.read_text(encoding="utf-8"), re.M)
        assert len(marked) == sum(block.language != "check" for block in blocks(page)), page.name
        assert ":: python" not in page.read_text(encoding="utf-8").replace("code-block:: python", ""), page.name


def test_page_for_d6tflow_users_has_the_differences_that_are_tested(run_python):
    table = run_python(str(ROOT / "tests" / "peers" / "differences.py")).stdout
    page = (ROOT / "docs" / "coming_from_d6tflow.rst").read_text(encoding="utf-8")
    assert table in page, "put what python tests/peers/differences.py prints between the two comments of the page"


def test_page_on_changes_has_the_edits_that_are_tested(run_python):
    tables = run_python(str(ROOT / "tests" / "end_to_end" / "test_edit_probes.py")).stdout
    page = (ROOT / "docs" / "what_counts_as_a_change.rst").read_text(encoding="utf-8")
    hint = "put what python tests/end_to_end/test_edit_probes.py prints between the two comments of the page"
    assert tables and tables in page, hint


def modules_with_examples() -> list[str]:
    """Return the modules of d6tpipe that have ``>>>`` in their text."""
    names = ["d6tpipe", *(found.name for found in pkgutil.walk_packages(d6tpipe.__path__, "d6tpipe."))]
    files = {name: ROOT / (name.replace(".", "/") + ".py") for name in names}
    return [name for name, file in files.items() if file.exists() and ">>> " in file.read_text(encoding="utf-8")] + [
        name
        for name in names
        if (ROOT / name.replace(".", "/") / "__init__.py").exists()
        and ">>> " in (ROOT / name.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstring_examples_do_what_they_say(name):
    module = importlib.import_module(name)
    runner, said, count = doctest.DocTestRunner(optionflags=FLAGS, verbose=False), [], 0
    for test in doctest.DocTestFinder().find(module):
        count += len(test.examples)
        runner.run(test, out=said.append)
    if said:
        pytest.fail("".join(said), pytrace=False)
    assert count, "the module has >>> in its text, but no docstring example was found"
