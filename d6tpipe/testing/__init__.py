"""For tests, yours included: fakes, and the suites that every format and every place for files has to pass.

A plugin is accepted when it passes; the built-in ones run the same suites::

    @pytest.mark.parametrize("check", testing.FILES_CHECKS)
    def test_my_files(check, tmp_path):
        check(MyFiles(), str(tmp_path))

    @pytest.mark.parametrize("check", testing.FORMAT_CHECKS)
    def test_my_format(check, tmp_path):
        check(MyFormat(), testing.FormatCase(values=[...], wrong=[...]), str(tmp_path))

Each check is a function that returns None, or raises AssertionError with what went wrong; its name says what
is claimed.
Nothing here needs pytest.
"""

from __future__ import annotations

from d6tpipe.testing.fakes import (
    Crash,
    FaultyFiles,
    MemoryFiles,
    MemoryRecords,
    OpenLedger,
    Recorder,
    ScriptedBodies,
    ScriptedExecutor,
    ScriptedIntake,
    ScriptedView,
)
from d6tpipe.testing.suites import FILES_CHECKS, FORMAT_CHECKS, FormatCase

__all__ = [
    "FILES_CHECKS",
    "FORMAT_CHECKS",
    "Crash",
    "FaultyFiles",
    "FormatCase",
    "MemoryFiles",
    "MemoryRecords",
    "OpenLedger",
    "Recorder",
    "ScriptedBodies",
    "ScriptedExecutor",
    "ScriptedIntake",
    "ScriptedView",
]
