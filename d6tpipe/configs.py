"""Settings as objects: typed, nested, immutable values of parameters."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

import luigi
from luigi.parameter import Parameter as LuigiParameter
from luigi.parameter import ParameterVisibility

from d6tpipe import labels
from d6tpipe.constructor import BLUEPRINTS, blueprint, drop_blueprint, id_in
from d6tpipe.errors import DeclarationError, ParameterError
from d6tpipe.parameter_names import check_name, own_parameters
from d6tpipe.parameters import ConfigParameter
from d6tpipe.task_values import Composite, live
from d6tpipe.typed import Declaration, Open, declared_parameters
from d6tpipe.values import text

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:
    from typing_extensions import dataclass_transform

__all__ = ["Config", "Init", "insignificant"]

_Config = TypeVar("_Config", bound="Config")
_Made = TypeVar("_Made")


@dataclass_transform(kw_only_default=True)
class ConfigMeta(abc.ABCMeta):
    """Metaclass of `Config`."""

    def __new__(metacls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> Any:
        declared_parameters(namespace, bases, name)
        own_parameters(namespace)
        cls = super().__new__(metacls, name, bases, namespace, **kwargs)
        for attribute, value in namespace.items():
            check_name(cls, attribute, value)
        init = namespace.get("__init__")
        if init is not None:
            raise DeclarationError(
                f"{name} is a config and cannot have an __init__ of its own",
                task=cls,
                hint="Declare parameters; check them in validate(self); derive what follows from them in a property.",
            )
        return cls

    def __call__(cls: type[_Made], /, *args: Any, **kwargs: Any) -> _Made:
        """Return the config with these values; the same object as long as one like it is alive."""
        plan = BLUEPRINTS.get(cls) or blueprint(cls)
        try:
            made = plan.make(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            made = plan.reject(args, kwargs, cls)
            if made is NotImplemented:
                raise
        if labels.tagging:
            labels.tagged(made, kwargs)
        if "_valid" not in made.__dict__:
            _validate(made)
        return made

    def __setattr__(cls, name: str, value: Any) -> None:
        if value.__class__ is Declaration:
            value = value.parameter(cls, name)
        if isinstance(value, LuigiParameter):
            check_name(cls, name, value)
            value = own_parameters({name: value})[name]
            value.__set_name__(cls, name)
        super().__setattr__(name, value)
        drop_blueprint(cls)


def _validate(made: Any) -> None:
    try:
        made.validate()
    except ParameterError:
        raise
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"{type(made).__name__} does not take these values together",
            task=repr(made),
            facts={"problem": error},
            hint=f"Correct the values; validate() of {type(made).__name__} has the rule.",
        ) from error
    made.__dict__["_valid"] = True


class Config(Composite, Open, metaclass=ConfigMeta):
    """Base class of settings objects: parameters like those of a task, but nothing to run and no output.

    A config is a value: of a task (`ConfigParameter`), of another config, in the dicts and lists that parameters hold.
    It is immutable, equal to one of the same class and values, and part of the identity of what holds it. Tasks in it
    are built before a task that holds it.

    A body that runs has copies of the configs of its task. On these, attributes besides the parameters can be set (a
    model that was loaded); they are gone when the body ends.

    Examples
    --------
    >>> import d6tpipe
    >>> class Optimizer(d6tpipe.Config):
    ...     lr: float = d6tpipe.param(0.1)
    ...     steps: int = d6tpipe.param(100)
    ...     def validate(self):
    ...         if self.lr <= 0:
    ...             raise ValueError("lr must be positive")
    >>> Optimizer(lr=1).clone(steps=5)
    Optimizer(lr=1.0, steps=5)
    """

    _live = False  # on the copies that a running body has

    # ---- what is compiled for tasks is for configs, too

    @classmethod
    def __d6tpipe_parameter__(cls, **keywords: Any) -> Any:
        """Return the parameter that an annotation of this class stands for: ``model: Model = d6tpipe.param()``."""
        return ConfigParameter(cls, **keywords)

    @classmethod
    def get_task_family(cls) -> str:
        """Return the name of the class: of its section in luigi's configuration, and at the beginning of ids."""
        return cls.__name__

    @classmethod
    def get_params(cls) -> list[tuple[str, LuigiParameter[Any]]]:
        """Return ``(name, parameter)`` of every parameter, in the order they were declared."""
        return list(blueprint(cls).parameters)

    @classmethod
    def from_str_params(cls, texts: Mapping[str, str]) -> Self:
        """Return the config with these values, given as text."""
        parameters = blueprint(cls).by_name
        return cls(**{name: parameters[name].parse(value) for name, value in texts.items() if name in parameters})

    # ---- identity

    @functools.cached_property
    def config_id(self) -> str:
        """Text that tells the config from others of its class: name, readable values, digest."""
        found = str(blueprint(type(self)).task_id(self.__dict__))
        if not self._producers:
            return found
        ids = "".join([str(id_in(one)) for one in self._producers])
        return f"{found}_{blake2b(ids.encode(), digest_size=5).hexdigest()}"

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        values = self.__dict__
        shown = [
            f"{name}={values[name]!r}"
            if isinstance(values[name], (str, luigi.Task, Composite))
            else f"{name}={text(parameter, values[name])}"
            for name, parameter in blueprint(type(self)).parameters
            if parameter.significant and parameter.visibility != ParameterVisibility.PRIVATE and name in values
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    # ---- values

    def validate(self) -> None:
        """Raise ValueError if the values do not go together; called once, when the config is made."""

    @property
    def param_kwargs(self) -> dict[str, Any]:
        """The values of all parameters by name."""
        return {name: self.__dict__[name] for name in blueprint(type(self)).by_name}

    def to_str_params(self, only_significant: bool = False) -> dict[str, str]:
        """Return the parameters as text, without private ones."""
        return {
            name: text(parameter, self.__dict__[name])
            for name, parameter in blueprint(type(self)).parameters
            if (parameter.significant or not only_significant) and parameter.visibility != ParameterVisibility.PRIVATE
        }

    def clone(self, **changes: Any) -> Self:
        """Return the config with some values changed.

        Raises
        ------
        ParameterError
            There is no such parameter, or a value does not fit.
        """
        made = type(self)(**{**self.param_kwargs, **changes})
        return made._output_of(self._producers) if self._producers else made

    # ---- immutable

    def __setattr__(self, name: str, value: Any) -> None:
        is_parameter = name in blueprint(type(self)).by_name
        if is_parameter or not self._live:
            raise ParameterError(
                f"'{name}' of a config cannot be changed",
                task=repr(self),
                facts={"now": repr(self.__dict__.get(name, "not set")), "asked for": f"{value!r:.300}"},
                hint=f"Make another one: config.clone({name}={value!r:.100})."
                if is_parameter
                else "While a body runs, its own copies (self.model, not a global) can hold further attributes.",
            )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not self._live or name in blueprint(type(self)).by_name:
            raise ParameterError(
                f"'{name}' of a config cannot be removed", task=repr(self), hint="Make another one: config.clone(...)."
            )
        object.__delattr__(self, name)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        state = {} if not self._insignificant else {"_insignificant": True}
        return _rebuild, (type(self), self.param_kwargs, state, self._producers)

    # ---- as an output

    def _output_of(self, tasks: Iterable[Any]) -> Self:
        producers = tuple(dict.fromkeys([*self._producers, *tasks]))
        if producers == self._producers:
            return self
        found = object.__new__(type(self))
        kept = {name: value for name, value in self.__dict__.items() if name not in ("config_id", "_text", "_key")}
        key = self.__dict__["_key"] if not self._producers else self.__dict__["_key"][:-1]
        found.__dict__.update(kept, _producers=producers, _key=(*key, producers))
        return found

    # ---- what is in it

    def _ignored(self) -> list[str]:
        return blueprint(type(self)).ignored(self.__dict__)

    def _objects(self) -> list[Any]:
        return [self.__dict__[name] for name in blueprint(type(self)).objects_in]

    # ---- for bodies

    def _live_copy(self, memo: dict[Any, Any]) -> Any:
        """Return a copy on which attributes can be set; one for each `memo`."""
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = object.__new__(type(self))
            found.__dict__.update(self.__dict__)
            found.__dict__.update(_live=True, _origin=self)
            for name in blueprint(type(self)).objects_in:
                found.__dict__[name] = live(self.__dict__[name], memo)
        return found


class Init(Config):
    """Base class of what runs before the body of a task: ``Evaluate(model=m, init=[Load(model=m)])``.

    It is a config with a ``run()``, part of the identity of the task. The configs that it shares with the task are the
    same copies: what it sets on a model, the body finds there. Tasks that it holds are built before.

    Examples
    --------
    ::

        class Load(d6tpipe.Init):
            model = d6tpipe.ConfigParameter(Model)
            source = d6tpipe.TaskInstanceParameter(Learn)

            def run(self):
                self.model.weights = self.source.outputLoad()
    """

    _runs_first = True

    def run(self) -> None:
        """Do what is to be done before the body."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")


def insignificant(config: _Config) -> _Config:
    """Return a config that does not count: what holds it is the same task with another one, or with none.

    For what says how and not what, such as a logger or where to run. Parameters that never count are declared with
    ``significant=False``.
    """
    if not isinstance(config, Config):
        raise DeclarationError(
            "insignificant() takes a config",
            facts={"got": f"{config!r:.200}"},
            hint="Declare a parameter that never counts with significant=False.",
        )
    return _rebuild(type(config), config.param_kwargs, {"_insignificant": True}, config._producers)


def _rebuild(cls: Any, values: Mapping[str, Any], state: Mapping[str, Any], producers: tuple[Any, ...]) -> Any:
    made = cls(**values)
    if producers:
        made = made._output_of(producers)
    if not state:
        return made
    found = object.__new__(cls)
    found.__dict__.update({**made.__dict__, **state})
    return found
