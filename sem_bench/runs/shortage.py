"""What to say of a job for which memory was short."""

import torch

from sem_bench.base import machine
from sem_bench.errors import one_line
from sem_bench.runs.job import cost
from sem_bench.runs.order import Order
from sem_bench.training.job import PretrainJob

SAID = ("out of memory", "allocate memory", "not enough memory")


def of_memory(error: BaseException) -> bool:
    """Whether it says that memory was short. On a CPU torch raises a mere RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in one_line(error).lower() for text in SAID)


def advice(order: Order, device: torch.device) -> str:
    """Which batch would fit into the free memory, by the estimate, and what keeps the images of a step as many."""
    config = order.config
    if not isinstance(config, PretrainJob) or order.inputs:
        return "out of memory; fewer --jobs, or a smaller --memory, leave more of it"
    training = config.training
    size, room = training.batch_size, _room(device)
    smaller = [n for n in range(size // 2, 1, -1) if size % n == 0 and n % order.need.devices == 0]
    if not smaller:
        return f"out of memory with batches of {size}"

    def needed(batch: int) -> float:
        changed = training.model_copy(update={"batch_size": batch})
        return cost(order.stage, config.model_copy(update={"training": changed}), order.parts, order.inputs).bytes

    fits = next((n for n in smaller if needed(n) / order.need.devices <= room), smaller[-1])
    return (
        f"out of memory with batches of {size}; by the estimate batch_size {fits} fits, "
        f"with accumulate {training.accumulate * size // fits} for as many images a step"
    )


def _room(device: torch.device) -> float:
    """Bytes for a job: what is free, and what this process holds of a GPU."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    return machine.free_memory()
