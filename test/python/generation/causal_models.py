"""Causal language models of several families, by config, with random weights."""

import torch
import transformers

_SIZES = {"vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_LLAMA = {**_SIZES, "intermediate_size": 48, "max_position_embeddings": 128, "tie_word_embeddings": False}
_NO_TOKENS = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": None}
_GEMMA3 = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 7, "head_dim": 8}

FAMILIES = {
    "GPT2": {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "OPT": {**_SIZES, "ffn_dim": 48, "max_position_embeddings": 128, "word_embed_proj_dim": 32},
    "Llama": {**_LLAMA, "num_key_value_heads": 2},
    "Qwen3": {**_LLAMA, "num_key_value_heads": 2, "head_dim": 16},
    "Gemma": {**_LLAMA, "num_key_value_heads": 1, "head_dim": 16},
    "Phi": {**_LLAMA, "partial_rotary_factor": 0.5},
}
MORE_FAMILIES = {
    "Mistral": {**_LLAMA, "num_key_value_heads": 2, "sliding_window": 9},
    "Gemma3": {**_LLAMA, **_GEMMA3, "num_key_value_heads": 2},
    "GPTNeoX": {**_LLAMA, "rotary_pct": 0.5},
}
_CONFIGS = {"Gemma3": "Gemma3TextConfig"}


def causal_model(family):
    """Its greedy text is none that repeats one token, which a broken cache would give as well."""
    sizes = {**FAMILIES, **MORE_FAMILIES}[family]
    torch.manual_seed(3)
    config = getattr(transformers, _CONFIGS.get(family, f"{family}Config"))(**sizes, **_NO_TOKENS)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms of ones and biases of zeros would hide a lost operand.
            parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.dim() == 1 else 0.3))
    return model


def greedy_text(model, prompt, count):
    """What transformers generates."""
    found = model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False)
    return found[0, len(prompt) :].tolist()
