"""Reading and changing the residual stream while the model runs."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.modules import module

from coxlmm_utils.models.captioning import generate_captions, teacher_forced_states
from coxlmm_utils.models.hooks import add, capture, has_hooks
from coxlmm_utils.models.lmm import LMM
from coxlmm_utils.models.loading import load_lmm
from tests.tiny_lmms import FAMILIES, N_LAYERS, WIDTH, tiny_llava, tiny_qwen

ALL_LAYERS = [*range(N_LAYERS + 1), "norm"]
PICTURES = [Image.effect_noise(size, 60).convert("RGB") for size in [(40, 40), (64, 30), (100, 20)]]


@pytest.fixture(scope="module", params=[tiny_llava, tiny_qwen])
def lmm(request, tmp_path_factory) -> LMM:
    return load_lmm(request.param(tmp_path_factory.mktemp("lmm")), device="cpu")


def n_hooks(lmm: LMM) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lmm.model.modules())


def run(lmm: LMM):
    return lmm.model(**lmm.inputs(PICTURES), output_hidden_states=True)


def test_layers_are_counted_as_hidden_states_are(lmm):
    with capture(lmm, ALL_LAYERS, positions="all") as captured:
        hidden_states = run(lmm).hidden_states
    assert [len(captured[layer]) for layer in ALL_LAYERS] == [1] * len(ALL_LAYERS)
    for layer in range(N_LAYERS):
        assert torch.equal(captured[layer][0], hidden_states[layer])
    assert torch.equal(captured["norm"][0], hidden_states[N_LAYERS])
    assert torch.equal(lmm.final_norm(captured[N_LAYERS][0]), hidden_states[N_LAYERS])


def test_positions_can_be_chosen(lmm):
    chosen = torch.tensor([1, 4, 2])
    with capture(lmm, [2]) as last, capture(lmm, [2], chosen) as picked, capture(lmm, [2], "all") as whole:
        run(lmm)
    assert torch.equal(last[2][0], whole[2][0][:, -1])
    assert torch.equal(picked[2][0], whole[2][0][torch.arange(3), chosen])


def test_several_positions_of_each_row_can_be_chosen(lmm):
    chosen = torch.tensor([[1, 4], [0, 0], [3, 2]])
    with capture(lmm, [2], chosen) as picked, capture(lmm, [2], "all") as whole:
        run(lmm)
    assert torch.equal(picked[2][0], whole[2][0][torch.arange(3)[:, None], chosen])  # (batch, n, width)


def test_generation_gives_one_state_for_each_new_token(lmm):
    inputs = lmm.inputs(PICTURES)
    special = [i for token, i in lmm.tokenizer.get_vocab().items() if token.startswith("<")]
    with capture(lmm, ALL_LAYERS) as captured:
        sequences = lmm.model.generate(**inputs, max_new_tokens=5, do_sample=False, suppress_tokens=special)
    width = inputs["input_ids"].shape[1]
    with capture(lmm, ALL_LAYERS, positions="all") as forced:
        lmm.model(**lmm.inputs(PICTURES, continuations=sequences[:, width:].tolist()))
    for layer in ALL_LAYERS:
        assert len(captured[layer]) == 5
        generated = torch.stack(captured[layer], dim=1)  # (batch, new tokens, width)
        torch.testing.assert_close(generated, forced[layer][0][:, width - 1 : -1], rtol=1e-3, atol=1e-3)


def test_capturing_changes_nothing(lmm):
    before = run(lmm).logits
    with capture(lmm, ALL_LAYERS):
        assert torch.equal(run(lmm).logits, before)


def test_a_captured_state_holds_no_more_than_itself(lmm):
    with capture(lmm, [1]) as captured:
        run(lmm)
    assert captured[1][0].untyped_storage().nbytes() == len(PICTURES) * WIDTH * 4


def test_unembedding_meanwhile_is_not_captured(lmm):
    with capture(lmm, ["norm"]) as captured:
        lmm.unembed(torch.randn(2, WIDTH), 1)
    assert captured["norm"] == []


@pytest.mark.parametrize("layer", ALL_LAYERS)
def test_add_shifts_the_stream_at_its_layer(lmm, layer):
    vector = torch.randn(WIDTH)
    with capture(lmm, ALL_LAYERS, "all") as before:
        plain = run(lmm).logits
    with capture(lmm, [layer], "all") as around, add(lmm, layer, vector):
        with capture(lmm, ALL_LAYERS, "all") as inside:
            shifted = run(lmm).logits
    assert torch.equal(around[layer][0], before[layer][0])
    assert torch.equal(inside[layer][0], before[layer][0] + vector)
    for earlier in ALL_LAYERS[: ALL_LAYERS.index(layer)]:
        assert torch.equal(inside[earlier][0], before[earlier][0])
    assert not torch.allclose(shifted, plain, atol=1e-2)


def test_each_row_can_get_its_own_vector(lmm):
    vectors = torch.zeros(3, WIDTH)
    vectors[1] = 1.0
    with capture(lmm, [1], "all") as before:
        run(lmm)
    with add(lmm, 1, vectors), capture(lmm, [1], "all") as after:
        run(lmm)
    assert torch.equal(after[1][0] - before[1][0] != 0, vectors.bool()[:, None].expand_as(after[1][0]))


LENGTH = 4  # of the caption that is forced below


@pytest.mark.parametrize(
    "positions, n_forced, moved",
    [
        ("all", 0, slice(None)),
        ("generated", 0, slice(-1, None)),
        ("generated", LENGTH, slice(-LENGTH - 1, None)),
        ("last_prompt", 0, slice(-1, None)),
        ("last_prompt", LENGTH, slice(-LENGTH - 1, -LENGTH)),
        (torch.tensor([3, 3, 3]), 0, slice(3, 4)),
        (torch.tensor([[-2, 3], [3, -2], [-2, 3]]), 0, [3, -2]),
    ],
)
@pytest.mark.parametrize("layer", [0, 2, "norm"])
def test_only_the_positions_that_are_meant_get_the_vector(lmm, layer, positions, n_forced, moved):
    vector = torch.randn(3, WIDTH)
    with capture(lmm, [layer], "all") as before:
        plain = run(lmm).logits
    with add(lmm, layer, vector, positions, n_forced), capture(lmm, [layer], "all") as after:
        run(lmm)
    expected = before[layer][0].clone()
    expected[:, moved] += vector[:, None]
    assert torch.equal(after[layer][0], expected)
    with add(lmm, layer, 0 * vector, positions, n_forced):
        assert torch.equal(run(lmm).logits, plain)


@pytest.mark.parametrize("positions", ["all", "generated", "last_prompt"])
def test_every_pass_of_a_generation_gets_the_vector_where_it_is_meant(lmm, positions):
    inputs, vector = lmm.inputs(PICTURES), torch.randn(WIDTH)
    options = dict(max_new_tokens=LENGTH + 1, min_new_tokens=LENGTH + 1, do_sample=False)
    for _ in range(2):  # a second generation begins with its prompt again
        with capture(lmm, [0], "all") as before, add(lmm, 0, vector, positions), capture(lmm, [0], "all") as after:
            lmm.model.generate(**inputs, **options)
        moved = [(x - y).abs().amax(-1) > 1e-3 for x, y in zip(after[0], before[0])]  # (batch, positions) of each pass
        assert len(moved) == LENGTH + 1
        assert moved[0][:, -1].all() and (moved[0][:, :-1] == (positions == "all")).all()
        assert all((step == (positions != "last_prompt")).all() for step in moved[1:])


def test_a_vector_can_be_learned_at_two_layers(lmm):
    vector = torch.zeros(3, WIDTH, requires_grad=True)
    with add(lmm, 1, vector, "generated", LENGTH), add(lmm, 2, vector, "last_prompt", LENGTH):
        lmm.model(**lmm.inputs(PICTURES, continuations=[[20, 21, 22, 23]] * 3)).logits[:, -1, 5].sum().backward()
    assert vector.grad.abs().sum(1).min() > 0


def test_two_vectors_add_up(lmm):
    first, second = torch.randn(2, WIDTH)
    with add(lmm, 2, first), add(lmm, 2, second), capture(lmm, [2]) as nested:
        run(lmm)
    with add(lmm, 2, first + second), capture(lmm, [2]) as once:
        run(lmm)
    torch.testing.assert_close(nested[2], once[2])


def test_hooks_go_on_leaving_and_on_errors_and_others_stay(lmm):
    run(lmm)  # transformers installs its own hooks on the first run
    calls = []
    other = lmm.layers[0].register_forward_hook(lambda *_: calls.append(1))
    count = n_hooks(lmm)
    with capture(lmm, [1, 1]), capture(lmm, ALL_LAYERS), add(lmm, 0, torch.zeros(WIDTH)):
        assert n_hooks(lmm) == count + 1 + len(ALL_LAYERS) + 1
    assert n_hooks(lmm) == count
    with pytest.raises(RuntimeError, match="stop"), capture(lmm, ALL_LAYERS), add(lmm, 0, torch.zeros(WIDTH)):
        raise RuntimeError("stop")
    with pytest.raises(ValueError, match="no layer 9"), capture(lmm, [0, 1, 9]):
        pass
    assert n_hooks(lmm) == count
    run(lmm)
    assert calls == [1]
    other.remove()


def test_bad_requests_are_refused(lmm):
    with pytest.raises(ValueError, match='"all"'), capture(lmm, [1], "last"):
        pass
    with pytest.raises(ValueError, match="no layer 'final'"), add(lmm, "final", torch.zeros(WIDTH)):
        pass
    with pytest.raises(ValueError, match=r"\(65,\) cannot be added .* \(64,\) or \(batch, 64\)"):
        with add(lmm, 1, torch.zeros(WIDTH + 1)):
            pass
    with pytest.raises(ValueError, match="positions='last' is not known"), add(lmm, 1, torch.zeros(WIDTH), "last"):
        pass
    with pytest.raises(ValueError, match="n_forced=99 leaves nothing"):
        with add(lmm, 1, torch.zeros(WIDTH), "generated", n_forced=99):
            run(lmm)
    with pytest.raises(ValueError, match="do not fit a batch of 3"), add(lmm, 1, torch.zeros(WIDTH), torch.tensor([0])):
        run(lmm)
    with pytest.raises(ValueError, match="2 vectors do not fit a batch"), add(lmm, 1, torch.zeros(2, WIDTH)):
        run(lmm)
    with pytest.raises(ValueError, match="do not fit a batch of 3"), capture(lmm, [1], torch.tensor([0, 1])):
        run(lmm)


class OldBlock(nn.Module):
    """A block as older models have it: called by name, answers with a tuple."""

    def forward(self, hidden_states):
        return hidden_states * 2, "cache"


def test_blocks_may_take_names_and_give_tuples():
    blocks = nn.ModuleList([OldBlock(), OldBlock()])
    lmm = LMM("old", blocks, None, blocks, nn.Identity(), nn.Linear(4, 9), "")
    stream, vector = torch.ones(1, 3, 4), torch.full((4,), 0.5)
    with add(lmm, 0, vector), add(lmm, 1, vector), capture(lmm, [0, 1, 2]) as captured:
        middle, cache = blocks[0](hidden_states=stream)
        blocks[1](hidden_states=middle)
    assert cache == "cache"
    assert [captured[layer][0].unique().tolist() for layer in (0, 1, 2)] == [[1.5], [3.5], [7.0]]


def test_autocast_and_hooks_of_all_modules_count_as_hooks(lmm):
    assert not has_hooks(lmm)
    with torch.autocast("cpu", torch.bfloat16):
        assert has_hooks(lmm)
    for register in (module.register_module_forward_hook, module.register_module_forward_pre_hook):
        with register(lambda *_: None):
            assert has_hooks(lmm)
    assert not has_hooks(lmm)


@pytest.fixture(params=["LLaVA", "Qwen2.5-VL", "Gemma 3"])
def to_compile(request, tmp_path):
    torch.compiler.reset()
    yield load_lmm(FAMILIES[request.param](tmp_path), device="cpu")
    torch.compiler.reset()


def compile_whole(lmm, compiled):
    lmm.model.compile(backend=compiled)


def compile_forward(lmm, compiled):
    lmm.model.forward = torch.compile(lmm.model.forward, backend=compiled)


def compile_blocks(lmm, compiled):
    for block in lmm.layers:
        block.forward = torch.compile(block.forward, backend=compiled)


def compile_blocks_with_hooks(lmm, compiled):
    for block in lmm.layers:
        block.compile(backend=compiled)


@pytest.mark.parametrize(
    "compile_it, stays",
    [(compile_whole, False), (compile_forward, False), (compile_blocks, True), (compile_blocks_with_hooks, False)],
)
def test_states_of_a_compiled_model_are_those_of_the_plain_one(to_compile, pictures, compile_it, stays):
    """A backend that notes its graphs, and runs them as they are; that of torch needs a C++ compiler."""
    lmm, graphs = to_compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def read(layers):
        with add(lmm, 1, torch.ones(lmm.width), "generated"):
            return generate_captions(lmm, pictures[:2], layers, max_new_tokens=3)

    def run():
        captions = [*generate_captions(lmm, pictures[:2], [1], max_new_tokens=3), *read([0, 2]), *read([3, "norm"])]
        return captions, teacher_forced_states(lmm, pictures[:2], [single.ids for single in captions[:2]], [2])

    plain, plain_forced = run()
    compile_it(lmm, backend)
    states, forced = run()
    assert bool(graphs) == stays
    for one, other in zip([single.states for single in plain] + plain_forced, [s.states for s in states] + forced):
        for layer, Z in one.items():
            torch.testing.assert_close(other[layer], Z, rtol=1e-4, atol=1e-5)
    if compile_it is compile_blocks_with_hooks:  # compiled again once nothing is read; the whole model takes long
        lmm.model(**lmm.inputs(pictures[:2]))
        assert graphs
