"""The layer against nn.TransformerEncoderLayer, the cache against no cache."""

import re

import pytest
import torch
from torch import nn

from snippets.transformer import (
    CausalLM,
    TransformerEncoderLayer,
    check_shape,
    generate,
    main,
    sinusoid,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_strict,
    draw,
)

SURVIVORS = {
    "check_mask: mask.ndim in (2, len(axes)) -> mask.ndim in (len(axes), 2)": (
        "one of two, in either order"
    ),
    "check_mask: (m in (1, n) for m, n in pairs) -> (m in (n, 1) for m, n in pairs)": (
        "likewise"
    ),
    "CausalLM.forward: (k.shape[1] for k, _ in caches[0] or ()) -> "
    "(k.shape[1] for _, k in caches[0] or ())": "a value for every key",
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
NORMS = pytest.mark.parametrize("norm_first", [False, True])


def causal(device, T):
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def scatter(model):
    """Let no parameter keep a value (0, 1) that would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        p.data += 0.3 * noise.to(p)
    return model


def twins(device, dtype, norm_first, D=12, A=4, width=20):
    """Ours with the weights of torch's, which has no dropout here."""
    twin = nn.TransformerEncoderLayer(
        D, A, width, dropout=0, batch_first=True, norm_first=norm_first
    )
    twin = scatter(twin).to(device, dtype)
    ours = TransformerEncoderLayer(D, A, width, norm_first).to(device, dtype)
    ours.load_state_dict(twin.state_dict())
    return ours, twin


def decoder(device, layers=2):
    torch.manual_seed(0)
    return scatter(CausalLM(11, 12, 3, layers)).to(device, torch.float64)


def tokens(device, *shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(11, shape, generator=generator).to(device)


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    ours = TransformerEncoderLayer(12, 4, 20).to(device, torch.float64)
    mask = causal(device, 5).expand(2, 4, 5, 5)
    check_shapes(ours, x=draw(device, 2, 5, 12), mask=mask)
    check_shapes(decoder(device), tokens=tokens(device, 2, 5), V=11)
    check_shapes(sinusoid, steps=5, width=6, T=5, D=6)
    out = check_shapes(
        generate, model=decoder(device), tokens=tokens(device, 2, 3), steps=4, T=7
    )
    assert torch.equal(out[:, :3], tokens(device, 2, 3))


@pytest.mark.parametrize("nhead", [5, 0, -2])
def test_heads_must_divide_the_width(nhead):
    message = f"nhead must divide 12, got {nhead}"
    if nhead < 1:
        message = f"nhead must be a whole number >= 1, got {nhead}"
    with pytest.raises(ValueError, match=message):
        TransformerEncoderLayer(12, nhead, 20)


def test_caches_are_one_list_for_each_layer(device):
    model, x = CausalLM(11, 8, 2, 3).to(device), tokens(device, 2, 4)
    for caches in ([], [[]], [[], [], [], []]):
        rule = f"caches must hold one list for each of 3 layers, got {len(caches)}"
        with pytest.raises(ValueError, match=rule):
            model(x, caches)
    assert torch.allclose(model(x, [[], [], []]), model(x), atol=1e-6)


def test_foreign_input_is_refused(device):
    model, x = CausalLM(11, 8, 2, 1).to(device), tokens(device, 2, 4)
    with pytest.raises(ValueError, match=re.escape("tokens must be (B, S) with")):
        generate(model, x[:, :0], 3)  # an empty prompt
    with pytest.raises(ValueError, match="steps must be >= 0, got -1"):
        generate(model, x, -1)
    with pytest.raises(ValueError, match=re.escape("tokens must be (B, T) with")):
        model(x[0])
    layer, x = TransformerEncoderLayer(8, 2, 4).to(device), torch.zeros(2, 3, 8)
    with pytest.raises(ValueError, match="x must be torch.float32, got torch.float64"):
        layer(x.to(device).double())
    with pytest.raises(ValueError, match=re.escape("x must be (B, T, 8) with")):
        layer(x.to(device)[0])
    for sizes in [(0, 2, 4), (8, 2, 0)]:
        with pytest.raises(ValueError, match="must be a whole number >= 1, got 0"):
            TransformerEncoderLayer(*sizes)
    for sizes, name in (((11, 8, 2, 0), "num_layers"), ((0, 8, 2, 1), "vocab_size")):
        with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1"):
            CausalLM(*sizes)
    for sizes, name in (((0, 8), "steps"), ((3, 0), "width")):
        with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1"):
            sinusoid(*sizes)


def test_no_steps_of_generation_append_nothing(device):
    model, x = CausalLM(11, 8, 2, 1).to(device), tokens(device, 2, 4)
    assert torch.equal(generate(model, x, 0), x)


@pytest.mark.parametrize("mask", [(3, 5), (6, 1, 1, 5), (5, 5)])
def test_no_mask_makes_the_answer_grow(mask, device):
    layer, x = TransformerEncoderLayer(8, 2, 4).to(device), torch.zeros(1, 1, 8)
    past = torch.zeros(1, 4, 8, device=device)
    keep = torch.ones(mask, dtype=torch.bool, device=device)
    with pytest.raises(ValueError, match="mask must be boolean, True = keep, and"):
        layer(x.to(device), keep, [(past, past)])


def test_positions_do_not_depend_on_the_default_dtype():
    exact = sinusoid(300, 16)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = sinusoid(300, 16)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, exact)


def test_it_can_be_exported_with_a_free_batch():
    model, x = TransformerEncoderLayer(8, 2, 4), torch.randn(2, 4, 8)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,))
    x = torch.randn(7, 4, 8)
    assert torch.allclose(program.module()(x), model(x), atol=1e-6)


def test_one_head_will_do(device):
    ours = TransformerEncoderLayer(12, 1, 20).to(device, torch.float64)
    assert ours(draw(device, 2, 5, 12)).shape == (2, 5, 12)


def test_what_is_no_mask_is_refused(device):
    ours, x = TransformerEncoderLayer(12, 2, 20).to(device), torch.zeros(2, 2, 12)
    rule = "mask must be boolean, True = keep, and (2, 2) or (2, 2, 2, 2), got "
    # torch would add a mask of numbers to the scores and read (B, T, T) as (A, T, T)
    message = re.escape(f"{rule}torch.float32 (2, 2)")
    with pytest.raises(ValueError, match=message):
        ours(x.to(device), torch.ones(2, 2, device=device))
    message = re.escape(f"{rule}torch.bool (2, 2, 2)")
    with pytest.raises(ValueError, match=message):
        ours(x.to(device), causal(device, 2).expand(2, 2, 2))


# The layer is torch's


@DTYPES
@NORMS
@pytest.mark.parametrize("mask", [None, "causal", "padding", "each"])
def test_equal_to_torch(norm_first, mask, dtype, device):
    ours, twin = twins(device, dtype, norm_first)
    x = draw(device, 2, 7, 12, dtype=dtype).requires_grad_()
    keep, hide = None, {}
    if mask == "causal":
        keep = causal(device, 7)
        hide = {"src_mask": ~keep}  # torch: True hides
    elif mask == "padding":
        keep = torch.tensor([[True] * 7, [True] * 4 + [False] * 3], device=device)
        hide = {"src_key_padding_mask": ~keep}
        keep = keep[:, None, None]
    elif mask == "each":  # head and example
        generator = torch.Generator().manual_seed(1)
        keep = torch.rand(2, 4, 7, 7, generator=generator) < 0.5
        keep = (keep | torch.eye(7, dtype=torch.bool)).to(device)
        hide = {"src_mask": ~keep.flatten(0, 1)}
    found, wanted = ours(x, keep), twin(x, **hide)
    assert_close_scaled(found, wanted, REL[dtype], "output")
    weight = draw(device, *found.shape, dtype=dtype)
    pairs = zip(
        torch.autograd.grad((found * weight).sum(), [x, *ours.parameters()]),
        torch.autograd.grad((wanted * weight).sum(), [x, *twin.parameters()]),
    )
    for (a, b), name in zip(pairs, ["x", *ours.state_dict()]):
        assert_close_scaled(a, b, REL[dtype], f"gradient of {name}")


@NORMS
def test_same_seed_same_initial_weights_as_torch(norm_first):
    torch.manual_seed(1)
    ours = TransformerEncoderLayer(12, 4, 20, norm_first).state_dict()
    torch.manual_seed(1)
    twin = nn.TransformerEncoderLayer(12, 4, 20, norm_first=norm_first).state_dict()
    assert list(ours) == list(twin)
    assert all(torch.equal(ours[name], twin[name]) for name in twin)


def test_the_norm_comes_last_unless_told_otherwise(device):
    x = draw(device, 2, 5, 12)
    out = TransformerEncoderLayer(12, 4, 20).to(x)(x)
    assert_close_scaled(out.mean(2) + 1, torch.ones_like(out[..., 0]), 1e-12)
    assert_close_scaled(out.var(2, correction=0), torch.ones_like(out[..., 0]), 1e-3)


def test_a_step_that_sees_nothing_has_only_itself(device):
    ours, x = TransformerEncoderLayer(12, 4, 20, True), draw(device, 2, 5, 12)
    ours = scatter(ours).to(x)
    keep = torch.ones(5, 5, dtype=torch.bool, device=device)
    keep[2] = False
    alone = x[:, 2] + ours.self_attn.out_proj.bias
    alone = alone + ours.feed_forward(ours.norm2(alone))
    assert_close_scaled(ours(x, keep)[:, 2], alone, 1e-12)


# Positions


def test_sinusoid_is_what_the_paper_prints():
    from math import cos, sin

    table = sinusoid(5, 6)
    for p in range(5):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            assert abs(table[p, 2 * i].item() - sin(angle)) < 1e-6
            assert abs(table[p, 2 * i + 1].item() - cos(angle)) < 1e-6
    assert sinusoid(4, 5).shape == (4, 5)
    assert torch.equal(sinusoid(4, 5)[:, :4], torch.cat(sinusoid(4, 5).split(4, 1)[:1]))


def test_a_step_further_is_a_rotation_whatever_the_position():
    table = sinusoid(60, 16).double()
    for k in (1, 5, 20):
        products = (table[k:] * table[:-k]).sum(1)
        assert (products - products[0]).abs().max() < 1e-4
        # no other distance looks the same
        assert (table[0] @ table[k] - table[0] @ table[k + 1]).abs() > 0.05


# Structure


def test_without_positions_a_layer_cannot_tell_the_order(device):
    x, order = draw(device, 2, 6, 12), [3, 5, 0, 1, 4, 2]
    for norm_first in (False, True):
        ours = scatter(TransformerEncoderLayer(12, 4, 20, norm_first)).to(x)
        assert_close_scaled(ours(x[:, order]), ours(x)[:, order], 1e-12)
        place = sinusoid(6, 12).to(x)
        moved = ours(x[:, order] + place)
        assert (moved - ours(x + place)[:, order]).abs().max() > 0.01


def test_the_decoder_is_torchs_encoder_under_a_causal_mask(device):
    model, x = decoder(device), tokens(device, 2, 7)
    layer = nn.TransformerEncoderLayer(
        12, 3, 48, dropout=0, batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12), False)
    stack = stack.to(device, torch.float64)
    stack.norm.load_state_dict(model.norm.state_dict())
    for one, two in zip(stack.layers, model.layers):
        one.load_state_dict(two.state_dict())
    place = sinusoid(7, 12).to(device, torch.float64)
    wanted = stack(model.embed(x) + place, mask=~causal(device, 7))
    assert_close_scaled(model(x), model.readout(wanted), 1e-10)
    assert model.norm.bias.abs().min() > 0  # or its place would not matter


def test_no_step_sees_the_future(device):
    model, x = decoder(device), tokens(device, 2, 9)
    other = x.clone()
    other[:, 5:] = (x[:, 5:] + 1) % 11
    before, after = model(x), model(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert ((before - after)[:, 5:].abs() > 1e-6).any(2).all()
    # and each step sees all the past
    embedded = torch.zeros(2, 9, 12, dtype=torch.float64, device=device)
    embedded.requires_grad_()
    model.embed.register_forward_hook(lambda _, __, out: out + embedded)
    (gradient,) = torch.autograd.grad(model(x)[:, 4].square().sum(), embedded)
    seen = gradient.abs().sum((0, 2))
    assert (seen[:5] > 0).all() and (seen[5:] == 0).all()


def test_gradients_reach_every_parameter(device):
    model = decoder(device)
    model(tokens(device, 30, 9)).square().sum().backward()
    for name, parameter in model.named_parameters():
        missing = parameter.grad == 0
        if name.endswith("in_proj_bias"):  # the keys' bias moves all scores alike
            missing[12:24] = False
        if "linear" in name:  # where the ReLU sleeps, nothing passes
            assert missing.double().mean() < 0.5, name
        else:
            assert not missing.any(), name


# The cache


@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 1, 3], [9], [2, 7]])
def test_cached_equals_uncached(pieces, device):
    model, x = decoder(device), tokens(device, 2, 9)
    caches = [[], []]
    found = [model(piece, caches) for piece in x.split(pieces, 1)]
    assert_close_scaled(torch.cat(found, 1), model(x), 1e-10)
    for cache in caches:
        assert [k.shape for k, _ in cache] == [(2, n, 12) for n in pieces]
        assert [v.shape for _, v in cache] == [(2, n, 12) for n in pieces]


def test_one_layer_will_do(device):
    model, x, cache = decoder(device, 1), tokens(device, 2, 5), []
    found = [model(piece, [cache]) for piece in x.split(2, 1)]
    assert_close_scaled(torch.cat(found, 1), model(x), 1e-10)
    assert len(cache) == 3


def test_generation_is_the_same_and_greedy(device):
    model, x = decoder(device), tokens(device, 5, 3)
    found = generate(model, x, 8)
    assert torch.equal(found, generate(model, x, 8, cached=False))
    assert torch.equal(found[:, 3:], model(found[:, :-1]).argmax(2)[:, 2:])
    assert len({tuple(row) for row in found[:, 3:].tolist()}) > 1


def test_generation_by_default_feeds_one_token_at_a_time(device):
    model, x = decoder(device), tokens(device, 2, 3)
    lengths = []
    model.embed.register_forward_hook(lambda _, x, __: lengths.append(x[0].shape[1]))
    generate(model, x, 4)
    generate(model, x, 4, False)
    assert lengths == [3, 1, 1, 1, 3, 4, 5, 6]


# The numbers on the page


def digits(tensor, places=4):
    return [round(number, places) for number in tensor.flatten().tolist()]


def test_the_example_by_hand():
    table = sinusoid(8, 4)
    assert digits(table[0]) == [0, 1, 0, 1]
    assert digits(table[1, :3]) == [0.8415, 0.5403, 0.0100]
    assert digits(table[1, 3], 5) == [0.99995]
    assert digits(table[2]) == [0.9093, -0.4161, 0.0200, 0.9998]
    assert digits(table[3]) == [0.1411, -0.9900, 0.0300, 0.9996]
    for p in range(6):
        assert digits(table[p] @ table[p + 2]) == [0.5837]
    norm = nn.LayerNorm(3, eps=0)
    assert digits((table[1] * table[3])[:2].sum()) == [-0.4161]  # the fast hand
    assert digits(norm(torch.tensor([1.0, 2, 3]))) == [-1.2247, 0, 1.2247]
    assert digits(norm(torch.tensor([11.0, 12, 13]))) == [-1.2247, 0, 1.2247]
    assert digits(norm(torch.tensor([10.0, 20, 30]))) == [-1.2247, 0, 1.2247]


def test_sublayers_that_do_nothing_and_the_place_of_the_norm():
    x = torch.tensor([[[1.0, 2, 3]]])
    for first, wanted in ((True, [1, 2, 3]), (False, [-1.2247, 0, 1.2247])):
        layer = TransformerEncoderLayer(3, 1, 4, first)
        for part in (layer.self_attn.out_proj, layer.linear2):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        assert digits(layer(x), 3) == [round(number, 3) for number in wanted]


def test_a_token_costs_256_numbers_in_two_layers_of_width_64():
    model, caches = CausalLM(11, 64, 4, 2), [[], []]
    for n in (1, 4):
        model(torch.zeros(1, n, dtype=torch.long), caches)
    held = sum(part.numel() for cache in caches for pair in cache for part in pair)
    assert held == 5 * 256


# It learns


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("digits reversed" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert losses[0] > 2 and sum(losses[-20:]) / 20 < 0.01
