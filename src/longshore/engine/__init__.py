"""Container engines behind the `Engine` port: a real one over Docker's API, and a fake one in memory.

Whatever an engine says in its own words or types ends in this folder; our words (`model.containers`) leave it.
"""
