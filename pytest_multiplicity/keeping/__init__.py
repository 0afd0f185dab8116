"""Keeping: functions that train with code of their own, called once; what they return is kept."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
