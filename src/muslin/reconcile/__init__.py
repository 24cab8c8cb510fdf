"""Desired against actual: what to do next, in which order, and when to try again. `now` is always an argument.

In: desired and actual state as key -> value. Out: steps, and retry as data.
Never here: sleep, a driver's specifics.
"""
