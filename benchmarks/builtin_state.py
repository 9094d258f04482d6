"""What a training of the builtin network consists of between two steps, and how processes share it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fercleaner.encoders.facenet import FaceNet


def stored(network: FaceNet) -> dict[str, Tensor]:
    """Return the tensors of the network as they are stored, in float16."""
    kept = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {k: v.half().contiguous() for k, v in kept.items()}


class State:
    """Weights, averaged weights and the optimizer's moments, as one safetensors file."""

    def __init__(self, model: FaceNet, optimizer: torch.optim.AdamW) -> None:
        self.model, self.optimizer = model, optimizer
        self.average = {k: v.clone() for k, v in model.state_dict().items()}
        self.step, self.round = 0, 0

    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; early steps move it further."""
        rate = 1 - min(decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, rate)
            else:
                self.average[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write everything that continuing needs."""
        tensors = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v.contiguous() for k, v in self.average.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value).contiguous().clone()
        save_file(tensors, path.with_suffix(".new"), {"step": str(self.step), "round": str(self.round)})
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        tensors = load_file(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        self.average = {k[8:]: v for k, v in tensors.items() if k.startswith("average.")}
        for name, parameter in self.model.named_parameters():
            keys = ("step", "exp_avg", "exp_avg_sq")
            self.optimizer.state[parameter] = {key: tensors[f"adam.{key}.{name}"] for key in keys}
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        self.step, self.round = int(meta["step"]), int(meta["round"])

    def averaged_network(self) -> FaceNet:
        """Return the network with the averaged weights, as it will be stored (float16), for inference."""
        network = FaceNet(self.model.config)
        network.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in self.average.items()})
        return network.eval().to(memory_format=torch.channels_last)

    def save_average(self, path: Path) -> None:
        """Write the averaged weights in float16, as they are shipped."""
        save_file(stored(self.averaged_network()), path.with_suffix(".new"), {"round": str(self.round)})
        path.with_suffix(".new").replace(path)


def share_gradients(model: FaceNet) -> None:
    """Average the gradients over the processes, in one exchange."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for grad in grads:
        grad.copy_(flat[start : start + grad.numel()].view_as(grad))
        start += grad.numel()


def share_buffers(model: FaceNet) -> None:
    """Average the batch-norm statistics over the processes."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= dist.get_world_size()
