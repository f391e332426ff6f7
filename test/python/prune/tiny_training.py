"""A BERT of two layers, random data and a short training, for the tests of pruning during training."""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments


def tiny_bert(seed=0):
    torch.manual_seed(seed)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=50)
    return BertForSequenceClassification(config)


class Sentences(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        ids = torch.randint(0, 50, (12,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[0] % 2}


class Killed(Exception):
    """What ends a training in the middle of a step."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


def train(model, callbacks, out, steps=20, resume=None, optimizers=(None, None), **arguments):
    given = {
        "max_steps": steps,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 5,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 0,
        **arguments,
    }
    trainer = Trainer(
        model,
        TrainingArguments(str(out), **given),
        train_dataset=Sentences(),
        callbacks=callbacks,
        optimizers=optimizers,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer
