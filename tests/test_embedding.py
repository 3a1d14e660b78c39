"""SkipGram against torch's logistic loss; look-up, pairs, noise, analogies."""

import math
import re
from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from snippets.embedding import (
    SkipGram,
    analogy,
    check_shape,
    company,
    main,
    neighbours,
    noise_shares,
    questions,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    refuses,
)

SURVIVORS = {
    "neighbours: word, context = near.nonzero(as_tuple=True) -> "
    "context, word = near.nonzero(as_tuple=True)": "near is symmetric: the same pairs",
    "neighbours: (sentences[:, word].flatten(), sentences[:, context].flatten()) -> "
    "(sentences[:, context].flatten(), sentences[:, word].flatten())": "likewise",
    "analogy: torch.stack((a, b, c), 1) -> torch.stack((b, a, c), 1)": "all three go",
    "analogy: torch.stack((a, b, c), 1) -> torch.stack((a, c, b), 1)": "likewise",
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}


def draw_words(device, *shape, below=11):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(below, shape, generator=generator).to(device)


def skipgram(device, dtype=torch.float64):
    model = SkipGram(11, 4).to(device, dtype)
    nn.init.normal_(model.context.weight)
    return model


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    words = {"word": draw_words(device, 3), "context": draw_words(device, 3)}
    check_shapes(skipgram(device), **words, noise=draw_words(device, 3, 5))
    check_shapes(noise_shares, counts=draw_words(device, 7))
    vectors = torch.randn(7, 4, device=device)
    asked = {name: draw_words(device, 3, below=7) for name in "abc"}
    check_shapes(analogy, vectors=vectors, **asked)
    generator = torch.Generator().manual_seed(0)
    check_shapes(company, batch_size=3, generator=generator, B=3)
    check_shapes(questions)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_noise_may_be_any_number_of_words(count, device):
    words = draw_words(device, 3), draw_words(device, 3)
    assert skipgram(device)(*words, draw_words(device, 3, count)).shape == (3,)


@pytest.mark.parametrize(
    "shapes, message",
    [
        ([(1,), (1,), (3, 5)], "noise must be (1, any) with any >= 1, got (3, 5)"),
        ([(3,), (3,), (3,)], "noise must be (3, any) with any >= 1, got (3,)"),
        (
            [(3,), (3,), (3, 5, 1)],
            "noise must be (3, any) with any >= 1, got (3, 5, 1)",
        ),
        ([(3,), (1,), (3, 5)], "context must be (3,), got (1,)"),
        ([(3,), (3, 1), (3, 5)], "context must be (3,), got (3, 1)"),
        ([(3, 1), (3,), (3, 5)], "word must be (B,) with B >= 1, got (3, 1)"),
    ],
)
def test_other_shapes_are_refused(shapes, message, device):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        skipgram(device)(*[draw_words(device, *shape) for shape in shapes])


def test_sizes_below_one_are_refused():
    check_sizes(SkipGram, num_embeddings=7, embedding_dim=4)
    ids = torch.zeros(1, 3, dtype=torch.long)
    check_sizes(partial(neighbours, ids), window=1)


def test_a_row_of_zeros_is_nobodys_neighbour(device):
    """Its cosine is 0, which would beat the negative ones of all the others."""
    vectors = torch.tensor([[1.0, 0], [1, 0], [-1, 0.1], [0, 0], [1, 0.5]])
    a, b, c = (torch.tensor([i], device=device) for i in (0, 1, 2))
    assert analogy(vectors.to(device), a, b, c).item() == 4


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("wrong", [-1, 5])
def test_numbers_of_no_row_are_refused(wrong, place, device):
    vectors, ids = torch.eye(5, device=device), torch.tensor([0, 2, 4], device=device)
    asked = [ids.clone() for _ in range(3)]
    asked[place][1] = wrong
    rule = f"{'abc'[place]} must hold numbers of rows, 0 to 4"
    got = f"got {min(0, wrong)} to {max(4, wrong)}"
    refuses(f"{rule}, {got}", analogy, vectors, *asked)
    asked[place] = ids[:2]
    rule = f"{'abc'[place]} must be (3,), got (2,)"
    if place:
        refuses(rule, analogy, vectors, *asked)
    asked[place] = ids.double()
    rule = f"{'abc'[place]} must be torch.int64, got torch.float64"
    refuses(rule, analogy, vectors, *asked)
    asked[place] = ids.unsqueeze(1)
    with pytest.raises(ValueError, match="must be "):
        analogy(vectors, *asked)


def test_shapes_of_tables_are_asked_for(device):
    ids = torch.tensor([0], device=device)
    rule = "vectors must be (V, D) with V, D >= 1, got (5,)"
    refuses(rule, analogy, torch.ones(5, device=device), ids, ids, ids)
    rule = "a must be (B,) with B >= 1, got (1, 1)"
    refuses(rule, analogy, torch.eye(5, device=device), ids[None], ids, ids)
    rule = "sentences must be (B, T) with B, T >= 1, got (1,)"
    refuses(rule, neighbours, ids, 1)
    rule = "counts must be (V,) with V >= 1, got (1, 1)"
    refuses(rule, noise_shares, ids[None])
    check_sizes(partial(company, generator=torch.Generator()), batch_size=2)


def test_the_first_of_two_faults_is_named(device):
    vectors, good = torch.eye(5, device=device), torch.tensor([0], device=device)
    for asked in ("abc", "bc"):
        ids = [good + 5 * (name in asked) for name in "abc"]
        rule = f"{asked[0]} must hold numbers of rows, 0 to 4, got 5 to 5"
        refuses(rule, analogy, vectors, *ids)


def test_one_word_seen_once_has_all_the_shares(device):
    assert noise_shares(torch.tensor([0, 1], device=device)).tolist() == [0, 1]


@pytest.mark.parametrize("rows", [3, 4])
def test_a_word_must_be_left_to_choose(rows, device):
    """Row 3, where there is one, points nowhere."""
    vectors = torch.eye(3, device=device)
    vectors = torch.cat((vectors, torch.zeros(1, 3, device=device)))[:rows]
    a, b, c = (torch.tensor([i, 0], device=device) for i in (0, 1, 2))
    rule = "vectors must hold one more word to choose from"
    refuses(rule, analogy, vectors, a, b, c)
    assert analogy(vectors, a, b, c, exclude=False).shape == (2,)


@pytest.mark.parametrize("counts", [[0, 0], [3, -1], [0, -1]])
def test_counts_that_give_no_shares_are_refused(counts, device):
    with pytest.raises(ValueError, match="counts must be >= 0, and one of them > 0"):
        noise_shares(torch.tensor(counts, device=device))


# The loss


@pytest.mark.parametrize("dtype", REL)
def test_equal_to_the_logistic_loss_of_torch(dtype, device):
    model = skipgram(device, dtype)
    word, context, noise = [draw_words(device, *s) for s in [(6,), (6,), (6, 5)]]
    loss = model(word, context, noise)
    V, U = (table.weight for table in (model.word, model.context))
    both = torch.cat((context.unsqueeze(1), noise), 1)
    scores = torch.stack([U[w] @ V[c] for w, c in zip(both, word)])
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1  # true or made up
    twin = binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(1)
    assert_close_scaled(loss, twin, REL[dtype], "loss")
    weights = torch.arange(1, 7, device=device)
    found = torch.autograd.grad((loss * weights).sum(), [V, U])
    wanted = torch.autograd.grad((twin * weights).sum(), [V, U])
    for a, b in zip(found, wanted):
        assert_close_scaled(a, b, REL[dtype], "gradient")


def test_by_hand(device):
    model = SkipGram(3, 2).to(device, torch.float64)
    with torch.no_grad():
        model.word.weight[0] = torch.tensor([1.0, 0.0])
        model.context.weight[1] = torch.tensor([0.0, 1.0])
        model.context.weight[2] = torch.tensor([1.0, 0.0])
    word, context, noise = (torch.tensor(w, device=device) for w in ([0], [1], [[2]]))
    loss = model(word, context, noise)
    assert abs(loss.item() - 2.0064) < 5e-5
    losses = [torch.tensor(s).sigmoid().log().neg().item() for s in (0.0, -1.0)]
    assert [round(loss, 4) for loss in losses] == [0.6931, 1.3133]
    (gradient,) = torch.autograd.grad(loss.sum(), model.word.weight)
    assert [round(g, 4) for g in gradient[0].tolist()] == [0.7311, -0.5]
    with torch.no_grad():
        model.word.weight -= gradient
    assert [round(v, 4) for v in model.word.weight[0].tolist()] == [0.2689, 0.5]
    assert abs(model(word, context, noise).item() - 1.3107) < 5e-5
    losses = [torch.tensor(s).sigmoid().log().neg().item() for s in (0.5, -0.2689)]
    assert [round(loss, 4) for loss in losses] == [0.4741, 0.8366]


def test_only_the_words_of_the_batch_get_a_gradient(device):
    model = skipgram(device)
    word, context, noise = (
        torch.tensor(w, device=device) for w in ([1, 4], [2, 3], [[5], [6]])
    )
    model(word, context, noise).sum().backward()
    for table, used in ((model.word, {1, 4}), (model.context, {2, 3, 5, 6})):
        rows = table.weight.grad.abs().sum(1).nonzero().flatten()
        assert set(rows.tolist()) == used


def test_the_start_is_small_words_and_context_zero(device):
    model = SkipGram(1000, 25).to(device)
    assert abs(model.word.weight.std().item() - 0.2) < 0.01
    assert (model.context.weight == 0).all()
    word, context, noise = [draw_words(device, *s) for s in [(3,), (3,), (3, 5)]]
    loss = model(word, context, noise)
    assert torch.allclose(loss, torch.tensor(6 * math.log(2), device=device))
    loss.sum().backward()
    assert (model.context.weight.grad != 0).any()  # so training can begin


def test_a_look_up_is_one_hot_times_the_matrix(device):
    table = nn.Embedding(11, 4).to(device)
    word = draw_words(device, 3, 5)
    product = one_hot(word, 11).float() @ table.weight
    assert torch.equal(table(word), product)


# Pairs


def listed(sentences, window):
    return sorted(zip(*(ids.tolist() for ids in neighbours(sentences, window))))


def test_pairs_by_hand():
    assert listed(torch.tensor([[7, 8, 9]]), 1) == [(7, 8), (8, 7), (8, 9), (9, 8)]


@pytest.mark.parametrize("window, count", [(1, 8), (2, 14), (4, 20), (9, 20)])
def test_pairs_are_the_neighbours_and_no_word_with_itself(window, count, device):
    sentences = torch.arange(15, device=device).view(3, 5)
    word, context = neighbours(sentences, window)
    assert len(word) == len(context) == 3 * count
    wanted = Counter(
        (s[i], s[j])
        for s in sentences.tolist()
        for i in range(5)
        for j in range(5)
        if i != j and abs(i - j) <= window
    )
    assert Counter(zip(word.tolist(), context.tolist())) == wanted


def test_pairs_know_no_order_inside_the_window(device):
    sentences = draw_words(device, 4, 5)
    shuffled = sentences[:, [3, 0, 4, 1, 2]]
    assert listed(sentences, 4) == listed(shuffled, 4)
    assert listed(sentences, 1) != listed(shuffled, 1)


# Noise


def test_noise_by_hand(device):
    counts = torch.tensor([81, 16, 1], device=device)
    shares = noise_shares(counts)
    wanted = torch.tensor([27, 8, 1], device=device).double() / 36
    assert_close_scaled(shares, wanted, 1e-12)
    plain = noise_shares(counts, 1.0)
    assert_close_scaled(plain, counts.double() / 98, 1e-12)
    assert [round(share, 3) for share in shares.tolist()] == [0.75, 0.222, 0.028]
    assert [round(share, 3) for share in plain.tolist()] == [0.827, 0.163, 0.010]
    assert 2.65 < shares[2] / plain[2] < 2.75 and 0.9 < shares[0] / plain[0] < 1
    evenly = noise_shares(counts, 0.0)
    assert_close_scaled(evenly, torch.ones_like(evenly) / 3, 1e-12)


# Analogies


def plane(device):
    """man, woman, king, queen, and a word between king and queen."""
    points = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0], [0.8, 0.6]]
    return torch.tensor(points, device=device)


def test_analogy_finds_the_fourth_corner(device):
    ids = torch.arange(4, device=device).unsqueeze(1)
    man, woman, king, queen = ids
    assert analogy(plane(device), man, woman, king).item() == 3
    assert analogy(plane(device), woman, man, queen).item() == 2
    # each alone is not enough: the direction and the starting point count
    assert analogy(plane(device), woman, man, king).item() != 3


def test_only_directions_count(device):
    lengths = torch.tensor([5.0, 0.2, 3.0, 0.1, 9.0], device=device).unsqueeze(1)
    man, woman, king, queen = torch.arange(4, device=device).unsqueeze(1)
    assert analogy(lengths * plane(device), man, woman, king) == queen


def test_the_words_of_the_question_are_excluded_or_not(device):
    vectors = torch.tensor(
        [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-0.5, 1.0]], device=device
    )
    a, b, c = torch.arange(3, device=device).unsqueeze(1)
    assert analogy(vectors, a, b, c, exclude=False).item() == 2  # c itself
    assert analogy(vectors, a, b, c).item() == 3
    # all three are excluded, not c alone
    assert analogy(vectors, a, c, b).item() == 3
    assert analogy(vectors, a, c, b, exclude=False).item() == 2
    b, c = torch.tensor([[3], [0]], device=device)
    near_a = torch.tensor([[1.0, 0.1], [0.1, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    a = torch.tensor([0], device=device)
    assert analogy(near_a.to(device), a, b, a, exclude=False).item() == 3
    assert analogy(near_a.to(device), a, b, a).item() == 1


# The corpus


def test_company_is_what_its_docstring_says():
    generator = torch.Generator().manual_seed(0)
    sentences = company(20_000, generator)
    assert sorted(sentences.unique().tolist()) == list(range(112))
    noun, one, two, gender, filler = sentences.unbind(1)
    assert (noun < 16).all() and (filler >= 96).all()
    for role in (one, two):
        assert ((role - 16) // 8 == noun // 2).all()
    assert ((gender - 80) // 8 == noun % 2).all()
    counts = sentences.flatten().bincount()
    for low, high, share in [(0, 16, 1), (16, 80, 2), (80, 96, 1), (96, 112, 1)]:
        expected = share * 20_000 / (high - low)
        assert (counts[low:high] - expected).abs().max() < 0.2 * expected
    assert (one == two).float().mean() < 0.2  # drawn apart


@pytest.mark.parametrize("gendered", [0.0, 0.3])
def test_gender_is_told_in_a_share_of_the_sentences(gendered):
    generator = torch.Generator().manual_seed(0)
    sentences = company(20_000, generator, gendered)
    gender = sentences[:, 3]
    told = gender < 96
    assert abs(told.float().mean() - gendered) < 0.02
    assert ((gender[told] - 80) // 8 == sentences[told, 0] % 2).all()


def test_questions_are_parallelograms():
    rows = torch.stack(questions(), 1).tolist()
    assert rows[0] == [0, 1, 2, 3]  # man, woman, king, queen
    wanted = {
        (2 * i + s, 2 * i + 1 - s, 2 * j + s, 2 * j + 1 - s)
        for i in range(8)
        for j in range(8)
        for s in range(2)
        if i != j
    }
    assert len(rows) == 112 and set(map(tuple, rows)) == wanted


@pytest.mark.slow
def test_main_learns(device, capsys):
    losses = main(device=device)
    assert len(losses) == 300
    assert losses[0] > 4 and sum(losses[-20:]) / 20 < 2.2
    (line,) = capsys.readouterr().out.splitlines()
    assert float(re.search(r"analogies ([\d.]+)", line)[1]) >= 0.95
