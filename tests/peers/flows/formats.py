"""Every task format: the file that appears, what comes back, and who else can read it."""

import datetime
import gzip
import json
import pickle
from pathlib import Path

import pandas as pd
from observe import attempt, files, main, observation, plain, ran, taken

import d6tflow

FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [0.5, None, -1.25],
        "word": ["plain", "Ünïcode, with comma", 'a "quote"'],
        "yes": [True, False, True],
    }
)
DATED = FRAME.assign(day=pd.to_datetime(["2020-01-01", "2020-02-29", "2021-12-31"])).set_index("word")


class Csv(d6tflow.tasks.TaskCSVPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class CsvGz(d6tflow.tasks.TaskCSVGZPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class Excel(d6tflow.tasks.TaskExcelPandas):
    def run(self):
        ran(self)
        self.save(FRAME)


class Parquet(d6tflow.tasks.TaskPqPandas):
    def run(self):
        ran(self)
        self.save(DATED)


class Json(d6tflow.tasks.TaskJson):
    def run(self):
        ran(self)
        self.save({"b": [1, 2.5, None], "a": {"ü": True}})


class Pickle(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save({"day": datetime.date(2020, 1, 2), "numbers": {1, 2}})


class Cache(d6tflow.tasks.TaskCache):
    def run(self):
        ran(self)
        self.save({"any": "thing"})


class CachePandas(d6tflow.tasks.TaskCachePandas):
    def run(self):
        ran(self)
        self.save(DATED)


def life(task_class):
    """What a user sees of one task, from declared to reset."""
    task = task_class()
    seen = {"complete before": task.complete(), "load before": attempt(task.outputLoad)}
    d6tflow.run(task)
    seen["bodies"] = taken()
    seen["files"] = files()
    seen["path"] = Path(task.output().path)
    seen["exists"] = task.output().exists()
    seen["loaded"] = task_class().outputLoad()
    seen["loaded by its target"] = plain(task.output().load()) == plain(seen["loaded"])
    d6tflow.run(task_class())
    seen["second run"] = taken()
    seen["reset"] = task.reset(confirm=False)
    seen["complete after reset"] = task.complete()
    seen["files after reset"] = files()
    return seen


@observation
def csv():
    seen = life(Csv)
    d6tflow.run(Csv())
    seen["text"] = Path(Csv().output().path).read_text(encoding="utf-8")
    return seen


@observation
def csv_gz():
    seen = life(CsvGz)
    d6tflow.run(CsvGz())
    seen["text"] = gzip.decompress(Path(CsvGz().output().path).read_bytes()).decode()
    return seen


@observation
def excel():
    seen = life(Excel)
    d6tflow.run(Excel())
    seen["read by pandas"] = pd.read_excel(Excel().output().path)
    return seen


@observation
def parquet():
    seen = life(Parquet)
    d6tflow.run(Parquet())
    seen["read by pandas"] = pd.read_parquet(Parquet().output().path)
    return seen


@observation
def json_():
    seen = life(Json)
    d6tflow.run(Json())
    seen["text"] = Path(Json().output().path).read_text(encoding="utf-8")
    seen["read by json"] = json.loads(seen["text"])
    return seen


@observation
def pickle_():
    seen = life(Pickle)
    d6tflow.run(Pickle())
    seen["read by pickle"] = pickle.loads(Path(Pickle().output().path).read_bytes())
    return seen


@observation
def cache():
    seen = life(Cache)
    d6tflow.run(Cache())
    seen["same object each time"] = Cache().outputLoad() is Cache().outputLoad()
    seen["kept in"] = [value for value in d6tflow.data.values() if value is Cache().outputLoad()]
    seen["one dictionary"] = d6tflow.data is d6tflow.cache.data
    return seen


@observation
def cache_pandas():
    return life(CachePandas)


# -- options of the writer -----------------------------------------------------------------------------------


class CsvIndexed(d6tflow.tasks.TaskCSVPandas):
    def run(self):
        self.save(DATED[["n"]], index=True, sep=";")


class JsonFlat(d6tflow.tasks.TaskJson):
    def run(self):
        self.save({"b": 1, "a": 2}, indent=None, sort_keys=True)


class ParquetPlain(d6tflow.tasks.TaskPqPandas):
    def run(self):
        self.save(DATED, compression=None)


class PickleOld(d6tflow.tasks.TaskPickle):
    def run(self):
        self.save([1, 2], protocol=0)


class ExcelSheet(d6tflow.tasks.TaskExcelPandas):
    def run(self):
        self.save(FRAME[["n"]], sheet_name="numbers")


@observation
def options_of_save_reach_the_writer():
    d6tflow.run([CsvIndexed(), JsonFlat(), ParquetPlain(), PickleOld(), ExcelSheet()])
    return {
        "csv": Path(CsvIndexed().output().path).read_text(),
        "json": Path(JsonFlat().output().path).read_text(),
        "parquet": ParquetPlain().outputLoad(),
        "pickle": Path(PickleOld().output().path).read_bytes()[:2],
        "sheets": list(pd.read_excel(ExcelSheet().output().path, sheet_name=None)),
    }


@observation
def options_of_load_reach_the_reader():
    d6tflow.run([Csv(), Parquet()])
    return {
        "csv": Csv().output().load(usecols=["n"], nrows=2),
        "parquet": Parquet().output().load(columns=["x"]),
    }


# -- other values --------------------------------------------------------------------------------------------


class JsonList(d6tflow.tasks.TaskJson):
    def run(self):
        self.save([1, "two", None])


class PickleNone(d6tflow.tasks.TaskPickle):
    def run(self):
        self.save(None)


class CacheNone(d6tflow.tasks.TaskCache):
    def run(self):
        self.save(None)


class EmptyFrame(d6tflow.tasks.TaskPqPandas):
    def run(self):
        self.save(FRAME.iloc[:0])


class CsvSeries(d6tflow.tasks.TaskCSVPandas):
    def run(self):
        self.save(FRAME["n"])


class ParquetMulti(d6tflow.tasks.TaskPqPandas):
    def run(self):
        index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", "number"])
        self.save(pd.DataFrame({"v": [1.0, 2.0, 3.0, 4.0]}, index=index))


class ParquetKinds(d6tflow.tasks.TaskPqPandas):
    def run(self):
        frame = pd.DataFrame({"c": pd.Categorical(["x", "y", "x"]), "i": pd.array([1, None, 3], dtype="Int64")})
        frame["t"] = pd.to_datetime(["2020-01-01"] * 3, utc=True)
        frame["d"] = pd.to_timedelta([1, 2, 3], unit="h")
        self.save(frame.astype({"i": "Int32"}))


@observation
def unusual_values():
    tasks = [JsonList(), PickleNone(), CacheNone(), EmptyFrame(), CsvSeries(), ParquetMulti(), ParquetKinds()]
    d6tflow.run(tasks)
    seen = {type(task).__name__: task.outputLoad() for task in tasks}
    seen["complete"] = [task.complete() for task in tasks]
    return seen


class JsonWrong(d6tflow.tasks.TaskJson):
    def run(self):
        self.save({"bad": object()})


class ParquetWrong(d6tflow.tasks.TaskPqPandas):
    def run(self):
        self.save({"not": "a frame"})


@observation
def a_value_that_the_format_cannot_hold():
    seen = {}
    for task in (JsonWrong(), ParquetWrong()):
        name = type(task).__name__
        seen[name] = {"run": attempt(lambda task=task: bool(d6tflow.run(task))), "complete": task.complete()}
    seen["files"] = files()
    return seen


@observation
def a_body_may_write_to_the_path_itself():
    class ByHand(d6tflow.tasks.TaskCSVPandas):
        def run(self):
            ran(self)
            FRAME.to_csv(self.output().path, index=False)

    d6tflow.run(ByHand())
    return {
        "bodies": taken(),
        "complete": ByHand().complete(),
        "loaded": ByHand().outputLoad(),
        "files": files(),
    }


if __name__ == "__main__":
    main()
