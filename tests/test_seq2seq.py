"""seq2seq: padding that nobody notices, one vector between, a search that is right."""

import itertools
import math
import re
from functools import partial

import pytest
import torch
from torch import nn

from snippets.seq2seq import (
    END,
    Decoder,
    Encoder,
    batch,
    beam,
    check_shape,
    greedy,
    main,
    masked_cross_entropy,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
)

SURVIVORS = {}


def models(device, vocab_size=11, embed_size=3, hidden_size=7):
    sizes = vocab_size, embed_size, hidden_size
    encoder, decoder = Encoder(*sizes), Decoder(*sizes)
    return encoder.to(device, torch.float64), decoder.to(device, torch.float64)


def some_batch(device, batch_size=4, low=2, high=5, ordered=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = batch(batch_size, low, high, generator, ordered)
    return [tensor.to(device) for tensor in found]


def shifted(y):
    return torch.cat((torch.full_like(y[:, :1], END), y[:, :-1]), 1)


# Shapes, data, errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    encoder, decoder = models(device)
    x, keep, y, counts = some_batch(device)
    check_shapes(encoder, source=x, mask=keep, H=7)
    inputs = {"previous": shifted(y), "context": draw(device, 4, 7)}
    check_shapes(decoder, **inputs, V=11)
    check_shapes(decoder, **inputs, h=draw(device, 4, 7), V=11)
    scores = draw(device, 4, 6, 11)
    check_shapes(masked_cross_entropy, scores=scores, target=y, mask=counts)
    assert greedy(decoder, draw(device, 4, 7), 5).shape == (4, 5)


@pytest.mark.parametrize("ordered", [False, True])
def test_both_are_digits_and_the_same_in_another_order(ordered):
    x, keep, y, counts = some_batch("cpu", 500, 3, 6, ordered)
    assert x.shape == keep.shape == (500, 6) and y.shape == counts.shape == (500, 7)
    assert keep.dtype == counts.dtype == torch.bool
    lengths, digits = set(), set()
    for x_, keep_, y_, counts_ in zip(x, keep, y, counts):
        n = int(keep_.sum())
        source = x_[:n].tolist()
        assert keep_.tolist() == [True] * n + [False] * (6 - n)
        assert counts_.tolist() == [True] * (n + 1) + [False] * (6 - n)
        assert x_[n:].tolist() == [END] * (6 - n)
        wanted = sorted(source) if ordered else source[::-1]
        assert y_.tolist() == wanted + [END] * (7 - n)
        lengths.add(n)
        digits.update(source)
    assert lengths == {3, 4, 5, 6} and digits == {*range(10)}


@pytest.mark.parametrize(
    "source, mask, got",
    [
        ((2, 3), (2, 4), "mask must be (2, 3), got (2, 4)"),
        ((3,), (3,), "source must be (B, S) with B, S >= 1, got (3,)"),
        ((2, 0), (2, 0), "source must be (B, S) with B, S >= 1, got (2, 0)"),
    ],
)
def test_a_mask_of_another_shape_is_refused(source, mask, got, device):
    x = torch.zeros(source, dtype=torch.long, device=device)
    keep = torch.ones(mask, dtype=torch.bool, device=device)
    with pytest.raises(ValueError, match=re.escape(got) + "$"):
        models(device)[0](x, keep)


@pytest.mark.parametrize(
    "mask", [[[1, 0, 1], [1, 1, 1]], [[0, 1, 1], [1, 1, 1]], [[1, 1, 1], [0, 0, 0]]]
)
def test_a_mask_that_keeps_no_beginning_is_refused(mask, device):
    x = torch.zeros(2, 3, dtype=torch.long, device=device)
    keep = torch.tensor(mask, device=device) == 1
    message = "mask must keep a beginning of every source"
    with pytest.raises(ValueError, match=message + "$"):
        models(device)[0](x, keep)


def test_one_token_is_a_beginning(device):
    x = torch.zeros(2, 3, dtype=torch.long, device=device)
    keep = torch.tensor([[True, False, False], [True, True, True]], device=device)
    out, h = models(device)[0](x, keep)
    assert torch.equal(h, torch.stack((out[0, 0], out[1, 2])))


@pytest.mark.parametrize(
    "previous, context, h",
    [((4,), (4, 7), (4, 7)), ((4, 6), (4, 8), (4, 7)), ((4, 6), (4, 7), (1, 7))],
)
def test_what_does_not_fit_the_decoder_is_refused(previous, context, h, device):
    tokens = torch.zeros(previous, dtype=torch.long, device=device)
    context, h = draw(device, *context), draw(device, *h)
    message = {
        (4,): "previous must be (B, T) with B, T >= 1, got (4,)",
        (4, 8): "context must be (4, 7), got (4, 8)",
        (1, 7): "h must be (4, 7), got (1, 7)",
    }
    shapes = [previous, tuple(context.shape), tuple(h.shape)]
    [message] = [message[shape] for shape in shapes if shape in message]
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        models(device)[1](tokens, context, h)


@pytest.mark.parametrize("shape, dtype", [((2, 3), "int64"), ((2, 1), "bool")])
def test_what_is_no_boolean_mask_of_the_target_is_refused(shape, dtype, device):
    mask = torch.ones(shape, dtype=getattr(torch, dtype), device=device)
    target = torch.zeros(2, 3, dtype=torch.long, device=device)
    message = "mask must be torch.bool, got torch.int64"
    if dtype == "bool":
        message = f"mask must be (2, 3), got {shape}"
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        masked_cross_entropy(draw(device, 2, 3, 11), target, mask)


def test_a_loss_over_nothing_is_refused(device):
    target = torch.zeros(2, 3, dtype=torch.long, device=device)
    with pytest.raises(ValueError, match="mask must keep at least one token, got none"):
        masked_cross_entropy(draw(device, 2, 3, 11), target, target > 0)
    with pytest.raises(ValueError, match=re.escape("target must be (B, T) with")):
        masked_cross_entropy(draw(device, 2, 11), target[:, 0], target[:, 0] == 0)
    with pytest.raises(ValueError, match=re.escape("scores must be (2, 3, V) with")):
        masked_cross_entropy(draw(device, 3, 2, 11), target, target == 0)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_search_has_a_width_and_steps(wrong, device):
    _, decoder = models(device)
    context = draw(device, 1, 7)
    for search, sizes in ((beam, (3, wrong)), (beam, (wrong, 3)), (greedy, (wrong,))):
        with pytest.raises(ValueError, match="must be a whole number >= 1"):
            search(decoder, context, *sizes)
    with pytest.raises(ValueError, match=re.escape("context must be (B, H) with")):
        greedy(decoder, context[0], 3)
    with pytest.raises(ValueError, match=re.escape("context must be (1, H) with")):
        beam(decoder, context.expand(2, 7), 3, 2)


# The encoder does not notice padding


def test_encoder_equals_torch_on_packed_sequences(device):
    encoder, _ = models(device)
    x, keep, _, _ = some_batch(device)
    out, h = encoder(x, keep)
    packed = nn.utils.rnn.pack_padded_sequence(
        encoder.embed(x), keep.sum(1).cpu(), batch_first=True, enforce_sorted=False
    )
    theirs, last = encoder.gru(packed)
    theirs, _ = nn.utils.rnn.pad_packed_sequence(theirs, batch_first=True)
    assert len(keep.sum(1).unique()) > 1
    assert_close_scaled(h, last[0], 1e-12, "last state")
    assert_close_scaled(out[keep], theirs[keep[:, : theirs.shape[1]]], 1e-12, "states")
    weight = draw(device, *h.shape)
    ours = torch.autograd.grad((h * weight).sum(), [*encoder.parameters()])
    theirs = torch.autograd.grad((last[0] * weight).sum(), [*encoder.parameters()])
    for a, b in zip(ours, theirs):
        assert_close_scaled(a, b, 1e-10, "gradient")


def test_what_stands_in_the_padding_changes_nothing(device):
    encoder, _ = models(device)
    x, keep, _, _ = some_batch(device)
    out, h = encoder(x, keep)
    noise = torch.where(keep, x, (x + 3) % 10)
    assert not torch.equal(noise, x)
    out_noise, h_noise = encoder(noise, keep)
    assert torch.equal(h, h_noise) and torch.equal(out[keep], out_noise[keep])
    longer = nn.functional.pad(x, (0, 4)), nn.functional.pad(keep, (0, 4))
    assert_close_scaled(encoder(*longer)[1], h, 1e-12)
    alone = encoder(x[2:3, : keep[2].sum()], keep[2:3, : keep[2].sum()])[1]
    assert_close_scaled(alone, h[2:3], 1e-12)


# The decoder is its equations


def test_decoder_equals_its_equations(device):
    _, decoder = models(device)
    _, _, y, _ = some_batch(device)
    context = draw(device, 4, 7)
    scores, last = decoder(shifted(y), context)
    cell = nn.GRUCell(10, 7).to(context)
    names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
    weights = {n: getattr(decoder.gru, f"{n}_l0") for n in names}
    cell.load_state_dict(weights)
    u = context
    for t, token in enumerate(shifted(y).unbind(1)):
        u = cell(torch.cat((decoder.embed.weight[token], context), 1), u)
        wanted = u @ decoder.readout.weight.T + decoder.readout.bias
        assert_close_scaled(scores[:, t], wanted, 1e-12, f"step {t}")
    assert_close_scaled(last, u, 1e-12, "last state")


def test_step_by_step_is_the_whole(device):
    _, decoder = models(device)
    previous = shifted(some_batch(device)[2])
    context, h = draw(device, 4, 7), draw(device, 4, 7) / 2
    scores, last = decoder(previous, context, h)
    for t, token in enumerate(previous.split(1, 1)):
        step, h = decoder(token, context, h)
        assert_close_scaled(step[:, 0], scores[:, t], 1e-12)
    assert_close_scaled(h, last, 1e-12)


def test_no_step_sees_the_tokens_after_it(device):
    _, decoder = models(device)
    previous, context = shifted(some_batch(device)[2]), draw(device, 4, 7)
    other = previous.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 10
    a, b = (decoder(p, context)[0] for p in (previous, other))
    assert torch.equal(a[:, :3], b[:, :3]) and not torch.equal(a[:, 3], b[:, 3])


def test_one_vector_is_all_that_passes(device):
    """Two sources with one summary have one answer, whatever the tokens were."""
    encoder, decoder = models(device)
    x, keep, y, _ = some_batch(device)
    _, h = encoder(x, keep)
    h = h.detach().requires_grad_()
    scores, _ = decoder(shifted(y), h)
    (gradient,) = torch.autograd.grad(scores[:, -1].square().sum(), h)
    assert (gradient != 0).all()
    moved = decoder(shifted(y)[[1, 1]], h[[0, 1]])[0]
    same = decoder(shifted(y)[[1, 1]], h[[0, 0]])[0]
    assert_close_scaled(same[0], same[1], 1e-12)
    assert (moved[0] - moved[1]).abs().max() > 0.01


def test_gradients_reach_every_parameter(device):
    encoder, decoder = models(device)
    x, keep, y, counts = some_batch(device, 200)
    loss = masked_cross_entropy(decoder(shifted(y), encoder(x, keep)[1])[0], y, counts)
    loss.backward()
    for name, parameter in nn.ModuleList([encoder, decoder]).named_parameters():
        missing = parameter.grad == 0
        if name == "0.embed.weight":  # the encoder's padding is never heard
            assert missing[END].all()
            missing = missing[:END]
        assert not missing.any(), name


# The masked loss


def test_the_loss_by_hand(device):
    scores = torch.zeros(3, 4, 10, device=device, dtype=torch.float64)
    target = torch.arange(12, device=device).view(3, 4) % 10
    lengths = torch.tensor([4, 2, 0], device=device)
    mask = torch.arange(4, device=device) < lengths[:, None]
    found = masked_cross_entropy(scores, target, mask).item()
    assert round(found, 3) == 2.303 and abs(found - math.log(10)) < 1e-12
    each = nn.functional.cross_entropy(scores.mT, target, reduction="none") * mask
    assert round(each.sum().item(), 3) == 13.816
    assert round(each.mean().item(), 3) == 1.151  # padding in the denominator
    wrong = (each.mean(1).sum() / mask.sum()).item()
    assert round(wrong, 3) == 0.576 and abs(wrong - math.log(10) / 4) < 1e-12


def test_the_loss_equals_the_sum_and_torch(device):
    _, _, y, counts = some_batch(device)
    scores = draw(device, 4, 6, 11).requires_grad_()
    loss = masked_cross_entropy(scores, y, counts)
    logs = scores.log_softmax(2)
    rows = [(b, t) for b in range(4) for t in range(6) if counts[b, t]]
    wanted = -sum(logs[b, t, y[b, t]] for b, t in rows) / len(rows)
    assert_close_scaled(loss, wanted, 1e-12)
    ignored = nn.functional.cross_entropy(scores.mT, y.where(counts, -100))
    assert_close_scaled(loss, ignored, 1e-12)
    both = zip(torch.autograd.grad(loss, scores), torch.autograd.grad(wanted, scores))
    for a, b in both:
        assert_close_scaled(a, b, 1e-12)


def test_not_even_nan_comes_through_the_padding(device):
    _, _, y, counts = some_batch(device)
    clean = draw(device, 4, 6, 11)
    scores = clean.masked_fill(~counts.unsqueeze(2), float("nan")).requires_grad_()
    loss = masked_cross_entropy(scores, y, counts)
    assert torch.equal(loss, masked_cross_entropy(clean, y, counts))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert (gradient[~counts] == 0).all() and (gradient[counts] != 0).all()


# Search


def test_greedy_feeds_back_what_it_said(device):
    _, decoder = models(device)
    context = 3 * draw(device, 6, 7)
    said = greedy(decoder, context, 5)
    assert len(said.unique()) > 2
    scores, _ = decoder(shifted(said), context)
    assert torch.equal(scores.argmax(2), said)


def test_all_right_on_gold_is_all_right_alone(device):
    """Until its first mistake, what it said is the gold."""
    _, decoder = models(device)
    context = 3 * draw(device, 300, 7)
    own = greedy(decoder, context, 3)
    target = torch.where(torch.arange(300, device=device)[:, None] < 150, own, 1)
    gold = decoder(shifted(target), context)[0].argmax(2)
    after = (shifted(target)[:, 1:] == END).cumsum(1) > 0  # END has been said
    after = nn.functional.pad(after, (1, 0))
    right = ((own == target) | after).all(1)
    assert torch.equal(right, ((gold == target) | after).all(1))
    assert right[:150].all() and not right.all()


@pytest.mark.parametrize("end", [END, 3])
def test_nothing_is_said_after_the_end(end, device):
    """From 0 it says 1, 2, 3, …, 10, 0: after the end it would go on."""

    def clock(previous, context, h=None):
        after = (previous + 1) % 11
        return 9.0 * nn.functional.one_hot(after, 11), h

    context = torch.zeros(2, 1, device=device)
    said = greedy(clock, context, 12, end=end)
    wanted = [(end + t) % 11 for t in range(1, 12)] + [end]
    assert said.tolist() == [wanted] * 2
    assert wanted.index(end) == 10
    ((_, tokens),) = beam(clock, context[:1], 12, 1, end=end)
    assert tokens == wanted[:11]


def test_logarithms_of_half_precision_are_exact(device):
    def flat(previous, context, h=None):
        shape = (*previous.shape, 1000)
        return torch.zeros(shape, dtype=torch.float16, device=device), h

    ((log, _),) = beam(flat, torch.zeros(1, 1, device=device), 3, 1)
    assert abs(log + 3 * math.log(1000)) < 1e-12


def test_sizes_below_one_are_refused(device):
    for cls in (Encoder, Decoder):
        check_sizes(cls, vocab_size=11, embed_size=5, hidden_size=7)
    generator = torch.Generator()
    check_sizes(partial(batch, high=5, generator=generator), batch_size=2, low=1)
    refuses("high must be >= low, 3, got 2", batch, 2, 3, 2, generator)
    _, decoder = models(device)
    context = draw(device, 1, 7)
    check_sizes(partial(greedy, decoder, context), steps=2)
    check_sizes(partial(beam, decoder, context), steps=2, width=1)


def table(previous, context, h=None):
    """A decoder that says A, B: .6, .4; then C, D: .5, .5 or .9, .1."""
    after = {END: [0.6, 0.4, 0, 0], 0: [0, 0, 0.5, 0.5], 1: [0, 0, 0.9, 0.1]}
    rows = [[after.get(i, [0.25] * 4) for i in row] for row in previous.tolist()]
    return torch.tensor(rows, dtype=torch.float64, device=context.device).log(), h


def test_the_search_by_hand(device):
    context = torch.zeros(1, 1, device=device)
    assert greedy(table, context, 2).tolist() == [[0, 2]]
    assert greedy(table, context, 1).tolist() == [[0]]
    for width, tokens, p in [(1, [0, 2], 0.30), (2, [1, 2], 0.36), (9, [1, 2], 0.36)]:
        log, found = beam(table, context, 2, width)[0]
        assert found == tokens and abs(math.exp(log) - p) < 1e-12
    two = beam(table, context, 2, 2)
    assert [tokens for _, tokens in two] == [[1, 2], [0, 2]]


def exhaustive(decoder, context, steps):
    """Every answer: of `steps` tokens, or shorter and ended."""
    found = []
    for n in range(1, steps + 1):
        for tokens in itertools.product(range(11), repeat=n):
            if END in tokens[:-1] or (n < steps and tokens[-1] != END):
                continue
            found.append([*tokens])
    found = [f + [END] * (steps - len(f)) for f in found]
    y = torch.tensor(found, device=context.device)
    with torch.no_grad():
        scores, _ = decoder(shifted(y), context.expand(len(y), -1))
    logs = scores.log_softmax(2).gather(2, y.unsqueeze(2)).squeeze(2)
    ended = (y == END).cumsum(1) > 1  # the first END counts, no other
    ended |= torch.cat((torch.zeros_like(y[:, :1]), (y == END)[:, :-1]), 1) > 0
    totals = logs.masked_fill(ended, 0).sum(1)
    cut = [f[: f.index(END) + 1] if END in f else f for f in found]
    return sorted(zip(totals.tolist(), cut), key=lambda pair: -pair[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_enough_beam_is_exhaustive(seed, device):
    torch.manual_seed(seed)
    _, decoder = models(device)
    with torch.no_grad():
        decoder.readout.weight.mul_(6)
        decoder.readout.bias[END] += 1
    context = 2 * draw(device, 1, 7)
    wanted = exhaustive(decoder, context, 3)
    found = beam(decoder, context, 3, 2000)
    assert len(found) == len(wanted) == 1 + 10 + 10 * 10 * 11
    assert {len(tokens) for _, tokens in found} == {1, 2, 3}
    assert abs(sum(math.exp(log) for log, _ in found) - 1) < 1e-12
    for (a, tokens), (b, others) in zip(found, wanted):
        assert abs(a - b) < 1e-12 and tokens == others


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_one_is_greedy_up_to_the_end(seed, device):
    torch.manual_seed(seed)
    _, decoder = models(device)
    with torch.no_grad():
        decoder.readout.weight.mul_(6)
    ended = 0
    for context in 2 * draw(device, 30, 1, 7):
        ((log, tokens),) = beam(decoder, context, 6, 1)
        said = greedy(decoder, context, 6)[0].tolist()
        n = said.index(END) + 1 if END in said else 6
        assert tokens == said[:n]
        ended += END in said
        y = torch.tensor([tokens], device=device)
        loss = masked_cross_entropy(decoder(shifted(y), context)[0], y, y >= 0)
        assert abs(log + n * loss.item()) < 1e-10
    assert ended > 0


def test_a_wider_beam_keeps_that_many(device):
    _, decoder = models(device)
    context = draw(device, 1, 7)
    for width in (1, 2, 5):
        found = beam(decoder, context, 4, width)
        assert len(found) == width
        totals = [total for total, _ in found]
        assert totals == sorted(totals, reverse=True)


# It learns


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("right throughout" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert losses[0] > 2 and sum(losses[-20:]) / 20 < 0.2
