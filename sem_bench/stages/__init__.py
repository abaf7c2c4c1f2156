"""The stages: one module a kind of job, each with `run(job, workspace) -> metrics`."""
