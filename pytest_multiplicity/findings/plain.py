"""Values as builtins, for the model of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_multiplicity.design import option_text


def plain(option: Any) -> Any:
    """Return an option as a builtin: itself, or the text that stands for it in ids."""
    if option is None or type(option) in (str, int, float, bool):
        return option
    if isinstance(option, tuple | list):
        return tuple(plain(each) for each in option)
    return option_text(option)


def plain_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by axis as builtins."""
    return {axis: plain(option) for axis, option in options.items()}
