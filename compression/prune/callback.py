"""Pruning in anybody's training script: a callback for the Hugging Face `Trainer`."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .layers import prunable_layers
from .methods import Run, TrainedLayer, make_method
from .methods.state import fingerprint, load_state, save_state
from .model import LayerPruning, PruneReport
from .rates import global_rates, layer_rates, wanted_fraction
from .scheme import PruneError, Scheme, parse_scheme

_log = logging.getLogger(__name__)


class PruningCallback(TrainerCallback):
    """Prunes a model while a `transformers.Trainer` trains it.

        trainer.add_callback(PruningCallback(method="gradual", scheme="bcr", block="4x1", sparsity=0.8))
        trainer.train()
        trainer.save_model("pruned")  # exact zeros

    `method` and `options`: see `methods`. `scheme` and `block` as in `parse_scheme` (or a `Scheme`), `sparsity` of
    every layer, but for those that `rates` names (see `layer_rates`); `rates="global"` finds the rates of all layers
    from one threshold over the weights at the start (see `global_rates`). `include`, `skip`: see `prunable_layers`.
    Weights that do not train (frozen, or not in the optimizer) are left out. The method `fixed` needs no scheme.

    A penalty moves the weights once behind each step of the optimizer, so neither accumulation nor clipping nor the
    optimizer's moments see it; removed weights are set to zero there too. A learning rate that a method changes is put
    back before the scheduler runs. The state goes into every checkpoint folder; a resumed training continues bit by
    bit. `resume_from` names that folder where it is not `OUTPUT_DIR/checkpoint-STEP`.
    The log gets `pruning_sparsity` and what else the method has to tell.
    Raises `PruneError` when made or when training begins.
    """

    def __init__(
        self,
        method: str = "admm",
        scheme: str | Scheme = "bcr",
        block: str | None = None,
        sparsity: float | None = None,
        *,
        rates: Mapping[str, float] | str | None = None,
        include: Sequence[str] | None = None,
        skip: Sequence[str] | None = None,
        resume_from: str | Path | None = None,
        **options: Any,
    ):
        self.method = make_method(method, options)
        self.scheme = scheme if isinstance(scheme, Scheme) else parse_scheme(scheme, block)
        self.sparsity = sparsity
        self.rates = rates
        self.include, self.skip = include, skip
        self.resume_from = resume_from
        self.run: Run | None = None
        self.skipped: list[str] = []
        self._learning_rates: list[Any] = []
        if isinstance(rates, str) and (rates != "global" or sparsity is None):
            raise PruneError(f"'rates' is a mapping, or 'global' with a sparsity, found '{rates}' and {sparsity}")
        if method != "fixed":
            if sparsity is None and not rates and self.scheme.fixed_sparsity is None:
                raise PruneError(f"scheme '{self.scheme}' needs a sparsity")
            if sparsity is not None and not 0 <= sparsity < 1:
                raise PruneError(f"a sparsity is at least 0 and less than 1, found {sparsity:g}")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        _check_precision(args)
        layers = self._layers(kwargs["model"], kwargs.get("optimizer"))
        per_epoch = _steps_per_epoch(kwargs.get("train_dataloader"), args.gradient_accumulation_steps)
        if state.global_step:
            self.run = self._resume(layers, args, state, per_epoch)
        else:
            if self.rates == "global":
                weights = {layer.name: layer.weight.detach().cpu().numpy() for layer in layers}
                found = global_rates(weights, self.scheme, float(self.sparsity or 0))
                for layer in layers:
                    layer.sparsity = found[layer.name]
            self.run = self.method.begin(layers, state.max_steps, per_epoch)
            self.run.start()
        self.run.apply_masks()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        run = self._running()
        run.mask_gradients()
        factor = run.learning_rate_factor(state.global_step)
        if factor != 1:
            groups = kwargs["optimizer"].param_groups
            self._learning_rates = [group["lr"] for group in groups]
            for group in groups:
                group["lr"] = group["lr"] * factor

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Schedulers that compute the next rate from the present one must find their own.
        if self._learning_rates:
            for group, rate in zip(kwargs["optimizer"].param_groups, self._learning_rates, strict=True):
                group["lr"] = rate
            self._learning_rates = []
        self._running().after_step(state.global_step + 1, kwargs["optimizer"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.run is None or logs is None or "loss" not in logs:
            return
        figures = {f"pruning_{name}": value for name, value in self.run.figures().items()}
        logs.update(figures)
        if state.log_history:
            state.log_history[-1].update(figures)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
        if not folder.is_dir():
            _log.warning("no '%s' to save the pruning state in: this checkpoint cannot be resumed from", folder)
            return
        run = self._running()
        values = {**self._identity(run.layers, state.max_steps), "step": state.global_step, "run": run.values()}
        save_state(folder, run.tensors(), {**values, "fingerprint": fingerprint(run.layers[0].weight)})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        run = self._running()
        revived = sum(int((layer.weight[~run.masks[layer.name]] != 0).sum()) for layer in run.layers
                      if layer.name in run.masks)  # fmt: skip
        if revived:
            _log.warning(
                "%d weights that pruning removed have values again and are removed now: the best checkpoint was "
                "taken before pruning ended, so its metric is not that of the pruned model",
                revived,
            )
        if state.global_step < state.max_steps:
            _log.warning(
                "training ended after %d of %d steps: the model is pruned as it is, without the training that was left",
                state.global_step,
                state.max_steps,
            )
        run.finish(kwargs.get("optimizer"))

    def report(self) -> PruneReport:
        """Layers, their zeros, and the share of their norm that projections kept."""
        run = self._running()
        layers = [
            LayerPruning(
                layer.name,
                tuple(layer.weight.shape),
                float((layer.weight == 0).double().mean()),
                layer.kept_norm_fraction,
            )
            for layer in run.layers
        ]
        sizes = {layer.name: layer.weight.numel() for layer in run.layers}
        if self.method.name == "fixed":
            zeros = sum(layer.sparsity_fraction * sizes[layer.name] for layer in layers)
            return PruneReport("fixed", zeros / sum(sizes.values()), layers, self.skipped)
        wanted = wanted_fraction(self.scheme, {layer.name: layer.sparsity for layer in run.layers}, sizes)
        return PruneReport(str(self.scheme), wanted, layers, self.skipped)

    def _running(self) -> Run:
        if self.run is None:
            raise PruneError("pruning begins when training does: the callback has seen no training yet")
        return self.run

    def _layers(self, model: torch.nn.Module, optimizer: Any) -> list[TrainedLayer]:
        scheme = None if self.method.name == "fixed" else self.scheme
        chosen, self.skipped = prunable_layers(model, scheme, self.include, self.skip)
        trained = {id(weight) for group in optimizer.param_groups for weight in group["params"]} if optimizer else None
        layers = []
        for name, layer in chosen.items():
            if hasattr(layer, "weight_orig") or hasattr(layer, "parametrizations"):
                raise PruneError(
                    f"the weight of layer '{name}' is computed by torch.nn.utils: make it a plain parameter first "
                    "(torch.nn.utils.prune.remove, torch.nn.utils.parametrize.remove_parametrizations)"
                )
            weight = layer.weight
            if not weight.requires_grad or (trained is not None and id(weight) not in trained):
                self.skipped.append(name)
                continue
            if weight.dtype != torch.float32:
                raise PruneError(f"weights are pruned in float32, found {weight.dtype} in layer '{name}'")
            layers.append(TrainedLayer(name, weight, self.scheme, None))  # type: ignore[arg-type]
        if not layers:
            raise PruneError(f"none of the {len(chosen)} layers to prune trains: all of them are frozen")
        names = [layer.name for layer in layers]
        if isinstance(self.rates, str):
            # Found when training begins, from weights that a resumed training has no more.
            rates = dict.fromkeys(names, self.sparsity)
        else:
            rates = layer_rates(names, self.sparsity, self.rates)
        for layer in layers:
            layer.sparsity = rates[layer.name]
            if layer.sparsity is None and self.scheme.fixed_sparsity is None and scheme is not None:
                raise PruneError(f"no rate fits layer '{layer.name}', and no sparsity is given for the others")
        return layers

    def _identity(self, layers: list[TrainedLayer], steps: int) -> dict[str, Any]:
        """What must be the same in a training that goes on."""
        return {
            "method": self.method.name,
            "options": dataclasses.asdict(self.method),  # type: ignore[call-overload]
            "scheme": None if self.method.name == "fixed" else str(self.scheme),
            "sparsity": {layer.name: layer.sparsity for layer in layers},
            "steps": steps,
        }

    def _resume(
        self, layers: list[TrainedLayer], args: TrainingArguments, state: TrainerState, per_epoch: int | None
    ) -> Run:
        given = self.resume_from or args.resume_from_checkpoint
        usual = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
        folder = Path(given) if isinstance(given, str | Path) and Path(given).is_dir() else usual
        tensors, values = load_state(folder)
        if self.rates == "global":
            for layer in layers:
                layer.sparsity = values.get("sparsity", {}).get(layer.name)
        for key, wanted in self._identity(layers, state.max_steps).items():
            if values.get(key) != wanted:
                raise PruneError(f"'{folder}' was pruned with another {key}: {values.get(key)}, now {wanted}")
        if values["step"] != state.global_step or values["fingerprint"] != fingerprint(layers[0].weight):
            raise PruneError(
                f"the pruning state in '{folder}' is of other weights than those loaded at step {state.global_step}: "
                "name the folder that training resumes from with PruningCallback(resume_from=...)"
            )
        run = self.method.begin(layers, state.max_steps, per_epoch)
        run.restore(tensors, values["run"])
        return run


def _check_precision(args: TrainingArguments) -> None:
    if args.fp16:
        raise PruneError("pruning needs gradients without loss scaling: train in float32 or bf16, found fp16=True")
    if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
        raise PruneError("pruning needs whole weights on every device: train without DeepSpeed and FSDP")


def _steps_per_epoch(dataloader: Any, accumulation: int) -> int | None:
    try:
        return max(1, -(-len(dataloader) // accumulation))
    except TypeError:
        return None
