"""Small encoders with random weights, inputs for them, and what their layers read."""

import torch
import transformers

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 40,
}
DISTILBERT = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "vocab_size": 60, "max_position_embeddings": 40}
CLASSES = {
    "BertForQuestionAnswering": (transformers.BertConfig, SIZES),
    "RobertaForSequenceClassification": (transformers.RobertaConfig, SIZES),
    "DistilBertForQuestionAnswering": (transformers.DistilBertConfig, DISTILBERT),
    "ElectraModel": (transformers.ElectraConfig, {**SIZES, "embedding_size": 16}),
    "MPNetModel": (transformers.MPNetConfig, SIZES),
}


def build(name="BertForQuestionAnswering"):
    torch.manual_seed(0)
    config_class, sizes = CLASSES[name]
    module = getattr(transformers, name)(config_class(**sizes))
    for parameter in module.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return module.eval()


def batches(count=4, rows=8, tokens=12):
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        mask = torch.ones(rows, tokens, dtype=torch.int64)
        mask[0, tokens // 2 :] = 0
        ids = torch.randint(3, 60, (rows, tokens), generator=generator)
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


def outputs(module, inputs):
    with torch.no_grad():
        return torch.cat([v.reshape(-1) for v in module(**inputs).values() if isinstance(v, torch.Tensor)])


def inputs_of(linear, module, given):
    """[tokens, columns]: what the linear layer reads of the tokens that count."""
    seen = []
    handle = linear.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for batch in given:
            module(**batch)
    handle.remove()
    return torch.cat([x[b["attention_mask"] != 0] for x, b in zip(seen, given, strict=True)]).double().numpy()
