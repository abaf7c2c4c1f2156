"""The end of the program: what code has left behind does not keep it from ending."""

import atexit
import multiprocessing
import os
import sys
import threading
import time
from typing import NoReturn

PATIENCE = 2.0  # seconds for threads and processes that are left


def leave(code: int) -> NoReturn:
    """End the process with that exit code, as `sys.exit` does, but wait for nobody who does not end by himself."""
    until = time.monotonic() + PATIENCE
    for child in multiprocessing.active_children():
        child.join(max(0.0, until - time.monotonic()))
        if child.is_alive():  # Python would wait for it
            child.kill()
    own = threading.current_thread()
    left = [thread for thread in threading.enumerate() if thread is not own and not thread.daemon]
    for thread in left:
        # A pool's thread ends when Python asks it to, which comes after this.
        thread.join(max(0.0, until - time.monotonic()))
    if not any(thread.is_alive() for thread in left):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
