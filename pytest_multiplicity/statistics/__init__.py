"""Sheets, selection, noise and predictive multiplicity. Pure: numpy, pandas and scipy only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
