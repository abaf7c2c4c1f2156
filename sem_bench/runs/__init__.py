"""A suite becomes a plan, and a plan becomes results."""
