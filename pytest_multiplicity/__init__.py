"""Specifications for families of models."""
