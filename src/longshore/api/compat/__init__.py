"""Foreign APIs, one module each, that translate to the manager's own operations and do nothing else."""
