"""Reading and changing the residual stream while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .lmm import LMM, Layer

Act = Callable[[Tensor], Tensor | None]  # stream (batch, positions, width) -> the changed stream, or None


@contextmanager
def capture(
    lmm: LMM, layers: Iterable[Layer], positions: Tensor | str | None = None
) -> Iterator[dict[Layer, list[Tensor]]]:
    """Keep states of some layers while the model runs (ours).

    During `model.generate` the model runs once for each new token, and the last position's state in run s is
    the one that predicts new token s.

    Parameters
    ----------
    lmm : LMM
        The model.
    layers : iterable of int or str
        0..n_layers, or "norm".
    positions : LongTensor (batch,) or (batch, n), or "all", optional
        Which position, or positions, of each row to keep; the last by default.

    Yields
    ------
    dict
        For each layer a list with one Tensor for each run of the model, (batch, width), or
        (batch, n, width) for several positions; on the model's device, in its precision.

    Raises
    ------
    ValueError
        If there is no such layer, or the positions do not fit the batch.

    Notes
    -----
    A capture opened inside an `add` sees the added vector; one opened around it does not, at that layer.
    """
    captured: dict[Layer, list[Tensor]] = {layer: [] for layer in layers}
    if isinstance(positions, str) and positions != "all":
        raise ValueError(f'positions={positions!r} is not known: give one for each row, "all", or nothing.')
    with ExitStack() as hooks:
        for layer, states in captured.items():
            hooks.callback(hook(lmm, layer, _keeper(states, positions)).remove)
        yield captured


@contextmanager
def add(lmm: LMM, layer: Layer, vector: Tensor) -> Iterator[None]:
    """Add a vector to the residual stream at one layer, at every position, whenever the model runs (ours).

    Parameters
    ----------
    lmm : LMM
        The model.
    layer : int or str
        0..n_layers, or "norm".
    vector : Tensor, (width,) or (batch, width)
        The same for all rows, or one for each.

    Raises
    ------
    ValueError
        If there is no such layer, or the vector does not fit the model or the batch.
    """
    if vector.dim() not in (1, 2) or vector.shape[-1] != lmm.width:
        raise ValueError(
            f"A vector of shape {tuple(vector.shape)} cannot be added to states of {lmm.name}: "
            f"give one of shape ({lmm.width},) or (batch, {lmm.width})."
        )
    handle = hook(lmm, layer, _adder(vector))
    try:
        yield
    finally:
        handle.remove()


def _keeper(states: list[Tensor], positions: Tensor | str | None) -> Act:
    """Put the wanted positions of every stream into a list, as copies that keep nothing else alive."""

    def keep(stream: Tensor) -> None:
        if positions is None:
            kept = stream[:, -1]  # (batch, width)
        elif isinstance(positions, str):
            kept = stream  # (batch, positions, width)
        elif positions.shape[:1] != stream.shape[:1] or positions.dim() > 2:
            given = f"Positions of shape {tuple(positions.shape)}"
            raise ValueError(f"{given} do not fit a batch of {len(stream)}: give one for each row.")
        else:
            rows = torch.arange(len(stream)).reshape(-1, *[1] * (positions.dim() - 1))
            kept = stream[rows.to(stream.device), positions.to(stream.device)]  # (batch, width) or (batch, n, width)
        states.append(kept.detach().clone())

    return keep


def _adder(vector: Tensor) -> Act:
    """Add a vector to every position of a stream."""

    def add_to(stream: Tensor) -> Tensor:
        if vector.dim() == 2 and len(vector) != len(stream):
            raise ValueError(f"{len(vector)} vectors do not fit a batch of {len(stream)}: give one for each.")
        rows = vector.reshape(-1, 1, vector.shape[-1])  # (1 or batch, 1, width)
        return stream + rows.to(stream.device, stream.dtype)

    return add_to


def hook(lmm: LMM, layer: Layer, act: Act) -> RemovableHandle:
    """Let `act` see, and change, the stream at a layer, until the handle that is returned is removed (ours).

    Parameters
    ----------
    lmm : LMM
    layer : layer
    act : callable
        Given the stream, (batch, length, width); returns a new one, or None to leave it.

    Returns
    -------
    torch.utils.hooks.RemovableHandle
    """
    lmm.check_layer(layer)
    if layer == 0:
        return lmm.layers[0].register_forward_pre_hook(_before(act), with_kwargs=True)
    module = lmm.final_norm if layer == "norm" else lmm.layers[layer - 1]
    return module.register_forward_hook(_after(act))


def _before(act: Act) -> Callable:
    """A hook on what goes into a block, which may come with or without its name."""

    def hook(block, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        changed = act(args[0] if args else kwargs["hidden_states"])
        if changed is None:
            return None
        return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

    return hook


def _after(act: Act) -> Callable:
    """A hook on what comes out of a module: the stream, or a tuple that begins with it."""

    def hook(module, args: tuple, output: Tensor | tuple) -> Tensor | tuple | None:
        stream = output if torch.is_tensor(output) else output[0]
        if stream.dim() != 3:  # the final norm at work in lmm.unembed, not in a run of the model
            return None
        changed = act(stream)
        return changed if changed is None or torch.is_tensor(output) else (changed, *output[1:])

    return hook


@contextmanager
def changed_at(lmm: LMM, layer: Layer, position: int, changes: Tensor) -> Iterator[None]:
    """Add a vector to each row's stream, at one layer and one position, whenever the model runs (ours).

    Parameters
    ----------
    lmm : LMM
    layer : layer
        0..n_layers, or "norm".
    position : int
        The same in all rows.
    changes : Tensor
        (batch, width).
    """

    def change(stream: Tensor) -> Tensor:
        stream = stream.clone()  # (batch, positions, width)
        stream[:, position] += changes.to(stream.device, stream.dtype)
        return stream

    handle = hook(lmm, layer, change)
    try:
        yield
    finally:
        handle.remove()
