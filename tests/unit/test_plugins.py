from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from d6tpipe import plugins
from d6tpipe.errors import PluginError

Install = Callable[..., None]


class Third:
    name = "third"
    suffix = "thr"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Pretend that packages with entry points are installed: install((package, name, value), ...)."""
    module = ModuleType("third_party")
    module.Third = Third  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third_party", module)
    monkeypatch.setattr(plugins, "_loaded", {})

    def install(*claims: tuple[str, str, str], group: str = "d6tpipe.formats") -> None:
        points = []
        for package, name, value in claims:
            point = EntryPoint(name, value, group)
            vars(point)["dist"] = SimpleNamespace(name=package)
            points.append(point)

        def entry_points(**select: Any) -> list[EntryPoint]:
            return [point for point in points if point.group == select["group"]]

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)

    return install


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, names in plugins.BUILTIN.items() for n in names])
def test_every_built_in_can_be_imported_without_optional_libraries(group: str, name: str) -> None:
    assert plugins.load(group, name) is not None


@pytest.mark.parametrize("group", ["formats", "files"])
def test_formats_and_files_are_instances(group: str) -> None:
    assert not [name for name in plugins.BUILTIN[group] if isinstance(plugins.load(group, name), type)]


def test_every_built_in_format_knows_its_own_name() -> None:
    assert {
        name: plugins.load("formats", name).name
        for name in plugins.BUILTIN["formats"]
        if plugins.load("formats", name).name != name
    } == {}


def test_the_same_object_is_given_every_time() -> None:
    assert plugins.load("formats", "pickle") is plugins.load("formats", "pickle")


def test_an_installed_package_adds_a_format(install: Install) -> None:
    install(("third-party", "third", "third_party:Third"))
    assert isinstance(plugins.load("formats", "third"), Third)
    assert "third" in plugins.known("formats")


def test_built_in_names_do_not_look_at_installed_packages(monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    def never(**select: Any) -> list[EntryPoint]:
        raise AssertionError("the entry points were read")

    monkeypatch.setattr(importlib.metadata, "entry_points", never)
    plugins.load("formats", "json")


def test_a_built_in_name_cannot_be_taken_over(install: Install) -> None:
    install(("third-party", "json", "third_party:Third"))
    assert not isinstance(plugins.load("formats", "json"), Third)


def test_two_packages_with_one_name_is_an_error_naming_both(install: Install) -> None:
    install(("one-package", "third", "third_party:Third"), ("other-package", "third", "elsewhere:Third"))
    with pytest.raises(PluginError, match=r"(?s)one-package.*other-package"):
        plugins.load("formats", "third")


def test_one_package_seen_twice_is_one_package(install: Install) -> None:
    install(("third-party", "third", "third_party:Third"), ("third-party", "third", "third_party:Third"))
    assert isinstance(plugins.load("formats", "third"), Third)


def test_an_unknown_name_lists_the_known_ones_and_the_nearest(install: Install) -> None:
    install()
    with pytest.raises(PluginError, match=r"(?s)'parqet'.*csv, csv.gz.*Did you mean 'parquet'\?"):
        plugins.load("formats", "parqet")


def test_an_unknown_name_that_is_near_to_nothing_says_how_to_add_one(install: Install) -> None:
    install()
    with pytest.raises(PluginError, match=r"d6tpipe\.formats"):
        plugins.load("formats", "zzzzzz")


def test_an_unknown_group_is_an_unknown_name(install: Install) -> None:
    install()
    with pytest.raises(PluginError, match=r"\(none\)"):
        plugins.load("nonsense", "x")


@pytest.mark.parametrize("value", ["third_party:Missing", "no_such_module_here:Third"])
def test_a_broken_plugin_is_an_error_naming_its_package(install: Install, value: str) -> None:
    install(("third-party", "third", value))
    with pytest.raises(PluginError, match=r"(?s)third-party.*" + value) as caught:
        plugins.load("formats", "third")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("module", "said"),
    [("tables", r"pip install d6tpipe\[hdf\]"), ("tensorflow.keras.models", "pip install tensorflow")],
)
def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, module: str, said: str) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(PluginError, match=r"(?s)The x format needs.*" + said):
        plugins.need(module, "The x format")
