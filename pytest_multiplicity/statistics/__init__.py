"""Sheets, selection, noise and predictive multiplicity. Pure: numpy, pandas and scipy only."""
