"""The roof: the only place where concrete parts meet, and the command line's entry.

`longshore ps` must start fast, so nothing is imported here but the commands' names; each server command imports its
parts when it runs.
"""

from longshore.cli import root
from longshore.main.commands import add_server_commands

add_server_commands(root)


def main() -> None:
    """The `longshore` command."""
    root()
