"""What several end-to-end tests need: a look at the disk, and a process that permissions stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Root is stopped by no permission, so a test run by root (a container, mostly) becomes somebody else first. By then
# all modules have to be loaded: that somebody may not be able to read the interpreter's own folder, nor the checkout.
BECOME_ORDINARY = """
import importlib, os, pkgutil, tempfile
import pandas, pyarrow.parquet, d6tpipe
for found in pkgutil.walk_packages(d6tpipe.__path__, "d6tpipe."):
    if found.name in ("d6tpipe.executors.dask", "d6tpipe.executors.ray"):  # slow, and of no use to these tests
        continue
    try:
        importlib.import_module(found.name)
    except ImportError as error:  # a format whose library is not installed
        assert not (error.name or "").startswith("d6tpipe"), error
import encodings.idna, traceback, linecache, tokenize
with tempfile.TemporaryDirectory() as warm:
    d6tpipe.set_dir(warm)
    class WarmUp(d6tpipe.tasks.TaskData):
        persist = {"a": "pickle", "b": "parquet", "c": "json"}
        def run(self):
            self.save({"a": 1, "b": pandas.DataFrame({"x": [1]}), "c": 1})
    class WarmFailure(d6tpipe.tasks.TaskPickle):
        def run(self):
            raise ValueError
    d6tpipe.run([WarmUp(), WarmFailure()], abort=False, execution_summary=False)
    WarmUp().outputLoad()
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """Give a folder that every user can get to; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)


@pytest.fixture
def as_ordinary_user(common_folder: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return a function that runs code in `common_folder` as somebody whom permissions stop."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", BECOME_ORDINARY + textwrap.dedent(code)],
            cwd=common_folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, object]]:
    """Return a function that notes every file and folder below one: kind, size, time, content."""

    def look(folder: Path) -> dict[str, object]:
        found: dict[str, object] = {".": folder.stat().st_mtime_ns}
        for path in sorted(folder.rglob("*")):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_size, facts.st_mtime_ns, content)
        return found

    return look
