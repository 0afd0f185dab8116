"""Training: recipes, the ways to train a family of them, and which way each takes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
