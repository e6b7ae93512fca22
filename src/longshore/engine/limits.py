"""How long an engine may take, in seconds, before it counts as one that does not answer. The fake keeps to them too,
so that whoever waits for it waits as long as for a real one."""

CONNECT_LIMIT_S = 2.0
ANSWER_LIMIT_S = 10.0
WORK_LIMIT_S = 60.0
"""For what makes the engine work: create, start, remove."""
STOP_LIMIT_S = 10.0
"""On top of the grace that a container was given."""
PULL_SILENCE_S = 120.0
"""A pull may take for ever as long as it gets on. An engine without name service says so after 20 seconds."""
EVENTS_SILENCE_S = 30.0
"""Without an event for so long, the stream is opened anew: its other end may be gone."""
OTHERS_LIMIT_S = 10.0
"""For a create or remove that somebody else has begun."""
PROGRAMS_MAX = 16
"""How many may run in a container beside its own before no other is begun: one that hangs is never ended, and would
have another beside it every few seconds."""
