"""Figures of Longshore on this machine, beside what the machine itself can do. docs/benchmarks.md says what each means.

One module a family of figures; `families` lists them. Wherever there is something to compare with, both are measured in
turn in the same run (A B A B), because on a machine that others use too only the ratio of neighbours says anything.
"""
