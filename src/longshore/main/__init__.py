"""The roof: the only place where concrete parts meet, and the command line's entry.

`longshore ps` must start fast, so nothing is imported here but the commands' names; each server command imports its
parts when it runs.
"""

from longshore.cli import root

for _name in ("dev", "manager", "worker", "restore", "simulate"):
    root.add_lazy(_name, f"longshore.main.commands:{_name}")
# The same group as the command line's own, with its two servers.
root.add_lazy("cube", "longshore.main.cube:cube")


def main() -> None:
    """The `longshore` command."""
    root()
