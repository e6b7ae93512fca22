"""The mind: pure functions from a snapshot to changes. No clock, chance, log or I/O; time comes in as `now`."""
