"""PyTorch's side of `ballast-train speed`: the same network, loss and optimiser on the same shapes.

Reads a JSON object of sizes as its only argument, prints one JSON object per way of computing. Its data lies on the device from the
beginning, whereas ballast gathers and copies every chunk's anew: the comparison errs in PyTorch's favour. Needs torch.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn.functional import softplus

sizes = json.loads(sys.argv[1])
device = torch.device(sizes["device"])
LEVELS = sizes["levels"]
MEDIANS, HIGHS = sizes["medians"], sizes["highs"]
UPPER = len(LEVELS) - 2


class Network(nn.Module):
    """An LSTM and one head per resource."""

    def __init__(self):
        super().__init__()
        hidden, width, context = sizes["hidden"], sizes["width"], sizes["context"]
        self.cell = nn.LSTM(sizes["inputs"], hidden)
        outputs = sizes["targets"] * (len(LEVELS) + MEDIANS + HIGHS + UPPER)
        self.low = nn.ModuleList(nn.Linear(hidden + context, width) for _ in range(sizes["resources"]))
        self.high = nn.ModuleList(nn.Linear(width + context, outputs) for _ in range(sizes["resources"]))

    def forward(self, batch):
        h, _ = self.cell(batch["x"], batch["state"])
        h = h.reshape(-1, sizes["hidden"])[batch["rows"]]
        total = 0.0
        for resource, (low, high) in enumerate(zip(self.low, self.high)):
            context = batch["context"][resource]
            hidden = torch.tanh(low(torch.cat([h, context], 1))) * batch["kept"][resource]
            bare = high(torch.cat([hidden, context], 1)).reshape(-1, len(LEVELS) + MEDIANS + HIGHS + UPPER)
            total = total + loss(bare.float(), {name: batch[name][resource] for name in ("medians", "highs", "wanted")})
        return total / len(batch["rows"])


def loss(bare, rows):
    """Pinball loss of quantiles relative to anchors, as in ballast's `burn_learner.rs`."""
    n = len(LEVELS)
    median = (torch.softmax(bare[:, n : n + MEDIANS], 1) * rows["medians"]).sum(1) + bare[:, 1]
    weights = torch.softmax(bare[:, n + MEDIANS : n + MEDIANS + HIGHS], 1)
    height = (weights * (rows["highs"] - median[:, None]).clamp_min(0)).sum(1)
    quantiles = [median - softplus(bare[:, 0]), median]
    left, beyond = torch.ones_like(median), torch.zeros_like(median)
    for level in range(UPPER):
        left = left * torch.sigmoid(-bare[:, n + MEDIANS + HIGHS + level])
        beyond = beyond + softplus(bare[:, 2 + level])
        quantiles.append(median + (1 - left) * height + beyond)
    total = 0.0
    for quantile, level in zip(quantiles, LEVELS):
        over = rows["wanted"] - quantile
        percents = torch.sinh(rows["wanted"].clamp_max(4.0)) - torch.sinh(quantile.clamp_max(4.0))
        total = total + torch.maximum(over * level, over * (level - 1)).sum()
        total = total + torch.maximum(percents * level, percents * (level - 1)).sum()
    return total


def batch():
    """A chunk of numbers drawn from a seed."""
    torch.manual_seed(1)
    lanes, steps, samples, resources = sizes["lanes"], sizes["steps"], sizes["samples"], sizes["resources"]
    rows = samples * sizes["targets"]
    draw = lambda *shape: torch.rand(*shape, device=device)
    state = (draw(1, lanes, sizes["hidden"]), draw(1, lanes, sizes["hidden"]))
    return {
        "x": draw(steps, lanes, sizes["inputs"]),
        "state": state,
        "rows": torch.randperm(lanes * steps, device=device)[:samples].sort().values,
        "context": draw(resources, samples, sizes["context"]),
        "kept": torch.ones(resources, samples, sizes["width"], device=device),
        "medians": draw(resources, rows, MEDIANS),
        "highs": draw(resources, rows, HIGHS),
        "wanted": draw(resources, rows),
    }


def wait():
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(half):
    """Seconds per chunk of each round."""
    data, network = batch(), Network().to(device)
    adam = torch.optim.AdamW(network.parameters(), 1e-3, fused=device.type == "cuda")

    def chunk():
        adam.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            mean = network(data)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        return mean

    for _ in range(5):
        chunk()
    taken = []
    for _ in range(sizes["rounds"]):
        wait()
        began = time.perf_counter()
        for _ in range(sizes["chunks"]):
            chunk()
        wait()
        taken.append((time.perf_counter() - began) / sizes["chunks"])
    return taken


name = f"torch {torch.__version__} on {device}"
for half in (False, True):
    print(json.dumps({"name": name + (", bfloat16" if half else ""), "seconds": measure(half)}), flush=True)
