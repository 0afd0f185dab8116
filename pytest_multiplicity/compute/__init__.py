"""What training and inference compute with: lanes, fused forms, worker processes, memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
