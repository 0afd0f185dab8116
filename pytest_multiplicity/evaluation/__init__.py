"""Evaluation: logits once per (candidate, data, intervention), and the scores made of them.

Import from the modules: a recorded family needs ``recorded``, which imports no torch.
"""
