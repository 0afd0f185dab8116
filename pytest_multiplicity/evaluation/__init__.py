"""Evaluation: logits once per (candidate, data, intervention), and the scores made of them.

Import from the modules: a recorded family needs `recorded`, which imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
