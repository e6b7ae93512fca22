"""The way to a manager: which one, and its API as typed methods. Both the command line and the dashboard speak through
it alone. Built on the standard library, because a command has to start faster than a person waits.

The routes beside /v1 are in `client.postings`, for the few commands that speak to those."""

from longshore.client.routes import Client
from longshore.client.streams import Broken, Gone, Item, Ready, Watched
from longshore.client.target import DEFAULT_URL, Target, chosen_data_dir, default_data_dir, url_of

__all__ = [
    "DEFAULT_URL",
    "Broken",
    "Client",
    "Gone",
    "Item",
    "Ready",
    "Target",
    "Watched",
    "chosen_data_dir",
    "default_data_dir",
    "url_of",
]
