"""Reading and changing the residual stream while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from .lmm import LMM, Layer

Act = Callable[[Tensor], Tensor | None]  # stream (batch, positions, width) -> the changed stream, or None
NAMED_POSITIONS = ("all", "generated", "last_prompt")


@contextmanager
def hook(lmm: LMM, layer: Layer, act: Act) -> Iterator[None]:
    """Let `act` see the stream at a layer whenever the model runs, and change it if it returns another.

    It runs between compiled parts, never in them: if the whole model is compiled (torch.compile), the model runs
    uncompiled in the meantime. Blocks that are compiled one by one, `block.forward = torch.compile(block.forward)`, stay so.

    Parameters
    ----------
    layer : layer
        0..n_layers, or "norm".
    act : callable
        From the stream, (batch, positions, width), to another one of that shape, or to None to leave it.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    lmm.check_layer(layer)
    if layer == 0:
        module = lmm.layers[0]
        handle = module.register_forward_pre_hook(_before(act), with_kwargs=True)
    else:
        module = lmm.final_norm if layer == "norm" else lmm.layers[layer - 1]
        handle = module.register_forward_hook(_after(act))
    with handle, uncompiled_around(lmm, module):
        yield


def uncompiled_around(lmm: LMM, module: nn.Module) -> AbstractContextManager:
    """Let the model run uncompiled, if hooks on a module would else be in compiled code.

    A graph may have been made without them, and the memory of what it gives out is taken for the next run.
    """
    return torch.compiler.set_stance("force_eager") if _inside_compiled(lmm, module) else nullcontext()


def _inside_compiled(lmm: LMM, module: nn.Module) -> bool:
    """Whether hooks on a module run in compiled code: of a module around it, or of itself by `Module.compile`."""
    for around in lmm.model.modules():
        with_hooks = around._compiled_call_impl is not None
        if with_hooks or hasattr(around.forward, "_torchdynamo_orig_callable"):
            if any(inner is module for inner in around.modules() if with_hooks or inner is not around):
                return True
    return False


def has_hooks(lmm: LMM) -> bool:
    """Whether something changes or sees the model's runs, as `add` or torch.autocast; what transformers sees aside."""
    if torch.is_autocast_enabled(lmm.device.type) or _global_forward_hooks or _global_forward_pre_hooks:
        return True
    hooks = (h for m in lmm.model.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values()))
    return any(not str(getattr(hook, "__module__", "")).startswith(("transformers.", "accelerate.")) for hook in hooks)


@contextmanager
def capture(
    lmm: LMM, layers: Iterable[Layer], positions: Tensor | str | None = None
) -> Iterator[dict[Layer, list[Tensor]]]:
    """Keep states of some layers while the model runs: for each layer a list with one tensor for each pass.

    Of each row the last position is kept, (batch, width), in `generate` the one that predicts the next token; or those
    of a LongTensor (batch,) or (batch, n), (batch, n, width); or "all". A capture opened inside an `add` sees the added
    vector at that layer; one opened around it does not.

    Parameters
    ----------
    layers : iterable of layer
        0..n_layers, or "norm".
    positions : LongTensor or "all", optional
        Default: the last position.

    Yields
    ------
    dict of layer to list of Tensor
    """
    if isinstance(positions, str) and positions != "all":
        raise ValueError(f'positions={positions!r} is not known: give one for each row, "all", or nothing.')
    if isinstance(layers, (Integral, str)):
        raise ValueError(f"layers={layers!r} is one layer: give a list, [{layers!r}].")
    captured: dict[Layer, list[Tensor]] = {layer: [] for layer in layers}

    def keep(stream: Tensor, states: list[Tensor]) -> None:
        if positions is None:
            kept = stream[:, -1]  # (batch, width)
        elif isinstance(positions, str):
            kept = stream  # (batch, positions, width)
        else:
            kept = stream[_index(positions, stream)]  # (batch, width) or (batch, n, width)
        states.append(kept.detach().clone())  # a copy: a view would keep the whole stream alive

    with ExitStack() as hooks:
        for layer, states in captured.items():
            hooks.enter_context(hook(lmm, layer, partial(keep, states=states)))
        yield captured


@contextmanager
def add(
    lmm: LMM,
    layer: Layer,
    vector: Tensor | Callable[[Tensor], Tensor],
    positions: Tensor | str = "all",
    n_forced: int = 0,
) -> Iterator[None]:
    """Add a vector to the residual stream at one layer, whenever the model runs.

    Parameters
    ----------
    lmm : LMM
        The model.
    layer : int or str
        0..n_layers, or "norm".
    vector : Tensor, (width,) or (batch, width), or callable
        The same for all rows, or one for each; or what makes of the states there, (batch, n, width), what is added.
    positions : {"all", "generated", "last_prompt"} or LongTensor (batch,) or (batch, n), default "all"
        "all": every position of every pass, image tokens and padding included. "generated": the last position of the
        prompt and every generated one, so every state that predicts a token. "last_prompt": the last position of the
        prompt alone. A tensor: these positions of each row, in every pass; negative ones count from the end.
    n_forced : int, default 0
        For passes over prompts and given captions, as in `teacher_forced_states`: length of the longest caption in the
        batch, since nothing else tells where its prompts end. "generated" then changes the states that it changes while
        the model generates these captions. By default, a pass over several positions is taken for a prompt, and one
        over a single position for a generated token, as `generate` makes them.

    Raises
    ------
    ValueError
        If there is no such layer, or the vector or the positions do not fit the model or the batch.
    """
    if torch.is_tensor(vector) and (vector.dim() not in (1, 2) or vector.shape[-1] != lmm.width):
        raise ValueError(
            f"A vector of shape {tuple(vector.shape)} cannot be added to states of {lmm.name}: "
            f"give one of shape ({lmm.width},) or (batch, {lmm.width})."
        )
    if isinstance(positions, str) and positions not in NAMED_POSITIONS:
        raise ValueError(f"positions={positions!r} is not known: give {', '.join(NAMED_POSITIONS)}, or a tensor.")

    def shift(states: Tensor) -> Tensor:
        return vector(states) if callable(vector) else vector.reshape(-1, 1, lmm.width)  # (1 or batch, 1, width)

    def add_to(stream: Tensor) -> Tensor | None:
        if torch.is_tensor(vector) and vector.dim() == 2 and len(vector) != len(stream):
            raise ValueError(f"{len(vector)} vectors do not fit a batch of {len(stream)}: give one for each.")
        if positions == "last_prompt" and stream.shape[1] == 1:
            return None
        stream = stream.clone()
        if torch.is_tensor(positions):
            chosen = _index(positions[:, None] if positions.dim() == 1 else positions, stream)
        else:
            chosen = slice(None), _named_positions(positions, stream.shape[1], n_forced)
        stream[chosen] += shift(stream[chosen]).to(stream.device, stream.dtype)  # (batch, n, width)
        return stream

    with hook(lmm, layer, add_to):
        yield


def _named_positions(name: str, length: int, n_forced: int) -> slice:
    """Which positions of a pass over so many a name stands for.

    Prompts are padded on the left and captions on the right, so that all rows' prompts end at one position.
    """
    if name == "all":
        return slice(None)
    last = 0 if length == 1 else length - 1 - n_forced  # of the prompt; a single position is a generated token
    if last < 0:
        raise ValueError(f"n_forced={n_forced} leaves nothing of {length} positions for the prompt.")
    return slice(last, None if name == "generated" else last + 1)


def _index(positions: Tensor, stream: Tensor) -> tuple[Tensor, Tensor]:
    """Index of some positions of each row, (batch,) or (batch, n), in a stream."""
    if positions.shape[:1] != stream.shape[:1] or positions.dim() > 2:
        given = f"Positions of shape {tuple(positions.shape)}"
        raise ValueError(f"{given} do not fit a batch of {len(stream)}: give one for each row.")
    rows = torch.arange(len(stream), device=stream.device)
    return rows.reshape(-1, *[1] * (positions.dim() - 1)), positions.to(stream.device)


def _before(act: Act) -> Callable:
    """A hook on what goes into a block, which may come with or without its name."""

    def before(block, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        changed = act(args[0] if args else kwargs["hidden_states"])
        if changed is None:
            return None
        return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

    return before


def _after(act: Act) -> Callable:
    """A hook on what comes out of a module: the stream, or a tuple that begins with it."""

    def after(module, args: tuple, output: Tensor | tuple) -> Tensor | tuple | None:
        stream = output if torch.is_tensor(output) else output[0]
        if stream.dim() != 3:  # the final norm at work in lmm.unembed, not in a run of the model
            return None
        changed = act(stream)
        return changed if changed is None or torch.is_tensor(output) else (changed, *output[1:])

    return after
