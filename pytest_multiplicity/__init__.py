"""Specifications for families of models that look equally good.

Every public name is imported from here, and only when it is used: `import pytest_multiplicity`
alone imports neither torch nor pandas nor numpy.
"""

import lazy_loader

__version__ = "0.1.0"

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _import(name)
