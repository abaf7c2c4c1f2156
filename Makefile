# One word for each thing that is done often. `make` says which.

.PHONY: help check test cases faults bench shown docs

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

check: ## format, lint and types
	uv run ruff format .
	uv run ruff check --fix .
	uv run mypy

test: ## all tests, on two processes
	uv run pytest -n 2

cases: ## the data, checkpoints and slips that people bring
	uv run pytest -m cases tests/cli tests/data tests/evaluations tests/nets tests/runs tests/training

bench: ## how fast the parts are, beside other libraries and beside what the machine could do
	uv run python benchmarks/run.py

faults: ## break finished results in every way that we know, and see them mended
	SEM_BENCH_FAULTS=300 uv run pytest -s tests/test_faults.py tests/test_hostile.py tests/test_kills.py tests/test_determinism.py \
		tests/test_stage_versions.py tests/test_own_parts.py tests/runs/test_hurt.py tests/runs/test_faulty_methods.py \
		tests/runs/test_processes.py tests/runs/test_drivers.py tests/runs/test_ray.py tests/training/test_checkpoint.py \
		tests/training/test_devices.py tests/training/test_health.py tests/data/test_archives.py tests/cli/test_record.py tests/cli/test_run.py \
		tests/data/test_loading.py tests/nets/test_foreign_weights.py tests/cli/test_streams.py tests/sweep

shown: ## write the output and pictures that the documents show anew
	uv run python -m tests.test_docs

docs: ## the documents as a site, in site/; no network, and no link that leads nowhere
	NO_MKDOCS_2_WARNING=1 uv run mkdocs build --strict --quiet
