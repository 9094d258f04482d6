"""LA-Net's expression-landmark contrastive loss, as a small projector trained on frozen vectors."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.arrays import Doubles, Floats, Ints, Progress
from ...core.errors import InputError
from ...core.types import Features
from .pair_scores import centered_rows, import_torch

log = logging.getLogger(__name__)

#: Width of the hidden layer.
HIDDEN = 256
#: Faces a step; fewer in small sets, so that an epoch has at least about 16 steps.
BATCHES = (32, 512)
#: Keys that a query is compared with; LA-Net's own.
QUEUE = 8192
TEMPERATURE = 0.1
#: Share of the key network kept at each step. LA-Net has .999 over many more steps.
KEY_MOMENTUM = 0.99
LEARNING_RATE = 1e-3
#: More epochs follow the wrong labels: after 10, neighbors agreed less than in the vectors that came in.
EPOCHS = 4
#: Small sets are gone through more often, until there were this many steps; fewer leave sets of 600 to 2,500 faces
#: without most of the gain (design notes).
STEPS = 200
#: Share of the learned vector in the embedding handed out; see `Projection`.
SHARE = 0.3
#: Confidence of the label bank above which faces of a class attract one another.
CONFIDENCE = 0.7


@dataclass(frozen=True, eq=False)
class Projection:
    """A trained map from vectors of a view to the contrastive space.

        q(x) = normalized [W_2 relu(W_1 x' + c_1) + c_2],  x' = x - mean, scaled to length sqrt(D)
        z(x) = [sqrt(1 - share) x' / sqrt(D), sqrt(share) q(x)]

    z is what `apply` hands out: its cosine is the mixture (1 - share) cos(x', .) + share cos(q, .). The learned
    part alone forgets what the labels do not ask for, and the labels are partly wrong.

    Parameters
    ----------
    mean : (D,) float32
    first, first_bias : (D, H), (H,) float32
    second, second_bias : (H, d), (d,) float32
    """

    mean: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats

    def learned(self, features: Features) -> Floats:
        """Return q (N, d) float32, rows of length 1; zero where not found."""
        if features.values.shape[1] != len(self.mean):
            raise InputError(
                f"View '{features.view}' has {features.values.shape[1]} columns; the projection was trained on "
                f"{len(self.mean)}."
            )
        hidden = np.maximum(centered_rows(features.values, self.mean) @ self.first + self.first_bias, 0.0)
        out = hidden @ self.second + self.second_bias
        length = np.linalg.norm(out, axis=1, keepdims=True)
        rows = np.where(features.found[:, None], out / np.where(length > 0, length, 1.0), 0.0)
        return np.asarray(rows, dtype=np.float32)

    def apply(self, features: Features, *, share: float = SHARE, view: str = "contrast") -> Features:
        """Return z (N, D + d) as a view of its own, rows of length 1; zero where not found.

        Parameters
        ----------
        features : Features (N, D)
            Of the view the projection was trained on; also of faces it did not see.
        share : float in [0, 1]
            0 gives back the direction of the vectors that came in.
        view : str
            Name of the new view.
        """
        if not 0 <= share <= 1:
            raise InputError(f"share = {share} must lie in [0, 1].")
        learned = np.sqrt(np.float32(share)) * self.learned(features)
        kept = centered_rows(features.values, self.mean) * np.float32(np.sqrt((1.0 - share) / len(self.mean)))
        rows = np.concatenate([np.where(features.found[:, None], kept, np.float32(0)), learned], axis=1)
        spec = {"kind": "contrast", "version": 1, "share": share, "of": features.view, "source": dict(features.spec)}
        return Features(view, features.ids, rows.astype(np.float32), features.found, spec, features.notes)


def pseudo_labels(bank: Doubles, confidence: float = CONFIDENCE) -> Ints:
    """Return the class of each row of the label bank (N, C) where it reaches `confidence`, else -1 - row, (N,).

    A face that is not sure has a label of its own: nobody attracts it but itself, and it repels everybody.
    """
    sure = bank.max(1) >= confidence
    return np.where(sure, bank.argmax(1), -1 - np.arange(len(bank))).astype(np.int64)


def contrastive_loss(
    queries: Any, keys: Any, queue: Any, labels: Any, queue_labels: Any, temperature: float = TEMPERATURE
) -> Any:
    """Return LA-Net's loss of queries in one space against keys of the other, a torch scalar.

        mean_i mean_{j in batch: l_j = l_i} -log [ e_ij / (e_ij + sum_{m in queue: l_m != l_i} e_im) ],
        e_ij = exp(q_i . k_j / T)

    Each positive competes with the negatives alone, not with other positives; the pair of a face with itself
    is one of them.

    Parameters
    ----------
    queries, keys : (B, d) tensors, rows of length 1
    queue : (M, d) tensor of earlier keys
    labels, queue_labels : (B,), (M,) int tensors
    """
    torch = import_torch("The contrastive projector")
    positive = queries @ keys.T / temperature
    negative = (queries @ queue.T / temperature).masked_fill(labels[:, None] == queue_labels, -torch.inf)
    against = torch.logsumexp(negative, dim=1, keepdim=True)
    loss = torch.nn.functional.softplus(against - positive)
    same = labels[:, None] == labels
    return ((loss * same).sum(1) / same.sum(1)).mean()


def fit_projection(
    expression: Features,
    landmarks: Features,
    bank: Doubles,
    rng: np.random.Generator,
    *,
    dimensions: int = 64,
    epochs: int = EPOCHS,
    confidence: float = CONFIDENCE,
    progress: Progress | None = None,
) -> Projection:
    """Train a projection of `expression` under the expression-landmark contrastive loss.

    Both views get a network Linear, ReLU, Linear to `dimensions`; queries of each are drawn to the keys of
    the other of faces with the same confident label, and away from all others. Keys come from slowly following
    copies and fill a queue of 8,192.

    Parameters
    ----------
    expression, landmarks : Features (N, D), (N, D')
        Only faces found in both take part.
    bank : (N, C)
        Label distributions, such as the refined ones of `landmark.Landmark`.
    rng : Generator
        Batches are drawn over the faces in the order of their ids, so their numbering does not matter.
    dimensions, epochs : int
        Small sets are gone through more often, until there were `STEPS` steps; 0 epochs train nothing.
    confidence : float in [0, 1]
        See `pseudo_labels`.

    Returns
    -------
    Projection
        Of the expression view; `apply` gives the vectors. They were drawn together by the labels in `bank`:
        neighbors among them are no independent source of those labels. Use them for training, retrieval and
        display, and judge labels by the vectors that came in.

    Source
    ------
    Wu and Cui, LA-Net, ICCV 2023, equation of L_EL and its public code (temperature .1, queue 8,192, confidence
    .7). Differs from it in: networks of frozen vectors; this loss alone; key momentum .99; the batch's own keys
    are in the queue already, which starts empty.

    Cost: about 20 s an epoch for 30,000 faces of 1,024 dimensions on two cores.
    """
    torch = import_torch("The contrastive projector")
    if not np.array_equal(expression.ids, landmarks.ids) or len(bank) != len(expression):
        raise InputError("The expression view, the landmark view and the bank must have the same rows.")
    rows = np.flatnonzero(expression.found & landmarks.found)
    if len(rows) < 2:
        raise InputError(
            f"{len(rows)} faces have both expression vectors and landmarks; the projection needs at least 2."
        )
    rows = rows[np.argsort(expression.ids[rows], kind="stable")]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    views, means = [], []
    for view in (expression, landmarks):
        means.append(view.values[rows].mean(0, dtype=np.float64).astype(np.float32))
        views.append(torch.from_numpy(centered_rows(view.values[rows], means[-1])))
    labels = torch.from_numpy(pseudo_labels(bank[rows], confidence))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        nets = [_network(torch, x.shape[1], dimensions) for x in views]
        copies = [_network(torch, x.shape[1], dimensions) for x in views]
    for net, copy in zip(nets, copies, strict=True):
        copy.load_state_dict(net.state_dict())
    size = min(max(len(rows) // 16, BATCHES[0]), BATCHES[1])
    batches = -(-len(rows) // size)
    rounds = max(epochs, -(-STEPS // batches)) if epochs else 0
    steps = rounds * batches
    optimizer = torch.optim.Adam([w for net in nets for w in net.parameters()], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / max(steps, 1))
    queue: list[Any] = []
    done = 0
    for _ in range(rounds):
        for batch in torch.randperm(len(rows), generator=generator).split(size):
            queries = [_unit(torch, net(x[batch])) for net, x in zip(nets, views, strict=True)]
            with torch.no_grad():
                keys = [_unit(torch, copy(x[batch])) for copy, x in zip(copies, views, strict=True)]
            queue.append((labels[batch], *keys))
            queue = queue[-max(1, QUEUE // size) :]
            past, past_u, past_v = (torch.cat([entry[part] for entry in queue]) for part in range(3))
            loss = contrastive_loss(queries[0], keys[1], past_v, labels[batch], past)
            loss = loss + contrastive_loss(queries[1], keys[0], past_u, labels[batch], past)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for net, copy in zip(nets, copies, strict=True):
                    for kept, new in zip(copy.parameters(), net.parameters(), strict=True):
                        kept.lerp_(new, 1.0 - KEY_MOMENTUM)
            done += 1
            if progress:
                progress(done, steps)
        log.debug("contrastive loss %.4f", float(loss.detach()))
    first, second = nets[0][0], nets[0][2]
    arrays = (first.weight.T, first.bias, second.weight.T, second.bias)
    return Projection(means[0], *(np.ascontiguousarray(a.detach().numpy()) for a in arrays))


def _network(torch: Any, dimensions: int, out: int) -> Any:
    return torch.nn.Sequential(torch.nn.Linear(dimensions, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, out))


def _unit(torch: Any, rows: Any) -> Any:
    return torch.nn.functional.normalize(rows, dim=1)
