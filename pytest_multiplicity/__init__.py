"""Specifications for families of models that look equally good.

Every public name is imported from here, and only when it is used: `import pytest_multiplicity`
alone imports neither torch nor pandas nor numpy.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
