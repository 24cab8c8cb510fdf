"""Desired against actual: what to do next, in which order, and when to try again. `now` is always an argument.

In: desired and actual state as key -> value. Out: steps, and retry as data.
Never here: sleep, a driver's specifics.
"""

from muslin.reconcile.bisect import Search, search
from muslin.reconcile.ledger import Ledger
from muslin.reconcile.plan import Done, Outcome, Reconciler, Refused, Step, TryAgain, Unsettled
from muslin.reconcile.retry import Retry, after_failure

__all__ = [
    "Done",
    "Ledger",
    "Outcome",
    "Reconciler",
    "Refused",
    "Retry",
    "Search",
    "Step",
    "TryAgain",
    "Unsettled",
    "after_failure",
    "search",
]
