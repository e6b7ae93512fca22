"""Longshore runs containers on a set of Linux machines; docs/design.md is the map of this package."""

__version__ = "0.1.0"
