"""Random small graphs of the operators that exporters write, valid in their opset."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_models

onnx = onnx_models.onnx
SIZE = 8


class RandomGraph:
    """A graph of NCHW activations that grows by one random block at a time; the same for the same seed."""

    def __init__(self, seed: int, opset: int, *, gain: float = 1.0, batch: int | str = 1) -> None:
        self.random, self.opset, self.gain, self.batch = np.random.default_rng(seed), opset, gain, batch
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.shapes: dict[str, tuple[int, int, int]] = {"x": (3, SIZE, SIZE)}
        self.last = "x"

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its first output (further ones end with ' 1', ' 2')."""
        first = f"t{len(self.nodes)}"
        names = [first, *(f"{first} {k}" for k in range(1, outputs))]
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return first

    def weight(self, values: Any, kind: Any = np.float32) -> str:
        """An initializer, or now and then a Constant node, as exporters write both."""
        array = np.asarray(values, kind)
        name = f"w{len(self.weights) + len(self.nodes)}"
        if self.random.random() < 0.15:
            return self.add("Constant", value=onnx.numpy_helper.from_array(array))
        self.weights[name] = array
        return name

    def normal(self, *shape: int, scale: float = 0.4) -> np.ndarray:
        """Random weights."""
        return self.random.normal(0, scale, shape).astype(np.float32)

    def grow(self, blocks: int) -> RandomGraph:
        """Adds random blocks."""
        for _ in range(blocks):
            name = BLOCKS[self.random.integers(len(BLOCKS))]
            if name == "layer_norm" and self.opset < 17:
                name = "conv"
            getattr(self, name)()
        return self

    def put(self, name: str, channels: int, height: int, width: int) -> None:
        """The tensor that the next block takes."""
        self.shapes[name] = (channels, height, width)
        self.last = name

    def same(self, name: str) -> None:
        """A tensor of the last one's shape."""
        self.put(name, *self.shapes[self.last])

    def axes(self, kind: str, since: int, source: str, axes: list[int], **more: Any) -> str:
        """A node whose axes are an attribute before opset `since` and an input from then on."""
        if self.opset < since:
            return self.add(kind, source, axes=axes, **more)
        return self.add(kind, source, self.weight(axes, np.int64), **more)

    def conv(self) -> None:
        c, h, w = self.shapes[self.last]
        depthwise = self.random.random() < 0.3
        out = c if depthwise else int(self.random.integers(2, 7))
        k = int(self.random.choice([1, 3]))
        stride = 2 if h >= 4 and w >= 4 and self.random.random() < 0.3 else 1
        values = self.normal(out, 1 if depthwise else c, k, k) * self.gain
        inputs = [self.last, self.weight(values)]
        if self.random.random() < 0.6:
            inputs.append(self.weight(self.normal(out)))
        made = self.add("Conv", *inputs, pads=[k // 2] * 4, strides=[stride] * 2, group=c if depthwise else 1)
        self.put(made, out, -(-h // stride), -(-w // stride))

    def conv_transpose(self) -> None:
        c, h, w = self.shapes[self.last]
        if h > SIZE:
            return
        self.put(
            self.add("ConvTranspose", self.last, self.weight(self.normal(c, 3, 2, 2)), strides=[2, 2]),
            3, 2 * h, 2 * w,
        )  # fmt: skip

    def activation(self) -> None:
        x, kinds = self.last, ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Elu", "Softplus"]
        kinds += ["Erf", "Abs", "Neg", "Identity", "Exp"]
        kinds += ["HardSwish"] if self.opset >= 14 else []
        kinds += ["Mish"] if self.opset >= 18 else []
        kinds += ["Gelu"] if self.opset >= 20 else []
        self.same(self.add(str(self.random.choice(kinds)), x))

    def silu(self) -> None:
        self.same(self.add("Mul", self.last, self.add("Sigmoid", self.last)))

    def hard_swish(self) -> None:
        x = self.last
        clip = self.add("Clip", self.add("Add", x, self.weight(3.0)), self.weight(0.0), self.weight(6.0))
        self.same(self.add("Div", self.add("Mul", x, clip), self.weight(6.0)))

    def clip(self) -> None:
        low = "" if self.random.random() < 0.3 else self.weight(-1.0)
        self.same(self.add("Clip", self.last, low, self.weight(2.0)))

    def constant_operand(self) -> None:
        c = self.shapes[self.last][0]
        kind = str(self.random.choice(["Add", "Mul", "Sub", "Div", "Max"]))
        flat = self.random.random() < 0.3  # one value for all channels
        values = np.full((1, c, 1, 1), 1.5, np.float32) if flat else 0.5 + np.abs(self.normal(1, c, 1, 1))
        self.same(self.add(kind, self.last, self.weight(values)))

    def residual(self) -> None:
        c, _, _ = self.shapes[self.last]
        other = self.add("Conv", self.last, self.weight(self.normal(c, c, 1, 1)))
        self.same(self.add(str(self.random.choice(["Add", "Mul"])), self.last, other))

    def flat_map(self) -> None:
        """An activation that never varies."""
        zero = self.add("Mul", self.last, self.weight(0.0))
        self.same(self.add("Add", zero, self.weight(float(self.random.choice([0.0, 2.5, -3.0])))))

    def outlier(self) -> None:
        """One value far beyond all others."""
        c, h, w = self.shapes[self.last]
        values = np.zeros((1, c, h, w), np.float32)
        values[0, 0, 0, 0] = 1e4
        self.same(self.add("Add", self.last, self.weight(values)))

    def concat(self) -> None:
        c, h, w = self.shapes[self.last]
        other = self.add("Relu", self.last)
        self.put(self.add("Concat", self.last, other, axis=1), 2 * c, h, w)

    def split(self) -> None:
        c, h, w = self.shapes[self.last]
        if c < 2:
            return
        more = {"num_outputs": 2} if self.opset >= 18 and c % 2 == 0 else {}
        parts = [] if more else [self.weight([c // 2, c - c // 2], np.int64)]
        first = self.add("Split", self.last, *parts, outputs=2, axis=1, **more)
        self.put(self.add("Concat", f"{first} 1", first, axis=1), c, h, w)

    def slice(self) -> None:
        c, h, w = self.shapes[self.last]
        if c < 2:
            return
        terms = [self.weight(v, np.int64) for v in ([0], [c - 1], [1])]
        self.put(self.add("Slice", self.last, *terms), c - 1, h, w)

    def resize(self) -> None:
        c, h, w = self.shapes[self.last]
        if h > SIZE:
            return
        mode = str(self.random.choice(["nearest", "linear"]))
        scales = self.weight([1, 1, 2, 2])
        self.put(self.add("Resize", self.last, "", scales, mode=mode), c, 2 * h, 2 * w)

    def pool(self) -> None:
        c, h, w = self.shapes[self.last]
        if min(h, w) < 2:
            return
        kind = str(self.random.choice(["MaxPool", "AveragePool"]))
        self.put(self.add(kind, self.last, kernel_shape=[2, 2], strides=[2, 2]), c, h // 2, w // 2)

    def pad(self) -> None:
        c, h, w = self.shapes[self.last]
        pads = self.weight([0, 0, 1, 1, 0, 0, 0, 0], np.int64)
        self.put(self.add("Pad", self.last, pads, self.weight(0.0)), c, h + 1, w + 1)

    def attention(self) -> None:
        """Squeeze and excite: the mean of each channel, a gate, a product."""
        c = self.shapes[self.last][0]
        mean = self.axes("ReduceMean", 18, self.last, [2, 3], keepdims=1)
        if self.random.random() < 0.5:
            mean = self.add("GlobalAveragePool", self.last)
        gate = self.add("Sigmoid", self.add("Conv", mean, self.weight(self.normal(c, c, 1, 1))))
        self.same(self.add("Mul", self.last, gate))

    def reduced(self) -> None:
        kind, since = (("ReduceMax", 18), ("ReduceSum", 13), ("ReduceMin", 18))[self.random.integers(3)]
        made = self.axes(kind, since, self.last, [1], keepdims=1)
        self.same(self.add("Sub", self.last, made))

    def squeezed(self) -> None:
        flat = self.axes("Unsqueeze", 13, self.last, [1])
        self.same(self.axes("Squeeze", 13, flat, [1]))

    def matmul(self) -> None:
        """Pixels as rows, a product, and back."""
        c, h, w = self.shapes[self.last]
        rows = self.add("Reshape", self.last, self.weight([0, c, h * w], np.int64))
        rows = self.add("Transpose", rows, perm=[0, 2, 1])
        made = self.add("MatMul", rows, self.weight(self.normal(c, 4)))
        made = self.add("Softmax", made, axis=-1) if self.random.random() < 0.4 else made
        made = self.add("Transpose", made, perm=[0, 2, 1])
        self.put(self.add("Reshape", made, self.weight([0, 4, h, w], np.int64)), 4, h, w)

    def layer_norm(self) -> None:
        w = self.shapes[self.last][2]
        terms = [self.weight(np.ones(w)), self.weight(np.zeros(w))]
        self.same(self.add("LayerNormalization", self.last, *terms, axis=-1))

    def batch_norm(self) -> None:
        c = self.shapes[self.last][0]
        values = [np.ones(c), np.zeros(c), self.normal(c), np.abs(self.normal(c)) + 0.5]
        self.same(self.add("BatchNormalization", self.last, *(self.weight(v) for v in values)))

    def measured_shape(self) -> None:
        """A reshape whose sizes are read from the tensor, as torch writes `view`."""
        c = self.shapes[self.last][0]
        size = self.add("Shape", self.last)
        batch = self.add("Gather", size, self.weight([0], np.int64), axis=0)
        rest = self.weight([c, -1], np.int64)
        flat = self.add("Reshape", self.last, self.add("Concat", batch, rest, axis=0))
        self.same(self.add("Reshape", flat, size))

    def gather(self) -> None:
        c, h, w = self.shapes[self.last]
        rows = self.weight(self.random.permutation(c), np.int64)
        self.put(self.add("Gather", self.last, rows, axis=1), c, h, w)

    def where(self) -> None:
        larger = self.add("Greater", self.last, self.weight(0.1))
        self.same(self.add("Where", larger, self.last, self.weight(0.1)))

    def powers(self) -> None:
        square = self.add("Pow", self.last, self.weight(2.0))
        self.same(self.add("Sqrt", self.add("Add", square, self.weight(1e-3))))

    def model(self) -> Any:
        """The model, with a Gemm behind the mean of each channel as its only output."""
        c = self.shapes[self.last][0]
        flat = self.add("Flatten", self.add("GlobalAveragePool", self.last))
        made = self.add("Gemm", flat, self.weight(self.normal(5, c)), self.weight(self.normal(5)), transB=1)
        self.nodes[-1].output[0], kind = "y", onnx.TensorProto.FLOAT
        assert made
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes, "random",
            [info("x", kind, [self.batch, 3, SIZE, SIZE])], [info("y", kind, [self.batch, 5])],
            [onnx.numpy_helper.from_array(v, n) for n, v in self.weights.items()],
        )  # fmt: skip
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)], ir_version=10)


BLOCKS = (
    *("conv", "conv", "conv", "activation", "activation", "silu", "hard_swish", "clip", "residual"),
    *("conv_transpose", "constant_operand", "flat_map", "outlier", "concat", "split", "slice", "resize"),
    *("pool", "pad", "attention", "reduced", "squeezed", "matmul", "layer_norm", "batch_norm"),
    *("measured_shape", "gather", "where", "powers"),
)


def random_model(seed: int, opset: int, *, blocks: int = 7, **more: Any) -> Any:
    """A random valid model."""
    model = RandomGraph(seed * 1000 + opset, opset, **more).grow(blocks).model()
    onnx.checker.check_model(model)
    return model


def random_image(seed: int) -> np.ndarray:
    """(1, 3, 8, 8) values from 0 to 1."""
    return np.random.default_rng(seed).random((1, 3, SIZE, SIZE), np.float32)
