"""A graph in fp32 as one in int8 or fp16."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from exporters.crops import Window, calibrated_on

BLOCK = 8  # channels that kernels take at once; others are padded, which costs more than int8 saves
LEAST_INPUTS = 12  # channels of a convolution that gains from int8
FOLLOWING = ("LeakyRelu", "Resize", "Add")  # in this order they may follow and stay in int8
# Texture coordinates need more bits than fp16 has: half a texel is its step at 1.
FULL_PRECISION = ("GridSample", "Div", "Exp", "ReduceSum", "ReduceMean", "Sqrt")


def wide_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that are worth int8: all channels mixed, many of them, in whole blocks."""
    weights = {w.name: w.dims for w in model.graph.initializer}
    names = []
    for node in model.graph.node:
        if node.op_type != "Conv" or node.input[1] not in weights:
            continue
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        outputs, inputs = weights[node.input[1]][:2]
        if groups == 1 and inputs >= LEAST_INPUTS and inputs % BLOCK == 0 and outputs >= BLOCK:
            names.append(node.name)
    return names


def following(model: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    """Names of the `FOLLOWING` nodes that come right behind those in `names`: in int8 too, the features need
    not be turned into fp32 and back between two convolutions.
    """
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for value in node.input:
            users.setdefault(value, []).append(node)
    now, found = [n for n in model.graph.node if n.name in set(names)], []
    for kind in FOLLOWING:
        now = [user for n in now for user in users.get(n.output[0], []) if user.op_type == kind]
        found += [n.name for n in now]
    return found


class _Windows(CalibrationDataReader):  # type: ignore[misc]
    """Real windows, one after another, as ONNX Runtime's calibration asks for them."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = iter([w.feed for w in windows])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def to_int8(
    model: onnx.ModelProto,
    windows: Sequence[Window],
    tensorrt: bool = False,
    convolutions: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """`model` with its wide convolutions in int8, weights per channel, activations as they are in
    those of `windows` that are not held out. convolutions: names of those alone; None: all.

    tensorrt: signed, symmetric activations and biases in fp32, which is all that TensorRT takes, and nothing
    but convolutions; it joins them with what follows by itself.
    """
    add_pre_process_metadata(model)  # it is simplified already
    convolutions = wide_convolutions(model) if convolutions is None else convolutions
    behind = [] if tensorrt else following(model, convolutions)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(source))
        quantize_static(
            str(source),
            str(target),
            _Windows(calibrated_on(windows)),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=[*convolutions, *behind],
            op_types_to_quantize=["Conv", *FOLLOWING],
            per_channel=True,
            activation_type=QuantType.QInt8 if tensorrt else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": tensorrt, "QuantizeBias": not tensorrt},
        )
        return onnx.load(str(target))


def most_int8(
    model: onnx.ModelProto,
    windows: Sequence[Window],
    tensorrt: bool,
    error_of: Callable[[onnx.ModelProto], float],
    bound: float,
) -> onnx.ModelProto:
    """`to_int8` with as many convolutions as keep the bound: where all of them break it, those that cost most
    stay in fp32. Where more than half would have to, all are in int8, for whoever checks the bound.

    error_of: mean squared error of a graph, which should be at most `bound`. Errors of single convolutions
    add up, so that each is measured once.
    """
    whole = to_int8(model, windows, tensorrt)
    if error_of(whole) <= bound:
        return whole
    names = wide_convolutions(model)
    errors = {name: error_of(to_int8(model, windows, tensorrt, [name])) for name in names}
    dearest = sorted(names, key=lambda name: -errors[name])
    for left in range(1, len(names) // 2 + 1):
        kept = [name for name in names if name not in dearest[:left]]
        if sum(errors[name] for name in kept) <= bound:
            tried = to_int8(model, windows, tensorrt, kept)
            if error_of(tried) <= bound:
                return tried
    return whole


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with weights and most operators in fp16; inputs and outputs stay float32."""
    blocked = [*DEFAULT_OP_BLOCK_LIST, *FULL_PRECISION]
    converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    return converted
