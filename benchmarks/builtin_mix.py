"""Mix a trained body with the weights that its training started from: what the old one knew of crops is kept.

    python benchmarks/builtin_mix.py --targets TARGETS --work WORK [--share 0.5]

Reads WORK/body.safetensors (kept as trained.safetensors) and writes the mean of both networks' weights in its place.
The statistics of the batch norms are those of changed training faces under the mixed weights.

Source
------
Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022 (half of each is their default, and was not tuned).
Differs from it in: the batch norms.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from builtin_batches import Targets, crops_batch, joined, photographs_batch
from builtin_readouts import metadata_of
from builtin_start import mixed_precision, start_network
from builtin_state import stored
from safetensors.torch import save_file
from torch import nn
from train_builtin import options, photographs_among, read_all

from fercleaner.encoders.facenet import FaceNet, load_facenet, mirror_names
from fercleaner.landmarks.action_units import BLENDSHAPES

#: Batches that the statistics are taken from.
BATCHES = 24


def mixed(start: FaceNet, trained: FaceNet, share: float) -> FaceNet:
    """Return a network with (1 - share) of the one's weights and `share` of the other's."""
    one, other, network = start.state_dict(), trained.state_dict(), FaceNet(trained.config)
    network.load_state_dict({k: torch.lerp(one[k], v, share) if v.is_floating_point() else v for k, v in other.items()})
    return network.to(memory_format=torch.channels_last)


def take_statistics(network: FaceNet, sets: tuple[Targets, Targets], args: argparse.Namespace) -> None:
    """Set the means and variances of the batch norms anew; the network is in evaluation mode afterwards."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    mirror, draw = mirror_names(BLENDSHAPES), np.random.default_rng((args.seed, 5))
    rng = torch.Generator().manual_seed(args.seed)
    some = photographs_among(args.batch, args.without)
    network.train()
    for _ in range(BATCHES):
        parts = zip((crops_batch, photographs_batch), sets, (args.batch - some, some), strict=True)
        batch = joined(*(make(of, of.drawn(count, draw), mirror, rng) for make, of, count in parts if count))
        with torch.no_grad(), mixed_precision():
            network.looks(batch.pictures.contiguous(memory_format=torch.channels_last))
    network.eval()


def main() -> None:
    """Mix and write."""
    parser = options()
    parser.add_argument("--share", type=float, default=0.5, help="of the trained body")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    body, trained = args.work / "body.safetensors", args.work / "trained.safetensors"
    if not trained.exists():
        body.rename(trained)
    torch.manual_seed(args.seed)
    network = mixed(start_network(args.start), load_facenet(str(trained)), args.share)
    take_statistics(network, read_all(args)[1], args)
    save_file(stored(network), body, {**metadata_of(trained), "share": str(args.share)})


if __name__ == "__main__":
    main()
