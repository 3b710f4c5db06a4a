"""What all tests share: a folder of their own, and nothing left behind in the process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe import former_names
from d6tpipe.tasks.outputs import stand_in

ROOT = Path(__file__).resolve().parents[1]

# The settings of whoever runs the tests are not what the tests are about.
for _name in [name for name in os.environ if name.startswith("D6TPIPE_")]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give each test its own working folder and data folder; restore settings, paths and environment.

    The folder is not `tmp_path`, so that a test can list `tmp_path` without finding what this put there.
    """
    home = tmp_path_factory.mktemp("work")
    before_cwd, before_env, before_path = os.getcwd(), dict(os.environ), list(sys.path)
    before_classes, before_names = set(Register._reg), list(former_names._known)
    os.chdir(home)
    forget_settings()
    stand_in(None)  # a test may have made a worker of this process
    d6tpipe.set_dir(home / "data")
    try:
        yield home
    finally:
        os.chdir(before_cwd)
        os.environ.clear()
        os.environ.update(before_env)
        sys.path[:] = before_path
        forget_modules_below(tmp_path_factory.getbasetemp())
        forget_task_classes(before_classes)
        former_names._known[:] = before_names
        forget_settings()
        d6tpipe.cache.data.clear()


def forget_settings() -> None:
    """Take back every assignment, and let files and environment be read again."""
    d6tpipe.settings.refresh()
    for key, _value, source in d6tpipe.settings.describe():
        if source == "assigned":
            delattr(d6tpipe.settings, key)


def forget_modules_below(folder: Path) -> None:
    """Drop the modules that a test wrote and imported, so that the next one may use the same names."""
    start = f"{folder}{os.sep}"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(start):
            del sys.modules[name]


def forget_task_classes(before: set[type]) -> None:
    """Drop the classes of a test from luigi's register: two tests may call a class by the same name.

    Where luigi looks a class up by its name (after a ``yield``, on the command line), both would be ambiguous. Classes
    of a module that the test imported, and that stays imported, are kept: nobody would register them again.
    """
    Register._reg[:] = [
        cls
        for cls in Register._reg
        if cls in before or (cls.__module__ in sys.modules and "<locals>" not in cls.__qualname__)
    ]


@pytest.fixture
def run_python(isolated: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a fresh interpreter, with this d6tpipe importable, and demands success.

    ``run_python("-c", code, env={...}, cwd=..., check=True)`` returns the CompletedProcess; `env` is added to
    the environment.
    """

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            # Also where the package is not installed but imported from the checkout.
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }
        done = subprocess.run(
            [sys.executable, *arguments], cwd=cwd or isolated, env=environment, capture_output=True, text=True
        )
        if check and done.returncode:
            pytest.fail(f"exit {done.returncode} of {arguments}\n{done.stdout}{done.stderr}", pytrace=False)
        return done

    return run
