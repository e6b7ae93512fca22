"""Stores: where a cluster's state is kept. `MemoryStore` is the reference, `SqliteStore` the default.

Both stand behind `ports.Store` and pass tests/contracts/test_store.py. What they share is in `landing` (how waiting
commits become a new snapshot) and `journal` (the log in memory, its readers, the stories). docs/store.md says what
is promised and what happens when the process or the disk gives up.
"""
