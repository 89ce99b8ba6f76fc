"""Lesson 06: a TIGER (training pair, bias and masks, attention, block), and its loss with tau.

Small logits are tenths, so that they can be worked out by hand.
"""

import math
from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from letterlib.analysis.negatives import negative_weights
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.course.values import tenths
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import relative_position_bucket

# 6.1 A training pair: history, target, item_tokens [n_items, L], length -> three rows of tokens


def pair_cases(generator: Generator) -> list[Case]:
    """(films in the history, length read, levels): one film with one code, then fewer, as many, and
    more than read. In the last a film is read twice, and the target was watched before.
    """
    cases = []
    for n, length, levels in [(1, 1, 1), (2, 3, 2), (3, 3, 2), (5, 2, 3), (9, 4, 4)]:
        codes = torch.randint(8, (12, levels), generator=generator)
        codes[:, 0] = torch.arange(12)  # so that no two films have the same tokens
        items = torch.randperm(12, generator=generator)[: n + 1].tolist()
        if n == 9:
            items[-1], items[-3] = items[-4], items[-5]
        tokens = torch.from_numpy(tokens_of(codes.numpy(), (12, *[8] * (levels - 1))))
        cases.append(
            {"history": items[:-1], "target": items[-1], "item_tokens": tokens, "length": length}
        )
    return cases


END, START = torch.tensor([EOS]), torch.tensor([PAD])


def training_pair(
    history: list[int], target: int, item_tokens: Tensor, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    end = torch.tensor([EOS])
    encoder_input = torch.cat([item_tokens[history[-length:]].flatten(), end])
    targets = torch.cat([item_tokens[target], end])
    decoder_input = torch.cat([torch.tensor([PAD]), targets[:-1]])
    return encoder_input, decoder_input, targets


def pair_with(
    encoder: Callable | None = None,
    decoder: Callable | None = None,
    targets: Callable | None = None,
) -> Callable:
    """A training pair, one of whose rows may be replaced. encoder: of all arguments; decoder and
    targets: of the target's tokens.
    """

    def answer(history, target, item_tokens, length):
        rows = list(training_pair(history, target, item_tokens, length))
        if encoder:
            rows[0] = encoder(history, target, item_tokens, length)
        if decoder:
            rows[1] = decoder(item_tokens[target])
        if targets:
            rows[2] = targets(item_tokens[target])
        return tuple(rows)

    return answer


def films(chosen: Callable) -> Callable:
    """A pair whose encoder reads other films. chosen: (history, target, length) -> films."""
    return pair_with(lambda h, t, x, n: torch.cat([x[chosen(h, t, n)].flatten(), END]))


def rows(of: Callable) -> Callable:
    """A pair whose encoder reads the right films otherwise. of: their tokens [films, L] -> row."""
    return pair_with(lambda h, t, x, n: of(x[h[-n:]]))


def pair_by_loop(history, target, item_tokens, length):
    read = []
    for item in history[-length:]:
        read += item_tokens[item].tolist()
    own = item_tokens[target].tolist()
    return [torch.tensor([*read, EOS]), torch.tensor([PAD, *own]), torch.tensor([*own, EOS])]


def pair_with_pad(history, target, item_tokens, length):
    targets = F.pad(item_tokens[target], (0, 1), value=EOS)
    read = F.pad(item_tokens[torch.tensor(history)[-length:]].reshape(-1), (0, 1), value=EOS)
    return read, F.pad(targets[:-1], (1, 0)), targets


def padded(history, target, item_tokens, length):
    read, *others = training_pair(history, target, item_tokens, length)
    return F.pad(read, (length * item_tokens.shape[1] + 1 - len(read), 0)), *others


END_FIRST = "the end token in front. It comes last."
PAD_LAST = "a pad (0) at the end. The end token is 1."
NEWEST_FIRST = "the most recent film first. Time runs forwards: oldest first."
LEFT_OUT = "the most recent film is left out. A slice up to -1 stops before it."
BACK = "shifted to the left: each place sees the token *after* it. It should see the one before."
TENSORS = "`torch.cat` joins rows: write `torch.tensor([EOS])`, a tensor of one token."

TRAINING_PAIR = Exercise(
    reference=training_pair,
    cases=pair_cases,
    returns=["encoder_input", "decoder_input", "targets"],
    right=[pair_by_loop, pair_with_pad],
    mistakes=[
        (rows(lambda read: read.flatten()), "the end token is missing after the history."),
        (rows(lambda read: torch.cat([read.flatten(), START])), PAD_LAST),
        (rows(lambda read: torch.cat([END, read.flatten()])), END_FIRST),
        (rows(lambda read: torch.cat([read.flatten(), END, END])), "two end tokens. It is one."),
        (
            rows(lambda read: torch.cat([read.flatten().flip(0), END])),
            "all tokens backwards. Time runs forwards, and so do the codes of a name.",
        ),
        (
            rows(lambda read: torch.cat([START, read.flatten(), END])),
            "a start token, which only the decoder has.",
        ),
        (
            rows(lambda read: torch.cat([read.T.flatten(), END])),
            "all first codes, then all second ones. Keep each film's codes together: `flatten()` "
            "without a transposition.",
        ),
        (
            rows(lambda read: torch.cat([F.pad(row, (0, 1), value=EOS) for row in read])),
            "an end token after every film. It comes once, last.",
        ),
        (rows(lambda read: read), "a table of films and codes. `flatten()` makes one row of it."),
        (
            rows(lambda read: torch.cat([read, END])),
            "a table and a row do not go together: `flatten()` the tokens of the films first.",
        ),
        *((rows(lambda read, e=e: torch.cat([read.flatten(), e])), TENSORS) for e in (EOS, [EOS])),
        (rows(lambda read: torch.cat([read.flatten(), torch.tensor(EOS)])), TENSORS),
        (
            pair_with(lambda h, t, x, n: torch.cat([x[h].flatten()[-n:], END])),
            "tokens are cut. `length` counts films.",
        ),
        (
            pair_with(lambda h, t, x, n: torch.tensor([*h[-n:], EOS])),
            "film numbers. Look up their tokens.",
        ),
        (
            pair_with(lambda h, t, x, n: torch.cat([x[h[-n:]].flatten(), x[t], END])),
            "the target is read as well. It is the answer!",
        ),
        (films(lambda h, t, n: [*h, t][-n:]), "the target is read as well. It is the answer!"),
        (films(lambda h, t, n: h), "the whole history. The model reads the last `length` films."),
        (films(lambda h, t, n: h[:n]), "the *first* films. The most recent ones come last."),
        (films(lambda h, t, n: h[n:]), "the first `length` films left out: `history[-length:]`."),
        (films(lambda h, t, n: h[:-n]), "all films but the last ones: `history[-length:]`."),
        (films(lambda h, t, n: h[-1:]), "the last film alone: `history[-length:]`."),
        (films(lambda h, t, n: h[-n:][::-1]), NEWEST_FIRST),
        (films(lambda h, t, n: h[-n - 1 : -1]), LEFT_OUT),
        (films(lambda h, t, n: h[-n:-1]), LEFT_OUT),
        (films(lambda h, t, n: h[-n:][1:]), "one film too few. Take `history[-length:]`."),
        (films(lambda h, t, n: h[-n - 1 :]), "one film too many. Take `history[-length:]`."),
        (
            films(lambda h, t, n: [*dict.fromkeys(h)][-n:]),
            "a film that was watched twice is read once. Keep both.",
        ),
        (films(lambda h, t, n: sorted(h[-n:])), "films in the order of numbers, not of time."),
        (films(lambda h, t, n: [x for x in h if x != t][-n:]), "the target taken out. Keep it."),
        (padded, "pads in front. One history needs no padding."),
        (
            lambda *case: [training_pair(*case)[i] for i in (0, 2, 1)],
            "the last two changed places. The decoder's input begins with the start token.",
        ),
        (
            pair_with(decoder=lambda own: torch.cat([own, END])),
            "the targets themselves: the decoder would read each token before it has to write it. "
            "Shift them.",
        ),
        (
            pair_with(decoder=lambda own: own),
            "the codes without the start token: at the first place the decoder would read the "
            "answer.",
        ),
        *(
            (pair_with(decoder=shift), "starts with the end token, 1. The start token is the pad.")
            for shift in (
                lambda own: torch.cat([END, own]),  # such as `targets.roll(1)`
                lambda own: torch.cat([END, own, END]),
            )
        ),
        (
            pair_with(decoder=lambda own: torch.cat([START, own[:-1]])),
            "the last code is missing: after it the decoder has to write the end token.",
        ),
        (
            pair_with(decoder=lambda own: torch.cat([START, START, own[:-1]])),
            "shifted by two places. One start token stands in front, then all codes.",
        ),
        (
            pair_with(decoder=lambda own: torch.cat([START, own, END])),
            "the end token is read as well, and nothing is written after it. One token less.",
        ),
        *(
            (pair_with(decoder=shift), BACK)
            for shift in (
                lambda own: torch.cat([own, END]).roll(-1),
                lambda own: torch.cat([own[1:], END]),
                lambda own: torch.cat([own[1:], END, END]),
                lambda own: torch.cat([own[1:], END, START]),
                lambda own: torch.cat([own, START]),
            )
        ),
        (pair_with(targets=lambda own: own), "the end token is missing: where does it stop?"),
        (
            pair_with(targets=lambda own: torch.cat([START, own])),
            "shifted as well. Only the decoder's input is.",
        ),
        (
            pair_with(targets=lambda own: torch.cat([START, own, END])),
            "a start token in front. Only the decoder's input has one.",
        ),
        (pair_with(targets=lambda own: torch.cat([own, START])), PAD_LAST),
        (pair_with(targets=lambda own: torch.cat([END, own])), END_FIRST),
        (
            lambda h, t, x, n: (*training_pair(h, t, x, n)[:2], torch.tensor([t, EOS])),
            "the film's number. Look up its tokens.",
        ),
        (
            pair_with(targets=lambda own: torch.cat([own, END])[None]),
            "a table of one row. Take `item_tokens[target]`, with a number, not a list.",
        ),
    ],
)

# 6.2 Bias and masks: table [buckets, heads], n tokens, causal, real [batch, n] -> added to scores


def bias_cases(generator: Generator) -> list[Case]:
    """(tokens, heads, causal, rows, padded rows). Distances beyond 8 share a bucket."""
    cases = []
    for n, heads, causal, batch, padded in [
        (2, 1, False, 1, 0),
        (3, 1, True, 1, 0),
        (3, 2, False, 2, 1),
        (12, 2, True, 2, 0),
        (13, 3, False, 4, 3),
    ]:
        real = torch.ones(batch, n, dtype=torch.bool)
        for row in range(padded):
            real[row, : row + 1] = False
        table = tenths(torch.randn(32, heads, generator=generator)).requires_grad_()
        cases.append({"table": table, "n": n, "causal": causal, "real": real})
    return cases


def biasing(
    distance: Callable = lambda place: place[None, :] - place[:, None],
    look_up: Callable = lambda table, buckets: table[buckets].permute(2, 0, 1),
    both: Callable = lambda causal: not causal,
    ahead: Callable = lambda place: place[None, :] > place[:, None],
    pads: Callable = lambda real: ~real[:, None, None, :],
    forbid: Callable = lambda bias, where: bias.masked_fill(where, -torch.inf),
    causal_too: Callable = lambda causal: causal,
) -> Callable:
    """A bias for attention, one of whose steps may be replaced."""

    def answer(table, n, causal, real):
        place = torch.arange(n)
        buckets = relative_position_bucket(distance(place), both(causal))
        bias = look_up(table, buckets)[None].expand(len(real), -1, -1, -1)
        if causal_too(causal):
            bias = forbid(bias, ahead(place))
        return forbid(bias, pads(real))

    return answer


def attention_bias(table: Tensor, n: int, causal: bool, real: Tensor) -> Tensor:
    place = torch.arange(n)
    distance = place[None, :] - place[:, None]  # of the key, seen from the query
    bias = table[relative_position_bucket(distance, not causal)].permute(2, 0, 1)
    hidden = ~real[:, None, None, :]
    if causal:
        hidden = hidden | (distance > 0)
    return bias.masked_fill(hidden, -torch.inf)


def forbidden_alike(answer: Callable) -> Callable:
    """What is forbidden may be -inf or a large negative number."""

    @wraps(answer)
    def use(table, n, causal, real):
        found = answer(table, n, causal, real)
        return found.clamp(min=-1e4) if isinstance(found, Tensor) else found

    return use


def raw_distances(table, n, causal, real):
    place = torch.arange(n)
    bias = table[place[None, :] - place[:, None]].permute(2, 0, 1)
    hidden = ~real[:, None, None, :] | (causal & (place[None, :] > place[:, None]))
    return bias.masked_fill(hidden, -torch.inf)


def bias_by_adding(table, n, causal, real):
    place = torch.arange(n)
    buckets = relative_position_bucket(place - place[:, None], bidirectional=not causal)
    bias = table[buckets].movedim(2, 0)[None] + torch.where(real, 0.0, -1e9)[:, None, None]
    return bias + torch.full((n, n), -1e9).triu(1) if causal else bias


ATTENTION_BIAS = Exercise(
    reference=attention_bias,
    cases=bias_cases,
    returns=["the bias"],
    use=forbidden_alike,
    right=[biasing(), bias_by_adding],
    mistakes=[
        (
            biasing(causal_too=lambda causal: False),
            "nothing is causal: with `causal` a token may not look at those after it.",
        ),
        (
            biasing(causal_too=lambda causal: True),
            "always causal. The encoder, with `causal=False`, may look both ways.",
        ),
        (
            biasing(ahead=lambda place: place[None, :] < place[:, None]),
            "the causal mask forbids the past. It should forbid keys *after* the query.",
        ),
        (
            biasing(ahead=lambda place: place[None, :] >= place[:, None]),
            "the causal mask forbids a token itself: `>`, or `triu(1)`.",
        ),
        (
            biasing(distance=lambda place: place[:, None] - place[None, :]),
            "the distance has the other sign: key minus query, with queries in rows.",
        ),
        (
            biasing(distance=lambda place: (place[None, :] - place[:, None]).abs()),
            "distances without a sign: before and behind look alike.",
        ),
        (
            biasing(both=lambda causal: True),
            "buckets for both directions, in the decoder too: `bidirectional=not causal`.",
        ),
        (
            biasing(both=lambda causal: False),
            "buckets for one direction, in the encoder too: `bidirectional=not causal`.",
        ),
        (
            biasing(both=lambda causal: causal),
            "`bidirectional=causal`. It is the other way round: the encoder looks both ways.",
        ),
        (
            biasing(pads=lambda real: ~real[:, None, :, None]),
            "the padding mask stands at the queries. Nobody may look *at* a pad: at the keys, "
            "`real[:, None, None, :]`.",
        ),
        (
            biasing(pads=lambda real: real[:, None, None, :]),
            "the padding mask the wrong way: `real` is True where one may look.",
        ),
        (
            biasing(pads=lambda real: torch.zeros_like(real)[:, None, None, :]),
            "pads can be looked at: `real` is not used.",
        ),
        (
            biasing(pads=lambda real: ~real[:, None, None, :] | ~real[:, None, :, None]),
            "rows of pads are closed as well: with nobody to look at, a softmax is NaN. Close "
            "columns alone, `real[:, None, None, :]`.",
        ),
        (
            biasing(look_up=lambda table, buckets: table[buckets]),
            "`table[buckets]` is [n, n, heads]: `permute(2, 0, 1)` moves the heads to the front.",
        ),
        (
            biasing(forbid=lambda bias, where: bias.masked_fill(where, 0.0)),
            "what is forbidden gets 0, and `exp(0)` is 1. A large negative number, or -inf.",
        ),
        (
            biasing(forbid=lambda bias, where: bias - where.float()),
            "what is forbidden gets 1 less, which a softmax hardly notices. Take -inf.",
        ),
        (
            lambda table, n, causal, real: biasing()(table, n, causal, real).transpose(2, 3),
            "queries and keys in each other's place: rows are queries.",
        ),
        (
            biasing(look_up=lambda table, buckets: torch.zeros(table.shape[1], *buckets.shape)),
            "the table is not used: only the masks are there.",
        ),
        (
            biasing(look_up=lambda table, buckets: table[buckets].view(-1, *buckets.shape)),
            "`view` or `reshape` only cuts the numbers anew. Heads are the last dimension of "
            "`table[buckets]`, and `permute(2, 0, 1)` moves them to the front.",
        ),
        (
            raw_distances,
            "distances themselves as rows of the table. `relative_position_bucket` gives the rows.",
        ),
        (
            biasing(look_up=lambda table, buckets: table.detach()[buckets].permute(2, 0, 1)),
            "the table is detached: it would never learn.",
        ),
    ],
)

# 6.3 Attention: q [batch, Q, heads * d], k, v [batch, K, heads * d], bias -> [batch, Q, heads * d]


def attention_cases(generator: Generator) -> list[Case]:
    """(rows, queries, keys, heads, width of a head, forbidden keys)."""
    cases = []
    for batch, n_queries, n_keys, heads, width, hidden in [
        (1, 1, 2, 1, 1, 0),
        (1, 2, 2, 1, 2, 1),
        (1, 2, 3, 2, 2, 1),
        (2, 3, 3, 2, 2, 0),
        (4, 5, 9, 3, 4, 2),
    ]:

        def draw(*shape):
            return tenths(torch.randn(*shape, generator=generator))

        bias = draw(batch, heads, n_queries, n_keys)
        bias[..., :hidden] = -torch.inf
        case = {
            name: draw(batch, length, heads * width).requires_grad_()
            for name, length in [("q", n_queries), ("k", n_keys), ("v", n_keys)]
        }
        cases.append({**case, "n_heads": heads, "bias": bias})
    return cases


def attention(q: Tensor, k: Tensor, v: Tensor, n_heads: int, bias: Tensor) -> Tensor:
    q, k, v = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(2, 3) + bias).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def heads_of(x: Tensor, n_heads: int) -> Tensor:
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def attending(
    cut: Callable = heads_of,
    score: Callable = lambda q, k: q @ k.mT,
    weigh: Callable = lambda scores, bias: (scores + bias).softmax(dim=-1),
    join: Callable = lambda out: out.transpose(1, 2).flatten(2),
    heads: Callable = lambda n_heads: n_heads,
) -> Callable:
    """Attention, one of whose steps may be replaced."""

    def answer(q, k, v, n_heads, bias):
        q, k, v = (cut(x, heads(n_heads)) for x in (q, k, v))
        return join(weigh(score(q, k), bias) @ v)

    return answer


def attention_by_einsum(q, k, v, n_heads, bias):
    q, k, v = (x.view(*x.shape[:2], n_heads, -1) for x in (q, k, v))
    weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", q, k) + bias, dim=3)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(len(q), q.shape[1], -1)


def attention_by_loop(q, k, v, n_heads, bias):
    width, found = q.shape[2] // n_heads, []
    for head in range(n_heads):
        part = slice(head * width, (head + 1) * width)
        scores = q[..., part] @ k[..., part].transpose(1, 2) + bias[:, head]
        found.append(scores.softmax(dim=2) @ v[..., part])
    return torch.cat(found, dim=2)


ATTENTION = Exercise(
    reference=attention,
    cases=attention_cases,
    returns=["the output"],
    right=[
        attending(),
        attention_by_einsum,
        attention_by_loop,
        lambda q, k, v, n, bias: attending(
            score=lambda q, k: F.linear(q, torch.eye(q.shape[-1])) @ k.mT
        )(q, k, v, n, bias),
    ],
    mistakes=[
        (
            attending(score=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5),
            "scores divided by the root of the width. T5 does not do that; its query weights "
            "start smaller.",
        ),
        (
            attending(score=lambda q, k: q @ k.mT / q.shape[-1]),
            "scores divided by the width. T5 divides by nothing.",
        ),
        (attending(weigh=lambda scores, bias: scores.softmax(-1)), "the bias is not used."),
        (
            attending(weigh=lambda scores, bias: scores.softmax(-1) + bias),
            "the bias is added after the softmax. It belongs to the scores.",
        ),
        (
            attending(weigh=lambda scores, bias: scores.softmax(-1) * bias.exp()),
            "the softmax is taken before the bias is there: the weights no longer add up to 1.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores + bias).softmax(dim=-2)),
            "a softmax over queries. Each query shares its attention among the *keys*: `dim=-1`.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores + bias).softmax(dim=1)),
            "a softmax over the heads. `dim=-1` runs over the keys.",
        ),
        (
            attending(weigh=lambda scores, bias: scores + bias),
            "the softmax is missing.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores + bias).sigmoid()),
            "a sigmoid. The weights of a query add up to 1: a softmax.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores - bias).softmax(dim=-1)),
            "the bias is subtracted. It is added.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores * bias).softmax(dim=-1)),
            "scores times the bias. It is added.",
        ),
        (
            attending(cut=lambda x, n: x.reshape(len(x), n, x.shape[1], -1)),
            "`view` or `reshape` straight to [batch, heads, tokens, width] mixes tokens: first "
            "`unflatten(-1, (n_heads, -1))`, then `transpose(1, 2)`.",
        ),
        *(
            (
                attending(cut=lambda x, n: x.unflatten(-1, (-1, n)).movedim(3, 1), join=join),
                "heads are cut as every n-th feature. The first head has the first features: "
                "`unflatten(-1, (n_heads, -1))`.",
            )
            for join in (
                lambda out: out.transpose(1, 2).flatten(2),
                lambda out: out.movedim(1, 3).flatten(2),
            )
        ),
        (
            attending(join=lambda out: out.flatten(1, 2).reshape(len(out), out.shape[2], -1)),
            "heads are joined without `transpose(1, 2)`, which mixes tokens.",
        ),
        (
            attending(join=lambda out: out),
            "the heads still stand apart: `.transpose(1, 2).flatten(2)` joins them.",
        ),
        (
            attending(join=lambda out: out.mean(dim=1)),
            "a mean over heads. Put them side by side.",
        ),
        (
            attending(heads=lambda n: 1, weigh=lambda s, b: (s + b[:, :1]).softmax(-1)),
            "one head for everything: `n_heads` is not used.",
        ),
        (
            lambda q, k, v, n, bias: ((q @ k.mT)[:, None] + bias).softmax(-1).mean(1) @ v,
            "all heads have the same scores, those of all features. Cut q, k and v into heads "
            "first.",
        ),
        (
            lambda q, k, v, n, bias: attention(q, v, k, n, bias),
            "keys and values in each other's place.",
        ),
        (
            attending(score=lambda q, k: q @ k),
            "`q @ k` multiplies tokens with features. Transpose the keys: `k.transpose(2, 3)`.",
        ),
        (
            attending(weigh=lambda scores, bias: (scores + bias).softmax(-1).detach()),
            "the weights are detached: queries and keys would never learn.",
        ),
    ],
)

# 6.4 A block: a class whose weights have given names, called with x, bias, memory, memory_bias


WEIGHTS = ("norm1", "q", "k", "v", "o", "norm2", "cross_q", "cross_k", "cross_v", "cross_o")
WEIGHTS += ("norm3", "wi", "wo")


def block_cases(generator: Generator) -> list[Case]:
    """(rows, tokens, tokens of the memory, d_model, d_ff, heads, d_head). Without a memory, the
    block of an encoder.
    """
    cases = []
    for batch, n, n_memory, d_model, d_ff, heads, d_head in [
        (1, 2, 0, 2, 2, 1, 2),
        (1, 2, 3, 2, 3, 1, 2),
        (2, 3, 4, 4, 6, 2, 3),
    ]:

        def draw(*shape):
            return tenths(torch.randn(*shape, generator=generator))

        inner, decoder = heads * d_head, n_memory > 0
        shapes = {name: (inner, d_model) for name in WEIGHTS if name[-1] in "qkv"}
        shapes |= {"o": (d_model, inner), "cross_o": (d_model, inner)}
        shapes |= {"wi": (d_ff, d_model), "wo": (d_model, d_ff)}
        shapes |= {name: (d_model,) for name in WEIGHTS if name.startswith("norm")}
        weights = {
            f"{name}.weight": draw(*shapes[name])
            for name in WEIGHTS
            if decoder or not (name.startswith("cross") or name == "norm2")
        }
        bias = draw(1, heads, n, n)
        memory_bias = torch.zeros(batch, 1, 1, n_memory)
        if decoder:
            bias = bias.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            memory_bias[0, ..., 0] = -torch.inf
        cases.append(
            {
                "sizes": (d_model, d_ff, heads, d_head),
                "weights": weights,
                "x": draw(batch, n, d_model).requires_grad_(),
                "bias": bias,
                "memory": draw(batch, n_memory, d_model) if decoder else None,
                "memory_bias": memory_bias if decoder else None,
            }
        )
    return cases


def with_weights(answer: Callable) -> Callable:
    """Builds the block, gives it weights, and calls it."""

    @wraps(answer, updated=())
    def use(sizes, weights, x, bias, memory, memory_bias):
        block = answer(*sizes, memory is not None)
        block.load_state_dict(weights)
        return block(x, bias, memory, memory_bias)

    return use


class Block(nn.Module):
    """Self-attention, cross-attention to a memory in a decoder, feed-forward."""

    def __init__(self, d_model: int, d_ff: int, n_heads: int, d_head: int, decoder: bool):
        super().__init__()
        self.n_heads, self.decoder, inner = n_heads, decoder, n_heads * d_head
        self.norm1, self.norm3 = nn.RMSNorm(d_model, 1e-6), nn.RMSNorm(d_model, 1e-6)
        self.q, self.k, self.v = (nn.Linear(d_model, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, d_model, bias=False)
        if decoder:
            self.norm2 = nn.RMSNorm(d_model, 1e-6)
            self.cross_q = nn.Linear(d_model, inner, bias=False)
            self.cross_k = nn.Linear(d_model, inner, bias=False)
            self.cross_v = nn.Linear(d_model, inner, bias=False)
            self.cross_o = nn.Linear(inner, d_model, bias=False)
        self.wi = nn.Linear(d_model, d_ff, bias=False)
        self.wo = nn.Linear(d_ff, d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
    ) -> Tensor:
        h = self.norm1(x)
        x = x + self.o(attention(self.q(h), self.k(h), self.v(h), self.n_heads, bias))
        if self.decoder:
            q, k, v = self.cross_q(self.norm2(x)), self.cross_k(memory), self.cross_v(memory)
            x = x + self.cross_o(attention(q, k, v, self.n_heads, memory_bias))
        return x + self.wo(F.relu(self.wi(self.norm3(x))))


def pre_norm(x: Tensor, norm: Callable, part: Callable) -> Tensor:
    return x + part(norm(x))


def block_with(
    around: Callable = pre_norm,
    around_only: tuple[str, ...] = ("self", "cross", "ff"),
    activation: Callable = F.relu,
    memory_of: Callable = lambda self, x, memory: memory,
    bias_of: Callable = lambda bias, memory_bias: memory_bias,
    own_bias: Callable = lambda bias: bias,
    order: tuple[str, ...] = ("self", "cross", "ff"),
    norm_of: Callable = lambda self, name: getattr(self, name),
    keys_of: Callable = lambda self, h: h,
    queries_of: Callable = lambda self, before, h: h,
    ff: Callable | None = None,
    exchanged: bool = False,
    reads_first: bool = False,
) -> type:
    """A block, one of whose steps may be replaced; `around` in the parts of `around_only`."""

    class Other(Block):
        def forward(self, x, bias, memory=None, memory_bias=None):
            before = x

            def self_part(h):
                k = keys_of(self, h)
                out = attention(self.q(h), self.k(k), self.v(k), self.n_heads, own_bias(bias))
                return self.o(out)

            def cross_part(h):
                read, h = memory_of(self, h, memory), queries_of(self, before, h)
                if exchanged:
                    read, h = h, read
                q, k, v = self.cross_q(h), self.cross_k(read), self.cross_v(read)
                return self.cross_o(attention(q, k, v, self.n_heads, bias_of(bias, memory_bias)))

            def ff_part(h):
                return ff(self, h) if ff else self.wo(activation(self.wi(h)))

            parts = {
                "self": ("norm1", self_part),
                "cross": ("norm2", cross_part),
                "ff": ("norm3", ff_part),
            }
            for name in order:
                if name != "cross" or self.decoder:
                    norm, part = parts[name]
                    add = around if name in around_only else pre_norm
                    if reads_first:
                        x = x + part(norm_of(self, norm)(before))
                    else:
                        x = add(x, norm_of(self, norm), part)
            return x

    Other.__name__ = Other.__qualname__ = "Block"
    return Other


PART_NAMES = {"self": "self-attention", "cross": "cross-attention", "ff": "feed-forward part"}
NAMES = "The weights have the names of the list in the text, since lines below fill them by name."

BLOCK = Exercise(
    reference=Block,
    cases=block_cases,
    returns=["the output"],
    use=with_weights,
    right=[block_with()],
    mistakes=[
        (
            block_with(around=lambda x, norm, part: x + part(x)),
            "no norm: every part reads `norm(x)`.",
        ),
        (
            block_with(around=lambda x, norm, part: norm(x + part(x))),
            "the norm comes after the part. It comes before: `x + part(norm(x))`.",
        ),
        (
            block_with(around=lambda x, norm, part: x + norm(part(x))),
            "what a part returns is normed. It should be what the part reads.",
        ),
        (
            block_with(around=lambda x, norm, part: part(norm(x))),
            "x is replaced. Every part *adds* to it: `x = x + ...`.",
        ),
        (
            block_with(reads_first=True),
            "every part reads the first x. Each reads the x that the part before has left.",
        ),
        *(
            (
                block_with(around=lambda x, norm, part: part(norm(x)), around_only=(part,)),
                f"the {name} replaces x. Every part *adds* to it: `x = x + ...`.",
            )
            for part, name in PART_NAMES.items()
        ),
        *(
            (
                block_with(around=lambda x, norm, part: norm(x + part(x)), around_only=(part,)),
                f"the norm comes after the {name}. It comes before: `x + part(norm(x))`.",
            )
            for part, name in PART_NAMES.items()
        ),
        *(
            (
                block_with(around=lambda x, norm, part: x + part(x), around_only=(part,)),
                f"no norm before the {name}: every part reads `norm(x)`.",
            )
            for part, name in PART_NAMES.items()
        ),
        (
            block_with(around=lambda x, norm, part: norm(x) + part(norm(x))),
            "added to the normed x. Add to x itself; only the part reads the normed one.",
        ),
        (
            block_with(activation=lambda x: x),
            "the ReLU is missing between the two linear layers.",
        ),
        (block_with(activation=F.gelu), "a GELU. This T5 has a ReLU."),
        (
            block_with(ff=lambda self, h: F.relu(self.wo(self.wi(h)))),
            "the ReLU comes after `wo`. It stands between the two linear layers.",
        ),
        (
            block_with(queries_of=lambda self, before, h: self.norm1(before)),
            "cross-attention asks with the x from before self-attention. Norm the new x with "
            "`norm2`.",
        ),
        (
            block_with(exchanged=True),
            "the memory asks, and x answers. Queries come from x, keys and values from the memory.",
        ),
        (
            block_with(memory_of=lambda self, x, memory: x, bias_of=lambda bias, other: bias),
            "cross-attention looks at the decoder's own tokens. Keys and values come from the "
            "memory.",
        ),
        (
            block_with(memory_of=lambda self, x, memory: self.norm2(memory)),
            "the memory is normed again. The encoder has done it; only x is normed here.",
        ),
        (
            block_with(bias_of=lambda bias, memory_bias: torch.zeros(1)),
            "`memory_bias` is not used: the decoder looks at pads of the history.",
        ),
        (
            block_with(own_bias=lambda bias: torch.zeros(1)),
            "self-attention is not given `bias`: no order, and nothing is causal.",
        ),
        (
            block_with(order=("cross", "self", "ff")),
            "cross-attention before self-attention. It comes second.",
        ),
        (block_with(order=("self", "ff", "cross")), "feed-forward comes last."),
        (block_with(order=("self", "ff")), "the cross-attention of a decoder is missing."),
        (block_with(order=("self", "cross")), "the feed-forward part is missing."),
        (block_with(order=("cross", "ff")), "the self-attention is missing."),
        (
            block_with(norm_of=lambda self, name: self.norm1),
            "one norm for all parts. Each has its own: `norm1`, `norm2`, `norm3`.",
        ),
    ],
    stops={
        '.bias"': "No linear layer has a bias: `bias=False`.",
        "Missing key": NAMES,
        "Unexpected key": f"An encoder's block has no cross-attention. {NAMES}",
        "size mismatch": "q, k and v are `n_heads * d_head` wide, and `o` leads back.",
        "__init__()": "`super().__init__()` is the first line of `__init__`.",
    },
)

# 6.5 The ranking-guided loss: logits [batch, T, V], targets [batch, T], -100 ignored, tau -> scalar

IGNORED = -100


def loss_cases(generator: Generator) -> list[Case]:
    """(batch, places, vocabulary, ignored, tau, scale).

    The first has two places: with one, logits that are flattened too far stop only backward. It has
    more tokens than places: a square table may be turned without an error. In the last but one
    `exp` of a logit is infinite. Logits require a gradient.
    """
    cases = []
    for batch, length, vocabulary, ignored, tau, scale in [
        (1, 2, 3, 0, 1.0, 1),
        (1, 1, 3, 0, 0.5, 1),
        (1, 2, 3, 1, 2.0, 1),
        (2, 2, 4, 1, 0.5, 100),
        (6, 5, 9, 11, 0.6, 1),
    ]:
        logits = tenths(2 * torch.randn(batch, length, vocabulary, generator=generator)) * scale
        targets = torch.randint(vocabulary, (batch, length), generator=generator)
        order = torch.randperm(batch * length, generator=generator)
        targets.view(-1)[order[:ignored]] = IGNORED
        if ignored > 1:
            targets.view(-1)[order[-1]] = 0  # token 0 counts, whatever a mask says
        cases.append({"logits": logits.requires_grad_(), "targets": targets, "tau": tau})
    return cases


def ranking_loss(logits: Tensor, targets: Tensor, tau: float) -> Tensor:
    counted = targets != IGNORED
    logs = (logits[counted] / tau).log_softmax(dim=-1)
    return -logs.gather(1, targets[counted][:, None]).mean()


def loss_with(
    scale: Callable = lambda x, tau: x / tau,
    log: Callable = lambda x: x.log_softmax(dim=2),
    counts: Callable = lambda targets: targets != IGNORED,
    join: Callable = lambda each, counted: each[counted].mean(),
    after: Callable = lambda loss, tau: loss,
) -> Callable:
    """A ranking-guided loss, one of whose steps may be replaced."""

    def answer(logits, targets, tau):
        logs = log(scale(logits, tau)).gather(2, targets.clamp(min=0)[..., None])[..., 0]
        return after(join(-logs, counts(targets)), tau)

    return answer


def entropy_of(logits: Callable) -> Callable:
    """`cross_entropy` of other logits. logits: (logits, tau) -> [..., V]."""
    return lambda x, t, tau: F.cross_entropy(logits(x, tau).flatten(0, 1), t.flatten())


def loss_by_loop(logits, targets, tau):
    found = []
    for row, wanted in zip(logits, targets):
        for one, token in zip(row, wanted):
            if token != IGNORED:
                found.append(-F.log_softmax(one / tau, dim=0)[token])
    return torch.stack(found).mean()


def by_hand(total: Callable, tau_of_total: bool = True) -> Callable:
    """The loss as logarithm of a sum minus the target's logit. total: (scaled logits, target) ->
    logarithm of the sum.
    """

    def answer(logits, targets, tau):
        counted = targets != IGNORED
        x, own = logits[counted], targets[counted][:, None]
        sums = total(x / tau if tau_of_total else x, own)
        return (sums - x.gather(1, own)[:, 0] / tau).mean()

    return answer


def logsumexp(x, own):
    return x.logsumexp(dim=1)


def picked_before_the_mask(pick: Callable) -> Callable:
    def answer(logits, targets, tau):
        logs = (logits / tau).log_softmax(dim=2)
        return -pick(logs, targets)[targets != IGNORED].mean()

    return answer


def of_places(pick: Callable) -> Callable:
    """pick: (logarithms [places that count, V], their targets) -> what the mean is taken of."""

    def answer(logits, targets, tau):
        counted = targets != IGNORED
        return -pick((logits[counted] / tau).log_softmax(dim=1), targets[counted]).mean()

    return answer


def next_place(logits, targets, tau):
    return ranking_loss(logits[:, :-1], targets[:, 1:], tau)


NOT_FINITE = "`exp` of a large number, or a logarithm of 0. `log_softmax` takes care of both."
SMALL = "a small number is added before the logarithm. `log_softmax` needs none."
EACH = "one number per place. Take the mean of those that count."
MASK_FIRST = "-100 marks places to leave out, and is no index: mask first."
LAST = "a softmax along the wrong dimension. The vocabulary is the last one."

RANKING_LOSS = Exercise(
    reference=ranking_loss,
    library=ranking_guided_loss,
    cases=loss_cases,
    returns=["the loss"],
    right=[
        by_hand(logsumexp),
        loss_by_loop,
        loss_with(),
        entropy_of(lambda x, tau: x / tau),
        lambda x, t, tau: F.cross_entropy((x / tau).transpose(1, 2), t),
        lambda x, t, tau: ranking_loss(x.double(), t, tau),
    ],
    mistakes=[
        (loss_with(scale=lambda x, tau: x), "tau is not used."),
        (loss_with(scale=lambda x, tau: x * tau), "logits *times* tau. The loss divides by it."),
        (
            loss_with(scale=lambda x, tau: x, after=lambda loss, tau: loss / tau),
            "the loss divided by tau. The logits are divided, before the softmax.",
        ),
        (
            loss_with(scale=lambda x, tau: x, after=lambda loss, tau: loss + math.log(tau)),
            "probabilities divided by tau, after the softmax. The logits are divided, before it.",
        ),
        (
            loss_with(scale=lambda x, tau: x, after=lambda loss, tau: loss * tau),
            "the loss times tau. The logits are divided by it, before the softmax.",
        ),
        (loss_with(after=lambda loss, tau: loss * tau), "times tau, on top of the division."),
        (
            loss_with(after=lambda loss, tau: loss / tau),
            "divided by tau twice, before the softmax and after it. Once, before it.",
        ),
        (by_hand(logsumexp, tau_of_total=False), "tau divides the target's logit alone."),
        (
            entropy_of(lambda x, tau: x / tau**0.5),
            "logits divided by the root of tau. Divide by tau itself.",
        ),
        (
            lambda x, t, tau: F.cross_entropy(x[:, -1] / tau, t[:, -1]),
            "the last place alone. All places count whose target is not -100.",
        ),
        (loss_with(after=lambda loss, tau: -loss), "the sign: *minus* the logarithm."),
        (loss_with(join=lambda each, _: each.mean()), "ignored targets are counted as token 0."),
        (
            loss_with(join=lambda each, counted: (each * counted).mean()),
            "divided by the number of all places. Divide by the number that count.",
        ),
        (
            loss_with(join=lambda each, counted: (each * counted).sum()),
            "a sum. The loss is a mean over the targets that count.",
        ),
        (
            loss_with(join=lambda each, counted: (each * counted).sum() / len(each)),
            "divided by the number of rows. Divide by the number of places that count.",
        ),
        (
            loss_with(
                join=lambda each, counted: ((each * counted).sum(1) / counted.sum(1)).nanmean()
            ),
            "a mean per row, then a mean of means: rows with fewer targets then weigh more.",
        ),
        *(
            (loss_with(join=join), EACH)
            for join in (
                lambda each, counted: each,
                lambda each, counted: each * counted,
                lambda each, counted: each.flatten(),
                lambda each, counted: (each * counted).flatten(),
                lambda each, counted: each[counted],
            )
        ),
        (loss_with(counts=lambda targets: targets > 0), "token 0 left out. Only -100 is ignored."),
        *((loss_with(log=lambda x, dim=dim: x.log_softmax(dim)), LAST) for dim in (0, 1)),
        (
            loss_with(log=lambda x: x),
            "the target's logit alone. The sum over all tokens is missing.",
        ),
        (loss_with(log=lambda x: x.softmax(dim=2)), "the probability without its logarithm."),
        (
            by_hand(lambda x, own: x.scatter(1, own, -torch.inf).logsumexp(dim=1)),
            "the target is left out of the sum, which runs over all tokens.",
        ),
        *(
            (loss_with(log=lambda x, small=small: (x.softmax(dim=2) + small).log()), SMALL)
            for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
        ),
        *(
            (loss_with(log=log), NOT_FINITE)
            for log in (
                lambda x: x.softmax(dim=2).log(),
                lambda x: (x.exp() / x.exp().sum(dim=2, keepdim=True)).log(),
                lambda x: x - x.exp().sum(dim=2, keepdim=True).log(),
            )
        ),
        (
            loss_with(log=lambda x: x.log_softmax(dim=2) / torch.tensor(2.0).log()),
            "a logarithm to base 2. The formula has the natural one, `log`.",
        ),
        (
            entropy_of(lambda x, tau: (x / tau).softmax(dim=2)),
            "a second softmax: `cross_entropy` takes logits.",
        ),
        (
            entropy_of(lambda x, tau: x.softmax(dim=2) / tau),
            "probabilities divided by tau, and a second softmax: divide the logits.",
        ),
        (
            lambda x, t, tau: F.cross_entropy(x / tau, t),
            "`cross_entropy` wants [places, vocabulary]: flatten the first two dimensions.",
        ),
        *(
            (
                lambda x, t, tau, flat=flat: F.cross_entropy(*flat(x / tau, t)),
                "other places than targets: `logits.flatten(0, 1)`, `targets.flatten()`.",
            )
            for flat in (
                lambda x, t: (x.flatten(), t.flatten()),
                lambda x, t: (x.flatten(0, 1), t),
                lambda x, t: (x.view(-1, t.shape[1]), t.flatten()),
            )
        ),
        (
            lambda x, t, tau: F.cross_entropy((x / tau).flatten(0, 1), t.flatten(), ignore_index=0),
            "`ignore_index=0`, which leaves out token 0. -100 is left out by itself.",
        ),
        *(
            (of_places(pick), text)
            for pick, text in [
                (lambda logs, t: logs[:, t], "every target at every place. Each has its own."),
                (lambda logs, t: logs.amax(dim=1), "the likeliest token. Take the target's."),
                (lambda logs, t: logs, "a mean over all tokens. Take the target's alone."),
            ]
        ),
        *(
            (picked_before_the_mask(pick), MASK_FIRST)
            for pick in (
                lambda logs, t: logs.gather(2, t[..., None])[..., 0],
                lambda logs, t: (logs * F.one_hot(t, logs.shape[2])).sum(dim=2),
                lambda logs, t: logs[torch.arange(len(t))[:, None], torch.arange(t.shape[1]), t],
            )
        ),
        (next_place, "targets moved by one place. They are aligned with the logits already."),
        (by_hand(lambda x, own: x.detach().logsumexp(dim=1)), "a part of the formula is detached."),
    ],
)

# 6.6 The weights of the negatives: logits [n, V], targets [n], tau -> [n, V], 0 at the target


def weight_cases(generator: Generator) -> list[Case]:
    """(rows, vocabulary, tau), one negative first; before the largest, logits that are lower than
    what many take for minus infinity, and logits whose `exp` is infinite.
    """
    cases = []
    for n, vocabulary, tau in [(1, 2, 1.0), (1, 3, 0.5), (2, 4, 2.0), (12, 9, 0.6)]:
        logits = tenths(2 * torch.randn(n, vocabulary, generator=generator))
        targets = torch.randint(vocabulary, (n,), generator=generator)
        cases.append({"logits": logits, "targets": targets, "tau": tau})
    for row, tau in [([-120.0, -110.0, -130.0], 2.0), ([100.0, 99.0, 98.0], 1.0)]:
        case = {"logits": torch.tensor([row]), "targets": torch.tensor([1]), "tau": tau}
        cases.insert(-1, case)
    return cases


def weights(logits: Tensor, targets: Tensor, tau: float) -> Tensor:
    without = logits.scatter(1, targets[:, None], -torch.inf)
    return (without / tau).softmax(dim=1)


def at(targets: Tensor, logits: Tensor) -> Tensor:
    """True at each row's target."""
    return F.one_hot(targets, logits.shape[1]).bool()


def filled(value: float, change: Callable = lambda p, here: p) -> Callable:
    """A softmax with another logit at the target. change: (weights, where the target is)."""

    def answer(logits, targets, tau):
        here = at(targets, logits)
        return change((logits.masked_fill(here, value) / tau).softmax(dim=1), here)

    return answer


def of_softmax(change: Callable) -> Callable:
    """Weights made of all tokens' probabilities. change: (p, where the target is, tau)."""
    return lambda x, t, tau: change((x / tau).softmax(dim=1), at(t, x), tau)


def of_weights(change: Callable) -> Callable:
    """The right weights, changed. change: (weights, where the target is, tau)."""
    return lambda x, t, tau: change(weights(x, t, tau), at(t, x), tau)


def of_gradient(change: Callable) -> Callable:
    """Weights made of the gradient times tau. change: (gradient, where the target is, tau)."""
    return of_softmax(lambda p, here, tau: change(p - here.float(), here, tau))


def divided(table):
    return table / table.sum(dim=1, keepdim=True)


def weights_by_autograd(logits, targets, tau):
    logits = logits.clone().requires_grad_()
    F.cross_entropy(logits / tau, targets, reduction="sum").backward()
    gradient = logits.grad.clone()
    gradient[torch.arange(len(targets)), targets] = 0
    return divided(gradient)


def weights_by_softmax(logits, targets, tau):
    return divided((logits / tau).softmax(dim=1).scatter(1, targets[:, None], 0))


def weights_of_what_is_left(logits, targets, tau):
    found = torch.zeros_like(logits)
    for row, target in enumerate(targets.tolist()):
        others = [token for token in range(logits.shape[1]) if token != target]
        found[row, others] = F.softmax(logits[row, others] / tau, dim=0)
    return found


def exponentials(logits, targets, tau):
    return (logits / tau).exp() * ~at(targets, logits)


def naive(logits, targets, tau):
    return divided(exponentials(logits, targets, tau))


def divided_by_almost_nothing(actual, expected, case):
    """Whether weights are of the size that only a sum of 0 but for rounding gives."""
    return bool((actual.abs() > 1e3).any())


GRADIENT = "the gradient itself, target included. Negatives alone, as shares."
SUM_OF_0 = (
    "divided by the sum of the whole row. With the target in it, a row of the gradient adds up to "
    "0: take the target out first."
)
STILL_0 = (
    "a logit of 0 at the target still gets weight, or takes part in the sum. Use `-torch.inf`."
)
STILL_LOW = (
    "-100 at the target: next to low logits it still gets weight, or takes part in the sum. Use "
    "`-torch.inf`."
)
TAU_LATE = "tau divides after the softmax. It divides the logits, before it: rows add up to 1."
NO_TAU = "tau is not used, or divides where it cancels again. It divides the logits."
TIMES_0 = (
    "`torch.inf` at the target, which should be minus infinity, or infinity times 0, as in "
    "`torch.inf * mask`. `masked_fill` multiplies nothing."
)
OF_BATCH = "shares of the whole batch. Each row adds up to 1."

NEGATIVE_WEIGHTS = Exercise(
    reference=weights,
    library=negative_weights,
    cases=weight_cases,
    returns=["the table of weights"],
    right=[
        weights_by_autograd,
        weights_by_softmax,
        weights_of_what_is_left,
        lambda x, t, tau: (x.scatter(1, t[:, None], -torch.inf) / tau).log_softmax(1).exp(),
        lambda x, t, tau: weights(x.double(), t, tau),
        filled(torch.finfo(torch.float32).min),
        filled(-1e9),
        filled(-1e4),
    ],
    mistakes=[
        (
            of_softmax(lambda p, here, tau: p),
            "the target has its probability as well. It is no negative: 0 there, and the others "
            "add up to 1.",
        ),
        (
            of_softmax(lambda p, here, tau: p * ~here),
            "the target is out, but the rest adds up to less than 1. Divide by its sum.",
        ),
        (
            of_softmax(lambda p, here, tau: p / (1 - p[here])[:, None]),
            "divided rightly, but the target still has weight. It gets 0.",
        ),
        (
            of_softmax(lambda p, here, tau: p * ~here / tau),
            "the gradient itself. Its shares add up to 1.",
        ),
        (of_gradient(lambda g, here, tau: g / tau), GRADIENT),
        (of_gradient(lambda g, here, tau: g), GRADIENT),
        (of_gradient(lambda g, here, tau: divided(g)), SUM_OF_0),
        (of_gradient(lambda g, here, tau: divided(g) * ~here), SUM_OF_0),
        (of_gradient(lambda g, here, tau: g / -g[here][:, None]), "the target has -1. It gets 0."),
        (
            of_gradient(lambda g, here, tau: F.normalize(g.abs(), p=1, dim=1)),
            "shares of all pulls, the target's own among them. It is no negative: 0 there.",
        ),
        (lambda x, t, tau: weights(x, t, 1.0), NO_TAU),
        (lambda x, t, tau: weights(x, t, 1 / tau), "logits *times* tau. The loss divides by it."),
        (lambda x, t, tau: weights(x, t, 1.0) / tau, TAU_LATE),
        (lambda x, t, tau: x.softmax(dim=1) * ~at(t, x) / tau, TAU_LATE),
        (lambda x, t, tau: (x.softmax(dim=1) - at(t, x).float()) / tau, TAU_LATE),
        (of_weights(lambda w, here, tau: w / tau), "divided by tau once more. Shares add up to 1."),
        (filled(0.0), STILL_0),
        (filled(0.0, lambda p, here: p * ~here), STILL_0),
        (filled(-100.0), STILL_LOW),
        (filled(-100.0, lambda p, here: p * ~here), STILL_LOW),
        (lambda x, t, tau: weights(-x, t, tau), "the sign: a *high* logit gets much."),
        (
            lambda x, t, tau: (x.masked_fill(at(t, x), -torch.inf) / tau).softmax(dim=0),
            "a softmax down the columns. Each row is a case.",
        ),
        (
            of_weights(lambda w, here, tau: w.sort(descending=True).values),
            "sorted. Leave each at its token.",
        ),
        (of_weights(lambda w, here, tau: w.log()), "logarithms of the weights."),
        (
            lambda x, t, tau: divided(x.scatter(1, t[:, None], -torch.inf) / tau),
            "logits divided by their sum. Take a softmax of them.",
        ),
        (
            of_softmax(lambda p, here, tau: p * ~here / (p * ~here).sum(dim=1)),
            "`keepdim=True` is missing: the sums have to stand in a column, one for each row.",
        ),
        (
            of_softmax(lambda p, here, tau: p * ~here / (p * ~here).sum(dim=0)),
            "sums of columns. Each row is a case: `sum(dim=1, keepdim=True)`.",
        ),
        (
            lambda x, t, tau: (x.scatter(1, t, -torch.inf) / tau).softmax(dim=1),
            "`scatter` wants a column of targets: `targets[:, None]`.",
        ),
        (
            lambda x, t, tau: (x.index_fill(0, t, -torch.inf) / tau).softmax(dim=1),
            "`logits[targets]`, which are whole rows. One place in each row is "
            "`logits[torch.arange(len(targets)), targets]`.",
        ),
        (of_weights(lambda w, here, tau: w / w.sum()), OF_BATCH),
        (of_softmax(lambda p, here, tau: p * ~here / (p * ~here).sum()), OF_BATCH),
        (exponentials, "exponentials, not yet divided by the sum of their row."),
        (
            naive,
            "`exp` of a large number is infinite, and infinity divided by itself is no number. "
            "`softmax` takes care of it.",
        ),
        (
            lambda x, t, tau: (x / tau).index_fill(1, t, -torch.inf).softmax(dim=1),
            "the targets of all rows are out of every row. Each row has one target, its own.",
        ),
        (lambda x, t, tau: ((x - torch.inf * at(t, x)) / tau).softmax(dim=1), TIMES_0),
        (
            of_weights(lambda w, here, tau: w[~here].view(len(w), -1)),
            "the target's column is gone. Keep it, with 0.",
        ),
        (
            of_weights(lambda w, here, tau: ~here / (w.shape[1] - 1.0)),
            "the same weight for all. The logits decide.",
        ),
        (
            lambda x, t, tau: (x.masked_fill(~at(t, x), -torch.inf) / tau).softmax(dim=1),
            "the negatives are out, and the target is left. It is the other way round.",
        ),
    ],
    clues=[
        (
            divided_by_almost_nothing,
            SUM_OF_0,
            of_gradient(lambda g, here, tau: g / tau / (g / tau).sum(dim=1)[:, None]),
        ),
    ],
)

# 6.7 Partial AUC: positive [n], negatives [n, m], k -> share of the k hardest below, ties half, [n]


def auc_cases(generator: Generator) -> list[Case]:
    """One negative, above; ties on which every mistake below differs; two ties of one positive;
    ties beyond the k hardest; then at random (cases, negatives, k).
    """
    cases = [
        {"positive": torch.tensor(positive), "negatives": torch.tensor(negatives), "k": k}
        for positive, negatives, k in [
            ([0.0], [[1.0]], 1),
            ([2.0, 2], [[2.0, 1, 0, 1, 1], [3, 0, 2, 0, 4]], 3),
            ([2.0], [[2.0, 1, 2, 3]], 4),
            ([2.0], [[3.0, 2, 2, 2, 2, 0]], 4),
        ]
    ]
    for n, m, k in [(2, 4, 2), (3, 5, 5), (25, 12, 4)]:
        scores = torch.randint(-6, 7, (n, m + 1), generator=generator).float()
        negatives = scores[:, 1:].contiguous()
        cases.append({"positive": scores[:, 0] + 2, "negatives": negatives, "k": k})
    return cases


def auc(positive: Tensor, negatives: Tensor, k: int) -> Tensor:
    hardest, own = negatives.topk(k, dim=1).values, positive[:, None]
    return ((hardest < own).float() + 0.5 * (hardest == own).float()).mean(dim=1)


def half_ties(hardest: Tensor, own: Tensor) -> Tensor:
    return ((hardest < own).float() + 0.5 * (hardest == own).float()).mean(dim=1)


def auc_with(
    share: Callable = half_ties,
    chosen: Callable = lambda negatives, k: negatives.topk(k, dim=1).values,
) -> Callable:
    """A partial AUC, one of whose steps may be replaced. share: (hardest, positive [n, 1])."""
    return lambda positive, negatives, k: share(chosen(negatives, k), positive[:, None])


def auc_by_sort(positive, negatives, k):
    hardest = negatives.sort(dim=1, descending=True).values[:, :k]
    return (torch.sign(positive[:, None] - hardest).mean(dim=1) + 1) / 2


def auc_by_loop(positive, negatives, k):
    found = []
    for own, row in zip(positive.tolist(), negatives.tolist()):
        wins = [1.0 if x < own else 0.5 if x == own else 0.0 for x in sorted(row)[-k:]]
        found.append(sum(wins) / k)
    return torch.tensor(found, dtype=torch.float64)


def all_ties_counted(positive, negatives, k):
    above = (negatives > positive[:, None]).sum(dim=1)
    equal = (negatives == positive[:, None]).sum(dim=1)
    return ((k - above - 0.5 * equal) / k).clamp(min=0)


ANY = "whether any is beaten, not the share."
MARGIN = "by how much, not how many. Count the negatives below."
FEWER, MORE = "k - 1 negatives took part. k should.", "k + 1 negatives took part. k should."

PARTIAL_AUC = Exercise(
    reference=auc,
    cases=auc_cases,
    returns=["the shares"],
    right=[auc_by_sort, auc_by_loop],
    mistakes=[
        (lambda p, n, k: 1 - auc(p, n, k), "the share of negatives *above* the positive."),
        (auc_with(lambda x, own: (x < own).float().mean(dim=1)), "ties count as lost, not half."),
        (auc_with(lambda x, own: (x <= own).float().mean(dim=1)), "ties count as won, not half."),
        (
            auc_with(lambda x, own: ((x < own).float() + 0.5 * (x <= own).float()).mean(dim=1)),
            "a win counts one and a half: `>=` holds for it as well. A tie is `==`.",
        ),
        (
            auc_with(lambda x, own: ((x < own).sum(1) + 0.5 * (x == own).any(1)) / x.shape[1]),
            "half a point for a row with ties. *Each* tie counts half.",
        ),
        (all_ties_counted, "ties beyond the k hardest were counted. Only those among them count."),
        (auc_with(chosen=lambda n, k: n), "all negatives: that is the AUC. Take the k highest."),
        (lambda p, n, k: (n < p[:, None]).float().mean(dim=1), "all negatives, and ties lost."),
        (
            lambda p, n, k: half_ties(n, p[:, None]) * n.shape[1] / k,
            "wins over all negatives, divided by k. Only the k hardest take part.",
        ),
        (
            auc_with(chosen=lambda n, k: n.topk(k, dim=1, largest=False).values),
            "the k *easiest* negatives. Hard is a high score.",
        ),
        (auc_with(chosen=lambda n, k: n[:, :k]), "the first k columns. `topk` finds the hardest."),
        (
            auc_with(lambda x, own: (x < own).float().mean(dim=1), lambda n, k: n[:, :k]),
            "the first k columns, and ties lost. `topk` finds the hardest; `==` finds ties.",
        ),
        (
            auc_with(
                lambda x, own: (x < own).float().mean(dim=1),
                lambda n, k: n.topk(k, dim=1, largest=False).values,
            ),
            "the k *easiest* negatives, and ties lost. Hard is a high score; a tie counts half.",
        ),
        (
            auc_with(chosen=lambda n, k: n.topk(k, dim=1).indices),
            "the columns of the hardest. Their scores are `topk(...).values`.",
        ),
        (
            auc_with(chosen=lambda n, k: n.flatten().topk(k).values[None]),
            "the k hardest of all cases together. Each row has its own.",
        ),
        (
            lambda p, n, k: auc(p, torch.cat([p[:, None], n], dim=1), k),
            "the target among the negatives, where it ties with itself.",
        ),
        (lambda p, n, k: auc_by_sort(p, n, max(1, k - 1)), FEWER),
        (lambda p, n, k: auc_by_sort(p, n, k + 1), MORE),
        (lambda p, n, k: auc(p, n, k + 1), MORE),
        (
            auc_with(chosen=lambda n, k: n.topk(k, dim=0).values),
            "`topk` down the columns. The negatives of a case stand in a row: `dim=1`.",
        ),
        (lambda p, n, k: auc(p, n, k) * k, "a count. Divide by k."),
        (lambda p, n, k: auc(p, n, k) * k / len(p), "divided by the number of cases, not by k."),
        (
            auc_with(lambda x, own: (x < own).mean(dim=1)),
            "true and false have no mean. `.float()` makes numbers of them.",
        ),
        (lambda p, n, k: auc(p, n, k) * k / n.shape[1], "divided by all negatives, not by k."),
        (lambda p, n, k: auc(p, n, k).mean(), "a mean over cases. One number per case."),
        (auc_with(lambda x, own: (x < own).any(dim=1).float()), ANY),
        (auc_with(lambda x, own: (x <= own).any(dim=1).float()), ANY),
        (
            auc_with(lambda x, own: (x < own).all(dim=1).float()),
            "whether all are beaten, not the share: `all`, or `//`, which cuts off.",
        ),
        (auc_with(lambda x, own: (x < own).all(dim=1)), "true or false. A share is a number."),
        (auc_with(lambda x, own: (x - own).mean(dim=1)), MARGIN),
        (auc_with(lambda x, own: (own - x).mean(dim=1)), MARGIN),
        (
            auc_with(lambda x, own: torch.sigmoid(own - x).mean(dim=1)),
            "a sigmoid of the margin. A win counts 1, however narrow.",
        ),
        (
            auc_with(lambda x, own: half_ties(x, own[:, 0])),
            "compare with `positive[:, None]`, a column.",
        ),
        (
            lambda p, n, k: half_ties(n.topk(k, dim=1), p[:, None]),
            "`topk` gives values and indices. Compare `topk(...).values`.",
        ),
        (
            auc_with(lambda x, own: torch.sign(own - x).mean(dim=1)),
            "a loss counts -1. Wins minus losses are brought to a share by `(... + 1) / 2`.",
        ),
    ],
)

EXERCISES = {
    "6.1": TRAINING_PAIR,
    "6.2": ATTENTION_BIAS,
    "6.3": ATTENTION,
    "6.4": BLOCK,
    "6.5": RANKING_LOSS,
    "6.6": NEGATIVE_WEIGHTS,
    "6.7": PARTIAL_AUC,
}
