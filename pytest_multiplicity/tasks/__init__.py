"""Tasks: what an answer is, when it is right, and when two disagree."""
