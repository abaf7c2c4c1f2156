"""`python -m sem_bench`."""

from sem_bench.cli import script

if __name__ == "__main__":
    script()
