"""What is measured: a module a benchmark, each with `cases(options)`."""
