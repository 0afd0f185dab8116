"""Reports: one frozen model of a run, rendered as JSON, terminal text, markdown and HTML.

Everything here is pure: a `RunReport` goes in, text comes out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
