"""The heartbeat: keys to look at, and the one loop that looks. Knows nothing of what it drives."""
