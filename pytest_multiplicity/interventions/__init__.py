"""Interventions: changes to the data, the input or the output under which accuracy is measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
