"""Models to answers: logits once per (candidate, data, intervention)."""
