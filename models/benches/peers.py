"""The peers of the kernel's benchmark: PyTorch and onnxruntime, on the kernel's shapes and weights.

Reads one case per line, a JSON object as `kernel/case.rs` writes it, does it once with every engine, and answers with one
line. `kernel/main.rs` starts it. Needs torch, onnxruntime, onnx and numpy.
"""

import functools
import json
import sys
import time

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

OUTPUTS = 36
QUANTILES = np.tile(np.array([0.1, 0.5, 0.9], np.float32), OUTPUTS // 3)
TORCH_CHUNKS = (64, 128, 256, 512, 1024)
ONNX_CHUNKS = (32, 64, 128, 256)
# Rows that a chunk size is tried on, and how often.
TRIAL_ROWS, TRIALS = 2048, 3


def numbers(seed, count, scale):
    """The numbers that `numbers` in `kernel/ours.rs` makes."""
    index = np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 % 2**32)
    value = index * np.uint32(2654435761)
    value = (value ^ (value >> np.uint32(15))) * np.uint32(0x85EBCA6B)
    bits = ((value ^ (value >> np.uint32(13))) >> np.uint32(16)).astype(np.float32)
    return (bits / np.float32(32768) - np.float32(1)) * np.float32(scale)


def gates(case):
    """The cell's weights by gate: name to (of h, of x, bias), each with the gate's units first."""
    hidden, inputs = case["hidden"], case["inputs"]
    weights = numbers(1, (hidden + inputs) * 4 * hidden, 0.2).reshape(hidden + inputs, 4, hidden)
    bias = numbers(2, 4 * hidden, 0.2).reshape(4, hidden)
    return {name: (weights[:hidden, at].T, weights[hidden:, at].T, bias[at]) for at, name in enumerate("fioc")}


def stack(case, order):
    """Weights of h, weights of x and biases, gates in the given order."""
    by_name = gates(case)
    return [np.ascontiguousarray(np.concatenate([by_name[name][part] for name in order])) for part in range(3)]


def head(case):
    """The head's weights, [hidden][outputs], and biases."""
    return numbers(3, case["hidden"] * OUTPUTS, 0.2).reshape(case["hidden"], OUTPUTS), numbers(4, OUTPUTS, 0.2)


def inputs(case):
    """[steps][rows][inputs]."""
    shape = (case["steps"], case["rows"], case["inputs"])
    return numbers(5, int(np.prod(shape)), 1.0).reshape(shape)


class Torch:
    """nn.LSTM and nn.Linear."""

    name = "torch"
    chunks = TORCH_CHUNKS

    def __init__(self, case):
        self.case = case
        self.lstm = torch.nn.LSTM(case["inputs"], case["hidden"])
        self.head = torch.nn.Linear(case["hidden"], OUTPUTS)
        of_h, of_x, bias = (torch.from_numpy(part) for part in stack(case, "ifco"))
        with torch.no_grad():
            self.lstm.weight_hh_l0.copy_(of_h)
            self.lstm.weight_ih_l0.copy_(of_x)
            self.lstm.bias_ih_l0.copy_(bias)
            self.lstm.bias_hh_l0.zero_()
            weights, bias = head(case)
            self.head.weight.copy_(torch.from_numpy(weights.T.copy()))
            self.head.bias.copy_(torch.from_numpy(bias))
        self.x = torch.from_numpy(inputs(case))
        self.quantiles = torch.from_numpy(QUANTILES)

    def forward(self, x):
        _, (hidden, _) = self.lstm(x)
        return self.head(hidden[0])

    def windows(self, rows, chunk):
        with torch.inference_mode():
            parts = [self.forward(self.x[:, at : at + chunk].contiguous()) for at in range(0, rows, chunk)]
            return torch.cat(parts)[0].numpy()

    def training(self):
        rows = self.case["rows"]
        target = torch.from_numpy(numbers(6, rows * OUTPUTS, 1.0).reshape(rows, OUTPUTS))
        for _ in range(self.case["repeats"]):
            self.lstm.zero_grad()
            self.head.zero_grad()
            outputs = self.forward(self.x)
            error = target - outputs
            torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean().backward()
        return outputs[0].detach().numpy()


class Onnx:
    """The LSTM and Gemm operators."""

    name = "onnxruntime"
    chunks = ONNX_CHUNKS

    def __init__(self, case):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case["threads"]
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model(case), options, providers=["CPUExecutionProvider"])
        self.x = inputs(case)

    def windows(self, rows, chunk):
        parts = [
            self.session.run(None, {"x": np.ascontiguousarray(self.x[:, at : at + chunk])})[0]
            for at in range(0, rows, chunk)
        ]
        return np.concatenate(parts)[0]


def model(case):
    """The forecaster as an ONNX model."""
    hidden = case["hidden"]
    of_h, of_x, bias = stack(case, "iofc")
    weights, head_bias = head(case)
    constants = {
        "w": of_x[None],
        "r": of_h[None],
        "b": np.concatenate([bias, np.zeros_like(bias)])[None],
        "hw": weights,
        "hb": head_bias,
        "axis": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b"], ["", "h"], hidden_size=hidden),
        helper.make_node("Squeeze", ["h", "axis"], ["last"]),
        helper.make_node("Gemm", ["last", "hw", "hb"], ["y"]),
    ]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [case["steps"], None, case["inputs"]])]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, OUTPUTS])]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "forecaster", values, result, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def timed(work):
    """Seconds by wall and by processor, and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


@functools.lru_cache(maxsize=1)
def engines(text):
    """The engines of a case, each with the chunk size it is fastest with, judged by processor time."""
    case = json.loads(text)
    torch.set_num_threads(case["threads"])
    if case["kind"] == "training":
        return [(Torch(case), None)]
    chosen = []
    for engine in (Torch(case), Onnx(case)):
        rows = min(TRIAL_ROWS, case["rows"])
        trial = {}
        for chunk in engine.chunks:
            trial[chunk] = min(timed(lambda: engine.windows(rows, chunk))[1] for _ in range(TRIALS))
        chosen.append((engine, min(trial, key=trial.get)))
    return chosen


def measure(text):
    """Every engine's time for the case."""
    case, results = json.loads(text), []
    for engine, chunk in engines(text):
        work = engine.training if chunk is None else lambda: engine.windows(case["rows"], chunk)
        wall, cpu, outputs = timed(work)
        name = engine.name if chunk is None else f"{engine.name}, chunk {chunk}"
        results.append({"name": name, "wall": wall, "cpu": cpu, "outputs": outputs.tolist()})
    return {"engines": results}


for line in sys.stdin:
    print(json.dumps(measure(line.strip())), flush=True)
