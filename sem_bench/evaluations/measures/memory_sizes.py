"""How much memory computing may take: read by estimates, before numpy and torch are there."""

WIDEST_GRAM = 4096  # rows of the largest Gram matrix that is decomposed: seconds on a CPU
WIDEST_EXACT = 2**14  # numbers of a representation up to which each candidate is fitted on all of them
KEPT = 2**33  # bytes of wide features that may stay in memory while a head is fitted
SOLVER = 2**31  # bytes that the heads of several penalties may take while they are fitted
COPIES = 26  # of a head while it is fitted: two for each step that L-BFGS remembers, and some
NEIGHBOURS = 2**30  # bytes of representations that the nearest neighbours look at, at a time
