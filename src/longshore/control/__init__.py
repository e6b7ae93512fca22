"""The manager's mind at work: controllers over the store, workers' sessions, and the user's operations."""
