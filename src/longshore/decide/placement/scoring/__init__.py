"""Which of the nodes with room is the best.

`policies` knows what may be named and how parts are weighed, `scores` each part, `prices` and `fragments` what two of
them keep, `past` what became of earlier tasks. Scores are exact, and the same on every machine.
"""
