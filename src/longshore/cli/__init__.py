"""The command line: one file for each noun, over the client alone.

`root` is the whole command; `longshore.main` adds what runs servers to it, with `root.add_command` or, so that nothing
heavy is imported before it is asked for, `root.add_lazy`.
"""

from longshore.cli.group import LazyGroup, root

__all__ = ["LazyGroup", "root"]
