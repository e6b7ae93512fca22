"""The worker: drives the engine of its machine and reports. Knows one node's tasks and nothing of the cluster."""
