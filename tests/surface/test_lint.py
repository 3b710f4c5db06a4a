"""The linters and the documentation build, as tests: one command checks everything, once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def check(*command: str) -> None:
    """Run ``python -m <command>`` in the checkout and show what it says if it fails."""
    if importlib.util.find_spec(command[0]) is None:
        pytest.fail(f'{command[0]} is not installed: pip install -e ".[test]"')
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"python -m {' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing():
    check("ruff", "check", "--no-cache", ".")


def test_mypy_finds_nothing(tmp_path):
    check("mypy", "--cache-dir", str(tmp_path / "mypy"))


def test_documentation_builds_without_warnings(tmp_path):
    doctrees, html = str(tmp_path / "doctrees"), str(tmp_path / "html")
    check("sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", doctrees, "docs", html)
