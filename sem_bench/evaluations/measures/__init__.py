"""What evaluations compute, on tensors and arrays alone."""
