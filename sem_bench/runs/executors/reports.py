"""What a worker that is another process reports of an order, and what the driver makes of it."""

import sys
import time
import traceback
from typing import Any

from sem_bench.errors import UserError
from sem_bench.runs.order import Event, Order, Outcome, Progress, Tell

STOPPED = "stopped"
Report = tuple[str, list[Any]]  # plain data: "outcome", "mistake", "os", "fault" or "stopped", and what belongs to it

_stores: dict[Any, Any] = {}  # by root: a worker has one, and remembers what it has read


def report(text: str, tell: Tell, *, tell_every: float) -> Report:
    """Do the order that the text says. Of its progress `tell` hears at most every so many seconds."""
    from sem_bench.runs.store import Store
    from sem_bench.runs.worker import work

    last = 0.0

    def throttled(event: Event) -> bool:
        nonlocal last
        if isinstance(event, Progress):
            if time.monotonic() - last < tell_every:
                return True
            last = time.monotonic()
        return tell(event)

    try:
        order = Order.from_json(text)
        store = _stores.setdefault(order.root, Store(order.root))
        return "outcome", list(work(order, throttled, store))
    except UserError as error:
        return "mistake", error.problems
    except OSError as error:
        return "os", [error.errno, error.strerror or str(error), error.filename]
    except KeyboardInterrupt:
        return STOPPED, []
    except Exception:  # a fault of ours
        return "fault", [traceback.format_exc()]
    finally:
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
            sys.modules["torch"].cuda.empty_cache()  # the next to use this GPU, or a part of it, may be another process


def outcome(report: Report) -> Outcome:
    """How the order ended. Raises what no job explains."""
    match report:
        case "outcome", said:
            return Outcome(*said)
        case "mistake", problems:
            raise UserError(problems)
        case "os", said:
            raise OSError(*said)
        case "fault", [text]:
            raise RuntimeError(f"in a worker:\n{text}")
        case _:
            return Outcome("died", "its worker was told to stop")
