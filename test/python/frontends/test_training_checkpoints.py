"""Checkpoints as training programs leave them, models by name, and configs that ask for what is not theirs to ask."""

import json
import socket
import time

import pytest
import safetensors.torch
import torch
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

from secateur.compiler import compile_model
from secateur.frontends import FrontendError, example_inputs_for, load_model


@pytest.fixture
def no_network(monkeypatch):
    """A connection, or the question for a host's address, fails the test."""

    def refuse(*arguments, **more):
        pytest.fail(f"a connection was opened: {arguments}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def saved(build, tmp_path):
    """A model of a folder, the folder without weights, and the state dict."""
    model = build("BertForQuestionAnswering")
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model", model.state_dict()


def assert_loads(folder, model):
    loaded = load_model(folder)
    example = example_inputs_for(loaded.module, 2, 8)
    with torch.no_grad():
        for found, expected in zip(loaded.module(**example).values(), model(**example).values(), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]
)
def test_names_of_wrappers_are_left_out(saved, no_network, prefix):
    model, folder, state = saved
    named = {prefix + name: tensor for name, tensor in state.items()}
    safetensors.torch.save_file(named, folder / "model.safetensors")
    assert_loads(folder, model)


def test_parts_that_were_compiled_or_sharded_keep_their_place(saved, no_network):
    model, folder, state = saved
    named = {name.replace("layer.0.", "layer.0._orig_mod._fsdp_wrapped_module."): t for name, t in state.items()}
    assert set(named) != set(state)
    safetensors.torch.save_file(named, folder / "model.safetensors")
    assert_loads(folder, model)


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "module"])
def test_the_state_dict_of_a_training_checkpoint_is_found(saved, no_network, key):
    model, folder, state = saved
    named = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({key: named, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 2}, folder / "pytorch_model.bin")
    assert_loads(folder, model)


@pytest.mark.parametrize(("number", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_weights_that_are_no_numbers_are_named(saved, number, word):
    model, folder, state = saved
    name = "bert.encoder.layer.0.output.dense.weight"
    state = {key: tensor.clone() for key, tensor in state.items()}
    state[name][0, :2] = number
    safetensors.torch.save_file(state, folder / "model.safetensors")
    with pytest.raises(FrontendError, match=f"2 of {state[name].numel()} numbers of '{name}' in .*model' are {word}"):
        load_model(folder)
    with torch.no_grad():
        model.qa_outputs.bias[0] = number
    with pytest.raises(FrontendError, match=f"1 of 2 numbers of 'qa_outputs.bias' in 'Bert.*' are {word}"):
        compile_model(model, example_inputs_for(model, 1, 4))


def test_large_weights_are_no_fault(saved):
    _, folder, state = saved
    state = {key: torch.full_like(t, 3e38) if key == "qa_outputs.weight" else t.clone() for key, t in state.items()}
    safetensors.torch.save_file(state, folder / "model.safetensors")
    assert float(load_model(folder).module.qa_outputs.weight.max()) > 2e38


def test_names_that_are_no_texts_are_refused(saved):
    _, folder, _ = saved
    torch.save({3: torch.ones(2)}, folder / "pytorch_model.bin")
    with pytest.raises(FrontendError, match="names a tensor 3; expected names that are texts"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertTokenizer"]}, "asks for the class 'BertTokenizer', which is no model class"),
        ({"architectures": ["AutoModel"]}, "asks for the class 'AutoModel', which is no model class"),
        ({"architectures": ["pipeline"]}, "asks for the class 'pipeline', which is no model class"),
        ({"architectures": ["GPT2Model"]}, "'GPT2Model', which does not take its config, a BertConfig"),
        ({"architectures": [3]}, r"is \[3\]; expected a list of names|not accepted by transformers"),
        ({"architectures": {"a": 1}}, "expected a list of names|not accepted by transformers"),
        ({"hidden_size": "64"}, "not accepted by transformers|cannot be loaded|describes no model"),
        ({"hidden_size": -3}, "not accepted by transformers|cannot be loaded|describes no model"),
    ],
)
def test_a_config_does_not_choose_other_code(saved, no_network, changes, message):
    _, folder, state = saved
    safetensors.torch.save_file(state, folder / "model.safetensors")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(FrontendError, match=message):
        load_model(folder)


def test_json_that_is_nested_too_deep_is_refused(saved):
    _, folder, _ = saved
    (folder / "config.json").write_text('{"a":' * 100_000)
    with pytest.raises(FrontendError, match="cannot be read"):
        load_model(folder)


def test_a_detector_is_loaded_with_the_attention_of_its_parts(tmp_path, no_network):
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"])
    sizes = {f"{part}_{name}": n for part in ("encoder", "decoder") for name, n in (("layers", 1), ("ffn_dim", 16))}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = DetrConfig(use_timm_backbone=False, backbone_config=backbone, d_model=16, num_queries=5, **sizes, **heads)
    DetrForObjectDetection(config).save_pretrained(tmp_path)
    assert type(load_model(tmp_path).module) is DetrForObjectDetection


def test_a_name_is_looked_up_in_the_local_cache(saved, tmp_path, monkeypatch, no_network):
    model, folder, state = saved
    safetensors.torch.save_file(state, folder / "model.safetensors")
    home = tmp_path / "hub" / "models--some--bert"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    (home / "snapshots").mkdir()
    folder.rename(home / "snapshots" / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    assert_loads("some/bert", model)


def test_a_name_without_a_network_is_a_sentence_at_once(tmp_path, monkeypatch):
    def unknown(*_):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    began = time.monotonic()
    with pytest.raises(FrontendError, match=r"'some/bert' is no folder, .* there is no connection to https"):
        load_model("some/bert")
    assert time.monotonic() - began < 5
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FrontendError, match="HF_HUB_OFFLINE forbids to download it"):
        load_model("some/bert")
    with pytest.raises(FrontendError, match="'some/bert' does not exist"):
        load_model("./some/bert")


def quantised(saved, config):
    _, folder, state = saved
    safetensors.torch.save_file(state, folder / "model.safetensors")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": config}))
    return folder


@pytest.mark.parametrize(
    ("method", "package"),
    [("gptq", "gptqmodel"), ("awq", "gptqmodel"), ("bitsandbytes", "bitsandbytes"), ("torchao", "torchao")],
)
def test_the_package_that_unpacks_weights_is_named(saved, no_network, method, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FrontendError, match=f"quantised by '{method}'.*: pip install {package}"):
        load_model(quantised(saved, {"quant_method": method}))


@pytest.mark.parametrize("config", [{"quant_method": "mine"}, {"x": 1}])
def test_an_unknown_quantiser_is_named(saved, no_network, config):
    with pytest.raises(FrontendError, match=r"quantised by '(mine|None)'; accepted are compressed-tensors, gptq"):
        load_model(quantised(saved, config))


def test_weights_in_blocks_of_fp8_are_unpacked(build, tmp_path, no_network):
    """As DeepSeek stores them: float8_e4m3fn, and the inverse of a scale for each block of 16 x 16."""
    pytest.importorskip("accelerate", reason="the extra 'train' is not installed")
    model, folder = build("BertForQuestionAnswering"), tmp_path / "model"
    packed, plain = {}, {}
    for name, tensor in model.state_dict().items():
        packed[name] = plain[name] = tensor
        if "encoder" in name and tensor.ndim == 2:
            blocks = tensor.reshape(len(tensor) // 16, 16, -1, 16)
            scale = blocks.abs().amax((1, 3), keepdim=True) / 448
            codes = (blocks / scale).to(torch.float8_e4m3fn)
            packed[name] = codes.reshape(tensor.shape)
            packed[f"{name}_scale_inv"] = scale[:, 0, :, 0].contiguous()
            plain[name] = (codes.float() * scale).reshape(tensor.shape)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    config = {"quant_method": "fp8", "weight_block_size": [16, 16], "modules_to_not_convert": ["qa_outputs"]}
    quantised((model, folder, packed), config)
    model.load_state_dict(plain)
    assert_loads(folder, model)


def test_weights_of_compressed_tensors_are_unpacked(build, tmp_path, no_network):
    """int8, with a scale per row."""
    pytest.importorskip("compressed_tensors", reason="it is no dependency")
    model, folder = build("BertForQuestionAnswering"), tmp_path / "model"
    packed, plain = {}, {}
    for name, tensor in model.state_dict().items():
        packed[name] = plain[name] = tensor
        if "encoder" in name and tensor.ndim == 2:
            scale = tensor.abs().amax(1, keepdim=True) / 127
            packed[name] = (tensor / scale).round().to(torch.int8)
            packed[f"{name}_scale"] = scale
            plain[name] = packed[name].float() * scale
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    config = {"format": "int-quantized", "config_groups": groups, "ignore": ["qa_outputs"]}
    quantised(
        (model, folder, packed), {"quant_method": "compressed-tensors", "quantization_status": "compressed", **config}
    )
    model.load_state_dict(plain)
    assert_loads(folder, model)


def test_a_whole_model_as_a_pickle_is_refused(saved, no_network):
    model, folder, _ = saved
    torch.save(model, folder / "pytorch_model.bin")
    with pytest.raises(FrontendError, match=r"holds objects of Python, such as a whole model.*save_pretrained"):
        load_model(folder)
