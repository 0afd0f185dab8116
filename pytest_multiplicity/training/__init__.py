"""Training: recipes, the ways to train a family of them, and which way each takes."""
