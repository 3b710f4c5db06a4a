"""Settings: four sources in order, refused mistakes, nothing read before it is asked for."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
import threading
from pathlib import Path

import cloudpickle
import pytest

from d6tpipe import settings
from d6tpipe.errors import SettingsError

DEFAULTS = {
    "isinit": False,
    "isinitpipe": False,
    "cached": False,
    "save_with_param": True,
    "dir": "data",
    "dirpath": Path("data"),
    "db": Path("data/.d6tflow.json"),
    "check_dependencies": True,
    "check_crc": False,
    "log_level": "WARNING",
    "execution_summary": True,
    "uri": None,
    "cloud_fs_prefix": None,
    "cloud_fs_enabled": False,
    "stale": "warn",
    "unknown_parameters": "error",
    "durable": False,
    "verify": "stat",
    "n_workers": 1,
    "executor": None,
    "scheduler": None,
    "show_capture": "all",
    "show_locals": False,
    "marks": None,
    "parameter_count": 20,
    "parameter_length": 64,
}


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """An empty working folder, no variables, nothing assigned; afterwards what was there before."""
    before = {key: value for key, value, source in settings.describe() if source == "assigned"}
    for name in [name for name in os.environ if name.startswith("D6TPIPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for key in DEFAULTS:
        delattr(settings, key)
    settings.refresh()
    yield
    monkeypatch.undo()
    for key in DEFAULTS:
        delattr(settings, key)
    settings.refresh()
    for key, value in before.items():
        setattr(settings, key, value)


def source_of(key):
    return next(source for name, _, source in settings.describe() if name == key)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    settings.refresh()


# ---- values and precedence


def test_defaults_are_d6tflows():
    assert {key: getattr(settings, key) for key in DEFAULTS} == DEFAULTS


def test_describe_lists_every_setting_with_its_source():
    assert [(key, value, "default") for key, value in DEFAULTS.items()] == settings.describe()


def test_each_source_yields_to_the_next(tmp_path, monkeypatch):
    write(tmp_path / "pyproject.toml", '[tool.d6tpipe]\nlog_level = "INFO"\n')
    assert ("INFO", f"[tool.d6tpipe] of {tmp_path / 'pyproject.toml'}") == (
        settings.log_level,
        source_of("log_level"),
    )
    monkeypatch.setenv("D6TPIPE_LOG_LEVEL", "ERROR")
    settings.refresh()
    assert (settings.log_level, source_of("log_level")) == ("ERROR", "environment variable D6TPIPE_LOG_LEVEL")
    settings.log_level = "DEBUG"
    assert (settings.log_level, source_of("log_level")) == ("DEBUG", "assigned")
    del settings.log_level
    assert settings.log_level == "ERROR"


def test_setup_cfg_is_a_source(tmp_path):
    write(tmp_path / "setup.cfg", "[d6tpipe]\ncached = yes\nparameter_count = 3\nuri = none\ndir = 100%\n")
    assert (
        settings.cached,
        settings.parameter_count,
        settings.uri,
        settings.dir,
    ) == (True, 3, None, "100%")


def test_nearest_folder_upwards_wins(tmp_path, monkeypatch):
    write(tmp_path / "pyproject.toml", "[tool.d6tpipe]\nparameter_count = 1\nparameter_length = 1\n")
    write(tmp_path / "a" / "setup.cfg", "[d6tpipe]\nparameter_count = 2\n")
    write(tmp_path / "a" / "b" / "pyproject.toml", "[tool.other]\nd6tpipe = 'only a word'\n")
    monkeypatch.chdir(tmp_path / "a" / "b")
    settings.refresh()
    assert (settings.parameter_count, settings.parameter_length) == (2, 64)


def test_files_of_others_may_be_broken(tmp_path):
    write(tmp_path / "pyproject.toml", "[[[ not toml")
    (tmp_path / "setup.cfg").mkdir()
    assert settings.cached is False


def test_removed_working_directory_leaves_defaults(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    settings.refresh()
    assert settings.dir == "data"


@pytest.mark.parametrize("word", ["1", "true", "True", "YES", "on"])
def test_words_for_true(monkeypatch, word):
    monkeypatch.setenv("D6TPIPE_CACHED", word)
    settings.refresh()
    assert settings.cached is True


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_words_for_false(monkeypatch, word):
    monkeypatch.setenv("D6TPIPE_CHECK_DEPENDENCIES", word)
    settings.refresh()
    assert settings.check_dependencies is False


@pytest.mark.parametrize("word", ["", "none", "None"])
def test_words_for_none(monkeypatch, word):
    monkeypatch.setenv("D6TPIPE_URI", word)
    settings.refresh()
    assert settings.uri is None


def test_sources_are_read_at_the_first_question(tmp_path, monkeypatch):
    monkeypatch.setenv("D6TPIPE_CACHED", "true")  # after refresh(), before the first read
    assert settings.cached is True
    monkeypatch.setenv("D6TPIPE_CACHED", "false")
    assert settings.cached is True
    settings.refresh()
    assert settings.cached is False


def test_assigning_reads_no_source(monkeypatch):
    monkeypatch.setenv("D6TPIPE_NO_SUCH_THING", "1")
    settings.cached = True
    with pytest.raises(SettingsError):
        settings.cached


# ---- dir and dirpath


@pytest.mark.parametrize("value", ["out", Path("out")])
@pytest.mark.parametrize("key", ["dir", "dirpath"])
def test_dir_and_dirpath_stay_in_step(key, value):
    setattr(settings, key, value)
    assert ("out", Path("out")) == (settings.dir, settings.dirpath)
    assert Path("out/.d6tflow.json") == settings.db
    assert source_of("dir") == source_of("dirpath") == "assigned"


def test_the_later_of_dir_and_dirpath_wins():
    settings.dir = "one"
    settings.dirpath = Path("two")
    assert settings.dir == "two"
    settings.dir = "three"
    assert settings.dirpath == Path("three")


def test_remote_dir_keeps_its_text():
    settings.dir = "s3://bucket/x"
    assert settings.dir == "s3://bucket/x"


def test_path_of_another_class_is_kept():
    class CloudPath(type(Path())):
        pass

    settings.dirpath = CloudPath("bucket")
    assert type(settings.dirpath) is CloudPath


def test_one_source_cannot_give_dir_and_dirpath_different_values(tmp_path):
    write(tmp_path / "pyproject.toml", '[tool.d6tpipe]\ndir = "a"\ndirpath = "b"\n')
    with pytest.raises(SettingsError, match="dir and dirpath are one setting"):
        settings.dir
    write(tmp_path / "pyproject.toml", '[tool.d6tpipe]\ndir = "a"\ndirpath = "a"\n')
    assert settings.dir == "a"


# ---- mistakes


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'check_dependencies'"):
        settings.check_dependancies = False
    with pytest.raises(AttributeError, match="Did you mean 'log_level'"):
        settings.loglevel
    assert not hasattr(settings, "no_such_setting")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[tool.d6tpipe]\ncache = true\n"),
        ("setup.cfg", "[d6tpipe]\ncache = true\n"),
    ],
)
def test_unknown_key_in_a_file_names_the_file(tmp_path, file, text):
    write(tmp_path / file, text)
    with pytest.raises(SettingsError) as caught:
        settings.cached
    assert str(tmp_path / file) in str(caught.value)
    assert "Did you mean 'cached'" in str(caught.value)


def test_unknown_key_in_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("D6TPIPE_CACHE", "1")
    with pytest.raises(SettingsError, match="D6TPIPE_CACHE"):
        settings.cached


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cached", 1),
        ("cached", "true"),
        ("cached", None),
        ("parameter_count", True),
        ("parameter_count", -1),
        ("parameter_length", 2.0),
        ("dir", None),
        ("dir", ""),
        ("dirpath", 3),
        ("log_level", "LOUD"),
        ("log_level", 30),
        ("unknown_parameters", "warn"),
        ("uri", 1),
    ],
)
def test_value_of_the_wrong_kind_is_refused(key, value):
    with pytest.raises(SettingsError, match=key):
        setattr(settings, key, value)
    assert DEFAULTS[key] == getattr(settings, key)


@pytest.mark.parametrize(
    ("name", "value"), [("CACHED", "maybe"), ("PARAMETER_COUNT", "many"), ("DIR", ""), ("LOG_LEVEL", "")]
)
def test_unfit_text_in_the_environment_names_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"D6TPIPE_{name}", value)
    with pytest.raises(SettingsError, match=f"D6TPIPE_{name}"):
        settings.dir


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[tool.d6tpipe\n"),
        ("pyproject.toml", "[tool]\nd6tpipe = 1\n"),
        ("setup.cfg", "[d6tpipe]\n[d6tpipe]\n"),
    ],
)
def test_file_that_cannot_be_parsed_is_named(tmp_path, file, text):
    write(tmp_path / file, text)
    with pytest.raises(SettingsError, match=file):
        settings.cached


def test_sections_in_both_files_of_a_folder_are_refused(tmp_path):
    write(tmp_path / "pyproject.toml", "[tool.d6tpipe]\ncached = true\n")
    write(tmp_path / "setup.cfg", "[d6tpipe]\ncached = false\n")
    with pytest.raises(SettingsError, match="Two files"):
        settings.cached


def test_functions_and_counter_cannot_be_assigned():
    for name in ("describe", "generation", "SettingsError"):
        with pytest.raises(SettingsError, match="cannot be assigned"):
            setattr(settings, name, None)


def test_words_are_taken_in_any_case():
    settings.log_level = "info"
    assert settings.log_level == "INFO"


# ---- changes


def test_generation_grows_with_every_change():
    seen = [settings.generation]
    settings.cached = True
    seen.append(settings.generation)
    settings.set_parameter_len(3, 5)
    seen.append(settings.generation)
    del settings.cached
    seen.append(settings.generation)
    settings.refresh()
    seen.append(settings.generation)
    with settings.override(cached=True):
        seen.append(settings.generation)
    seen.append(settings.generation)
    assert seen == sorted(set(seen))


def test_reading_is_no_change():
    before = settings.generation
    for key in DEFAULTS:
        getattr(settings, key)
    settings.describe()
    assert before == settings.generation


def test_set_parameter_len_has_d6tflows_defaults_and_keywords():
    settings.set_parameter_len(len=10, nparams=2)
    assert (settings.parameter_count, settings.parameter_length) == (2, 10)
    settings.set_parameter_len()
    assert (settings.parameter_count, settings.parameter_length) == (20, 64)


@pytest.mark.parametrize("nparams", [-1, "3", None])
def test_set_parameter_len_refuses_what_is_no_count(nparams):
    with pytest.raises(SettingsError, match="parameter_count"):
        settings.set_parameter_len(nparams)
    assert (settings.parameter_count, settings.parameter_length) == (20, 64)


def test_override_restores_values_and_sources():
    settings.cached = True
    with settings.override(cached=False, dir="elsewhere"):
        assert (False, Path("elsewhere")) == (settings.cached, settings.dirpath)
        settings.cached = True
        with settings.override(dir="deeper"):
            assert settings.dir == "deeper"
        assert settings.dir == "elsewhere"
    assert (settings.cached, settings.dir) == (True, "data")
    assert (source_of("cached"), source_of("dir")) == ("assigned", "default")


def test_override_restores_after_an_error():
    with pytest.raises(ZeroDivisionError), settings.override(cached=True):
        raise ZeroDivisionError
    assert settings.cached is False


def test_override_with_a_mistake_changes_nothing():
    before = settings.generation
    with pytest.raises(SettingsError), settings.override(dir="elsewhere", cachd=True):
        pass
    assert (before, "data") == (settings.generation, settings.dir)


# ---- the module as an object


def test_module_can_be_loaded_again():
    settings.cached = True
    generation = settings.generation
    assert importlib.reload(settings) is settings
    assert settings.cached is False
    assert settings.generation > generation
    with pytest.raises(ValueError, match="There is no setting"):
        settings.cachd = True


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copies_and_pickles_are_the_module(copier):
    assert settings is copier(settings)
    assert settings is pickle.loads(pickle.dumps(settings))
    assert settings is pickle.loads(cloudpickle.dumps(settings))


def test_function_that_uses_settings_is_pickled_by_reference():
    def read():
        return settings.cached

    with settings.override(cached=True):
        assert pickle.loads(cloudpickle.dumps(read))() is True


def test_dir_lists_the_settings():
    assert set(DEFAULTS) <= set(dir(settings))


def test_monkeypatch_can_set_and_restore(monkeypatch):
    monkeypatch.setattr(settings, "cached", True)
    assert settings.cached is True
    monkeypatch.undo()
    assert settings.cached is False


def test_readers_never_see_a_gap_while_others_assign():
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            if settings.parameter_count not in (20, 21) or settings.dir not in ("data", "other"):
                wrong.append(True)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(2000):
        settings.parameter_count = 20 + number % 2
        settings.dir = ("data", "other")[number % 2]
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
