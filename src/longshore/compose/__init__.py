"""The user's Compose file: read here and nowhere else, into the specs that the API takes.

Knows the Compose Specification and YAML, and is the only package that imports a YAML parser. Must not know the API,
the store or the world; of ours it imports only `model`. Its one promise: a key is either honoured or refused with its
file, line and reason. From the text to the app: `tree` (nodes with lines), `page` (typed values at their places,
variables filled in), `services` and its neighbours (what keys mean), `load` (the whole), and `table`, the one list of
keys, from which `matrix` prints docs/compose.md.
"""

from longshore.compose.load import ComposeApp, load

__all__ = ["ComposeApp", "load"]
