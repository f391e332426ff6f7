"""A task, a model and a tokenizer small enough to train in a second."""

import dataclasses

import numpy as np
import torch

WORDS = 40


@dataclasses.dataclass
class Scores:
    metrics: dict
    examples: int
    windows: int
    seconds: float = 0.0


class Windows(torch.utils.data.Dataset):
    """Random sequences; the label says whether the first token is an even number."""

    def __init__(self, count, window, seed):
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(4, window + 1, count)
        self.ids = generator.integers(3, WORDS, (count, window))
        self.mask = (np.arange(window) < self.lengths[:, None]).astype(np.int64)
        self.ids *= self.mask

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        ids, mask = torch.from_numpy(self.ids[i]), torch.from_numpy(self.mask[i])
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": torch.zeros_like(ids),
            "labels": ids[0] % 2,
        }


class TinyTask:
    """A task of two labels whose windows are made here."""

    name, metric, model_class = "tiny", "accuracy", "BertForSequenceClassification"

    def __init__(self, windows=50):
        self.windows = windows

    def training_dataset(self, tokenizer, *, window=128, seed=0, limit=None):
        return Windows(limit or self.windows, window, seed)

    def evaluate(self, predict, tokenizer, *, split, window=128, limit=None, **options):
        data = Windows(limit or 64, window, 1000)
        logits = predict({"input_ids": data.ids, "attention_mask": data.mask, "token_type_ids": data.ids * 0})["logits"]
        right = logits.argmax(-1) == data.ids[:, 0] % 2
        return Scores({"accuracy": 100 * float(right.mean())}, len(data), len(data))


def tiny_bert(seed=0):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(**sizes, vocab_size=WORDS, max_position_embeddings=32))
