"""`PruningCallback` in a Hugging Face `Trainer`: zeros at the end, resuming, and other people's settings."""

import json
import logging

import pytest
import torch
import torch.nn.utils.prune
from transformers import TrainerCallback

from secateur.compression.prune import PruneError, PruningCallback, Scheme, newest_checkpoint, parse_scheme, prune_model

from .tiny_training import KillAt, Killed, tiny_bert, train

pytest.importorskip("accelerate")

METHODS = ["admm", "reweighted", "gradual", "fixed"]
ENCODER = 6 * 2


def callback_of(method, **options):
    if method in ("admm", "reweighted", "gradual"):
        options = {"updates": 4, **options}
    return PruningCallback(method, "bcr", "4x8", 0.75, **options)


def model_of(method, seed=0):
    model = tiny_bert(seed)
    return prune_model(model, parse_scheme("bcr", "4x8"), 0.75)[0] if method == "fixed" else model


def encoder_weights(model):
    return {n: p for n, p in model.named_parameters() if "encoder" in n and p.ndim == 2}


def equal(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("method", METHODS)
def test_training_ends_with_zeros_and_tells_how_it_goes(method, tmp_path):
    model = model_of(method)
    start = {name: weight.detach().clone() for name, weight in encoder_weights(model).items()}
    callback = callback_of(method)
    trainer = train(model, [callback], tmp_path)
    weights = encoder_weights(model)
    assert len(weights) == ENCODER
    for name, weight in weights.items():
        assert (weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.04)
        assert not torch.equal(weight[weight != 0], start[name][weight != 0])
    assert not (model.classifier.weight == 0).any()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logged] == [5, 10, 15, 20]
    sparsities = [entry["pruning_sparsity"] for entry in logged]
    assert sparsities == sorted(sparsities) and sparsities[-1] == pytest.approx(0.75, abs=0.01)
    if method == "admm":
        assert logged[0]["pruning_penalty"] > 0 and logged[0]["pruning_residual"] > 0.1 and logged[1]["pruning_rho"] > 0
        assert logged[-1]["pruning_penalty"] == 0
    if method == "reweighted":
        assert logged[0]["pruning_penalty"] > logged[-1]["pruning_penalty"] == 0
    report = callback.report()
    assert report.sparsity_fraction == pytest.approx(0.75, abs=0.01) and len(report.layers) == ENCODER
    assert report.wanted_sparsity == pytest.approx(0.75, abs=0.01)
    assert sorted(report.skipped) == ["bert.pooler.dense", "classifier"]
    assert json.dumps(report.to_dict())


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_continues_bit_by_bit(method, tmp_path):
    straight = model_of(method)
    train(straight, [callback_of(method)], tmp_path / "straight")
    # After the checkpoint of step 7, while the method works; for one also behind it, when masks are all there is.
    for kill in (13, 19) if method == "admm" else (13,):
        model = model_of(method)
        out = tmp_path / f"killed-{kill}"
        with pytest.raises(Killed):
            train(model, [callback_of(method), KillAt(kill)], out, save_strategy="steps", save_steps=7)
        newest = newest_checkpoint(out)
        assert newest == out / f"checkpoint-{kill // 7 * 7}"
        resumed = model_of(method, seed=9)
        train(resumed, [callback_of(method)], out, resume=newest)
        assert equal(straight, resumed)


def test_a_checkpoint_that_was_not_finished_is_passed_over(tmp_path):
    train(tiny_bert(), [callback_of("admm")], tmp_path, save_strategy="steps", save_steps=7)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-20"
    (tmp_path / "checkpoint-20" / "pruning.json").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-14"
    with pytest.raises(PruneError, match=r"holds no pruning.json: .*; resume from '.*checkpoint-14'"):
        train(tiny_bert(), [callback_of("admm")], tmp_path, resume=tmp_path / "checkpoint-20")
    (tmp_path / "checkpoint-14" / "pruning.safetensors").write_bytes(b"short")
    with pytest.raises(PruneError, match="is damaged"):
        train(tiny_bert(), [callback_of("admm")], tmp_path, resume=tmp_path / "checkpoint-14")
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_resuming_from_another_folder_and_with_other_options(tmp_path):
    straight = tiny_bert()
    train(straight, [callback_of("gradual")], tmp_path / "a", save_strategy="steps", save_steps=5)
    checkpoint = tmp_path / "a" / "checkpoint-5"
    resumed = tiny_bert(3)
    train(resumed, [callback_of("gradual", resume_from=checkpoint)], tmp_path / "b", resume=checkpoint)
    assert equal(straight, resumed)
    with pytest.raises(PruneError, match=r"'.*b.checkpoint-5' holds no pruning.json"):
        train(tiny_bert(), [callback_of("gradual")], tmp_path / "b", resume=checkpoint)
    with pytest.raises(PruneError, match="was pruned with another options"):
        train(tiny_bert(), [callback_of("gradual", power=2.0)], tmp_path / "a", resume=checkpoint)
    with pytest.raises(PruneError, match="was pruned with another method: gradual, now admm"):
        train(tiny_bert(), [callback_of("admm")], tmp_path / "a", resume=checkpoint)
    with pytest.raises(PruneError, match="was pruned with another steps: 20, now 30"):
        train(tiny_bert(), [callback_of("gradual")], tmp_path / "a", steps=30, resume=checkpoint)
    other = tmp_path / "a" / "checkpoint-10"
    with pytest.raises(PruneError, match="of other weights than those loaded at step 5"):
        train(tiny_bert(), [callback_of("gradual", resume_from=other)], tmp_path / "b", resume=checkpoint)


class Watch(TrainerCallback):
    """The learning rates of every step as the optimizer sees them, and as the scheduler leaves them."""

    def __init__(self):
        self.used, self.scheduled, self.steps = [], [], 0

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.steps += 1
        self.used.append([group["lr"] for group in optimizer.param_groups])

    def on_step_end(self, args, state, control, optimizer=None, lr_scheduler=None, **kwargs):
        assert lr_scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        self.scheduled.append(lr_scheduler.get_last_lr())


@pytest.mark.parametrize("kind", ["linear", "recursive"])
def test_restarts_leave_the_schedule_alone(kind, tmp_path):
    def run(callbacks):
        model, watch = tiny_bert(), Watch()
        groups = [
            {"params": [p for p in model.parameters() if p.ndim == 1], "lr": 1e-2, "weight_decay": 0.0},
            {"params": [p for p in model.parameters() if p.ndim == 2], "lr": 1e-3},
        ]
        optimizer = torch.optim.AdamW(groups)
        # ExponentialLR computes the next rate from the present one.
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) if kind == "recursive" else None
        train(model, [*callbacks, watch], tmp_path, optimizers=(optimizer, scheduler))
        return watch

    plain = run([])
    callback = callback_of("admm", every=4)
    pruned = run([callback])
    assert pruned.scheduled == plain.scheduled
    for step, (used, scheduled) in enumerate(zip(pruned.used, plain.used, strict=True)):
        assert used == pytest.approx([rate * callback.run.learning_rate_factor(step) for rate in scheduled])
    assert pruned.used[3][0] < plain.used[3][0] / 2 and pruned.used[4] == plain.used[4]


def test_the_penalty_counts_once_a_step_and_is_not_clipped(tmp_path):
    """With a loss whose gradient is clipped to nothing, one step of gradient descent is the penalty's alone."""
    model = tiny_bert()
    start = {name: weight.detach().clone() for name, weight in encoder_weights(model).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    seen = {}

    class After(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            seen.setdefault(state.global_step, {n: w.detach().clone() for n, w in encoder_weights(model).items()})

    callback = callback_of("admm", rho=2.0, restart="none", every=10)
    train(model, [callback, After(), watch := Watch()], tmp_path, optimizers=(optimizer, None),
          lr_scheduler_type="constant", max_grad_norm=1e-12, gradient_accumulation_steps=4)  # fmt: skip
    assert watch.steps == 20
    for name, weight in start.items():
        mask = seen[1][name] == weight
        assert mask.float().mean().item() == pytest.approx(0.25, abs=0.04)
        torch.testing.assert_close(seen[1][name][~mask], weight[~mask] / (1 + 2.0 / 10))


def test_frozen_weights_are_left_out(tmp_path):
    model = tiny_bert()
    for parameter in model.bert.encoder.layer[0].parameters():
        parameter.requires_grad = False
    absent = model.bert.encoder.layer[1].output.dense.weight
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p is not absent], lr=1e-3)
    callback = callback_of("admm")
    train(model, [callback], tmp_path, optimizers=(optimizer, None))
    assert len(callback.report().layers) == 5 and "bert.encoder.layer.0.output.dense" in callback.skipped
    assert "bert.encoder.layer.1.output.dense" in callback.skipped and absent.all()
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier.requires_grad_(True)
    with pytest.raises(PruneError, match="none of the 12 layers to prune trains"):
        train(model, [callback_of("admm")], tmp_path)


def test_a_shared_weight_is_pruned_once(tmp_path):
    model = tiny_bert()
    first, second = (layer.output.dense for layer in model.bert.encoder.layer)
    second.weight = first.weight
    callback = callback_of("reweighted")
    train(model, [callback], tmp_path)
    assert len(callback.report().layers) == ENCODER - 1
    assert first.weight is second.weight and (first.weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_rates_by_layer_and_from_one_threshold(tmp_path):
    model = tiny_bert()
    train(model, [callback_of("gradual", rates={"*.0.*": 0.5, "bert.encoder.layer.0.output.dense": 0.0})], tmp_path)
    zeros = {name: (weight == 0).float().mean().item() for name, weight in encoder_weights(model).items()}
    assert zeros["bert.encoder.layer.0.output.dense.weight"] == 0
    assert zeros["bert.encoder.layer.0.intermediate.dense.weight"] == pytest.approx(0.5, abs=0.02)
    assert zeros["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(0.75, abs=0.02)

    def skewed():
        model = tiny_bert()
        with torch.no_grad():
            model.bert.encoder.layer[0].output.dense.weight.mul_(3)
        return model

    model = skewed()
    arguments = {"save_strategy": "steps", "save_steps": 15}
    train(model, [callback_of("admm", rates="global")], tmp_path / "global", **arguments)
    zeros = {name: (weight == 0).float().mean().item() for name, weight in encoder_weights(model).items()}
    assert zeros["bert.encoder.layer.0.output.dense.weight"] < 0.5
    assert all((weight != 0).any() for weight in encoder_weights(model).values())
    sizes = {name: weight.numel() for name, weight in encoder_weights(model).items()}
    assert sum(zeros[n] * s for n, s in sizes.items()) / sum(sizes.values()) == pytest.approx(0.75, abs=0.02)
    resumed = skewed()
    train(resumed, [callback_of("admm", rates="global")], tmp_path / "global",
          resume=tmp_path / "global" / "checkpoint-15")  # fmt: skip
    assert equal(model, resumed)


def test_a_training_that_stops_early_is_pruned_all_the_same(tmp_path, caplog):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 4

    model = tiny_bert()
    with caplog.at_level(logging.WARNING):
        train(model, [callback := callback_of("admm"), Stop()], tmp_path)
    assert "training ended after 4 of 20 steps" in caplog.text
    assert callback.report().sparsity_fraction == pytest.approx(0.75, abs=0.01)


def test_the_best_checkpoint_from_before_the_end_is_pruned_with_a_warning(tmp_path, caplog):
    class Best(TrainerCallback):
        """What `load_best_model_at_end` does just before training ends."""

        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step == args.max_steps:
                with torch.no_grad():
                    for weight in encoder_weights(model).values():
                        weight.add_(1)

    model = tiny_bert()
    with caplog.at_level(logging.WARNING):
        train(model, [callback_of("gradual"), Best()], tmp_path)
    assert "the best checkpoint was taken before pruning ended" in caplog.text
    weights = encoder_weights(model).values()
    assert all((weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.04) for weight in weights)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: PruningCallback("admm"), "scheme 'bcr 4x1' needs a sparsity"),
        (lambda: PruningCallback("admm", sparsity=1.0), "less than 1, found 1"),
        (lambda: PruningCallback("admm", "bcx", sparsity=0.5), "unknown scheme 'bcx'"),
        (lambda: PruningCallback("amdm", sparsity=0.5), "unknown method 'amdm'"),
        (lambda: PruningCallback(rates="local", sparsity=0.5), "found 'local'"),
        (lambda: callback_of("admm").report(), "the callback has seen no training yet"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(make, message):
    with pytest.raises(PruneError, match=message):
        make()


def test_what_cannot_be_trained_is_a_sentence(tmp_path):
    with pytest.raises(PruneError, match=r"weights are pruned in float32, found torch.bfloat16 in layer 'bert.enc"):
        train(tiny_bert().to(torch.bfloat16), [callback_of("admm")], tmp_path)
    with pytest.raises(PruneError, match=r"the rate of '\*.9.\*' fits no layer"):
        train(tiny_bert(), [callback_of("admm", rates={"*.9.*": 0.5})], tmp_path)
    with pytest.raises(PruneError, match=r"no rate fits layer 'bert\.encoder\.layer\.1"):
        train(tiny_bert(), [PruningCallback("gradual", rates={"*.0.*": 0.5})], tmp_path)
    with pytest.raises(PruneError, match=r"layer '.*': the block of 'bcr 64x64' exceeds the weight"):
        train(tiny_bert(), [PruningCallback("gradual", Scheme("bcr", (64, 64)), sparsity=0.5)], tmp_path)
    with pytest.raises(PruneError, match="found none in"):
        train(tiny_bert(), [PruningCallback("fixed")], tmp_path)
    model = tiny_bert()
    torch.nn.utils.prune.l1_unstructured(model.bert.encoder.layer[0].output.dense, "weight", 0.5)
    with pytest.raises(PruneError, match=r"layer 'bert.encoder.layer.0.output.dense' is computed by torch.nn.utils"):
        train(model, [callback_of("admm")], tmp_path)
