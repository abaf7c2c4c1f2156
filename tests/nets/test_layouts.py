"""The layouts of other projects' checkpoints: what loads, below which prefix, and what is asked about or refused."""

import argparse
import gzip
import io
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from sem_bench.backbone import Backbone
from sem_bench.encoder import Encoder
from sem_bench.nets import inert_pickle
from sem_bench.nets.embeddings.none import NoEmbedding
from sem_bench.nets.foreign_weights import load_weights
from tests.helpers.nets import build_backbone

pytestmark = pytest.mark.cases
State = dict[str, Any]


class Tiny(torchvision.models.ResNet):  # type: ignore[misc]
    """A ResNet of torchvision, names and forward and all, with few channels: 3x3 stem, no pooling."""

    def __init__(self, *, stem_relu: bool = True) -> None:
        nn.Module.__init__(self)
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu, self.maxpool = nn.ReLU() if stem_relu else nn.Identity(), nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(4, 4))
        for number in (2, 3, 4):
            narrow, wide = 4 * number - 4, 4 * number
            down = nn.Sequential(nn.Conv2d(narrow, wide, 1, 2, bias=False), nn.BatchNorm2d(wide))
            setattr(self, f"layer{number}", nn.Sequential(BasicBlock(narrow, wide, 2, down)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Identity()
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.bias)
        self.eval()


def encoder(network: nn.Module | None = None, width: int = 16) -> Encoder:
    backbone = Backbone(network or Tiny(), width)
    return Encoder(backbone, NoEmbedding(width)).eval()


def under(prefix: str, module: nn.Module) -> State:
    return {prefix + name: value for name, value in module.state_dict().items()}


def saved(folder: Path, state: object) -> Path:
    torch.save(state, folder / "weights.pt")
    return folder / "weights.pt"


@torch.no_grad()
def same(theirs: nn.Module, ours: Encoder) -> bool:
    images = torch.randn(2, 3, 16, 16)
    return torch.allclose(ours.backbone(images), theirs(images).flatten(1), atol=1e-6)


def without(network: nn.Module, *names: str) -> nn.Sequential:
    return nn.Sequential(*[child for name, child in network.named_children() if name not in (*names, "fc")])


def kuangliu(state: State) -> State:
    return {name.replace("downsample", "shortcut"): value for name, value in state.items()}


def hugging_face(network: Tiny) -> State:
    """As transformers' ResNetForImageClassification calls the layers, written out by hand."""
    names = {"conv1.weight": "resnet.embedder.embedder.convolution.weight"}
    parts = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names |= {f"bn1.{part}": f"resnet.embedder.embedder.normalization.{part}" for part in parts}
    for number in range(4):
        ours, theirs = f"layer{number + 1}.0", f"resnet.encoder.stages.{number}.layers.0"
        for conv in range(2):
            names[f"{ours}.conv{conv + 1}.weight"] = f"{theirs}.layer.{conv}.convolution.weight"
            names |= {f"{ours}.bn{conv + 1}.{part}": f"{theirs}.layer.{conv}.normalization.{part}" for part in parts}
        names[f"{ours}.downsample.0.weight"] = f"{theirs}.shortcut.convolution.weight"
        names |= {f"{ours}.downsample.1.{part}": f"{theirs}.shortcut.normalization.{part}" for part in parts}
    return {names[name]: value for name, value in network.state_dict().items()}


ONE = Tiny()
HEAD = {"module.fc.weight": torch.ones(3, 16)}
# name of the layout -> what the file holds, and the first note
LOADS: dict[str, tuple[Any, str]] = {
    "torchvision": (ONE.state_dict(), "backbone read from the top level of the file"),
    "MoCo v3": (
        {"state_dict": under("module.base_encoder.", ONE) | under("module.momentum_encoder.", Tiny())},
        "backbone read from 'state_dict.module.base_encoder', not 'state_dict.module.momentum_encoder'",
    ),
    "SimSiam": (
        {"epoch": 1, "state_dict": under("module.encoder.", ONE)},
        "backbone read from 'state_dict.module.encoder'",
    ),
    "SwAV": (
        under("module.", ONE) | {"module.prototypes.weight": torch.ones(3, 8), "module.projection_head.0.weight": HEAD},
        "backbone read from 'module'",
    ),
    "DINO, teacher alone": (
        {"teacher": under("backbone.", ONE), "args": argparse.Namespace(output_dir=Path("x"))},
        "backbone read from 'teacher.backbone'",
    ),
    "Barlow Twins": ({"model": under("module.backbone.", ONE)}, "backbone read from 'model.module.backbone'"),
    "VICReg": ({"model": under("module.backbone.", ONE)}, "backbone read from 'model.module.backbone'"),
    "VISSL": (
        {"classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", ONE)}}}},
        "backbone read from 'classy_state_dict.base_model.model.trunk._feature_blocks'",
    ),
    "mmselfsup": ({"state_dict": under("backbone.", ONE), "meta": {}}, "backbone read from 'state_dict.backbone'"),
    "lightly, children": (
        {"state_dict": under("backbone.", without(ONE)), "callbacks": {"x": deque([1, 2])}},
        "backbone read from 'state_dict.backbone'",
    ),
    "solo-learn": (
        {"state_dict": under("backbone.", ONE) | under("momentum_backbone.", Tiny())},
        "backbone read from 'state_dict.backbone', not 'state_dict.momentum_backbone'",
    ),
    "timm": ({"arch": "resnet", "state_dict": ONE.state_dict()}, "backbone read from 'state_dict'"),
    "sthalles/SimCLR": (
        {"state_dict": under("backbone.", ONE) | {"backbone.fc.0.weight": torch.ones(3, 3)}},
        "backbone read from 'state_dict.backbone'",
    ),
    "SupContrast": (
        {
            "opt": argparse.Namespace(lr=0.5),
            "model": kuangliu(under("encoder.", ONE)) | {"head.0.weight": torch.ones(2)},
        },
        "backbone read from 'model.encoder'",
    ),
    "kuangliu": ({"net": kuangliu(under("module.", ONE)), "acc": np.float64(9)}, "backbone read from 'net.module'"),
    "MoCo's CIFAR demo": (
        {"state_dict": under("net.", without(ONE, "maxpool"))},
        "backbone read from 'state_dict.net'",
    ),
    "leftthomas/SimCLR": (kuangliu(under("f.", without(ONE, "maxpool"))), "backbone read from 'f'"),
    "Hugging Face": (hugging_face(ONE), "backbone read from 'resnet'"),
    "a list of networks": ({"models": [ONE.state_dict()]}, "backbone read from 'models.0'"),
    "torch.compile": (under("_orig_mod.module.", ONE), "backbone read from 'module'"),
    "a compiled part": (
        {name.replace("layer2.", "layer2._orig_mod."): value for name, value in ONE.state_dict().items()},
        "backbone read from the top level of the file",
    ),
    "EMA under the same weights": (
        {"state_dict": ONE.state_dict(), "ema": ONE.state_dict()},
        "backbone read from 'ema'",
    ),
}


@pytest.mark.parametrize("layout", LOADS)
def test_layouts_that_load(tmp_path: Path, layout: str) -> None:
    content, note = LOADS[layout]
    ours = encoder()
    notes = load_weights(ours, saved(tmp_path, content))
    assert notes[0].startswith(note), notes
    assert same(ONE, ours)


@pytest.mark.parametrize(
    ("layout", "one", "other"),
    [
        ("MoCo", "state_dict.module.encoder_q.", "state_dict.module.encoder_k."),
        ("DINO", "student.module.backbone.", "teacher.backbone."),
        ("timm's EMA", "state_dict_ema.", "state_dict."),
        ("lucidrains/byol-pytorch", "online_encoder.net.", "target_encoder.net."),
        ("lightly's callback", "state_dict.model.", "callbacks.ema."),
    ],
)
def test_layouts_that_ask_for_a_prefix(tmp_path: Path, layout: str, one: str, other: str) -> None:
    path = saved(tmp_path, under(one, ONE) | under(other, Tiny()) | {"best": np.float32(1)})
    with pytest.raises(ValueError, match="fit, and differ: `prefix` chooses one") as caught:
        load_weights(encoder(), path)
    assert repr(one.rstrip(".")) in str(caught.value) and repr(other.rstrip(".")) in str(caught.value), layout
    ours = encoder()
    load_weights(ours, path, prefix=one.rstrip("."))
    assert same(ONE, ours)


def test_renamed_layers_are_noted(tmp_path: Path) -> None:
    path = saved(tmp_path, kuangliu(under("f.", without(ONE, "maxpool"))))
    assert load_weights(encoder(), path) == [
        "backbone read from 'f'",
        "children are counted without the pooling, 'shortcut' is read as 'downsample'",
    ]


@torch.no_grad()
def test_a_lost_relu_is_no_renaming(tmp_path: Path) -> None:
    """lightly's ResNetGenerator in an nn.Sequential: all tensors fit a ResNet that computes something else."""
    theirs = nn.Sequential(*[getattr(ONE, name) for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")])
    theirs.append(nn.AdaptiveAvgPool2d(1))
    path = saved(tmp_path, {"state_dict": kuangliu(under("backbone.", theirs))})
    with pytest.raises(ValueError, match=r"lost the ReLU behind its stem, .*`backbones: \[resnet18_lightly\]`"):
        load_weights(encoder(), path)
    ours = encoder(Tiny(stem_relu=False))
    load_weights(ours, path)
    assert same(theirs, ours) and not same(ONE, ours)


def test_the_backbone_for_lightlys_resnet(tmp_path: Path) -> None:
    models = pytest.importorskip("lightly.models")
    torch.manual_seed(0)
    generated = models.ResNetGenerator("resnet-18")
    theirs = nn.Sequential(*list(generated.children())[:-1], nn.AdaptiveAvgPool2d(1)).eval()
    ours = encoder(build_backbone("resnet18_lightly", image_size=96).network, 512)
    load_weights(ours, saved(tmp_path, under("backbone.", theirs)))
    assert same(theirs, ours)


def test_other_names_in_our_order_are_said(tmp_path: Path) -> None:
    state = {f"trunk.part{number}": value for number, value in enumerate(ONE.state_dict().values())}
    with pytest.raises(ValueError, match=r"our shapes stand in our order under other names, 'trunk\.part0' for 'conv1"):
        load_weights(encoder(), saved(tmp_path, {n: v for n, v in state.items() if v.ndim}))


# --- stems, sizes and blocks ---


def test_stems_of_other_images(tmp_path: Path) -> None:
    grey = ONE.state_dict() | {"conv1.weight": torch.ones(4, 1, 3, 3)}
    with pytest.raises(ValueError, match="made for images of 1 channel; ours have 3"):
        load_weights(encoder(), saved(tmp_path, grey))
    large = torchvision.models.resnet18(num_classes=2).state_dict()
    with pytest.raises(ValueError, match=r"`backbones: \[timm/resnet18\]` has that stem at any size"):
        load_weights(encoder(build_backbone("resnet18", image_size=32).network, 512), saved(tmp_path, large))


@torch.no_grad()
def test_a_stem_of_one_channel_reads_the_luma(tmp_path: Path) -> None:
    theirs = Tiny()
    theirs.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
    path, ours, images = saved(tmp_path, theirs.state_dict()), encoder(), torch.randn(2, 3, 16, 16)
    with pytest.raises(ValueError, match="ours have 3: `input: grey` beside `checkpoint` feeds it the luma"):
        load_weights(ours, path)
    assert "the stem of one channel reads the luma of an image" in load_weights(ours, path, grey=True)
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(ours.backbone(images), theirs(luma), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="`input: grey`, but its first layer has three channels"):
        load_weights(encoder(), saved(tmp_path, ONE.state_dict()), grey=True)


def vit(size: int, patch: int = 8, **more: Any) -> Any:
    timm = pytest.importorskip("timm")
    settings = {"embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 0} | more
    return timm.models.vision_transformer.VisionTransformer(img_size=size, patch_size=patch, **settings).eval()


@torch.no_grad()
def test_position_embeddings_of_another_image_size(tmp_path: Path) -> None:
    timm, theirs, ours = pytest.importorskip("timm"), vit(32), vit(16)
    path = saved(tmp_path, {"teacher": under("backbone.", theirs)})
    notes = load_weights(encoder(ours, 12), path)
    assert notes == ["backbone read from 'teacher.backbone'", "position embeddings resampled from 4x4 to 2x2 patches"]
    wanted = timm.layers.resample_abs_pos_embed(theirs.pos_embed, [2, 2], [4, 4], num_prefix_tokens=1)
    torch.testing.assert_close(ours.pos_embed.data, wanted)
    with pytest.raises(ValueError, match="patches of 8 px there and of 4 px here"):
        load_weights(encoder(vit(16, 4), 12), path)


def test_blocks_in_chunks(tmp_path: Path) -> None:
    theirs, ours = vit(16), vit(16)
    chunks = {"blocks.0.": "blocks.0.0.", "blocks.1.": "blocks.0.1.", "blocks.2.": "blocks.1.2."}

    def chunked(name: str) -> str:
        return next((name.replace(one, many, 1) for one, many in chunks.items() if name.startswith(one)), name)

    state = {chunked(name): value for name, value in theirs.state_dict().items()} | {"mask_token": torch.ones(1, 12)}
    assert load_weights(encoder(ours, 12), saved(tmp_path, state))[0] == "backbone read from the top level of the file"
    assert same(theirs, encoder(ours, 12))


def hugging_face_vit(network: nn.Module, *, dinov2: bool) -> State:
    """As transformers' ViTModel and Dinov2Model call the layers, written out by hand."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    inside = {"attn.proj": "attention.output.dense"}
    if dinov2:
        inside |= {one: one for one in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")}
    else:
        inside |= {"norm1": "layernorm_before", "norm2": "layernorm_after"}
        inside |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    state: State = {}
    for name, value in network.state_dict().items():
        if name in names:
            state[names[name]] = value
            continue
        _, number, rest = name.split(".", 2)
        part, last = rest.rsplit(".", 1)
        if part == "attn.qkv":
            for role, own in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"encoder.layer.{number}.attention.attention.{role}.{last}"] = own
        elif part in ("ls1", "ls2"):
            state[f"encoder.layer.{number}.layer_scale{part[-1]}.lambda1"] = value
        else:
            state[f"encoder.layer.{number}.{inside[part]}.{last}"] = value
    return state


@pytest.mark.parametrize("dinov2", [False, True])
def test_vits_of_hugging_face(tmp_path: Path, dinov2: bool) -> None:
    settings: dict[str, Any] = {"init_values": 1.0} if dinov2 else {}
    theirs, ours = vit(16, **settings), vit(16, **settings)
    state = {f"vit.{name}": value for name, value in hugging_face_vit(theirs, dinov2=dinov2).items()}
    state |= {"vit.pooler.dense.weight": torch.ones(12, 12), "classifier.weight": torch.ones(3, 12)}
    notes = load_weights(encoder(ours, 12), saved(tmp_path, state))
    assert notes[:2] == ["backbone read from 'vit'", "Hugging Face's names of the layers"]
    assert same(theirs, encoder(ours, 12))
    deeper = vit(16, depth=2, **settings)
    with pytest.raises(ValueError, match="another backbone"):
        load_weights(encoder(deeper, 12), tmp_path / "weights.pt")


@pytest.mark.parametrize("hugging_face", [False, True])
def test_register_tokens(tmp_path: Path, hugging_face: bool) -> None:
    """DINOv2 adds a position to the class token and puts registers between; timm has both in one."""
    settings: dict[str, Any] = {"init_values": 1.0, "reg_tokens": 2, "no_embed_class": True}
    theirs, ours, without_them = vit(16, **settings), vit(16, **settings), vit(16, init_values=1.0)
    nn.init.ones_(theirs.cls_token)
    state = dict(theirs.state_dict())
    place = torch.full((1, 1, 12), 0.5)  # taken off and put back without rounding
    state["cls_token"] = state["cls_token"] - place
    state["pos_embed"] = torch.cat([place, state["pos_embed"]], 1)
    registers = state.pop("reg_token")
    if hugging_face:
        with_class = vit(16, init_values=1.0)
        with_class.load_state_dict(state)
        state = hugging_face_vit(with_class, dinov2=True)
    state["embeddings.register_tokens" if hugging_face else "register_tokens"] = registers
    path = saved(tmp_path, state | {"embeddings.mask_token" if hugging_face else "mask_token": torch.ones(1, 12)})
    load_weights(encoder(ours, 12), path)
    assert same(theirs, encoder(ours, 12))
    with pytest.raises(ValueError, match=r"register_tokens' is there: tokens that this backbone has not; .*reg4"):
        load_weights(encoder(without_them, 12), path)


# --- objects beside the weights ---


class Settings(dict[str, Any]):
    """A mapping of a library that is not installed where the file is read."""


class Buffer:
    def __init__(self) -> None:
        self.values = np.zeros(3)


def test_harmless_objects_beside_the_weights(tmp_path: Path) -> None:
    losses: defaultdict[str, list[float]] = defaultdict(list)
    losses["train"].append(1.0)
    beside = {
        "best": np.float64(71.2),
        "array": np.arange(3),
        "folder": Path("here"),
        "arguments": argparse.Namespace(folder=Path("here"), rate=np.float32(1)),
        "losses": losses,
        "last": deque([1, 2], maxlen=3),
        "buffer": Buffer(),
        "dtype": torch.float16,
        "kinds": {int, str},
    }
    for form in (True, False):
        torch.save({"state_dict": ONE.state_dict(), **beside}, tmp_path / "w.pt", _use_new_zipfile_serialization=form)
        ours = encoder()
        notes = load_weights(ours, tmp_path / "w.pt")
        assert notes[0] == "backbone read from 'state_dict'" and notes[1].startswith(
            "not read, as they are no weights: numpy."
        )
        assert same(ONE, ours)


def test_settings_of_omegaconf(tmp_path: Path) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    settings = omegaconf.OmegaConf.create({"optimizer": {"lr": 0.1}, "sizes": [1, 2]})
    ours = encoder()
    load_weights(ours, saved(tmp_path, {"state_dict": under("backbone.", ONE), "hyper_parameters": settings}))
    assert same(ONE, ours)


def test_weights_in_mappings_of_a_foreign_class(tmp_path: Path) -> None:
    nested: defaultdict[str, Any] = defaultdict(OrderedDict)
    nested["net"] = Settings(ONE.state_dict())
    ours = encoder()
    load_weights(ours, saved(tmp_path, nested))
    assert same(ONE, ours)


class Hostile:
    """A pickle that would write a file when it is read."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("form", [True, False])
def test_hostile_pickles_do_nothing(tmp_path: Path, form: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attacks = {
        "system": Hostile(os.system, ("touch ran",)),
        "eval": Hostile(eval, ("open('ran', 'w')",)),
        "getattr": Hostile(getattr, (Hostile(__import__, ("os",)), "system")),
        "state": Hostile(OrderedDict, (), {"__class__": 1, "update": eval}),
        "of a function": Hostile(torch._utils._rebuild_parameter, (Hostile(os.system, ("touch ran",)), False, None)),
        "factory": Hostile(defaultdict, (eval,), None, None, iter([("open('ran', 'w')", 1)])),
        "setter": Hostile(Buffer, (), (None, {"values": 1}), None, None, os.system),
    }
    torch.save({"state_dict": ONE.state_dict(), **attacks}, "weights.pt", _use_new_zipfile_serialization=form)
    ours = encoder()
    load_weights(ours, Path("weights.pt"))
    assert same(ONE, ours) and not Path("ran").exists()


def by_hand(*opcodes: bytes) -> bytes:
    return b"\x80\x02" + b"".join(opcodes) + b"."


@pytest.mark.parametrize(
    "code",
    [
        by_hand(b"cos\nsystem\n", b"X\x09\x00\x00\x00touch ran", b"\x85R"),  # GLOBAL, REDUCE
        by_hand(b"(X\x09\x00\x00\x00touch ran", b"ios\nsystem\n"),  # INST
        by_hand(b"(cos\nsystem\n", b"X\x09\x00\x00\x00touch ran", b"o"),  # OBJ
        by_hand(b"cos\nsystem\n", b"X\x09\x00\x00\x00touch ran", b"\x85\x81"),  # NEWOBJ
        by_hand(b"cos\nsystem\n", b"}X\x01\x00\x00\x00a", b"K\x01sb"),  # BUILD of what GLOBAL gives
        by_hand(b"ctorch._utils\n_rebuild_parameter\n", b"}X\x0c\x00\x00\x00__defaults__", b"K\x01sb"),  # of a function
        by_hand(b"ccollections\nOrderedDict\n", b")R", b"}X\x06\x00\x00\x00update", b"cos\nsystem\nsb"),
        by_hand(b"\x82\x01"),  # EXT1
        by_hand(b"X\x02\x00\x00\x00os", b"X\x06\x00\x00\x00system", b"\x93"),  # STACK_GLOBAL
    ],
)
def test_no_opcode_runs_anything(tmp_path: Path, code: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = type("Reader", (inert_pickle._Unpickler,), {"met": []})  # what stands below torch's own: each opcode alone
    with suppress(pickle.UnpicklingError):
        reader(io.BytesIO(code)).load()
    assert not Path("ran").exists()
    assert inert_pickle._first.__defaults__ == (None,)  # what its table names is as it was


def test_a_network_pickled_whole_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for content in (ONE, {"model": ONE, "optimizer": {"state": {"step": torch.ones(2)}}}):
        with pytest.raises(ValueError, match=r"has pickled objects \(\S*Tiny\), which may run code") as caught:
            load_weights(encoder(), saved(tmp_path, content))
        text = str(caught.value)
        assert "`model = torch.load('weights.pt', weights_only=False)`" in text and "\n" not in text
        assert "`torch.save(model.state_dict(), 'state.pt')`" in text


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_network_is_read_and_not_run(tmp_path: Path) -> None:
    ways: list[Any] = [torch.jit.script, lambda network: torch.jit.trace(network, torch.zeros(1, 3, 16, 16))]
    for way in ways:
        way(ONE).save(tmp_path / "w.pt")
        ours = encoder()
        assert load_weights(ours, tmp_path / "w.pt")[0] == "backbone read from the top level of the file"
        assert same(ONE, ours)


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("weights.pth", content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS, not the file"),
        (b"<!DOCTYPE html><html>login</html>", "or damaged: a web page"),
        (b"https://example.org/weights.pth", "or damaged: a text, no weights"),
        (gzip.compress(b"weights", mtime=0), "or damaged: an archive: unpack it first"),
        (zipped(b"weights"), "or damaged: an archive: unpack it first"),
    ],
)
def test_files_that_are_no_weights_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_weights(encoder(), tmp_path / "w.pt")


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(ONE.state_dict(), tmp_path / "w.pt")
    torch.save(ONE.state_dict(), tmp_path / "w.safetensors")
    ours = encoder()
    load_weights(ours, tmp_path / "w.pt")
    assert same(ONE, ours)
    with pytest.raises(ValueError, match=r"a file of torch under another name: call it \.pt"):
        load_weights(encoder(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="a folder: name the file of weights in it"):
        load_weights(encoder(), tmp_path)


def test_variances_below_zero(tmp_path: Path) -> None:
    state = {**ONE.state_dict(), "bn1.running_var": torch.tensor([1.0, 1, 1, -1])}
    with pytest.raises(ValueError, match=r"'bn1\.running_var' has variances below 0"):
        load_weights(encoder(), saved(tmp_path, state))


def test_half_precision_and_damage_beside_objects(tmp_path: Path) -> None:
    half = {name: v.bfloat16() if v.is_floating_point() else v for name, v in ONE.state_dict().items()}
    ours = encoder()
    load_weights(ours, saved(tmp_path, {"net": half, "best": np.float64(1)}))
    assert ours.state_dict()["backbone.network.conv1.weight"].dtype == torch.float32
    half["layer4.0.bn2.bias"] = torch.full((16,), float("nan"))
    with pytest.raises(ValueError, match=r"'layer4\.0\.bn2\.bias' has values that are not finite"):
        load_weights(encoder(), saved(tmp_path, {"net": half, "best": np.float64(1)}))
