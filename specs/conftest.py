"""Options of the studies in this folder, and fixtures that several of them use."""
