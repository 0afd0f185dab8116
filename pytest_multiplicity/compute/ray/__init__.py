"""Tasks on a Ray cluster. Modules here that import ray are imported when that engine is chosen."""
