"""Who gives way to whom where there is not room for all.

`priorities` says who comes first, `claims` what comes free and for whom it is held, `preemption` searches all nodes for
the one on which the fewest and cheapest have to go (`fewest`), among those that are `yielding`; `making` turns what it
finds into changes. A pass of placement asks `making` alone.
"""
