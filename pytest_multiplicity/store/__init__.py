"""Content-addressed weights and logits: fingerprints, files, locks.

Fingerprints need neither torch nor locks, so `Store` and its words are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
