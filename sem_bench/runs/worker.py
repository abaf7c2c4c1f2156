"""Does one job: under its lock, in its folder, with a record of what it cost. The result is written last.

A worker knows an order and the results folder, and no plan: it can be any process that sees the same files.
"""

import json
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sem_bench.base import interrupts, locks, process_state, world
from sem_bench.base.companions import SPAWN, DeathError, together
from sem_bench.base.device import choose_device, compute_in
from sem_bench.base.digest import digest
from sem_bench.base.files import file_digest, read_json, write_json
from sem_bench.base.limits import Limits
from sem_bench.base.seals import DamagedError, with_sum
from sem_bench.data import loading
from sem_bench.data.shared_images import share_in
from sem_bench.data.split_lists import write_split_list
from sem_bench.errors import UserError, described, plainly
from sem_bench.evaluation import Evaluation
from sem_bench.report.file_models import SCHEMA, ResultFile, validated
from sem_bench.report.job_folder import files_left
from sem_bench.runs import deaths, loggers, shortage
from sem_bench.runs.deaths import UNSEEN
from sem_bench.runs.job import Job, data_of, job_digest
from sem_bench.runs.order import Figure, Message, Order, Outcome, Progress, Started, Tell
from sem_bench.runs.provenance import Meter
from sem_bench.runs.silence import Silence
from sem_bench.runs.store import Store
from sem_bench.training.job import PRETRAIN
from sem_bench.workspace import Monitor, PrunedError, Workspace


def work(order: Order, tell: Tell, store: Store | None = None) -> Outcome:
    """Do a job, unless another process does. What the stage raises is an outcome.

    A signal's KeyboardInterrupt is raised.
    `store` is that of the order's results folder, from a caller who has looked around there already. Raises UserError
    where the device is not there.
    """
    device = _settled(order)
    store = store or Store(order.root)
    claim = store.claim(order)
    if not claim.take():
        return Outcome("held", claim.holder)
    try:
        if (not order.afresh or order.since) and store.done_since(order, order.since):
            return Outcome("reused", "done by another process")
        died = store.count_unseen_death(order)
        if why := store.given_up(order):
            return Outcome("failed", why)
        if died:
            tell(Message(f"{order.kind}/{order.slug}: its process died ({UNSEEN}); it is tried once more"))
        tell(Started())
        with store.workplace(order, afresh=order.afresh, since=order.since) as folder, _noted(folder, store):
            return _do(order, folder, device, tell, store)
    except locks.LostError:
        return Outcome("held", claim.holder)
    finally:
        claim.release()


@contextmanager
def _noted(folder: Path, store: Store) -> Iterator[None]:
    """A job that is neither done nor failed was interrupted: nobody shall think that its process died of it."""
    try:
        yield
    except locks.LostError:  # the folder is another's
        raise
    except BaseException:
        try:
            store.write_state(folder, "interrupted")
        except OSError:  # a full disk
            (folder / "state.json").unlink(missing_ok=True)
        except Exception:  # the claim is lost, or its code has broken what writes
            pass
        raise


@contextmanager
def _one_process() -> Iterator[None]:
    """A process that its code forked, and that comes back from there, ends: the job is done once."""
    own = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != own:
            os._exit(0)


def _do(order: Order, folder: Path, device: torch.device, tell: Tell, store: Store) -> Outcome:
    """The job in its folder."""
    meter = Meter(device)
    try:
        store.write_state(folder, "running")
        with (
            _logged(order, tell, store) as log,  # first: what a logger changes of the process stays
            Silence(f"{order.kind}/{order.slug}", order.limits.patience) as silence,
            process_state.kept() as changed,
        ):
            _check(order)
            workspace = replace(_workspace(order, folder, device, tell, store, silence), log=log)
            given = _bits_of(workspace.inputs)
            settings = order.config.model_dump(mode="json")
            write_json(folder / "config.json", settings)
            with (
                together(
                    order.need.devices,
                    accompany,
                    order.as_json(),
                    str(folder),
                    environments=_environments(order),
                    on_gpu=device.type == "cuda",
                ),
                _one_process(),
            ):
                metrics = plainly(order.stage.run, order.config, workspace)
            json.dumps(metrics, allow_nan=False)  # what cannot be written is this job's failure
            if isinstance(order.stage, Evaluation):
                order.stage.check(metrics)
    except PrunedError:
        store.write_state(folder, "pruned")
        return Outcome("pruned", "worse than others at this epoch; its checkpoint stays")
    except locks.LostError:
        raise
    except DamagedError as error:
        said = _set_aside(error, workspace, order, store)
        return _failure(UserError(said) if said else error, folder, store)
    except DeathError as error:
        store.write_state(folder, "interrupted")
        return Outcome("died", str(error))
    except BaseException as error:  # a method's code may call sys.exit, and raise what it likes
        if interrupts.asked():  # torch.save, for one, makes another error of an interrupt
            raise KeyboardInterrupt from error
        return _failure(error, folder, store, shortage.advice(order, device) if shortage.of_memory(error) else "")
    if changed:
        name = f"{order.kind}/{order.slug}"
        tell(Message(f"{name}: its code changed {', '.join(changed)} of the process; put back"))
    if absent := [name for name in order.stage.outputs if not (folder / name).is_file()]:
        return _failure(UserError(f"{order.kind}: run left no {absent[0]}"), folder, store)
    if _bits_of(workspace.inputs) != given:
        return _failure(UserError("an input was made again meanwhile; the next run does this job"), folder, store)
    store.write_state(folder, "done")
    store.forgive(order)
    _tell_other_data(order, workspace, tell, store)
    sums = {path.name: file_digest(path) for path in files_left(folder)}
    outputs = {name: sums[name] for name in order.stage.outputs}
    result = {
        "schema": SCHEMA,
        "kind": order.kind,
        "digest": order.digest,
        "config": settings,
        "inputs": order.inputs,
        "metrics": metrics,
        "provenance": meter.provenance(order, workspace),
        "sums": sums,
        "bits": workspace.seen.bits or digest(outputs or metrics),
        "stands_on": {role: bits for role, bits in given.items() if bits is not None},
    }
    write_json(folder / "result.json", with_sum(result))  # last: its existence means done
    return Outcome("done", order.stage.said(metrics))


def _logged(order: Order, tell: Tell, store: Store) -> AbstractContextManager[loggers.Log]:
    """Where the epochs of a pretraining go beside log.csv."""
    trains = order.kind == PRETRAIN.name and not order.inputs
    training = loggers.Training(order.slug, order.digest, order.settings, store.root / "logs")
    return loggers.opened(order.log if trains else (), training, lambda text: tell(Message(text)))


def _bits_of(inputs: Mapping[str, Path]) -> dict[str, str | None]:
    """What the inputs are that a job reads, by role; None: of an earlier version, which does not say it."""
    found = {role: validated(ResultFile, read_json(folder / "result.json")) for role, folder in inputs.items()}
    return {role: None if file is None else file.bits for role, file in found.items()}


def _set_aside(error: DamagedError, workspace: Workspace, order: Order, store: Store) -> str:
    """Where an input was damaged, set it aside, so that the next run makes it again; what there is to say."""
    for role, folder in workspace.inputs.items():
        if error.path.parent == folder:
            store.set_aside(role, order.inputs[role], folder, str(error))
            return f"{error}; {role}/{folder.name} is set aside, and the next run makes it again"
    return ""


def _settled(order: Order) -> torch.device:
    """The device of an order; this process keeps to its limits from here on."""
    limits = order.limits
    device = choose_device(order.device)
    compute_in(limits.precision)
    if limits.threads is not None:
        torch.set_num_threads(limits.threads)
    share_in(limits.share)
    return device


def accompany(text: str, folder: str) -> None:
    """Take part in an order as one process of several: compute with the others, and keep and tell nothing."""
    order = Order.from_json(text)
    device = _settled(order)
    _check(order)
    silence = Silence(f"{order.kind}/{order.slug}")  # the first process watches
    workspace = _workspace(order, Path(folder), device, lambda event: True, Store(order.root), silence)
    order.stage.run(order.config, workspace)


def _environments(order: Order) -> list[dict[str, str]]:
    """Of the other processes: what torch reads when it is imported."""
    threads = {} if order.limits.threads is None else {"OMP_NUM_THREADS": str(order.limits.threads)}
    gpus = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in order.gpus] or [{}] * (order.need.devices - 1)
    return [threads | gpu for gpu in gpus]


def _check(order: Order) -> None:
    """Raise UserError where this worker's code would do another job than the one that was planned."""
    if job_digest(order.stage, order.config, order.inputs) != order.digest:
        what = "its code has changed" if order.source else "this worker has another version of sem_bench"
        raise UserError(f"{order.kind}/{order.slug}: not the job that was planned; {what}")


def _workspace(
    order: Order, folder: Path, device: torch.device, tell: Tell, store: Store, silence: Silence
) -> Workspace:
    """What the stage is given. Raises UserError where an input has no result any more."""

    own = os.getpid()

    def progress(done: int, total: int, note: str) -> None:
        if os.getpid() != own:  # see _one_process
            os._exit(0)
        interrupts.check()
        locks.check()
        silence.heard()
        tell(Progress(done, total, note))

    def hopeless(epoch: int, figure: float) -> bool:
        return not tell(Figure(epoch, figure))

    def distrust(path: Path, why: str) -> None:
        if world.rank() > 0:
            return
        if path.is_relative_to((store.root / "cache").absolute()):
            path.unlink(missing_ok=True)
        else:
            store.move_aside(path, why)
        tell(Message(f"{order.kind}/{order.slug}: {path.name}: {why}; it is made anew"))

    inputs = {}
    for role, needed in order.inputs.items():
        if store.by_digest(role, needed) is None:
            raise UserError(f"{order.kind}/{order.slug}: its {role} has no result any more")
        look = store.folders.look(role, needed)
        if look.result is None:
            raise UserError(f"{order.kind}/{order.slug}: its {role} cannot be believed ({look.why or look.absence})")
        inputs[role] = look.result.folder
    return Workspace(
        folder=folder.absolute(),  # a method may change the working folder
        inputs=inputs,
        digest=order.digest,
        distrust=distrust,
        method_code=order.method_code,
        place=order.place,
        weights=order.weights,
        parts=order.parts,
        cache=(store.root / "cache").absolute(),
        device=device,
        memory=order.limits.memory,
        workers=order.limits.workers,
        afresh=order.afresh,
        compiled=order.limits.compiled,
        progress=progress,
        monitor=None if order.watch is None or world.rank() > 0 else Monitor(order.watch, hopeless),
    )


def _failure(error: BaseException, folder: Path, store: Store, advice: str = "") -> Outcome:
    """Why a job failed, in its folder and in a line."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as second:  # a class of the user's own
        interrupts.pass_on(second)
        text = described(error)
    store.write_failure(folder, text + advice)
    store.write_state(folder, "failed")
    said = "; ".join(filter(None, [described(error), advice]))
    return Outcome("failed", f"{said} (see {folder / 'error.txt'})")


def _tell_other_data(order: Order, workspace: Workspace, tell: Tell, store: Store) -> None:
    """Let the store know what the stage read; say so where that is not what the store knew."""
    known, used = store.fingerprints(order) or {}, workspace.seen.data
    changed = any(known.get(split, value) != value for split, value in used.items())
    if changed or not known:
        store.write_fingerprints(order, {**known, **used})
    if changed:
        tell(Message(f"the data of {data_of(order).name!r} are not what they were: older results are void"))


def refresh_fingerprints(jobs: Sequence[Job], store: Store, limits: Limits) -> None:
    """Look at data whose content is not known here yet, so that results made from other data are not reused.

    Of runs that begin together one looks, and the others wait for what it finds. Data whose code ends the process are
    passed over: the jobs that read them fail.
    """
    with store.looking_at_data():
        for job in jobs:
            if store.fingerprints(job) is None and not job.absent():
                with Silence(f"the look at {data_of(job).name}", limits.patience):
                    _look_at_data_of(job, store, limits)


def _look_at_data_of(job: Job, store: Store, limits: Limits) -> None:
    """A second look, where the first ended its process unseen, is a process of its own."""
    look = partial(loading.fingerprints, data_of(job), job.place, memory=limits.memory, workers=limits.workers)
    folder = store.look_folder(job)
    if deaths.died_unseen(folder):
        deaths.note(folder, f"its code ended it, {UNSEEN}")
    if deaths.verdict(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if deaths.said_by(folder):
            store.write_state(folder, "watched")
            with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
                pool.submit(look).result()
        store.write_state(folder, "running")
        store.write_fingerprints(job, look())
        write_split_list(data_of(job), job.place, store.root / "splits")
    except BrokenProcessPool:
        deaths.note(folder, f"its code ended it, {UNSEEN}")
        return
    except BaseException:
        store.write_state(folder, "interrupted")
        raise
    shutil.rmtree(folder)
