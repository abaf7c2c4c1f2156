"""What everything stands on: whole-or-nothing files, digests, locks, randomness, devices, signals."""
