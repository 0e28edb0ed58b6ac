"""How much memory a batch takes, by a run of a model without weights that computes shapes in place of numbers (ours).

What a run allocates hangs on shapes, not on numbers. So the model's own code is run, whatever its family, each tensor
that weights went into a shape without values, and what would lie in memory at one time is added up.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from transformers import BatchFeature, Cache

from .generation_settings import GREEDY
from .hooks import capture
from .image_tokens import image_tokens
from .lmm import LMM, Layer

N_STEPS = 2  # that are run after a prompt: a cache of a sliding window keeps more than that until it is first moved on
FEW = (2, 4)  # pictures that are run, whatever their number: vision towers of some families take seconds for each
Peaks = dict[str, tuple[int, int]]  # for each pass the bytes when it takes most, and those of the cache then
PASSES = ("pictures", "prompts", "captions")  # the vision tower; the blocks, over the prompts; each further token


@dataclass(frozen=True)
class BatchMemory:
    """What a batch takes beside the weights when it takes most, in bytes.

    Attributes
    ----------
    cache : int
        Keys and values of the tokens so far.
    states : int
        That are captured.
    activations : int
        The inputs, and what the pass holds that is running then.
    during : {"pictures", "prompts", "captions"}
        Which pass that is: that of the vision tower, of the language model over the prompts, or over a caption's last
        token.
    prompt_length : int
        Tokens of the longest prompt, the picture's included.
    image_tokens : tuple of int
        Of each picture; none for a model whose configuration does not name them.
    """

    cache: int
    states: int
    activations: int
    during: str
    prompt_length: int
    image_tokens: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.cache + self.states + self.activations


@torch.no_grad()
def memory_of_batch(
    lmm: LMM,
    pictures: Sequence[Image.Image],
    layers: Sequence[Layer],
    prompt: str | None = None,
    max_new_tokens: int = 40,
    runs: dict[tuple, Peaks] | None = None,
) -> BatchMemory:
    """What `generate_batch` takes beside the weights, where captions become as long as they may (ours).

    Parameters
    ----------
    lmm : LMM
        Without weights, see `load_without_weights`.
    pictures, layers, prompt, max_new_tokens
        As for `generate_batch`. Of more than four pictures, four and two are run, the first and the last among them, and
        the rest is in proportion.
    runs : dict, optional
        Is filled with what runs gave, by the pictures' sizes, and spares them to later calls with the same settings.

    Returns
    -------
    BatchMemory
        As on a CPU, but for what single kernels need inside; of BLIP, whose embeddings of the prompt stay, a little
        more. A GPU's allocator rounds up, and its libraries take some hundred MB once.

    Raises
    ------
    ValueError
        If the model's code asks for numbers that only weights could give.
    """
    runs = {} if runs is None else runs

    def peaks_of(few: list[Image.Image]) -> Peaks:
        sizes = tuple(picture.size for picture in few)
        if sizes not in runs:
            runs[sizes] = _peaks_of_passes(lmm, few, layers, prompt, max_new_tokens)
        return runs[sizes]

    n, few = len(pictures), _spread(pictures, FEW[1])
    peaks = peaks_of(few)
    if n > len(few):
        fewer = peaks_of(_spread(pictures, FEW[0]))
        peaks = {name: _extrapolated(fewer[name], peaks[name], n) for name in peaks}
    step = len(set(layers)) * n * lmm.width * lmm.model.dtype.itemsize  # bytes of the states of one step
    captured = {"pictures": 0, "prompts": step, "captions": step * (max_new_tokens + 1)}
    totals = {name: peak for name, (peak, _) in peaks.items()}
    totals["captions"] += max(0, max_new_tokens - N_STEPS) * step  # those of the steps that are not run
    during = max(totals, key=totals.get)
    cache, states = peaks[during][1], captured[during]
    batch = lmm.inputs(few, prompt)
    length = batch["input_ids"].shape[1]
    return BatchMemory(cache, states, totals[during] - cache - states, during, length, _image_counts(lmm, batch))


def _spread(pictures: Sequence[Image.Image], n: int) -> list[Image.Image]:
    """Up to n of the pictures, the first and the last among them, the others evenly between."""
    if len(pictures) <= n:
        return list(pictures)
    return [pictures[round(i * (len(pictures) - 1) / (n - 1))] for i in range(n)]


def _extrapolated(fewer: tuple[int, int], few: tuple[int, int], n: int) -> tuple[int, int]:
    """Bytes with n pictures, of those with `FEW`: all that a pass holds is in proportion to them, or always the same."""
    steps = (n - FEW[1]) / (FEW[1] - FEW[0])
    return tuple(round(more + steps * (more - less)) for less, more in zip(fewer, few))


def _peaks_of_passes(
    lmm: LMM, pictures: list[Image.Image], layers: Sequence[Layer], prompt: str | None, max_new_tokens: int
) -> Peaks:
    """Those of all passes of a batch."""
    n_filled = max(0, max_new_tokens - N_STEPS)
    peaks = _peaks(lmm, lmm.inputs(pictures, prompt), layers, 0 if n_filled else max_new_tokens)
    if n_filled:  # the last steps alone: they take most, since the cache grows
        filler = [[lmm.tokenizer.pad_token_id] * n_filled] * len(pictures)
        longest = lmm.inputs(pictures, prompt, continuations=filler)
        peaks["captions"] = _peaks(lmm, longest, layers, N_STEPS)["captions"]
    return peaks


def _image_counts(lmm: LMM, batch: BatchFeature) -> tuple[int, ...]:
    """How many image tokens each picture has; nothing where the configuration does not name them."""
    with suppress(ValueError):
        return tuple(image_tokens(lmm, batch).sum(dim=1).tolist())
    return ()


def _peaks(lmm: LMM, batch: BatchFeature, layers: Sequence[Layer], n_steps: int) -> Peaks:
    """For each pass, of the steps after the prompts the last, the bytes when it takes most, and those of the cache then."""
    run, peaks, caches = _DryRun(lmm), {}, []
    run.see(batch)

    def note() -> None:
        peaks[PASSES[min(len(peaks), 2)]] = run.peak, _bytes_of(caches)
        run.peak = run.held

    def begin(block, args, kwargs) -> None:  # called before the blocks run: over the prompts, then over each next token
        note()
        caches.extend(value for value in kwargs.values() if isinstance(value, Cache) and value not in caches)

    with lmm.layers[0].register_forward_pre_hook(begin, with_kwargs=True), capture(lmm, layers), run:
        try:
            lmm.model.generate(**batch, max_new_tokens=n_steps + 1, **GREEDY)
        except Exception as error:  # of any kind, deep inside a model's code
            reason = str(error).splitlines()[0][:200]
            raise ValueError(
                f"what {lmm.name} takes cannot be computed without its weights ({reason}): load it, and let `extract` try"
            ) from error
    note()
    return peaks


def _bytes_of(caches: Sequence[Cache]) -> int:
    """Of the keys and values in caches, and of whatever else their layers hold."""
    tensors = [t for cache in caches for layer in cache.layers for t in tree_leaves(vars(layer)) if torch.is_tensor(t)]
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


class _DryRun(TorchDispatchMode):
    """Lets operations on weights give shapes, and adds up what lies in memory beside the weights.

    Token ids, masks and sizes of grids are real, since they decide how a run goes on; where they would come from
    weights, they are zeros. In all else the weights' own `FakeTensorMode` tells the shapes.
    """

    def __init__(self, lmm: LMM) -> None:
        super().__init__()
        self.held = self.peak = 0  # bytes, now and at most
        self.storages: dict[int, weakref.ref] = {}
        self.shapes: FakeTensorMode = next(lmm.model.parameters()).fake_mode
        self.see([*lmm.model.parameters(), *lmm.model.buffers()])
        self.held = self.peak = 0  # without the weights, which views of them do not bring back

    def see(self, tensors) -> None:
        """Count the memory of tensors, in whatever holds them, until it is freed."""
        for tensor in tree_leaves(dict(tensors) if isinstance(tensors, BatchFeature) else tensors):
            if torch.is_tensor(tensor) and (key := tensor.untyped_storage()._cdata) not in self.storages:
                storage = tensor.untyped_storage()
                self.storages[key] = weakref.ref(storage, self._freed(key, storage.nbytes()))
                self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)

    def _freed(self, key: int, size: int):
        def forget(_) -> None:
            del self.storages[key]
            self.held -= size

        return forget

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "aten":
            with self:  # an operation made of others is taken apart, so that what it holds between them is counted
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = self._result(func, args, kwargs or {})
        self.see(result)
        return result

    def _result(self, func, args: tuple, kwargs: dict):
        """Of an operation on real tensors its result, of one with a tensor without values among them a shape."""
        if not any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0
        if func is torch.ops.aten.index.Tensor:
            args = (args[0], list(_whole_numbers(args[1])))
        with self.shapes:
            result = func(*args, **kwargs)
        return tree_map_only(FakeTensor, _known, result)


def _whole_numbers(indices: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
    """Indices of an operation, masks among them as the numbers of their rows: how many there are decides the shape."""
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            yield from index.nonzero(as_tuple=True)
        else:
            yield index


def _known(tensor: FakeTensor) -> Tensor:
    """Whole numbers that come from weights as zeros."""
    known = tensor.is_floating_point() or tensor.is_complex()
    return tensor if known else torch.zeros(tensor.shape, dtype=tensor.dtype)
