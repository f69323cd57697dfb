"""Confidence intervals of rates."""

from scipy.stats import binomtest

from dexvla.spec import Rate


def rate(successes: int, trials: int) -> Rate:
    """Share of successes with its 95 % Wilson interval, which stays inside [0, 1] and is fair at few trials."""
    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return Rate(successes=successes, trials=trials, rate=successes / trials, low=interval.low, high=interval.high)
