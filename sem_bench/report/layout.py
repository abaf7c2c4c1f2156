"""How the rows of each table are laid out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """How the rows of a table are laid out."""

    metrics: tuple[str, ...]  # in the order of their columns
    headers: tuple[str, ...] = ("{column}",)  # of each metric; one for all
    group: tuple[str, ...] = ()  # a table for each value of these
    gains: bool = True
    digits: int = 1
    every: bool = False  # a line for each representation, not for the one that stands for its arm
    legend: str = ""


KINDS = {
    "comparison": Table(
        ("top1", "knn_top1"), legend="probe: l2 logistic regression on frozen features; test read once"
    ),
    "robustness": Table(
        ("top1", "top1_all", "mce"),
        headers=("{column}", "{column}, all classes", "{column}, mCE"),
        group=("fraction",),
        legend="shifted test sets: the probe's head, not retrained; test as in the comparison; "
        "sets of fewer classes among their own, and among all",
    ),
    "transfer": Table(
        ("top1", "mean_per_class"),
        headers=("{column}", "{column} (per class)"),
        legend="transfer: a probe on all labels of another data set; per class: the mean over its classes",
    ),
    "relevance": Table(
        ("relevance_per_class",),
        headers=("K = {column}",),
        digits=3,
        legend="relevance: share of the classes with a common feature that have the same superclass, mean over "
        "classes, for the K largest weights of each class; in brackets chance (classes permuted among superclasses) "
        "and the neighbours of a class; gains are of what lies above chance",
    ),
    "entropy": Table(
        ("entropy_share", "entropy", "largest_probability"),
        headers=("H / log V", "H", "largest p"),
        gains=False,
        digits=3,
        legend="entropy of the simplices in nats, at the pretraining temperature, on the training images",
    ),
    "expressivity": Table(
        ("train", "test", "gap"),
        headers=("{column} train", "{column} test", "{column} gap"),
        gains=False,
        every=True,
        legend="expressivity: accuracy on the labelled training images and on test, of h and of SEM at tau_d",
    ),
}
