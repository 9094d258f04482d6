"""clip, timm and torchvision encoders against the packages' own model and preprocessing, weights by file.

The models are small and random; their state dicts are written by the test and come in through `weights`.
"""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fercleaner import encoders
from fercleaner.core.errors import FeatureError, InputError
from fercleaner.encoders import checkpoints, network
from fercleaner.extraction.images import UnreadableImage

torch = pytest.importorskip("torch")

CLIP_SMALL = "test-tiny"
CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}
TIMM_SMALL = "test_vit"
TORCHVISION_SMALL = "shufflenet_v2_x0_5"


def faces(n: int = 5) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    sizes = [(48, 48), (224, 224), (60, 90), (301, 77), (33, 200)]
    shapes = [(*sizes[i % len(sizes)], 3) for i in range(n)]
    return [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def shaken(model: Any) -> Any:
    """Give every tensor random values, running statistics included, so that none can be missed unseen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                scale = "running_var" in name or (tensor.ndim == 1 and name.endswith("weight"))
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 10
                tensor.copy_(noise + 0.5 if scale else (noise - 0.5) * (12 / fan_in) ** 0.5)
    return model.eval()


def direct(run: Any, transform: Any, pictures: list[Image.Image]) -> np.ndarray:
    with torch.inference_mode():
        return np.stack([run(transform(picture)[None])[0].numpy() for picture in pictures])


def computed(encoder: Any, pictures: list[Image.Image]) -> np.ndarray:
    values, found, notes = encoder.compute([encoder.prepare(picture) for picture in pictures])
    assert found.all()
    assert notes == [""] * len(pictures)
    assert values.shape == (len(pictures), encoder.width)
    assert values.dtype == np.float32
    return values


@pytest.fixture(scope="module", autouse=True)
def clip_config(tmp_path_factory: pytest.TempPathFactory) -> None:
    import json

    import open_clip

    file = tmp_path_factory.mktemp("configs") / f"{CLIP_SMALL}.json"
    file.write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(file)


def clip_model() -> tuple[Any, Any]:
    import open_clip

    with checkpoints.quiet():
        model, _, transform = open_clip.create_model_and_transforms(CLIP_SMALL)
    return shaken(model), transform


def timm_model() -> tuple[Any, Any]:
    import timm

    model = shaken(timm.create_model(TIMM_SMALL, num_classes=7))
    data = timm.data.resolve_model_data_config(model)
    return model, timm.data.create_transform(**data, is_training=False)


def torchvision_model() -> tuple[Any, Any]:
    import torchvision

    model = shaken(torchvision.models.get_model(TORCHVISION_SMALL, num_classes=7))
    return model, torchvision.models.get_model_weights(TORCHVISION_SMALL).DEFAULT.transforms()


def case(kind: str) -> tuple[str, Any, Any, Any]:
    """Tag, model, transform and what the vector should be."""
    if kind == "clip":
        model, transform = clip_model()
        return f"clip:{CLIP_SMALL}", model, transform, model.encode_image
    if kind == "timm":
        model, transform = timm_model()

        def pooled(x: Any) -> Any:
            return model.forward_head(model.forward_features(x), pre_logits=True)

        return f"timm:{TIMM_SMALL}", model, transform, pooled
    model, transform = torchvision_model()
    head = torch.nn.Sequential(*list(model.children())[:-1])
    return f"torchvision:{TORCHVISION_SMALL}", model, transform, lambda x: head(x).mean([2, 3])


KINDS = ["clip", "timm", "torchvision"]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_gives_what_the_model_gives(tmp_path: Path, kind: str, suffix: str) -> None:
    tag, model, transform, run = case(kind)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, file)
    else:
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file)
    encoder = encoders.build(tag, weights=file, device="cpu")
    pictures = faces()
    expected = direct(run, transform, pictures)
    assert np.ptp(expected, axis=0).max() > 1e-4
    np.testing.assert_allclose(computed(encoder, pictures), expected, rtol=1e-4, atol=1e-5)
    assert encoder.name == kind
    assert encoder.spec["weights"] == checkpoints.sha256(file)
    assert encoder.spec["precision"] == "float32"
    assert isinstance(encoder.prepare, network.ResizedCrop)
    assert len(pickle.dumps(encoder.prepare)) < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path, kind: str) -> None:
    tag, model, _, _ = case(kind)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    encoder = encoders.build(tag, weights=tmp_path / "w.pt", device="cpu")
    pictures = faces(16)
    together = computed(encoder, pictures)
    for row in (0, 3, 15):
        assert computed(encoder, [pictures[row]]).tobytes() == together[row].tobytes()
    assert computed(encoder, pictures[::-1])[::-1].tobytes() == together.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_framing_is_the_packages_own(kind: str) -> None:
    _, _, transform, _ = case(kind)
    parts = network.take_apart(transform)
    mean, std = torch.tensor(parts.mean).view(3, 1, 1), torch.tensor(parts.std).view(3, 1, 1)
    for picture in faces():
        ours = (torch.from_numpy(parts.prepare(picture).copy()).permute(2, 0, 1).float() / 255 - mean) / std
        assert torch.equal(ours, transform(picture))


def test_an_unknown_transform_is_kept_whole() -> None:
    from torchvision import transforms

    odd = transforms.Compose([transforms.Resize((20, 20)), transforms.Grayscale(3), transforms.ToTensor()])
    parts = network.take_apart(odd)
    picture = faces(1)[0]
    assert np.array_equal(parts.prepare(picture), odd(picture).numpy())
    assert "Grayscale" in parts.spec["transform"]


def test_a_very_long_picture_is_refused() -> None:
    framing = network.ResizedCrop(224, (224, 224), 3)
    with pytest.raises(UnreadableImage, match="too elongated"):
        framing(Image.new("RGB", (2000, 10)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", ["missing", "unknown", "shape"])
def test_a_file_that_does_not_cover_the_model_is_refused(tmp_path: Path, kind: str, harm: str) -> None:
    tag, model, _, _ = case(kind)
    state = dict(model.state_dict())
    prefix = "visual." if kind == "clip" else ""
    name = [k for k in state if k.startswith(prefix) and state[k].ndim > 1][1]
    if harm == "missing":
        del state[name]
    elif harm == "unknown":
        state[f"{prefix}another.weight"] = torch.zeros(2)
    else:
        state[name] = torch.zeros(3, 5)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(FeatureError, match=r"w\.pt does not fit .*Name the model"):
        encoders.build(tag, weights=tmp_path / "w.pt", device="cpu")


def test_a_head_of_any_size_or_none_will_do(tmp_path: Path) -> None:
    for kind in ("timm", "torchvision"):
        tag, model, _, _ = case(kind)
        torch.save(model.state_dict(), tmp_path / "with.pt")
        bare = {k: v for k, v in model.state_dict().items() if not k.startswith(("fc.", "head."))}
        assert len(bare) < len(model.state_dict())
        torch.save(bare, tmp_path / "without.pt")
        pictures = faces(2)
        a = computed(encoders.build(tag, weights=tmp_path / "with.pt", device="cpu"), pictures)
        b = computed(encoders.build(tag, weights=tmp_path / "without.pt", device="cpu"), pictures)
        assert np.array_equal(a, b), kind


def test_the_image_tower_alone_will_do(tmp_path: Path) -> None:
    model, transform = clip_model()
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith("visual.")}, tmp_path / "w.pt")
    encoder = encoders.build(f"clip:{CLIP_SMALL}", weights=tmp_path / "w.pt", device="cpu")
    expected = direct(model.encode_image, transform, faces(2))
    np.testing.assert_allclose(computed(encoder, faces(2)), expected, rtol=1e-4, atol=1e-5)


class Loud:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran.txt"),))


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Loud()}, tmp_path / "evil.pt")
    with pytest.raises(FeatureError, match=r"evil\.pt is not a weights file that can be read safely"):
        encoders.build(f"timm:{TIMM_SMALL}", weights=tmp_path / "evil.pt")
    assert not (tmp_path / "ran.txt").exists()


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("text.pt", "text.safetensors"):
        with pytest.raises(FeatureError, match=r"text\..* cannot|text\..* read safely"):
            checkpoints.read_state(tmp_path / name)
    with pytest.raises(FeatureError, match=r"list\.pt holds no state dict"):
        checkpoints.read_state(tmp_path / "list.pt")
    with pytest.raises(FeatureError, match=r"--weights .*gone\.pt does not exist"):
        encoders.build(f"timm:{TIMM_SMALL}", weights=tmp_path / "gone.pt")
    with pytest.raises(FeatureError, match="is a folder"):
        encoders.build(f"torchvision:{TORCHVISION_SMALL}", weights=tmp_path)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Empty caches and a network that refuses everything."""
    import socket

    from huggingface_hub import constants

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    checkpoints.reach.cache_clear()
    yield tmp_path
    checkpoints.reach.cache_clear()


@pytest.mark.parametrize(
    ("tag", "wanted", "looked"),
    [
        ("clip", r"clip:ViT-B-32/laion2b_s34b_b79k .*laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "hub"),
        ("timm:resnet10t", r"timm:resnet10t .*timm/resnet10t.* \(model\.safetensors", "hub"),
        ("torchvision:resnet18", r"torchvision:resnet18/IMAGENET1K_V1 .*resnet18-f37072fd\.pth", "torch"),
    ],
)
def test_no_weights_and_no_network(no_network: Path, tag: str, wanted: str, looked: str) -> None:
    start = time.monotonic()
    with pytest.raises(FeatureError, match=wanted) as caught:
        encoders.build(tag)
    assert time.monotonic() - start < 15
    message = str(caught.value)
    assert f"looked in {no_network / looked}" in message
    assert "cannot be reached" in message
    assert "--weights FILE" in message
    assert "--encoder hog" in message


def test_names_that_do_not_exist() -> None:
    with pytest.raises(InputError, match=r"no model 'ViT-B-23'\. Did you mean 'ViT-B-32'\?"):
        encoders.build("clip:ViT-B-23/openai")
    with pytest.raises(InputError, match=r"no weights 'laion2b' for ViT-B-32 .*Did you mean 'laion"):
        encoders.build("clip:ViT-B-32/laion2b")
    with pytest.raises(InputError, match=r"does not say which weights. Use clip:ViT-B-32/openai"):
        encoders.build("clip:ViT-B-32")
    with pytest.raises(InputError, match=r"timm has no model 'resnet18x'\. Did you mean 'resnet18"):
        encoders.build("timm:resnet18x")
    with pytest.raises(InputError, match=r"no classifier 'resnet19'\. Did you mean 'resnet"):
        encoders.build("torchvision:resnet19")
    with pytest.raises(InputError, match=r"no weights 'V3' for resnet18 \(IMAGENET1K_V1\)"):
        encoders.build("torchvision:resnet18/V3")
    with pytest.raises(InputError, match="does not end in a linear layer"):
        encoders.build("torchvision:squeezenet1_1")


def test_devices() -> None:
    assert network.pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device 'tpu9' is not known"):
        network.pick_device("tpu9")
    with pytest.raises(InputError, match=r"--device cuda:99: torch sees .* GPU here"):
        network.pick_device("cuda:99")


class Small(torch.nn.Module):
    """Fails as a full GPU does when given more than `room` pictures."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.calls: list[int] = []

    def forward(self, x: Any) -> Any:
        self.calls.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x.mean((2, 3))


def small_network(room: int) -> tuple[Any, Small]:
    parts = network.Preprocessing(network.ResizedCrop(8, (8, 8), 2), (0.5,) * 3, (0.5,) * 3, {})
    module = Small(1)
    net = network.Network("small", {}, module, parts, device="cpu")
    net.batch_size = net._limit = 100
    module.room = room
    return net, module


def test_batches_are_halved_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    net, module = small_network(room=30)
    monkeypatch.setattr(net, "_filled_to", 1)  # as on a GPU: no filling up
    batch = [net.prepare(picture) for picture in faces(100)]
    values, found, _ = net.compute(batch)
    assert module.calls[1:] == [100, 50, 25, 25, 25, 25]
    assert found.all()
    expected = np.stack([(a.reshape(-1, 3).mean(0) / 255 - 0.5) / 0.5 for a in batch])
    np.testing.assert_allclose(values, expected, atol=1e-5)
    net.compute(batch[:25])
    assert module.calls[-1] == 25
    net, _ = small_network(room=0)
    monkeypatch.setattr(net, "_filled_to", 1)
    with pytest.raises(FeatureError, match=r"'small' does not fit into the memory of cpu.*--device cpu"):
        net.compute(batch)
