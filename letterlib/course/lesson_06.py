"""The exercises of lesson 06: a training pair, the ranking-guided loss, the weight of negatives,
partial AUC.

Logits are tenths and never tied with the target, unless a tie is what is asked about. The last two
are in `negatives_06` and `hardest_06`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.hardest_06 import auc, auc_cases
from letterlib.course.negatives_06 import weight_cases, weights
from letterlib.course.returned import called, gradients, several
from letterlib.course.values import close, tenths
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
            "the targets themselves: the decoder would read each token before it has to write it. Shift them.",
        ),
        (
            own,
            "the codes without the start token: at the first place the decoder would read the answer.",
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
        cause = "`exp` of a large number, or a logarithm of 0. `log_softmax` and `logsumexp` take care of both."
        raise Incorrect(
            "The loss is no finite number.", case, expected=expected, actual=returned, cause=cause
        )
    compare("the loss", returned, expected, case, _causes_of_loss(given, targets, tau))
    if not returned.requires_grad:
        cause = "a `detach()`, `.item()`, `torch.no_grad()` or `torch.tensor(...)`; `torch.stack` keeps gradients."
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
    "Expected target size": "`cross_entropy` wants [places, vocabulary]: flatten the first two dimensions.",
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


EXERCISES = {
    "6.1": Exercise(pair_cases, pair),
    "6.2": Exercise(loss_cases, loss),
    "6.3": Exercise(weight_cases, weights),
    "6.4": Exercise(auc_cases, auc),
}
