"""How the ONNX models are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

_QUIET = 3  # onnxruntime's level for errors only


def open_session(path: Path, *, threads: int) -> Any:
    """Return an inference session on the CPU.

    ``threads`` do not spin while they wait: an idle model costs nothing, at the price of some microseconds a call. And
    what a long input took of the memory is given back after it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
