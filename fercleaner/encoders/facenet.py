"""The network behind `--encoder builtin` and `--landmarks builtin`: one pass, every view.

    96 x 96 gray face -> mean of 2 x 2 pixels -> stem -----+-> residual trunk -> 256-d expression embedding
                      -> finer stem (detail) --------------+                  -> posteriors over 8 expressions
                                                                              -> 68 landmarks, whether this is a face
                                                                              -> 52 blendshapes

A face of 48 x 48 pixels is shown as 2 x 2 blocks: the stem then sees it exactly, and the finer stem nothing new.

This module needs torch; import it inside a function, so that `import fercleaner` stays light.
Its weights, how they were made and what they must not be used for: `weights/MODEL_CARD.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: Side of the square gray picture that the network sees, pixels; one of half of it is enlarged to blocks.
INPUT_SIZE = 96

#: Side of the picture that the trunk's own stem sees, pixels.
COARSE_SIZE = 48

#: Width of the expression embedding.
EMBEDDING_WIDTH = 256

#: Expressions of the posteriors, in column order (FERPlus order).
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")

POINTS, BLENDSHAPES = 68, 52

#: Point that each of the 68 becomes in a mirrored face (iBUG's order).
MIRROR_POINTS = (
    *range(16, -1, -1),
    *(*range(26, 16, -1), *range(27, 31), *range(35, 30, -1)),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)

#: Standard deviation of the picture below which contrast is not amplified further (gray range 0 to 1).
CONTRAST_FLOOR = 0.04

#: Rest beyond 48 x 48 pixels, as a share of a picture's deviation, that counts as no and as full detail (`detail_of`).
#: FER2013's crops enlarged to 224 pixels have .030 (nine in ten less than .040), photographs whose faces have some 90
#: pixels .058 (nine in ten between .038 and .083), the same in half as many .10.
DETAIL = (0.035, 0.09)


class FaceOutput(NamedTuple):
    """What one pass gives for B faces.

    Attributes
    ----------
    embedding : (B, 256)
        Expression embedding; compare by cosine.
    logits : (B, 8)
        Divide by the calibrated temperature and take the softmax for posteriors, order `EXPRESSIONS`.
    points : (B, 68, 2)
        x right, y down, in widths of the crop: (0, 0) is its upper left corner, (1, 1) its lower right; can
        lie outside.
    found : (B,)
        Logit that a face mesh would be found.
    blendshapes : (B, 52)
        Logits: their sigmoids are in [0, 1].
    """

    embedding: Tensor
    logits: Tensor
    points: Tensor
    found: Tensor
    blendshapes: Tensor


@dataclass(frozen=True)
class FaceNetConfig:
    """Sizes of the network.

    Parameters
    ----------
    widths : tuple of 3 int
        Channels at 24 x 24, 12 x 12 and 6 x 6.
    depths : tuple of 3 int
        Residual blocks at each.
    dropout : float in [0, 1)
        Before the class layer, in training only.
    drop_path : float in [0, 1)
        Probability, in training, that the last block is skipped; rises linearly from 0 at the first.
    detail : bool
        Whether there is a finer stem, which sees 96 x 96 pixels.
    hidden : int
        Units of the layer between `photographs` and all that the body found in a picture; 0: `photographs` is one
        layer on the embedding, as it is while a body is trained.
    """

    widths: tuple[int, int, int] = (48, 96, 208)
    depths: tuple[int, int, int] = (1, 2, 2)
    dropout: float = 0.2
    drop_path: float = 0.05
    detail: bool = True
    hidden: int = 0


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, wide_in: int, wide_out: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide_out)
        self.second = nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide_out)
        self.drop_path = drop_path
        self.shortcut: nn.Module = nn.Identity()
        if wide_in != wide_out or stride > 1:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
                nn.Conv2d(wide_in, wide_out, 1, bias=False),
                nn.BatchNorm2d(wide_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(F.silu(self.norm1(self.first(x)))))
        if self.training and self.drop_path > 0:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_path
            y = y * keep.to(y.dtype) / (1 - self.drop_path)
        return F.silu(y + self.shortcut(x))


class _PointHead(nn.Module):
    """68 points as attention-weighted votes of the 12 x 12 cells, plus a global correction.

    Every cell gives, for each point, a weight (softmax over the cells) and an offset from its own center, so
    that a point may lie between cells or outside the crop.
    """

    grid: Tensor

    def __init__(self, fine: int, coarse: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(coarse, fine, 1, bias=False)
        self.mix = nn.Conv2d(fine, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.votes = nn.Conv2d(width, POINTS * 3, 1)
        self.correction = nn.Linear(EMBEDDING_WIDTH, POINTS * 2)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        side = COARSE_SIZE // 4
        centers = (torch.arange(side) + 0.5) / side
        y, x = torch.meshgrid(centers, centers, indexing="ij")
        self.register_buffer("grid", torch.stack((x, y)).reshape(1, 1, 2, side * side), persistent=False)

    def forward(self, fine: Tensor, coarse: Tensor, shape: Tensor) -> Tensor:
        x = fine + F.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        return self.place(self.votes(F.silu(self.norm(self.mix(x)))), self.correction(shape))

    def place(self, votes: Tensor, correction: Tensor) -> Tensor:
        """Return the points (B, K, 2) of votes (B, 3 K, 12, 12) and corrections (B, 2 K)."""
        votes = votes.float().reshape(len(votes), -1, 3, self.grid.shape[-1])
        weight = votes[:, :, :1].softmax(-1)
        points = (weight * (self.grid + 0.25 * votes[:, :, 1:])).sum(-1)
        moved: Tensor = points + 0.1 * correction.float().reshape(points.shape)
        return moved


def _finer_stem(width: int) -> nn.Sequential:
    """Return layers from 96 x 96 pixels to `width` channels at 24 x 24."""
    half = width // 2
    return nn.Sequential(
        *(nn.PixelUnshuffle(2), nn.Conv2d(4, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.SiLU()),
        *(nn.Conv2d(half, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU()),
        *(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)),
    )


def _photographs(width: int, flat: int, hidden: int) -> nn.Module:
    """Return the read-out of photographs: one layer on the embedding, or two on embedding and body (`hidden` units)."""
    if not hidden:
        return nn.Linear(width, len(EXPRESSIONS))
    return nn.Sequential(nn.Linear(width + flat, hidden), nn.SiLU(), nn.Linear(hidden, len(EXPRESSIONS)))


class FaceNet(nn.Module):
    """Expression embedding, posteriors, landmarks and blendshapes of 96 x 96 gray faces in one pass.

    Brightness and contrast of a picture have no effect: each is set to mean 0 and standard deviation 1 first
    (contrast is amplified up to 1 / `CONTRAST_FLOOR`).

    Two layers read expressions: `classify` learned ten annotators' votes on FER2013's crops, `photographs` what
    networks trained elsewhere say of photographs. Their log posteriors are added, each times its exponent in `pool`
    (2, 2): the first row without detail beyond 48 x 48 pixels, the second with it, and between them by `detail_of`.
    """

    pool: Tensor

    def __init__(self, config: FaceNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceNetConfig()
        a, b, c = config.widths
        first = nn.Conv2d(4, a, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), first, nn.BatchNorm2d(a))
        self.detail = _finer_stem(a) if config.detail else None
        total = sum(config.depths)
        blocks: list[list[nn.Module]] = []
        wide, index = a, 0
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            blocks.append([])
            for k in range(depth):
                rate = config.drop_path * index / max(total - 1, 1)
                blocks[-1].append(_Block(wide, width, 2 if stage and not k else 1, rate))
                wide, index = width, index + 1
        self.stage1, self.stage2, self.stage3 = (nn.Sequential(*stage) for stage in blocks)
        self.register_buffer("pool", torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        layout = 16
        self.where = nn.Conv2d(c, layout, 1, bias=False)
        flat = c + layout * (COARSE_SIZE // 8) ** 2
        self.norm = nn.BatchNorm1d(flat)
        self.embed = nn.Linear(flat, EMBEDDING_WIDTH)
        self.embed_norm = nn.BatchNorm1d(EMBEDDING_WIDTH)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(EMBEDDING_WIDTH, len(EXPRESSIONS))
        self.photographs = _photographs(EMBEDDING_WIDTH, flat, config.hidden)
        self.shape = nn.Linear(flat, EMBEDDING_WIDTH)
        self.points = _PointHead(b, c, 96)
        self.found = nn.Linear(EMBEDDING_WIDTH, 1)
        self.blend = nn.Sequential(nn.Linear(EMBEDDING_WIDTH + POINTS * 2, 192), nn.SiLU(), nn.Linear(192, BLENDSHAPES))

    def looks(self, pictures: Tensor) -> tuple[FaceOutput, Tensor]:
        """Return the outputs with the votes' logits alone, and the logits learned on photographs (B, 8)."""
        if pictures.shape[-1] == COARSE_SIZE:
            pictures = F.interpolate(pictures, scale_factor=2.0, mode="nearest")
        coarse = F.avg_pool2d(pictures, 2)
        mean = coarse.mean((2, 3), keepdim=True)
        spread = coarse.std((2, 3), keepdim=True, unbiased=False).clamp_min(CONTRAST_FLOOR)
        x = self.stem((coarse - mean) / spread)
        if self.detail is not None:
            x = x + self.detail((pictures - mean) / spread)
        x = self.stage1(F.silu(x))
        fine = self.stage2(x)
        coarse = self.stage3(fine)
        pooled = torch.cat((coarse.mean((2, 3)), self.where(coarse).flatten(1)), 1)
        pooled = self.norm(pooled)
        embedding = self.embed_norm(self.embed(pooled))
        dropped = self.dropout(embedding)
        shape = F.silu(self.shape(pooled))
        points = self.points(fine, coarse, shape)
        center = points.mean(1, keepdim=True)
        size = (points - center).square().sum(-1).mean(1).clamp_min(1e-4).sqrt()[:, None, None]
        geometry = ((points - center) / size).flatten(1)
        blend = self.blend(torch.cat((shape.float(), geometry), 1))
        out = FaceOutput(
            embedding.float(),
            self.classify(dropped).float(),
            points,
            self.found(shape).float()[:, 0],
            blend.float(),
        )
        seen = torch.cat((embedding, pooled), 1) if self.config.hidden else dropped
        return out, self.photographs(seen).float()

    def forward(self, pictures: Tensor) -> FaceOutput:
        """Return the outputs for gray pictures (B, 1, 96, 96) or (B, 1, 48, 48), float, range 0 to 1."""
        out, photographs = self.looks(pictures)
        return out._replace(logits=pooled_logits(out.logits, photographs, detail_of(pictures), self.pool))


def detail_of(pictures: Tensor, ends: tuple[float, float] = DETAIL) -> Tensor:
    """Return how much detail pictures (B, 1, S, S) have beyond 48 x 48 pixels, (B,) from 0 to 1.

    What is left of a picture when its mean of 2 x 2 pixels, enlarged again, is taken away (smoothly or as blocks, the
    smaller rest), as a share of the picture's deviation: 0 and 1 at both `ends`. Blocks of 48 x 48 pixels have 0.
    """
    if pictures.shape[-1] == COARSE_SIZE:
        return pictures.new_zeros(len(pictures))
    coarse = F.avg_pool2d(pictures, 2)
    blocks = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
    smooth = F.interpolate(coarse, scale_factor=2.0, mode="bicubic")
    spread = coarse.std((1, 2, 3), unbiased=False).clamp_min(CONTRAST_FLOOR)
    rest = torch.minimum((pictures - blocks).std((1, 2, 3)), (pictures - smooth).std((1, 2, 3)))
    return ((rest / spread - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)


def pooled_logits(votes: Tensor, photographs: Tensor, detail: Tensor, pool: Tensor) -> Tensor:
    """Return the logits (B, 8) of both read-outs together, by their exponents for this much detail (B,)."""
    share = (1 - detail)[:, None] * pool[0].float() + detail[:, None] * pool[1].float()
    first, second = both_logs(votes, photographs)
    return share[:, :1] * first + share[:, 1:] * second


def both_logs(votes: Tensor, photographs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log posteriors (B, 8) of both read-outs; contempt, which `photographs` never saw, is the votes'."""
    first = votes.log_softmax(1)
    seven = photographs[:, :-1].log_softmax(1)
    rest = torch.log1p(-first[:, -1:].exp().clamp_max(0.999))
    return first, torch.cat((seven + rest, first[:, -1:]), 1)


def mirror_names(names: Sequence[str]) -> list[int]:
    """Return, for each blendshape, the index of its mirror image (Left and Right swapped)."""

    def swapped(name: str) -> str:
        if "Left" in name:
            return name.replace("Left", "Right")
        return name.replace("Right", "Left")

    return [list(names).index(swapped(name)) for name in names]


def average_with_mirror(network: nn.Module, pictures: Tensor, shapes: Sequence[int]) -> FaceOutput:
    """Return the mean of the outputs for pictures (B, 1, S, S) and for their mirror images, mirrored back.

    `shapes` is `mirror_names` of the blendshapes.
    """
    return average_of_looks(network(pictures), network(pictures.flip(3)), shapes)


def average_of_looks(
    one: FaceOutput, other: FaceOutput, shapes: Sequence[int], carry: Callable[[Tensor], Tensor] | None = None
) -> FaceOutput:
    """Return the mean of the outputs for pictures and for mirror images of them, mirrored back.

    `carry` takes points (B, 68, 2) of the second look, mirrored back, to where they lie in the first; they lie alike
    by default.
    """
    back = other.points[:, list(MIRROR_POINTS)] * other.points.new_tensor([-1.0, 1.0])
    back = back + other.points.new_tensor([1.0, 0.0])
    points = (one.points + (back if carry is None else carry(back))) / 2
    return FaceOutput(
        (one.embedding + other.embedding) / 2,
        (one.logits + other.logits) / 2,
        points,
        (one.found + other.found) / 2,
        (one.blendshapes + other.blendshapes[:, list(shapes)]) / 2,
    )


def count_parameters(network: nn.Module) -> int:
    """Return how many trained numbers the network holds."""
    return sum(parameter.numel() for parameter in network.parameters())


def config_of(state: Mapping[str, Tensor]) -> FaceNetConfig:
    """Return the sizes of the network that these weights are of: its finer stem and its read-out of photographs."""
    first = state.get("photographs.0.weight")
    return FaceNetConfig(
        detail=any(name.startswith("detail.") for name in state), hidden=0 if first is None else len(first)
    )


def load_facenet(path: str, config: FaceNetConfig | None = None) -> FaceNet:
    """Return the network with the weights of a safetensors file, in float32, on the CPU, for inference.

    It has what the file has (`config_of`), unless `config` is given.

    Raises what safetensors and torch raise when the file is not readable or does not fit the network.
    """
    from safetensors.torch import load_file

    state = {name: value.float() for name, value in load_file(path).items()}
    network = FaceNet(config or config_of(state))
    expected = {k for k in network.state_dict() if not k.endswith("num_batches_tracked")}
    missing, extra = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or extra:
        raise ValueError(f"weights do not fit the network (missing {missing[:3]}, unknown {extra[:3]}).")
    network.load_state_dict(state, strict=False)
    network.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)
