"""A trained model in every engine and precision: how long a window takes, and what the answers are worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .models import BYTES, TOKENS
from .peers.contest import Candidate, Predict
from .peers.registry import PEERS, ROUNDED
from .workshop import Workshop

QUESTIONS = 1000
_STRIDE, _BATCH, _SAMPLES = 64, 64, 64


class WholeWindows:
    """An engine as `Task.evaluate` calls a model: windows are filled up to the length that the engine runs."""

    window = TOKENS
    batch = _BATCH

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tokens = next(iter(arrays.values())).shape[1]
        starts, ends = self._predict({name: _filled(array) for name, array in arrays.items()})
        return {"start_logits": starts[:, :tokens], "end_logits": ends[:, :tokens]}


def _filled(array: np.ndarray) -> np.ndarray:
    """`array` [windows, tokens] with zeros behind its tokens: padding, by the mask."""
    return np.pad(array, ((0, 0), (0, TOKENS - array.shape[1])))


def squad_candidates(shop: Workshop) -> "tuple[list[Candidate], Any]":
    """The candidates, and the function that scores one: F1 and exact match on `QUESTIONS` questions of SQuAD's dev set,
    spread evenly. Raises `RuntimeError` where there is no folder with the models of the demo.
    """
    import torch

    from secateur.frontends import load_model
    from secateur.tasks import get_task, load_tokenizer

    if shop.demo is None:
        raise RuntimeError("it needs the models that `make demo KEEP=DIR` leaves in DIR: give --demo DIR")
    task, tokenizer = get_task("squad", None, shop.progress), load_tokenizer(shop.demo / "dense")
    batches = task.calibration_inputs(tokenizer, samples=_SAMPLES, window=TOKENS)
    calibration: dict[str, torch.Tensor] = {
        name: torch.from_numpy(np.concatenate([_filled(batch[name]) for batch in batches])) for name in batches[0]
    }
    inputs = {name: rows[:1].clone() for name, rows in calibration.items()}
    modules = {name: load_model(shop.demo / name).module for name in ("dense", "pruned")}
    candidates = []
    for name, module in modules.items():
        candidates.append(shop.for_secateur(f"Secateur {name}", module, inputs))
        candidates.append(shop.for_secateur(f"Secateur {name} int8", module, inputs, **BYTES))
    peers = [PEERS[title] for title in ("PyTorch", "ONNX Runtime", "OpenVINO", "LiteRT")]
    for peer in (*peers, *ROUNDED.values()):
        candidates.append(shop.for_peer(f"{peer.title} dense", peer, modules["dense"], inputs, calibration))
    for peer in (PEERS["DeepSparse"], ROUNDED["DeepSparse int8"]):
        candidates.append(shop.for_peer(f"{peer.title} pruned", peer, modules["pruned"], inputs, calibration))

    def score(predict: Predict) -> dict[str, Any]:
        found = task.evaluate(
            WholeWindows(predict), tokenizer, window=TOKENS, stride=_STRIDE, limit=QUESTIONS, batch=_BATCH
        )
        return dict(found.metrics)

    return candidates, score
