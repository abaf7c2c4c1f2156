"""How much memory computing may take: read by estimates, before numpy and torch are there."""

SOLVER = 2**31  # bytes that the heads of several penalties may take while they are fitted
COPIES = 26  # of a head while it is fitted: two for each step that L-BFGS remembers, and some
NEIGHBOURS = 2**27  # bytes of representations that the nearest neighbours look at, at a time
