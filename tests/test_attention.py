"""attention against F.scaled_dot_product_attention, the heads against torch.nn."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from snippets.attention import (
    AdditiveAttention,
    MultiHeadAttention,
    attention,
    check_shape,
    flipped,
    main,
    masked_softmax,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    refuses,
)

DRAWING = Path(__file__).parents[1] / "docs/drawings/attention.svg"
SURVIVORS = {
    "check_mask: mask.ndim in (2, len(axes)) -> mask.ndim in (len(axes), 2)": (
        "one of two, in either order"
    ),
    "check_mask: (m in (1, n) for m, n in pairs) -> (m in (n, 1) for m, n in pairs)": (
        "likewise"
    ),
    "AdditiveAttention.forward: q, k = (self.W_q(query).unsqueeze(2), "
    "self.W_k(key).unsqueeze(1)) -> k, q = (self.W_q(query).unsqueeze(2), "
    "self.W_k(key).unsqueeze(1))": "only q + k is used, and a sum has no order",
    "AdditiveAttention.forward: (self.W_q(query).unsqueeze(2), "
    "self.W_k(key).unsqueeze(1)) -> (self.W_k(key).unsqueeze(1), "
    "self.W_q(query).unsqueeze(2))": "only q + k is used, and a sum has no order",
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def draw(device, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype).to(device)


def some_mask(device, *shape):
    """True, False; in every row at least one is True."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(*shape, generator=generator) < 0.5
    mask[..., 1] = True
    assert not mask.all()
    return mask.to(device)


def causal(device, T):
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def gradients(outputs, inputs):
    """Of a sum in which no two numbers weigh the same."""
    total = 0
    for output in outputs:
        weight = draw(output.device, *output.shape).to(output)
        total = total + (output * weight).sum()
    return torch.autograd.grad(total, inputs)


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    q, k, v = (draw(device, 2, *s) for s in [(3, 4), (5, 4), (5, 6)])
    mask = some_mask(device, 2, 3, 5)
    check_shapes(attention, query=q, key=k, value=v, mask=mask)
    check_shapes(masked_softmax, scores=draw(device, 2, 3, 5), mask=mask)
    model = AdditiveAttention(7, 4, 8).to(q)
    check_shapes(model, query=draw(device, 2, 3, 7), key=k, value=v, mask=mask)
    heads = MultiHeadAttention(12, 4).to(q)
    mask = some_mask(device, 2, 4, 3, 5)
    q, k = draw(device, 2, 3, 12), draw(device, 2, 5, 12)
    check_shapes(heads, query=q, key=k, value=k, mask=mask)
    check_shapes(heads, query=q, key=k, value=k, A=4)


def test_flipped_is_the_same_digits_from_last_to_first():
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 500, "steps": 7, "B": 500, "T": 7}
    x, y = check_shapes(flipped, generator=generator, **sizes)
    assert sorted(x.unique().tolist()) == list(range(10))
    assert all(torch.equal(x[:, t], y[:, 6 - t]) for t in range(7))


def test_a_mask_of_two_axes_is_t_by_s(device):
    q, k = draw(device, 2, 3, 6), draw(device, 2, 5, 6)
    mask = some_mask(device, 3, 5)
    out, weights = attention(q, k, k, mask)
    whole = attention(q, k, k, mask.expand(2, 3, 5))
    assert torch.equal(out, whole[0]) and torch.equal(weights, whole[1])
    heads = MultiHeadAttention(6, 3).to(q)
    out, weights = heads(q, k, k, mask)
    whole = heads(q, k, k, mask.expand(2, 3, 3, 5))
    assert torch.equal(out, whole[0]) and torch.equal(weights, whole[1])


def test_what_is_no_boolean_mask_of_all_axes_is_refused(device):
    q = draw(device, 3, 3, 4)
    rule = "mask must be boolean, True = keep, and (3, 3) or (3, 3, 3), got "
    float_mask = torch.ones(3, 3, 3, device=device)
    with pytest.raises(ValueError, match=re.escape(f"{rule}torch.float32 (3, 3, 3)")):
        attention(q, q, q, float_mask)
    padding = torch.ones(3, dtype=torch.bool, device=device)
    with pytest.raises(ValueError, match=re.escape(f"{rule}torch.bool (3,)")):
        attention(q, q, q, padding)
    # (B, T, S) with B = A would silently be read as (A, T, S)
    heads, x = MultiHeadAttention(6, 3).to(q), draw(device, 3, 3, 6)
    with pytest.raises(ValueError, match=re.escape("(3, 3) or (3, 3, 3, 3)")):
        heads(x, x, x, padding.expand(3, 3, 3))


@pytest.mark.parametrize("num_heads", [5, 0, -2])
def test_heads_must_divide_the_width(num_heads):
    message = f"num_heads must divide 12, got {num_heads}"
    if num_heads < 1:
        message = f"num_heads must be a whole number >= 1, got {num_heads}"
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(12, num_heads)


@pytest.mark.parametrize("kind", ["plain", "additive", "heads"])
@pytest.mark.parametrize(
    "B, T, S, mask",
    [(3, 1, 5, (3, 5)), (1, 2, 5, (6, 2, 5)), (3, 2, 5, (5, 5)), (3, 2, 5, (2, 6))],
)
def test_no_mask_makes_the_answer_grow(kind, B, T, S, mask, device):
    """One query a batch and a padding mask (B, S): it would pass for (T, S)."""
    q, k = draw(device, B, T, 6), draw(device, B, S, 6)
    model = {"plain": attention, "additive": AdditiveAttention(6, 6, 4)}
    model = model.get(kind) or MultiHeadAttention(6, 3)
    model = model if kind == "plain" else model.to(q)
    if kind == "heads" and len(mask) == 3:
        mask = (mask[0], 3, *mask[1:])
    keep = torch.ones(mask, dtype=torch.bool, device=device)
    with pytest.raises(ValueError, match="mask must be boolean, True = keep, and"):
        model(q, k, k, keep)
    one = torch.ones(1, S, dtype=torch.bool, device=device)
    assert model(q, k, k, one)[0].shape[:2] == (B, T)


@pytest.mark.parametrize("kind", ["plain", "additive", "heads"])
def test_what_does_not_fit_together_is_refused(kind, device):
    q, k = draw(device, 2, 3, 6), draw(device, 2, 5, 6)
    model = attention
    if kind != "plain":
        made = (
            AdditiveAttention(6, 6, 4)
            if kind == "additive"
            else MultiHeadAttention(6, 3)
        )
        model = made.to(q)
    for query, key, value, name in (
        (q, k[:1], k[:1], "key"),  # would be broadcast over the batch
        (q, k, k[:, :4], "value"),
        (q.flatten(), k, k, "query"),
        (q, k.float(), k, "key"),
        (q, k[:, :0], k[:, :0], "key"),
        (q, k, k.float(), "value"),
        (q, k, k[0], "value"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            model(query, key, value)


def test_half_precision_does_not_leave_the_range(device):
    q = torch.full((1, 1, 64), 40.0, dtype=torch.float16, device=device)
    k = torch.cat((q, -q), 1)  # 40 * 40 * 64 is beyond float16
    v = torch.tensor([[[1.0], [0.0]]], dtype=torch.float16, device=device)
    out, weights = attention(q, k, v, torch.ones(1, 2, dtype=torch.bool, device=device))
    assert out.item() == 1.0 and weights.flatten().tolist() == [1.0, 0.0]


def test_reset_parameters_is_torchs():
    ours, twin = MultiHeadAttention(6, 3), nn.MultiheadAttention(6, 3)
    twin.load_state_dict(ours.state_dict())
    for model, reset in ((ours, "reset_parameters"), (twin, "_reset_parameters")):
        torch.manual_seed(3)
        getattr(model, reset)()
    for name, value in twin.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_it_can_be_exported_with_a_free_batch():
    model, x = MultiHeadAttention(6, 3), torch.randn(2, 4, 6)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x, x, x), dynamic_shapes=(batch,) * 3)
    x = torch.randn(7, 4, 6)
    assert torch.allclose(program.module()(x, x, x)[0], model(x, x, x)[0], atol=1e-6)


@pytest.mark.parametrize("num_heads", [1, 12])
def test_one_head_and_heads_of_width_one(num_heads, device):
    x = draw(device, 2, 3, 12)
    model = MultiHeadAttention(12, num_heads).to(x)
    out, weights = model(x, x, x)
    assert out.shape == (2, 3, 12) and weights.shape == (2, num_heads, 3, 3)


# attention is scaled_dot_product_attention


@DTYPES
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "T, S, D, C", [(3, 5, 4, 6), (1, 7, 2, 3), (6, 1, 1, 1), (40, 30, 64, 8)]
)
def test_equal_to_torch(T, S, D, C, masked, dtype, device):
    shapes = [(2, 3, T, D), (2, 3, S, D), (2, 3, S, C)]
    inputs = [draw(device, *s, dtype=dtype).requires_grad_() for s in shapes]
    mask = some_mask(device, 2, 3, T, S) if masked and S > 1 else None
    ours = attention(*inputs, mask)[0]
    theirs = scaled_dot_product_attention(*inputs, attn_mask=mask)
    assert_close_scaled(ours, theirs, REL[dtype], "output")
    for found, wanted in zip(gradients([ours], inputs), gradients([theirs], inputs)):
        assert_close_scaled(found, wanted, REL[dtype], "gradient")


def test_causal_is_a_triangle(device):
    q = draw(device, 2, 3, 6, 4)
    ours = attention(q, q, q, causal(device, 6)[None, None])[0]
    theirs = scaled_dot_product_attention(q, q, q, is_causal=True)
    assert_close_scaled(ours, theirs, 1e-10)


# MultiHeadAttention is nn.MultiheadAttention


@DTYPES
@pytest.mark.parametrize("mask", [None, "each", "causal", "padding"])
@pytest.mark.parametrize("D, A", [(12, 4), (6, 1), (5, 5)])
def test_heads_equal_to_torch(D, A, mask, dtype, device):
    B, T, S = 2, 4, 4 if mask == "causal" else 7
    twin = nn.MultiheadAttention(D, A, batch_first=True).to(device, dtype)
    nn.init.normal_(twin.in_proj_bias)
    nn.init.normal_(twin.out_proj.bias)
    ours = MultiHeadAttention(D, A).to(device, dtype)
    ours.load_state_dict(twin.state_dict())
    inputs = [draw(device, B, n, D, dtype=dtype).requires_grad_() for n in (T, S, S)]
    inputs = [x + i for i, x in enumerate(inputs)]
    # torch: True = hide, (B * A, T, S), (T, S) or (B, S)
    keep, hide = None, {}
    if mask == "each":
        keep = some_mask(device, B, A, T, S)
        hide = {"attn_mask": ~keep.flatten(0, 1)}
    elif mask == "causal":
        keep = causal(device, T)[None, None]
        hide = {"attn_mask": ~keep[0, 0]}
    elif mask == "padding":
        keep = some_mask(device, B, 1, 1, S)
        hide = {"key_padding_mask": ~keep[:, 0, 0]}
    found = ours(*inputs, keep)
    wanted = twin(*inputs, average_attn_weights=False, **hide)
    for name, a, b in zip(("output", "weights"), found, wanted):
        assert_close_scaled(a, b, REL[dtype], name)
    found = gradients(found, [*inputs, *ours.parameters()])
    wanted = gradients(wanted, [*inputs, *twin.parameters()])
    for a, b in zip(found, wanted):
        assert_close_scaled(a, b, REL[dtype], "gradient")


def test_same_seed_same_initial_weights_as_torch():
    torch.manual_seed(1)
    ours = MultiHeadAttention(12, 4).state_dict()
    torch.manual_seed(1)
    twin = nn.MultiheadAttention(12, 4).state_dict()
    assert list(ours) == list(twin)
    assert all(torch.equal(ours[name], twin[name]) for name in twin)
    count = sum(p.numel() for p in MultiHeadAttention(12, 4).parameters())
    assert count == 4 * (12 * 12 + 12)  # whatever the number of heads


# AdditiveAttention is what Bahdanau et al. print


@pytest.mark.parametrize("masked", [False, True])
def test_additive_equals_its_equations(masked, device):
    query, key, value = (draw(device, 2, *s) for s in [(3, 7), (5, 4), (5, 6)])
    model = AdditiveAttention(7, 4, 8).to(query)
    mask = some_mask(device, 2, 3, 5) if masked else None
    out, weights = model(query, key, value, mask)
    W_q, W_k, w = model.W_q.weight, model.W_k.weight, model.w.weight[0]
    for b in range(2):
        for t in range(3):
            seen = [s for s in range(5) if mask is None or mask[b, t, s]]
            scores = [w @ torch.tanh(W_q @ query[b, t] + W_k @ key[b, s]) for s in seen]
            shares = torch.stack(scores).exp()
            shares = shares / shares.sum()
            total = sum(share * value[b, s] for share, s in zip(shares, seen))
            assert_close_scaled(weights[b, t, seen], shares, 1e-12)
            assert_close_scaled(out[b, t], total, 1e-12)
    assert [*model.state_dict()] == ["W_q.weight", "W_k.weight", "w.weight"]


# Masks


def test_what_is_hidden_has_no_influence_at_all(device):
    q, k, v = (draw(device, 2, n, 4).requires_grad_() for n in (3, 5, 5))
    mask = torch.ones(2, 1, 5, dtype=torch.bool, device=device)
    mask[:, :, 2:4] = False
    out, weights = attention(q, k, v, mask)
    assert_close_scaled(weights.sum(-1), torch.ones_like(weights[..., 0]), 1e-12)
    for gradient in gradients([out], [k, v]):
        assert (gradient[:, 2:4] == 0).all()
        assert (gradient[:, [0, 1, 4]] != 0).any(-1).all()
    seen = [0, 1, 4]
    assert_close_scaled(out, attention(q, k[:, seen], v[:, seen])[0], 1e-12)


@DTYPES
def test_a_query_that_sees_nothing_gets_zeros_and_poisons_nothing(dtype, device):
    q, k, v = (draw(device, 2, n, 4, dtype=dtype).requires_grad_() for n in (3, 5, 5))
    mask = torch.ones(2, 3, 5, dtype=torch.bool, device=device)
    mask[0, 1] = False
    out, weights = attention(q, k, v, mask)
    assert (out[0, 1] == 0).all() and (weights[0, 1] == 0).all()
    d_q, d_k, d_v = gradients([out, weights], [q, k, v])
    assert (d_q[0, 1] == 0).all()
    assert d_q.isfinite().all() and d_k.isfinite().all() and d_v.isfinite().all()
    rest = attention(q[1:], k[1:], v[1:])[0]
    assert_close_scaled(out[1:], rest, REL[dtype])
    # torch's fused function answers the same, the module's weights are NaN
    assert (scaled_dot_product_attention(q, k, v, attn_mask=mask)[0, 1] == 0).all()
    twin = nn.MultiheadAttention(4, 1, batch_first=True).to(q)
    assert twin(q, k, v, attn_mask=~mask)[0][0, 1].isnan().all()
    assert twin(q, k, v, attn_mask=~mask, need_weights=False)[0].isfinite().all()


def test_huge_scores_do_not_overflow_and_hidden_ones_stay_hidden(device):
    scores = torch.tensor([[[1000.0, -1000.0, 3000.0]]], device=device)
    mask = torch.tensor([[[True, True, False]]], device=device)
    assert masked_softmax(scores, mask).tolist() == [[[1, 0, 0]]]
    assert masked_softmax(-scores, mask).tolist() == [[[0, 1, 0]]]
    assert masked_softmax(scores).tolist() == [[[0, 0, 1]]]


# Structure


@pytest.mark.parametrize("kind", ["dot", "additive", "heads"])
def test_permutations(kind, device):
    x = draw(device, 2, 7, 4)
    torch.manual_seed(0)
    model = {
        "dot": lambda: attention,
        "additive": lambda: AdditiveAttention(4, 4, 8).to(x),
        "heads": lambda: MultiHeadAttention(4, 2).to(x),
    }[kind]()
    order = torch.tensor([3, 6, 0, 1, 5, 2, 4], device=device)
    out, weights = model(x, x, x)
    # the past as a set: keys and values in another order, nothing changes
    other = x[:, order]
    assert_close_scaled(model(x, other, other)[0], out, 1e-12)
    assert_close_scaled(model(x, other, other)[1], weights[..., order], 1e-12)
    # self-attention: outputs move with the inputs
    assert_close_scaled(model(other, other, other)[0], out[:, order], 1e-12)
    # keys alone: another answer
    assert (model(x, other, x)[0] - out).abs().max() > 0.01


def test_a_causal_mask_breaks_the_symmetry(device):
    x, order = draw(device, 2, 7, 4), [3, 6, 0, 1, 5, 2, 4]
    mask = causal(device, 7)[None]
    out = attention(x, x, x, mask)[0]
    moved = attention(x[:, order], x[:, order], x[:, order], mask)[0]
    assert (moved - out[:, order]).abs().max() > 0.01


def test_no_step_sees_the_future_under_a_causal_mask(device):
    x = draw(device, 2, 9, 6).requires_grad_()
    model = MultiHeadAttention(6, 3).to(x)
    out = model(x, x, x, causal(device, 9)[None, None])[0]
    (gradient,) = torch.autograd.grad(out[:, 4].square().sum(), x)
    seen = gradient.abs().sum((0, 2))
    assert (seen[:5] > 0).all() and (seen[5:] == 0).all()


def test_gradients_reach_every_parameter(device):
    x = draw(device, 2, 5, 6)
    for model in (AdditiveAttention(6, 6, 4), MultiHeadAttention(6, 2)):
        model = model.to(x)
        model(x, x, x)[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            missing = parameter.grad == 0
            if name == "in_proj_bias":  # the keys' bias moves all scores alike
                assert_close_scaled(parameter.grad[6:12] + 1, 0 * x[0, 0] + 1, 1e-12)
                missing[6:12] = False
            assert not missing.any(), name


def test_a_bias_on_the_keys_changes_nothing(device):
    x = draw(device, 2, 5, 6)
    model = MultiHeadAttention(6, 2).to(x)
    out = model(x, x, x)[0]
    with torch.no_grad():
        model.in_proj_bias[6:12] = 3.0
    assert_close_scaled(model(x, x, x)[0], out, 1e-12)


# The numbers on the page


def by_hand():
    query = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    key = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    value = torch.tensor([[[1.0], [2.0], [6.0]]], dtype=torch.float64)
    return query, key, value


def digits(tensor, places):
    return [round(number, places) for number in tensor.flatten().tolist()]


def test_the_example_by_hand():
    query, key, value = by_hand()
    out, weights = attention(query, key, value)
    assert digits(query @ key.mT / 2**0.5, 4) == [0.7071, 0, 0.7071]
    assert digits(weights, 4) == [0.4011, 0.1978, 0.4011]
    assert digits(weights * value.mT, 4) == [0.4011, 0.3956, 2.4067]
    assert digits((query @ key.mT / 2**0.5).exp(), 4) == [2.0281, 1, 2.0281]
    assert digits(out, 3) == [3.203]
    # without the root: key times the root of two
    assert digits(attention(query, key * 2**0.5, value)[1], 4) == [
        0.4223,
        0.1554,
        0.4223,
    ]
    # the third hidden
    mask = torch.tensor([[[True, True, False]]])
    out, weights = attention(query, key, value, mask)
    assert digits(weights, 4) == [0.6698, 0.3302, 0]
    assert digits(out, 3) == [1.330]
    # hidden after the softmax: the shares no longer add up to one
    late = attention(query, key, value)[1] * mask
    assert digits(late, 4) == [0.4011, 0.1978, 0] and digits(late.sum(), 3) == [0.599]
    # other weights, the same answer
    out = attention(query, key, value)[0].item()
    second = (out - 1) / 5
    assert digits(torch.tensor(second), 4) == [0.4407]
    assert abs((1 - second) * 1 + second * 6 - out) < 1e-12


def test_the_drawing_shows_the_example():
    words = re.findall(r">([^<>]*\d[^<>]*)<", DRAWING.read_text("utf-8"))
    query, key, value = by_hand()
    out, weights = attention(query, key, value)
    scores = (query @ key.mT / 2**0.5).flatten().tolist()
    for number in [*scores, *weights.flatten().tolist()]:
        assert f"{number:.2f}".removeprefix("0").replace(".00", "0") in words
    assert f"{out.item():.2f}" in words
    assert {"1", "2", "6"} <= {*words}


# It learns


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("mirrored digit" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert losses[0] > 2 and sum(losses[-20:]) / 20 < 0.01


def test_sizes_below_one_are_refused():
    check_sizes(AdditiveAttention, query_size=3, key_size=4, hidden_size=5)
    check_sizes(MultiHeadAttention, embed_dim=4, num_heads=2)
    check_sizes(partial(flipped, generator=torch.Generator()), batch_size=2, steps=3)


@pytest.mark.parametrize(
    "shape, axes", [((3,), "B, T, D"), ((0, 4), "T, D"), ((2, 0, 3, 4), "B, A, T, D")]
)
def test_the_axes_of_a_query_are_named(shape, axes):
    q = torch.zeros(shape)
    rule = f"query must be ({axes}) with {axes} >= 1, got {shape}"
    refuses(rule, attention, q, q, q)
    refuses("query must be a tensor, got list", attention, [0.0], q, q)
