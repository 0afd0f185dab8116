"""The pytest side: hooks, options, fixtures, outcomes, gates."""
