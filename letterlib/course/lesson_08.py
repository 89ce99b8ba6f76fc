"""The exercises of lesson 08: a trie of dictionaries, one step of masked beam search, children as
ranges, dead nodes.

Log-probabilities are eighths, which add up without rounding, so that equal scores are equal in
every order. The trie is in `tries_08`, the last two in `ranges_08`.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, Exercise, call, compare
from letterlib.course.ranges_08 import dead_cases, dead_nodes, range_cases, ranges
from letterlib.course.returned import several
from letterlib.course.tries_08 import trie, trie_cases
from letterlib.course.values import telling
from letterlib.evaluation.ranking import top_k


def step_cases(generator: Generator) -> list[Case]:
    """One beam; two with a tie; a beam wider than the whole table; two beams of which nothing is
    left, and one behind them; then many, with ties.

    In the third and the last case the best of all continues a later beam: the order of the table is
    not that of scores.
    """
    inf = float("inf")
    first = _step([-1.0], [[-0.5, -0.25, -2.0]], [[1, 0, 1]], 1)
    tied = _step(
        [-0.5, -1.0], [[-1.0, -0.5, -2.0], [-0.5, -0.75, -0.25]], [[1, 0, 1], [1, 1, 0]], 3
    )
    few = _step([-1.0, -0.25], [[-1.0, -0.5], [-0.5, -0.75]], [[0, 1], [0, 1]], 5)
    dead = _step(
        [-inf, -0.5, -0.25],
        [[-1.0, -0.5, -0.25, -3.0], [-0.5, -0.75, -0.25, -4.0], [-0.75, -2.0, -0.25, -0.5]],
        [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]],
        5,
    )
    n, v, beam = 5, 100, 16  # so many children that a sort which is not stable is seen to be none
    log_probs = torch.randint(6, (n, v), generator=generator) / -4 - 0.75
    allowed = torch.rand(n, v, generator=generator) < 0.6
    allowed[:2, 3:15], log_probs[0, 3:15], log_probs[1, 3:15] = (
        True,
        -0.5,
        -0.375,
    )  # 24 that tie, in two beams
    allowed[1, 2], log_probs[1, 2] = True, -0.125
    log_probs[~allowed] = -0.125  # what is not allowed is what the model likes best
    many = _step([-1.0, -1.125, -1.25, -1.5, -2.0], log_probs.tolist(), allowed.tolist(), beam)
    return [first, tied, few, dead, many]


def _step(scores: list, log_probs: list, allowed: list, beam: int) -> Case:
    return {
        "scores": torch.tensor(scores),
        "log_probs": torch.tensor(log_probs),
        "allowed": torch.tensor(allowed).bool(),
        "beam": beam,
    }


def _chosen(table: Tensor, beam: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best finite entries of a table [n, V], ties by the lower index: values, rows, columns."""
    values, index = top_k(table.flatten()[None], beam)
    real = values[0].isfinite()
    index = index[0][real]
    return values[0][real], index // table.shape[1], index % table.shape[1]


def beam_step(answer: Any, case: Case) -> None:
    """8.2: scores [n], log_probs [n, V], allowed bool [n, V], beam -> scores, parents, tokens of
    the best children.
    """
    scores, log_probs, allowed, beam = case.values()
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    right = _chosen(table, beam)
    returned = several(call(answer, case), ["scores", "parents", "tokens"], case, "tensors")
    compare(
        "scores", returned[0], right[0], case, _causes_of_scores(case, table, right, returned[0])
    )
    n_tokens = table.shape[1]
    flat = right[1] * n_tokens + right[2]
    turned = table.T.flatten().sort(descending=True, stable=True).indices[: len(flat)]
    lefts = [scores.isfinite(), allowed.any(1), table.isfinite().any(1)]
    for place, name in ((1, "parents"), (2, "tokens")):
        causes = [
            (right[3 - place], f"parents and tokens exchanged: these are not the {name}."),
            (
                flat,
                "places in the flattened table: divide by the number of tokens; the remainder is the token.",
            ),
            (
                flat // len(scores) if place == 1 else flat % len(scores),
                "divided by the number of beams. A row has as many entries as there are tokens.",
            ),
            (
                turned // n_tokens if place == 1 else turned % n_tokens,
                "the table is turned: one row a token. A row is to be a beam.",
            ),
            (
                flat / n_tokens,
                "a division by `/`, which gives fractions: `//` gives whole numbers.",
            ),
            *(
                (
                    _renumbered(right[1], left),
                    "beams of which nothing is left were dropped, and the others numbered "
                    "anew. Parents are numbered among all beams.",
                )
                for left in lefts
                if place == 1
            ),
        ]
        if _same_up_to_ties(returned, table):
            causes = [
                (
                    returned[place],
                    "the order among equal scores: lower beam first, then lower token. `topk` "
                    "leaves ties to chance; `sort(descending=True, stable=True)` does not.",
                )
            ]
        compare(name, returned[place], right[place], case, telling(causes, right[place]))


def _renumbered(parents: Tensor, left: Tensor) -> Tensor:
    """The parents' numbers among the beams that are `left`, bool [n]."""
    return (left.cumsum(0) - 1)[parents]


def _same_up_to_ties(returned: tuple, table: Tensor) -> bool:
    """Whether the children are different ones that have the scores they are said to have."""
    scores, parents, tokens = returned
    whole = all(
        isinstance(one, Tensor) and one.dtype == torch.int64 and one.shape == scores.shape
        for one in (parents, tokens)
    )
    if not whole or (parents >= table.shape[0]).any() or (tokens >= table.shape[1]).any():
        return False
    different = len(torch.unique(torch.stack([parents, tokens]), dim=1).T) == len(parents)
    return (
        different
        and min(parents.min(), tokens.min()) >= 0
        and torch.equal(table[parents, tokens], scores)
    )


def _causes_of_scores(
    case: Case, table: Tensor, found: tuple, returned: Any
) -> list[tuple[Any, str]]:
    scores, log_probs, allowed, beam = case.values()
    right, parents, tokens = found
    summed, forbidden = scores[:, None] + log_probs, -torch.inf
    inside = log_probs.masked_fill(~allowed, forbidden)
    renormalised = torch.nan_to_num(inside.log_softmax(1), nan=forbidden) + scores[:, None]
    zeroed = scores[:, None] + log_probs * allowed
    first, index = summed.flatten().sort(descending=True, stable=True)
    twice = (scores[:, None] + log_probs.log_softmax(1)).masked_fill(~allowed, forbidden)
    multiplied = torch.nan_to_num(summed * allowed, neginf=-torch.inf)  # -inf * 0 is NaN
    cut_first = first[:beam][allowed.flatten()[index[:beam]]]
    causes = [
        (
            _chosen(summed, beam)[0],
            "continuations that are not allowed. Set their scores to -inf first: "
            "`masked_fill(~allowed, ...)`, with the `~`.",
        ),
        *(
            (
                _chosen(one, beam)[0],
                "a mask of zeros: 0 is the *highest* log-probability there is. Mask with -inf.",
            )
            for one in (zeroed, multiplied)
        ),
        (
            _chosen(log_probs * allowed + 0 * summed, beam)[0],
            "a mask of zeros, and the beam's score is not added.",
        ),
        (
            _chosen(inside, beam)[0],
            "the beam's own score is not added: a continuation's score is that of the whole way.",
        ),
        (
            _chosen(renormalised.masked_fill(~allowed, forbidden), beam)[0],
            "renormalised over the allowed tokens. The "
            "log-probabilities are to stay those of the whole vocabulary.",
        ),
        (
            _chosen(twice, beam)[0],
            "another `log_softmax`. These are log-probabilities already: add them as they are.",
        ),
        (
            _chosen((scores[:, None] * log_probs).masked_fill(~allowed, forbidden), beam)[0],
            "a product. Logarithms are added.",
        ),
        (
            _chosen(
                (scores.exp()[:, None] + log_probs.exp()).masked_fill(~allowed, forbidden), beam
            )[0],
            "a sum of probabilities. Add their logarithms, which you are given.",
        ),
        (right.flip(0), "the worst of the chosen comes first."),
        (
            -_chosen(-table.masked_fill(table.isinf(), torch.inf), beam)[0],
            "those with the *lowest* scores.",
        ),
        *(
            (
                right[: int(counted.sum())],
                "what is not allowed was counted, and so many returned. Count what is left.",
            )
            for counted in (table.isinf(), ~allowed)
        ),
        (
            _per_beam(table, beam),
            "the best `beam` of *every* beam. They compete with each other: flatten first.",
        ),
        (
            _per_beam(table, 1),
            "the best continuation of each beam. A good beam may go on in several ways.",
        ),
        (right.exp(), "probabilities; log-probabilities are asked for."),
        (
            cut_first,
            "cut to `beam` before the mask: what is not allowed has taken places. Mask first.",
        ),
        (right[:-1], "the last one is missing."),
        (
            right[(parents * table.shape[1] + tokens).argsort()],
            "the order of the table. The best comes first.",
        ),
        (
            scores[parents],
            "the scores of the beams that are continued. Add the log-probability of the token.",
        ),
    ]
    causes = telling(causes, right)
    if isinstance(returned, Tensor) and any(
        torch.equal(returned, one) for one in (parents, tokens)
    ):
        return [
            (returned, "another order. The scores come first: `return scores, parents, tokens`.")
        ]
    if isinstance(returned, Tensor) and returned.dim() == 1 and len(returned) > len(right):
        if len(returned) > beam:
            return [
                *causes,
                (returned, "more than `beam` continuations. Keep the best `beam` of all together."),
            ]
        return [
            (
                returned,
                "continuations that are not allowed, or whose beam has the score -inf. Return fewer than "
                "`beam` instead.",
            ),
            *causes,
        ]
    return causes


def _per_beam(table: Tensor, beam: int) -> Tensor:
    best = top_k(table, beam)[0]
    return best if beam > 1 else best[:, 0].sort(descending=True)[0]


EXERCISES = {
    "8.1": Exercise(trie_cases, trie),
    "8.2": Exercise(step_cases, beam_step),
    "8.3": Exercise(range_cases, ranges),
    "8.4": Exercise(dead_cases, dead_nodes),
}
