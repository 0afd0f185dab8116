"""One configuration: an option for every axis, and the seed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any


class Config:
    """The options of one candidate as attributes, plus `seed`.

    Frozen. It has no public names of its own, so that any axis name works; `vars(config)` gives
    the options as a dict, which is also the way to a source of randomness such as `"seed.init"`.
    `config.run` is the run of a tracker that it was read from, if it was: no option, so that it is
    not among them.
    """

    __slots__ = ("__dict__", "__run__", "__weakref__")  # no axis begins with two underscores
    __run__: str | int | None

    def __init__(self, options: Mapping[str, Any], seed: int, run: str | int | None = None) -> None:
        vars(self).update(options, seed=seed)
        object.__setattr__(self, "__run__", run)

    def __reduce__(self) -> tuple[Any, ...]:
        options = dict(vars(self))
        return Config, (options, options.pop("seed"), self.__run__)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a configuration is frozen: can't set {name!r} to {value!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a configuration is frozen: can't delete {name!r}")

    def __getattr__(self, name: str) -> Any:
        if name == "run" and self.__run__ is not None:
            return self.__run__
        close = difflib.get_close_matches(name, vars(self), 1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        known = ", ".join(vars(self))
        raise AttributeError(f"this family has no axis {name!r}{guess}; it has {known}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(frozenset(vars(self).items()))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"Config({options})"


def run_of(config: Config) -> str | int | None:
    """Return the run that a configuration was read from; None where it is from no tracker."""
    return config.__run__
