"""On the machines of a Ray cluster, a task a job.

The schedule tries again what a death has ended, so Ray does not. Results pass as files; what a job tells goes through a
mailbox, an actor beside the driver.
"""

import logging
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # under `uv run` Ray would ship the whole folder
import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import sem_bench
from sem_bench.base import machine
from sem_bench.base.files import write_atomic
from sem_bench.errors import UserError, one_line
from sem_bench.evaluation import Evaluation
from sem_bench.runs.executors import ray_node
from sem_bench.runs.executors.reports import outcome
from sem_bench.runs.order import EVENTS, Figure, Need, Order, Outcome, Tell

ANSWER = 10.0  # seconds in which a cluster must accept a connection
GRACE = 10.0  # seconds that jobs have to stop before they are killed
OBJECTS = 80 * 2**20  # bytes of Ray's object store, which passes nothing here: about the least that it takes
SHORT = 30  # characters of the folder of Ray's: the paths of the sockets in it have 70 more, and can have 107
DEATHS: dict[type[Exception], str] = {
    exceptions.WorkerCrashedError: "its worker died",
    exceptions.OutOfMemoryError: "its worker was killed, for its node ran out of memory",
    exceptions.NodeDiedError: "its node died",
    exceptions.LocalRayletDiedError: "its node died",
}
Resources = Mapping[str, float]  # "CPU", "GPU", "memory" in bytes


class OnRay:
    """Jobs of `threads` CPUs in the cluster at `address`; None: one of this machine alone, as long as it is needed.

    At most `jobs` at a time, of `devices` each; None: as many as the cluster holds.
    """

    def __init__(
        self,
        root: Path,
        address: str | None,
        device: str,
        *,
        threads: int,
        jobs: int | None,
        jobs_per_device: int = 1,
        devices: int = 1,
    ) -> None:
        if address is not None and "://" in address:
            raise UserError(f"--address {address}: not through Ray Client; start the run on a node of the cluster")
        self._root, self._address, self._device = root, address, device
        self._threads, self._jobs, self._per_device, self._devices = threads, jobs, jobs_per_device, devices
        self._own = {"CPU": max(machine.cores(), (jobs or 1) * threads * devices), "GPU": len(machine.gpus(device))}
        self._nodes: dict[str, Resources] = {} if address else {"": self._own}  # as they were at the last look
        self._home: dict[str, Any] = {}  # what nodes must have, while there is a connection
        self._seen: set[str] = set()  # nodes that have it
        self._tasks: dict[ray.ObjectRef[Any], tuple[str, Tell]] = {}
        self._mailbox: Any = None
        self._mail: Any = None  # what it gives next

    @property
    def gpus(self) -> float:
        """How many there are for us."""
        self._look(again=not self._nodes)
        return 0.0 if self._device == "cpu" else sum(has.get("GPU", 0) for has in self._nodes.values())

    @property
    def slots(self) -> int:
        """As many as can run where all are evaluations on one device. Of larger jobs some wait in Ray's queue."""
        self._look(again=not self._nodes)
        held = sum(has.get("CPU", 0) // self._threads for has in self._nodes.values())
        if gpus := self.gpus:
            held = min(held, gpus * max(1 / Evaluation.gpu, self._per_device))
        return max(self._devices, int(min(held, (self._jobs or held) * self._devices)))

    def check(self, needs: Mapping[Need, str], device: str) -> None:
        """Raise UserError where no node has what a job needs, or where one does not see the files of the run."""
        if not needs:
            return
        if device == "cuda" and not self.gpus:
            raise UserError("--device cuda: no node of the Ray cluster has a GPU")
        self._look()
        able = set[str]()
        for need, name in needs.items():
            asked = self._asked(need)
            fit = {node for node, has in self._nodes.items() if all(has.get(of, 0) >= asked[of] for of in asked)}
            if not fit:  # Ray would wait for ever
                largest = max(self._nodes.values(), key=lambda has: [has.get(of, 0) for of in ("GPU", "CPU", "memory")])
                raise UserError(f"{name} needs {_said(asked)}; the largest node of the cluster has {_said(largest)}")
            able |= fit
        for look in [self._look_at(node) for node in able - self._seen] if self._address else ():
            with suppress(exceptions.RayError):  # that node is gone
                if lacking := ray.get(look):
                    raise UserError(lacking)

    def expect(self, orders: int) -> None:
        """Nothing has to start: nodes have workers."""

    def start(self, order: Order, tell: Tell) -> None:
        """Hand it to Ray."""
        asked = self._asked(order.need)
        # A process that has used one GPU goes on using it, whatever it is given next.
        fresh = asked["GPU"] and max(has.get("GPU", 0) for has in self._nodes.values()) > 1
        task = ray.remote(max_calls=1 if fresh else 0)(ray_node.do).options(
            name=f"{order.kind}/{order.slug}",
            num_cpus=asked["CPU"],
            num_gpus=asked["GPU"],
            memory=asked["memory"],
            runtime_env=self._environment(on_gpu=bool(asked["GPU"])),
            max_retries=0,  # nor where memory was short: Ray would try it for ever
        )
        self._tasks[task.remote(order.as_json(), self._home, self._mailbox)] = order.digest, tell

    def wait(self, timeout: float | None = None) -> Iterator[tuple[str, Outcome]]:
        """Pass on what jobs tell, until one has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        ended: list[ray.ObjectRef[Any]] = []
        while self._tasks and not ended:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not ray.wait([self._mail, *self._tasks], timeout=left)[0]:
                return
            ended, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
            if ended:
                self._mailbox.wake.remote()  # all that they told is heard before their end
            self._hear()
        yield from [(self._tasks.pop(task)[0], _ended(task)) for task in ended]

    def _hear(self) -> None:
        """What is in the mailbox, as soon as there is something."""
        tells = dict(self._tasks.values())
        try:
            told = ray.get(self._mail)
        except exceptions.RayError:  # it died; jobs that need it end, and are tried again
            time.sleep(1)  # where none can live, there is no storm of new ones
            self._open_mailbox()
            return
        for digest, name, said in told:
            answer = digest not in tells or tells[digest](EVENTS[name](*said))
            if name == Figure.__name__:
                self._mailbox.answer.remote(digest, answer)
        self._mail = self._mailbox.take.remote()

    def stop(self) -> None:
        """Ask all jobs to stop, end those that do not, and leave the cluster."""
        if not self._home:
            return
        tasks, self._tasks = list(self._tasks), {}
        try:
            for task in tasks:
                ray.cancel(task)  # raises KeyboardInterrupt there
            for task in ray.wait(tasks, num_returns=len(tasks), timeout=GRACE)[1] if tasks else ():
                ray.cancel(task, force=True)
        finally:
            Path(self._home["token"]).unlink(missing_ok=True)
            self._home, self._seen = {}, set()
            if self._mine:
                with ray_node.signals_kept():  # Ray leaves SIGTERM to the system, which would end the program
                    ray.shutdown()

    def _asked(self, need: Need) -> Resources:
        """What a job needs, in Ray's units: of a GPU 1/10,000, and six times a sixth must fit."""
        share = math.floor(need.gpu * 10_000) / 10_000 if self.gpus else 0.0
        return {"CPU": need.threads, "GPU": share, "memory": math.ceil(need.memory)}

    def _environment(self, *, on_gpu: bool) -> dict[str, Any]:
        """Without a GPU of its own, a task would see those that its node sees."""
        hidden = {} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
        return {"env_vars": {"OMP_NUM_THREADS": str(self._threads)} | hidden}

    def _look_at(self, node: str) -> Any:
        """Ask a node what it lacks."""
        self._seen.add(node)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        environment = self._environment(on_gpu=False)
        look = ray.remote(ray_node.lacking).options(num_cpus=0, scheduling_strategy=there, runtime_env=environment)
        return look.remote(self._home)

    def _look(self, *, again: bool = True) -> None:
        """What the cluster has, connecting to it first."""
        if again:
            self._connect()
            self._nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}

    def _connect(self) -> None:
        """To a cluster, or start one; to that of this process, if there is one."""
        if self._home:
            return
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray._private.worker._worker_logs_enabled = False  # what it says of deaths would stand among tables on stdout
        token = self._root / "cache" / f"ray-{uuid.uuid4().hex}"
        home = {
            "cwd": str(Path.cwd()),
            "results": str(self._root),
            "token": str(token),
            "path": sys.path,
            "version": sem_bench.__version__,
        }
        self._mine = not ray.is_initialized()
        if self._mine:
            options: dict[str, Any] = {}
            if self._address is None:
                options = {"num_cpus": self._own["CPU"], "num_gpus": self._own["GPU"], "object_store_memory": OBJECTS}
                if len(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "") > SHORT:
                    options["_temp_dir"] = "/tmp/ray"
                # Else Ray leaves a token in the user's home folder, for all clusters from then on.
                os.environ.setdefault("RAY_AUTH_TOKEN", uuid.uuid4().hex)
            else:
                _reach(self._address)
            try:
                with ray_node.signals_kept():
                    ray.init(
                        self._address or "local",
                        include_dashboard=False,
                        log_to_driver=False,
                        configure_logging=False,
                        **options,
                    )
            except Exception as error:
                where = "--executor ray" if self._address is None else f"--address {self._address}"
                advice = (
                    "; does it ask for a token (RAY_AUTH_MODE=token)?" if isinstance(error, ConnectionError) else ""
                )
                raise UserError(f"{where}: {one_line(error)}{advice}") from None
        self._home = home
        write_atomic(token, "")
        self._open_mailbox()

    def _open_mailbox(self) -> None:
        """On this node. It may not be restarted: where memory is short, Ray first kills what may."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = ray.remote(ray_node.Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self._mail = self._mailbox.take.remote()


def _reach(address: str) -> None:
    """Raise UserError where nothing listens; Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
        except OSError as error:
            raise UserError(f"--address {address}: nothing answers there ({error.strerror or error})") from None


def _ended(task: "ray.ObjectRef[Any]") -> Outcome:
    """What became of a job. Raises what no job explains."""
    try:
        return outcome(ray.get(task))
    except exceptions.RuntimeEnvSetupError as error:
        raise UserError(f"--executor ray: {one_line(error)}") from None
    except exceptions.RayTaskError:  # raised in a worker
        raise
    except exceptions.RayError as error:
        return Outcome("died", DEATHS.get(type(error), f"Ray gave it up: {one_line(error)[:200]}"))


def _said(has: Resources) -> str:
    """In words."""
    memory = has.get("memory", 0) / 2**30
    return f"{has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs and {memory:,.1f} GiB of memory"
