"""Opening the networks of speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visualdub.errors import BadInput
from visualdub.storage import name_or_bytes

if TYPE_CHECKING:
    import onnxruntime


def open_network(path: Path, what: str) -> onnxruntime.InferenceSession:
    """The network in an ONNX file, on one core of the processor. what: it is expected to be, such as "a phone
    head".

    Raises `BadInput` for a file that ONNX Runtime does not read.
    """
    import onnxruntime  # only here: a prior is trained where there is no ONNX Runtime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(name_or_bytes(path), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime has no common base for its errors
        raise BadInput(f"{path} is not {what}: {str(e).splitlines()[0]}") from e
