"""Runs under an emulated Arm Python: calls a LiteRT model N times, for `arm_litert` to count.

python3.11 arm_litert_run.py MODEL INPUTS N OUTPUTS     (.tflite, .npz, number of calls, .npz or "")
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(model: str, inputs: str, calls: int, outputs: str) -> None:
    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    # Names are `serving_default_args_0:0` and so on, in no order of their own.
    details = sorted(interpreter.get_input_details(), key=lambda detail: detail["name"])
    with np.load(inputs) as arrays:
        for detail, name in zip(details, arrays.files, strict=True):
            interpreter.set_tensor(detail["index"], arrays[name].astype(detail["dtype"]))
    for _ in range(calls):
        interpreter.invoke()
    if outputs:
        found = sorted(interpreter.get_output_details(), key=lambda detail: detail["name"])
        np.savez(outputs, *(interpreter.get_tensor(detail["index"]) for detail in found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
