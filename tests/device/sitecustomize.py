"""Whoever has this folder on PYTHONPATH sees simulated GPUs, worker processes too."""

import simulated  # noqa: F401
