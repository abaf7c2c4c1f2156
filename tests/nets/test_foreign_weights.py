"""Foreign weights: the features of the network that wrote a file are those of our encoder that read it."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import torch
import torchvision
from torch import Tensor, nn

from sem_bench.encoder import Encoder
from sem_bench.nets.embeddings import none, sem
from sem_bench.nets.embeddings.linear import LinearEmbedding
from sem_bench.nets.foreign_weights import load_weights
from tests.helpers.nets import build_backbone

State = dict[str, Any]
Module = TypeVar("Module", bound=nn.Module)
L, V, TAU = 4, 3, 0.7


def encoder(name: str = "resnet10w16s2", *, image_size: int = 32, embedding: str = "none") -> Encoder:
    backbone = build_backbone(name, image_size=image_size)
    kinds: dict[str, Callable[[], none.NoEmbedding | LinearEmbedding]] = {
        "none": lambda: none.NoEmbedding(backbone.out_dim),
        "linear": lambda: LinearEmbedding(backbone.out_dim, L=L, V=V),
        "sem": lambda: sem.SimplicialEmbedding(backbone.out_dim, L=L, V=V, tau=TAU),
    }
    return Encoder(backbone, kinds[embedding]()).eval()


def shaken(module: Module) -> Module:
    """The module in eval mode with BatchNorms that do something."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    return module.eval()


def resnet(name: str = "resnet18", *, small: bool = True, padding: int = 1, classes: int = 10) -> Any:
    network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if small:
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
        network.maxpool = nn.Identity()
    return shaken(network)


def under(prefix: str, module: nn.Module) -> State:
    return {prefix + name: value for name, value in module.state_dict().items()}


def saved(folder: Path, state: object, name: str = "weights.pt") -> Path:
    torch.save(state, folder / name)
    return folder / name


@torch.no_grad()
def same_features(theirs: nn.Module, ours: Encoder, image_size: int = 32) -> None:
    images = torch.randn(2, 3, image_size, image_size)
    torch.testing.assert_close(ours.backbone(images), theirs(images).flatten(1))


def test_torchvision(tmp_path: Path) -> None:
    theirs, ours = resnet(small=False), encoder("resnet18", image_size=65)
    path = saved(tmp_path, theirs.state_dict())
    assert load_weights(ours, path) == ["backbone read from the top level of the file", "in the file and not used: fc"]
    theirs.fc = nn.Identity()
    same_features(theirs, ours, 65)


def test_lightly_with_children_by_position(tmp_path: Path) -> None:
    children = nn.Sequential(*list(resnet().children())[:-1])
    state = under("backbone.", children) | under("projection_head.layers.", nn.Linear(512, 8))
    path = saved(tmp_path, {"epoch": 3, "state_dict": state, "optimizer_states": [{"state": {}}]})
    ours = encoder("resnet18")
    assert load_weights(ours, path) == ["backbone read from 'state_dict.backbone'"]
    same_features(children, ours)


def test_lightly_with_children_by_name(tmp_path: Path) -> None:
    theirs = resnet()
    theirs.fc = nn.Identity()
    arguments = argparse.Namespace(lr=0.1)  # what Lightning keeps beside the weights
    path = saved(tmp_path, {"state_dict": under("backbone.", theirs), "hyper_parameters": arguments})
    ours = encoder("resnet18")
    assert load_weights(ours, path) == ["backbone read from 'state_dict.backbone'"]
    same_features(theirs, ours)


def test_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = shaken(timm.create_model("resnet10t", pretrained=False, num_classes=7))
    path = saved(tmp_path, {"state_dict_ema": {}, "state_dict": theirs.state_dict()})
    ours = encoder("timm/resnet10t", image_size=64)
    assert load_weights(ours, path) == ["backbone read from 'state_dict'", "in the file and not used: fc"]
    theirs.reset_classifier(0)
    same_features(theirs, ours, 64)


def test_a_head_inside_a_module_that_we_have(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_convnext", pretrained=False, num_classes=7).eval()  # head.norm and head.fc
    ours = encoder("timm/test_convnext", image_size=64)
    assert load_weights(ours, saved(tmp_path, theirs.state_dict())) == [
        "backbone read from the top level of the file",
        "in the file and not used: head",
    ]
    theirs.reset_classifier(0)
    same_features(theirs, ours, 64)


def test_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_files = pytest.importorskip("safetensors.torch")
    theirs = shaken(encoder())
    path = tmp_path / "model.safetensors"
    torch_files.save_file(under("model.", theirs.backbone.network), path)
    ours = encoder()
    assert load_weights(ours, path) == ["backbone read from 'model'"]
    same_features(theirs.backbone, ours)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"model\.safetensors: no file of weights that torch can read, or damaged"):
        load_weights(ours, path)
    path.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ValueError, match="pip install safetensors"):
        load_weights(ours, path)


class Original(nn.Module):
    """SEM as the paper writes it, with the names of its code."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet(padding=2)
        self.backbone.fc = nn.Identity()
        self.embedder = nn.Sequential(nn.Linear(512, L * V, bias=False), nn.BatchNorm1d(L * V))
        self.momentum_backbone = resnet(padding=2)
        self.momentum_backbone.fc = nn.Identity()
        self.momentum_embedder = nn.Sequential(nn.Linear(512, L * V, bias=False), nn.BatchNorm1d(L * V))
        self.projector = nn.Sequential(nn.Linear(L * V, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8))
        self.classifier = nn.Linear(512, 10)
        shaken(self)

    def logits(self, images: Tensor, *, momentum: bool = False) -> Tensor:
        if momentum:
            return self.momentum_embedder(self.momentum_backbone(images))  # type: ignore[no-any-return]
        return self.embedder(self.backbone(images))  # type: ignore[no-any-return]


@torch.no_grad()
def test_the_original_sem(tmp_path: Path) -> None:
    theirs, images = Original(), torch.randn(2, 3, 32, 32)
    path = saved(tmp_path, {"state_dict": theirs.state_dict(), "epoch": 1})
    ours = encoder("resnet18p2", embedding="sem")
    notes = load_weights(ours, path)
    assert notes == [
        "backbone read from 'state_dict.backbone', not 'state_dict.momentum_backbone'",
        "embedding read from 'state_dict.embedder'",
    ]
    expected = (theirs.logits(images).view(-1, L, V) / TAU).softmax(-1).flatten(1)
    torch.testing.assert_close(sem.to_group_major(ours(images), L=L, V=V), expected)
    assert not torch.allclose(ours(images), expected)  # the order matters

    linear = encoder("resnet18p2", embedding="linear")
    assert load_weights(linear, path, prefix="momentum_backbone") == [
        "backbone read from 'state_dict.momentum_backbone', not 'state_dict.backbone'",
        "embedding read from 'state_dict.momentum_embedder'",
    ]
    expected = theirs.logits(images, momentum=True)
    torch.testing.assert_close(sem.to_group_major(linear(images), L=L, V=V), expected)

    plain = encoder("resnet18p2")
    assert load_weights(plain, path)[1:] == [
        "in the file and not used: 'state_dict.embedder', as the encoder here has no embedding"
    ]
    same_features(theirs.backbone, plain)


@pytest.mark.parametrize(
    ("size", "bias", "dropped", "message"),
    [
        (12, False, "embedder", r"the encoder has an embedding \(L\*V = 12\), the file none beside its backbone"),
        (12, False, "embedder.1.running_var", r"no 'embedder\.1\.running_var', which is \(12,\) here"),
        (15, False, "-", r"the embedding there has L\*V = 15 numbers, the one here L\*V = 4\*3 = 12"),
        (12, True, "-", r"'embedder\.0\.bias' is there, and no such part of the embedding here"),
    ],
)
def test_another_embedding(tmp_path: Path, size: int, bias: bool, dropped: str, message: str) -> None:
    embedder = nn.Sequential(nn.Linear(128, size, bias=bias), nn.BatchNorm1d(size))
    state = under("backbone.", encoder().backbone.network) | under("embedder.", embedder)
    path = saved(tmp_path, {name: value for name, value in state.items() if not name.startswith(dropped)})
    with pytest.raises(ValueError, match=message):
        load_weights(encoder(embedding="sem"), path)


@pytest.mark.parametrize("embedding", ["none", "linear", "sem"])
@torch.no_grad()
def test_our_own_checkpoint(tmp_path: Path, embedding: str) -> None:
    theirs, ours, images = shaken(encoder(embedding=embedding)), encoder(embedding=embedding), torch.randn(2, 3, 32, 32)
    path = saved(tmp_path, {"step": 5, "encoder": theirs.state_dict()})
    expected = [] if embedding == "none" else ["embedding read from 'encoder.embedding'"]
    assert load_weights(ours, path) == ["backbone read from 'encoder.backbone.network'", *expected]
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_moco_has_two(tmp_path: Path) -> None:
    query, key, ours = shaken(encoder()), shaken(encoder()), encoder()
    state = under("module.encoder_q.", query.backbone.network) | under("module.encoder_k.", key.backbone.network)
    path = saved(tmp_path, {"arch": "resnet", "state_dict": state | {"module.encoder_q.fc.0.weight": torch.ones(3, 3)}})
    with pytest.raises(
        ValueError, match=r"'state_dict\.module\.encoder_q' and '\S+_k' fit, and differ: `prefix` chooses"
    ):
        load_weights(ours, path)
    for prefix, theirs in {"encoder_q": query, "module.encoder_k.": key, "state_dict.module.encoder_q": query}.items():
        load_weights(ours, path, prefix=prefix)
        same_features(theirs.backbone, ours)
    assert load_weights(ours, path, prefix="encoder_q")[1] == "in the file and not used: fc"
    with pytest.raises(ValueError, match=r"nothing of our backbone is below 'encoder'; there is '\S+_k', '\S+_q'$"):
        load_weights(ours, path, prefix="encoder")


@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "model_state_dict", "network", "a.b"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "net.encoder_q."])
def test_wrappers_and_prefixes(tmp_path: Path, wrapper: str, prefix: str) -> None:
    theirs, ours = shaken(encoder()), encoder()
    state: State = under(prefix, theirs.backbone.network)
    path = saved(tmp_path, {wrapper: state, "epoch": 7, "args": [1]} if wrapper else state)
    place = f"{wrapper}.{prefix}".strip(".")
    assert load_weights(ours, path) == [
        f"backbone read from {place!r}" if place else "backbone read from the top level of the file"
    ]
    same_features(theirs.backbone, ours)


def test_half_precision_and_absent_counters(tmp_path: Path) -> None:
    theirs, ours = shaken(encoder()).half(), encoder()
    state = {name: v for name, v in theirs.backbone.network.state_dict().items() if "num_batches" not in name}
    load_weights(ours, saved(tmp_path, state))
    assert ours.backbone.network.state_dict()["0.weight"].dtype == torch.float32
    same_features(theirs.float().backbone, ours)


def test_another_backbone(tmp_path: Path) -> None:
    small, deep, wide = resnet(), resnet("resnet34"), resnet("resnet50")

    def refusal(state: object, name: str = "resnet18", image_size: int = 32) -> str:
        path = saved(tmp_path, state)
        with pytest.raises(ValueError) as caught:
            load_weights(encoder(name, image_size=image_size), path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{path}: nothing fits; nearest is ")

    assert refusal({"a.bn1.weight": torch.ones(64)} | under("backbone.", wide)) == (  # the nearest is not the shortest
        "'backbone': 'backbone.layer1.0.conv1.weight' is (64, 64, 1, 1) there and (64, 64, 3, 3) here: "
        "another backbone?"
    )
    assert refusal(deep.state_dict()) == (  # it has every name of ours, at its shape
        "the top level of the file: 'layer1.2.conv1.weight' is there and not here: another backbone?"
    )
    assert refusal(small.state_dict(), "resnet18", 224) == (
        "the top level of the file: 'conv1.weight' is (64, 3, 3, 3) there and (64, 3, 7, 7) here: "
        "a stem for images of another size (up to 64 px it is 3x3)?"
    )
    assert refusal(small.state_dict(), "resnet50").startswith(
        "the top level of the file: 'layer1.0.conv1.weight' is (64, 64, 3, 3)"
    )
    halves = {"state_dict": {name: v for name, v in small.state_dict().items() if not name.startswith("layer4")}}
    assert refusal(
        halves
    ) == "'state_dict': no 'state_dict.layer4.0.conv1.weight', which is (512, 256, 3, 3) here: " + ("another backbone?")
    for layer in ["layer2.0.se.fc1.weight", "relu.weight"]:  # in a block; where ours has a layer without weights
        more = small.state_dict() | {layer: torch.ones(3, 3)}
        assert refusal(more) == f"the top level of the file: {layer!r} is there and not here: another backbone?"
    integers = {name: v.to(torch.int8) if name == "bn1.weight" else v for name, v in small.state_dict().items()}
    assert refusal(integers) == "the top level of the file: 'bn1.weight' is torch.int8 there and torch.float32 here"


def test_equal_networks_are_one(tmp_path: Path) -> None:
    """The place with the shortest name is said."""
    theirs, ours = shaken(encoder()), encoder()
    path = saved(tmp_path, {"method": under("other_encoder.", theirs) | under("encoder.", theirs)})
    assert load_weights(ours, path) == [
        "backbone read from 'method.encoder.backbone.network', not 'method.other_encoder.backbone.network'"
    ]
    same_features(theirs.backbone, ours)


def test_only_a_momentum_branch(tmp_path: Path) -> None:
    theirs, ours = shaken(encoder()), encoder()
    path = saved(tmp_path, under("momentum_backbone.", theirs.backbone.network))
    with pytest.raises(ValueError, match=r"only a momentum branch fits, 'momentum_backbone': `prefix` takes it"):
        load_weights(ours, path)
    load_weights(ours, path, prefix="momentum_backbone")
    same_features(theirs.backbone, ours)


def cyclic() -> State:
    state: State = {}
    state["state_dict"] = state
    return state


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no file of weights that torch can read, or damaged"),
        (b"<html>not found</html>" * 50, "no file of weights that torch can read, or damaged"),
        ({"state_dict": {"a": 1}, "b": [torch.ones(2)]}, "no tensors with names in it"),
        ([torch.ones(2)], "no tensors with names in it"),
        (torch.ones(2), "no tensors with names in it"),
        (cyclic(), "no tensors with names in it"),
        ({"cls_token": torch.ones(2), "head": {"x": torch.ones(1)}}, "no name of our backbone is in it; .*'cls_token'"),
        ({"a": torch.ones(2), "hyper_parameters": SimpleNamespace(lr=1)}, "no name of our backbone is in it; .*'a'"),
        (nn.Linear(2, 2), r"has pickled objects \(torch.nn.modules.linear.Linear\), .* save its state dict alone"),
    ],
)
def test_no_weights(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights\.pt: {message}") as caught:
        load_weights(encoder(), path)
    assert "\n" not in str(caught.value)


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder().state_dict())
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match="no file of weights that torch can read, or damaged"):
        load_weights(encoder(), path)
    with pytest.raises(ValueError, match="none: cannot be read: No such file"):
        load_weights(encoder(), tmp_path / "none")
    with pytest.raises(ValueError, match="a folder: name the file of weights in it"):
        load_weights(encoder(), tmp_path)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("backbone.network.3.conv1.weight", float("nan")),
        ("backbone.network.1.running_var", float("inf")),
        ("embedding.linear.weight", float("nan")),
    ],
)
def test_weights_that_are_not_finite(tmp_path: Path, name: str, bad: float) -> None:
    state, ours = shaken(encoder(embedding="sem")).state_dict(), encoder(embedding="sem")
    state[name].view(-1)[-1] = bad
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(ValueError, match="has values that are not finite"):
        load_weights(ours, saved(tmp_path, {"encoder": state}))
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())  # nothing was taken


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("student.module.backbone.", "teacher.backbone."),
        ("backbone.", "student_backbone."),
        ("online.", "target."),
        ("query_encoder.", "key_encoder."),
        ("backbone.", "query_backbone."),  # lightly's MoCo v2 before its pull request 1498
        ("a.", "b.c."),
    ],
)
def test_a_pair_of_networks_has_to_be_chosen_from(tmp_path: Path, one: str, other: str) -> None:
    """Whatever they are called: no name says for sure which of two different networks is wanted."""
    networks = [resnet(), resnet()]
    for network in networks:
        network.fc = nn.Identity()
    path = saved(tmp_path, under(one, networks[0]) | under(other, networks[1]))
    with pytest.raises(ValueError, match="fit, and differ: `prefix` chooses one"):
        load_weights(encoder("resnet18"), path)
    ours = encoder("resnet18")
    load_weights(ours, path, prefix=other.rstrip("."))
    same_features(networks[1], ours)
