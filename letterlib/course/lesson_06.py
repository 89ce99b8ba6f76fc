"""The exercises of lesson 06: a training pair, the ranking-guided loss, the weight of negatives,
partial AUC.

Logits are tenths and never tied with the target, unless a tie is what is asked about.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.analysis.negatives import negative_weights, partial_auc
from letterlib.course.checks import (
    Case,
    Exercise,
    Incorrect,
    call,
    called,
    compare,
    gradients,
    several,
)
from letterlib.course.values import close, in_words, tenths
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.generators.ranking_loss import ranking_guided_loss

IGNORED = -100


def pair_cases(generator: Generator) -> list[Case]:
    """(films in the history, length read, levels): one film with one code, then fewer, as many, and
    more than read.

    In the last a film is read twice, and the target was watched before.
    """
    cases = []
    for n, length, levels in [(1, 1, 1), (2, 3, 2), (3, 3, 2), (5, 2, 3), (9, 4, 4)]:
        codes = torch.randint(8, (12, levels), generator=generator)
        codes[:, 0] = torch.arange(
            12
        )  # every film has a first code of its own, so that no mistake passes by luck
        items = torch.randperm(12, generator=generator)[: n + 1].tolist()
        if n == 9:
            items[-1], items[-3] = items[-4], items[-5]
        tokens = torch.from_numpy(tokens_of(codes.numpy(), (12, *[8] * (levels - 1))))
        cases.append(
            {"history": items[:-1], "target": items[-1], "item_tokens": tokens, "length": length}
        )
    return cases


def pair(answer: Any, case: Case) -> None:
    """6.1: history, target, item_tokens [n_items, L], length -> what the encoder reads, the decoder
    reads, targets.
    """
    history, target, item_tokens, length = case.values()
    names = ["encoder_input", "decoder_input", "targets"]
    returned = several(call(answer, case), names, case, "tensors")
    end, levels = torch.tensor([EOS]), item_tokens.shape[1]
    own, wanted_input = (
        item_tokens[target],
        torch.cat([item_tokens[history[-length:]].flatten(), end]),
    )
    compare(names[0], returned[0], wanted_input, case, _causes_of_encoder_input(case))
    wanted = torch.cat([own, end])
    shifted = torch.cat([torch.tensor([PAD]), own])
    if close(returned[1], wanted) and close(returned[2], shifted):
        cause = "the last two changed places; the decoder's input begins with the start token."
        raise Incorrect(
            "`decoder_input` and `targets` are the wrong way round.",
            case,
            expected=[shifted, wanted],
            actual=list(returned[1:]),
            cause=cause,
        )
    causes = [
        (
            wanted,
            "the targets themselves: the decoder would read each token before it has to write it. "
            "Shift them.",
        ),
        (
            own,
            "the codes without the start token: at the first place the decoder would read the "
            "answer.",
        ),
        (torch.cat([end, own]), "starts with the end token, 1; the start token is the pad, 0."),
        (
            shifted[:-1],
            "the last code is missing: after it the decoder has to write the end token.",
        ),
        (
            torch.cat([shifted, end]),
            "the end token is read, too; nothing is written after it. One token less.",
        ),
        (
            torch.cat([wanted[1:], wanted[:1]]),
            "shifted to the left; each place should see the token *before* it.",
        ),
        (
            wanted.roll(1),
            "`roll` brings the end token to the front. The start token is the pad, 0.",
        ),
    ]
    compare(names[1], returned[1], shifted, case, causes)
    causes = [
        (own, "the end token is missing: the decoder also has to learn where to stop."),
        (shifted, "shifted as well. Only the decoder's input is shifted."),
        (torch.cat([own, torch.tensor([PAD])]), "a pad (0) at the end; the end token is 1."),
        (torch.tensor([target, EOS]), "the film's number; look up its tokens."),
        (wanted[:, None].expand(-1, levels), "one row too many."),
    ]
    compare(names[2], returned[2], wanted, case, causes)


def _causes_of_encoder_input(case: Case) -> list[tuple[Tensor, str]]:
    history, target, item_tokens, length = case.values()
    end, levels = torch.tensor([EOS]), item_tokens.shape[1]
    read = item_tokens[history[-length:]]

    def finished(items: list[int]) -> Tensor:
        return torch.cat([item_tokens[items].flatten(), end])

    return [
        (read.flatten(), "the end token is missing after the history."),
        (
            torch.cat([read.flatten(), torch.tensor([PAD])]),
            "a pad (0) at the end; the end token is 1.",
        ),
        (torch.cat([end, read.flatten()]), "the end token stands in front; it comes last."),
        (
            torch.cat([torch.tensor([PAD]), read.flatten(), end]),
            "a start token in front; only the decoder has one.",
        ),
        (finished(history), "the whole history. The model reads the last `length` films."),
        (
            finished(history[:length]),
            "the *first* films; the most recent ones are at the end of the list.",
        ),
        (
            finished(history[::-1][:length]),
            "the most recent film first. Time runs forwards: oldest first.",
        ),
        (
            finished(history[-length:][::-1]),
            "the most recent film first. Time runs forwards: oldest first.",
        ),
        (
            finished(history[:-1][-length:]),
            "the most recent film is left out; a slice up to -1 stops before it.",
        ),
        (
            finished(history[-length:][:-1]),
            "the most recent film is left out; a slice up to -1 stops before it.",
        ),
        (
            finished(history[-length:][1:]),
            "one film too few: `history[-length:]` are the last `length` films.",
        ),
        (
            finished(list(dict.fromkeys(history))[-length:]),
            "a film that was watched twice read once. Keep both.",
        ),
        (
            finished([x for x in history if x != target][-length:]),
            "the target taken out of the history. Keep it.",
        ),
        (
            finished([*history, target][-length:]),
            "the target is among the films that are read. It is the answer!",
        ),
        (
            torch.cat([read.T.flatten(), end]),
            "all first codes, then all second ones. Keep each film's codes together.",
        ),
        (
            torch.cat([torch.cat([row, end]) for row in read]),
            "an end token after every film; it comes once, last.",
        ),
        (
            torch.cat([item_tokens[history].flatten()[-length:], end]),
            "`length` counts films, and you cut tokens.",
        ),
        (
            torch.tensor([*history[-length:], EOS]),
            "film numbers; look up their tokens in `item_tokens`.",
        ),
        (read, "a table of films and codes; `flatten()` makes one row of it."),
        (
            F.pad(finished(history), (max(0, length - len(history)) * levels, 0), value=PAD),
            "pads in front; one history needs no padding.",
        ),
    ]


def loss_cases(generator: Generator) -> list[Case]:
    """(batch, tokens, vocabulary, ignored, tau, scale); the last but one has logits whose
    exponential is no number.

    The first has two places, for where there is one alone, logits that were flattened too far stop
    only backward; and more tokens than places, for a square table may be turned without an error.
    """
    cases = []
    shapes = [
        (1, 2, 3, 0, 1.0, 1),
        (1, 1, 3, 0, 0.5, 1),
        (1, 2, 3, 1, 2.0, 1),
        (2, 2, 4, 1, 0.5, 100),
    ]
    for batch, length, vocabulary, ignored, tau, scale in [*shapes, (6, 5, 9, 11, 0.6, 1)]:
        logits = tenths(2 * torch.randn(batch, length, vocabulary, generator=generator)) * scale
        targets = torch.randint(vocabulary, (batch, length), generator=generator)
        order = torch.randperm(batch * length, generator=generator)
        targets.view(-1)[order[:ignored]] = IGNORED
        if ignored > 1:
            targets.view(-1)[order[-1]] = 0  # token 0 counts, whatever a learner's mask says
        cases.append({"logits": logits.requires_grad_(), "targets": targets, "tau": tau})
    return cases


def loss(answer: Any, case: Case) -> None:
    """6.2: logits [batch, T, V], targets [batch, T] with -100 where ignored, tau -> the mean loss,
    a scalar.
    """
    logits, targets, tau = case.values()
    given = logits.detach()
    expected = ranking_guided_loss(given, targets, tau)
    counted = targets != IGNORED

    returned = called(answer, case, _STOPS)
    if isinstance(returned, Tensor) and not returned.isfinite().all():
        cause = (
            "`exp` of a large number, or a logarithm of 0. `log_softmax` and `logsumexp` "
            "take care of both."
        )
        raise Incorrect(
            "The loss is no finite number.", case, expected=expected, actual=returned, cause=cause
        )
    compare("the loss", returned, expected, case, _causes_of_loss(given, targets, tau))
    if not returned.requires_grad:
        cause = (
            "a `detach()`, `.item()`, `torch.no_grad()` or `torch.tensor(...)`; "
            "`torch.stack` keeps gradients."
        )
        raise Incorrect("The loss has no gradient.", case, cause=cause)
    (gradient,) = gradients(returned, [logits], case)
    wanted = ((given / tau).softmax(2) - F.one_hot(targets.clamp(min=0), given.shape[2])) / tau
    wanted = wanted * counted[..., None] / counted.sum()
    if not close(gradient, wanted):
        cause = (
            "a part of the formula is detached, or a small number is added before the logarithm."
        )
        raise Incorrect(
            "The value is right, its gradient is not.",
            case,
            expected=wanted,
            actual=gradient,
            cause=cause,
        )


_MASK_FIRST = "-100 marks places to leave out, and is no index: mask first."
_STOPS = {
    "index -100 is out of bounds": _MASK_FIRST,
    "Class values must be non-negative": _MASK_FIRST,  # torch's `one_hot`
    "Expected target size": (
        "`cross_entropy` wants [places, vocabulary]: flatten the first two dimensions."
    ),
}
"""What torch says where a function often stops, and what to do then."""


def _causes_of_loss(given: Tensor, targets: Tensor, tau: float) -> list[tuple[Tensor, str]]:
    expected, counted = ranking_guided_loss(given, targets, tau), targets != IGNORED

    def mean(each: Tensor) -> Tensor:
        return (each * counted).sum() / counted.sum()

    logs = (given / tau).log_softmax(dim=2)
    as_zero = -logs.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    each = as_zero * counted
    rows = counted.any(dim=1)
    by_row = (each.sum(dim=1)[rows] / counted.sum(dim=1)[rows]).mean()
    own = given.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    plain = ranking_guided_loss(given, targets, 1.0)
    above_0, places = targets > 0, targets.clamp(min=0)[..., None]
    other_ways = [(given / tau).log_softmax(dim).gather(2, places)[..., 0] for dim in (0, 1)]
    others = (given / tau).scatter(2, places, -torch.inf).logsumexp(2)
    one_sided = mean(given.logsumexp(dim=2) - own / tau)
    return [
        (as_zero.mean(), "ignored targets counted as token 0. Leave those places out."),
        (each.mean(), "divided by the number of all places; divide by the number that count."),
        (each.sum(), "a sum; the loss is a mean over the targets that count."),
        *(
            (one, "one number per place; take the mean of those that count.")
            for one in (each, each.flatten(), each[counted], as_zero, as_zero.flatten())
        ),
        (
            each.sum(dim=1).mean(),
            "a sum over each row's places, then a mean over rows; take one mean over all places "
            "that count.",
        ),
        (by_row, "a mean per row, then a mean of means: rows with fewer targets then weigh more."),
        (-expected, "the sign: the loss is *minus* the logarithm of a probability."),
        (plain, "tau is not used."),
        (
            ranking_guided_loss(given, targets, 1 / tau),
            "logits *times* tau; the loss divides by it.",
        ),
        (plain / tau, "the loss divided by tau. The logits are divided, before the softmax."),
        (plain * tau, "the loss times tau. The logits are divided by it, before the softmax."),
        (expected * tau, "the loss times tau, on top of the division. Leave the factor out."),
        (expected / tau, "divided by tau twice, before the softmax and after it. Once, before it."),
        (
            (as_zero * above_0).sum() / above_0.sum(),
            "token 0 is left out as well; only -100 does not count.",
        ),
        *[
            (mean(-one), "a softmax along the wrong dimension; the vocabulary is the last one.")
            for one in other_ways
        ],
        (
            mean(-own / tau),
            "the target's logit alone; the logarithm of the sum over all tokens is missing.",
        ),
        (mean(others - own / tau), "the target is left out of the sum; it runs over all tokens."),
        *[
            (
                mean(-(as_zero.neg().exp() + small).log()),
                "a small number is added before the logarithm. `log_softmax` needs none.",
            )
            for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
        ],
        (one_sided, "only the target's logit is divided by tau; the sum has the same logits."),
        (
            F.cross_entropy((given / tau).softmax(2).flatten(0, 1), targets.flatten()),
            "the softmax is taken twice: `cross_entropy` takes logits.",
        ),
        (
            F.cross_entropy((given.softmax(2) / tau).flatten(0, 1), targets.flatten()),
            "probabilities divided by tau, and a second softmax. Divide the logits.",
        ),
        (-mean(each.neg().exp()), "the probability without its logarithm."),
    ]


# 6.3 How the gradient of the loss is shared among the negatives


def weight_cases(generator: Generator) -> list[Case]:
    """(rows, vocabulary, tau), one negative first; before the largest, logits that are lower than
    what many take for minus infinity, and whose exponentials float32 still has.
    """
    cases = []
    for n, vocabulary, tau in [(1, 2, 1.0), (1, 3, 0.5), (2, 4, 2.0), (12, 9, 0.6)]:
        logits = tenths(2 * torch.randn(n, vocabulary, generator=generator))
        targets = torch.randint(vocabulary, (n,), generator=generator)
        cases.append({"logits": logits, "targets": targets, "tau": tau})
    low = {
        "logits": torch.tensor([[-120.0, -110.0, -130.0]]),
        "targets": torch.tensor([1]),
        "tau": 2.0,
    }
    return [*cases[:-1], low, cases[-1]]


def weights(answer: Any, case: Case) -> None:
    """6.3: logits [n, V], targets [n], tau -> each negative's share of the gradient [n, V], 0 at
    the target.
    """
    logits, targets, tau = case.values()
    expected = negative_weights(logits, targets, tau)
    here = F.one_hot(targets, logits.shape[1]).bool()
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.isnan().any():
        cause = (
            "infinity times 0, as in `torch.inf * mask` (`masked_fill` multiplies nothing), "
            "or no logit that is "
        )
        cause += "left, since the targets of all rows are out of every row."
        raise Incorrect(
            "The weights are not all numbers.",
            case,
            expected=expected,
            actual=returned,
            cause=cause,
        )
    causes = _causes_of_weights(expected, here, **case)
    if _divided_by_almost_nothing(returned, here):
        causes.append(
            (
                returned,
                "divided by the sum of the whole row. With the target in it, a row of the gradient "
                "adds up to 0: take the target out first.",
            )
        )
    compare("the table of weights", returned, expected, case, causes)


def _divided_by_almost_nothing(returned: Any, here: Tensor) -> bool:
    """Whether weights are of the size that only a sum of 0 but for rounding gives, and of both
    signs, which is what tells them from exponentials.
    """
    if not isinstance(returned, Tensor) or returned.shape != here.shape:
        return False
    return bool((returned[~here].abs() > 1e3).any() and (returned < -1e3).any())


def _causes_of_weights(
    expected: Tensor, here: Tensor, logits: Tensor, targets: Tensor, tau: float
) -> list[tuple[Tensor, str]]:
    p = (logits / tau).softmax(dim=1)
    pulls = p - here.float()
    plain = logits.softmax(dim=1).masked_fill(here, 0)
    filled = logits.masked_fill(here, -100).div(tau).softmax(1)
    return [
        (
            p,
            "the target has its probability, too. It is no negative: 0 there, and the others add "
            "up to 1.",
        ),
        (
            p.masked_fill(here, 0),
            "the target is out, but the rest adds up to less than 1. Divide by its sum.",
        ),
        (p / (1 - p[here])[:, None], "divided rightly, but the target still has weight; 0 there."),
        (p.masked_fill(here, 0) / tau, "the gradient itself. Its *share*: each row adds up to 1."),
        (pulls / (1 - p[here])[:, None], "divided rightly, but the target has -1; 0 there."),
        *(
            (one, "the gradient itself, target included. Negatives alone, as shares.")
            for one in (pulls / tau, pulls)
        ),
        (
            plain / plain.sum(dim=1, keepdim=True),
            "tau is not used, or divides where it cancels again. It divides the logits.",
        ),
        (negative_weights(logits, targets, 1 / tau), "logits *times* tau; the loss divides by it."),
        (
            logits.masked_fill(here, 0).div(tau).softmax(1),
            "a logit of 0 at the target still gets weight; use `-torch.inf`.",
        ),
        (
            logits.masked_fill(here, 0).div(tau).softmax(1).masked_fill(here, 0),
            "a logit of 0 at the target takes part in the sum; use `-torch.inf`.",
        ),
        *(
            (
                found,
                "-100 at the target. Beside low logits it still gets weight, or takes part in the "
                "sum; use "
                "`-torch.inf`.",
            )
            for found in (filled, filled.masked_fill(here, 0))
        ),
        (
            negative_weights(-logits, targets, tau),
            "the sign: negatives with a *high* logit get much.",
        ),
        (
            logits.masked_fill(here, -torch.inf).div(tau).softmax(0),
            "a softmax down the columns; each row is a case.",
        ),
        (expected.sort(dim=1, descending=True).values, "sorted. Leave every weight at its token."),
        (expected.log(), "logarithms of the weights."),
        (expected / tau, "divided by tau once more; shares add up to 1."),
        *(
            (one / one.sum(), "shares of the whole batch; each row adds up to 1.")
            for one in (expected, p.masked_fill(here, 0))
        ),
        (
            (logits / tau).exp().masked_fill(here, 0),
            "exponentials, not yet divided by the sum of their row.",
        ),
        (
            (logits / tau).index_fill(1, targets, -torch.inf).softmax(1),
            "the targets of all rows are out of every row; each row has one target, its own.",
        ),
        (
            expected[~here].view(len(logits), -1),
            "the target's column is gone; keep it, with weight 0.",
        ),
        (
            pulls.abs() / pulls.abs().sum(dim=1, keepdim=True),
            "shares of all pulls, the "
            "target's own among them. It is no negative: 0 there, and the others add up to 1.",
        ),
        ((~here).float() / (logits.shape[1] - 1), "the same weight for all; the logits decide."),
    ]


# 6.4 The share of the hardest negatives that a positive beats


def auc_cases(generator: Generator) -> list[Case]:
    """One negative, above; ties on which every mistake known below differs; two ties of one
    positive; ties beyond the k hardest; then at random (cases, negatives, k).
    """
    first = {"positive": torch.tensor([0.0]), "negatives": torch.tensor([[1.0]]), "k": 1}
    few = torch.tensor([[2.0, 1, 0, 1, 1], [3, 0, 2, 0, 4]])
    tied = {"positive": torch.tensor([2.0, 2]), "negatives": few, "k": 3}
    twice = {"positive": torch.tensor([2.0]), "negatives": torch.tensor([[2.0, 1, 2, 3]]), "k": 4}
    cut = {
        "positive": torch.tensor([2.0]),
        "negatives": torch.tensor([[3.0, 2, 2, 2, 2, 0]]),
        "k": 4,
    }
    cases = [first, tied, twice, cut]
    for n, m, k in [(2, 4, 2), (3, 5, 5), (25, 12, 4)]:
        scores = torch.randint(-6, 7, (n, m + 1), generator=generator).float()
        cases.append(
            {"positive": scores[:, 0] + 2, "negatives": scores[:, 1:].contiguous(), "k": k}
        )
    return cases


def auc(answer: Any, case: Case) -> None:
    """6.4: positive [n], negatives [n, m], k -> share of the k hardest negatives below the
    positive, ties half, [n].
    """
    positive, negatives, k = case.values()
    m, own = negatives.shape[1], positive[:, None]

    def share(chosen: Tensor, tie: float = 0.5) -> Tensor:
        return ((chosen < own).float() + tie * (chosen == own).float()).mean(dim=1)

    expected, hardest = (
        partial_auc(positive, negatives, k / m).float(),
        negatives.topk(k, dim=1).values,
    )
    causes = [
        (1 - expected, "the share of negatives *above* the positive."),
        (share(hardest, 0), "ties count as lost. A tie counts half."),
        (share(hardest, 1), "ties count as won (`<=`). A tie counts half."),
        (
            share(hardest, 0) + 0.5 * share(hardest, 1),
            "a win counts one and a half: `>=` holds for it, too. A tie is `==`.",
        ),
        (
            (hardest < own).float().mean(dim=1) + 0.5 * (hardest == own).any(dim=1) / k,
            "half a point for a row with ties. *Each* tie counts half.",
        ),
        (
            ((k - (negatives > own).sum(dim=1) - 0.5 * (negatives == own).sum(dim=1)) / k).clamp(
                min=0
            ),
            "ties beyond the k hardest were counted, too. Only those among them count.",
        ),
        (
            share(negatives),
            "all negatives: that is the AUC. Take the k hardest, those with the highest scores.",
        ),
        (share(negatives, 0), "all negatives, and ties count as lost."),
        (
            share(negatives.topk(k, dim=1, largest=False).values),
            "the k *easiest* negatives. Hard is a high score.",
        ),
        (
            share(negatives[:, :k]),
            "the first k columns; negatives are not sorted. `topk` finds the hardest.",
        ),
        (expected * k, "a count; divide by k."),
        (expected * k / m, "divided by the number of all negatives; only k take part."),
        (
            share(negatives.flatten().topk(k).values[None]),
            "the k hardest of all cases together; each row has its own.",
        ),
        (
            (share(hardest, 0) > 0).float(),
            "whether any is beaten; the measure is the share that is.",
        ),
        (
            (hardest < own).all(dim=1).float(),
            "whether all are beaten; the measure is the share that is.",
        ),
        (expected.mean(), "a mean over cases; one number per case is asked for."),
        ((hardest - own).mean(dim=1), "by how much, not how many. Count the negatives below."),
        ((own - hardest).mean(dim=1), "by how much, not how many. Count the negatives below."),
        (
            torch.sigmoid(own - hardest).mean(dim=1),
            "a sigmoid of the margin; a win counts 1, however narrow.",
        ),
        (
            share(negatives.topk(max(1, k - 1), dim=1).values),
            "k - 1 negatives took part; k should.",
        ),
        (
            share(negatives.topk(min(m, k + 1), dim=1).values),
            "k + 1 negatives took part; k should.",
        ),
        (
            share(torch.cat([own, negatives], dim=1).topk(k, dim=1).values),
            "the target among the negatives, where it ties with itself.",
        ),
        (
            share(negatives.topk(k, dim=1).indices),
            "the columns of the hardest; their scores are `topk(...).values`.",
        ),
        (
            (share(hardest, 1) > 0).float(),
            "whether any is beaten; the measure is the share that is.",
        ),
    ]
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.dtype == torch.bool:
        raise Incorrect(
            f"A share is a number, and {in_words(returned)} is true or false.",
            case,
            expected=expected,
            actual=returned,
            cause="a comparison whose mean was not taken.",
        )
    compare("the shares", returned, expected, case, causes)


EXERCISES = {
    "6.1": Exercise(pair_cases, pair),
    "6.2": Exercise(loss_cases, loss),
    "6.3": Exercise(weight_cases, weights),
    "6.4": Exercise(auc_cases, auc),
}
