"""Seeds whose worlds once broke, and what each found. They are run for ever, before any fresh ones.

A seed is the same story only until the simulator draws something new, so what a seed found is also kept as a situation
of its own in `test_situations` wherever it can be staged; these stay because they cost little and were not chosen to
pass.
"""

_REST = "what was taken for rest: a job that still ran, a rollout held up, a paused node, a silence not noticed yet"

SEEDS: dict[int, str] = {
    1: "a rollout of a global service stopped it on all nodes at once",
    2: "a start that the engine did not answer was asked for again, and an ended container ran a second time",
    3: "a join whose welcome was lost could not be repeated: the token was used up",
    4: "messages overtook one another in the simulated wire",
    5: "a node that returned was declared down at once: it was written down as ready before it counted as heard",
    8: "a join whose welcome was lost could not be repeated: the token was used up",
    12: "a cancellation was swallowed in `finally: await`, and what was killed went on",
    18: _REST,
    31: _REST,
    49: "the witness knew places of a global service by slot, and slots are numbered anew",
    51: _REST,
    75: "a slot of a global service was held by a task from a time when it was not global, on another node",
    82: "the witness forgot that a service had changed its mode",
    104: _REST,
    142: _REST,
    158: _REST,
    188: "messages overtook one another in the simulated wire",
}
