"""`python -m sem_bench`."""

import sys

from sem_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
