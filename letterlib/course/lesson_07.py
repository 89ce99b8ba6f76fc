"""The exercises of lesson 07: first values of new tokens, a batch of prompts and responses, windows
of a list, LoRA.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, Exercise, Incorrect, call, called, compare, several
from letterlib.course.values import telling, tenths


def values_cases(generator: Generator) -> list[Case]:
    """One item; fewer items than codes, most of them unused; words that cancel; then many items,
    with unused codes at both ends and between.
    """
    drawn = [([0], 1, 2), ([2, 2], 3, 2)]
    spread = torch.tensor([1, 2, 4, 5])[torch.randint(4, (14,), generator=generator)].tolist()
    drawn.append(([1, 1, 2, 4, 5, 4, *spread], 7, 3))
    *few, many = [
        {
            "codes": torch.tensor(codes),
            "words": _not_0(tenths(torch.randn(len(codes), dim, generator=generator))),
            "random": tenths(torch.randn(n_codes, dim, generator=generator)),
        }
        for codes, n_codes, dim in drawn
    ]
    cancelling = {
        "codes": torch.tensor([1, 2, 1]),
        "words": torch.tensor([[0.5, -1.0], [0.8, -0.3], [-0.5, 1.0]]),
        "random": torch.tensor([[0.3, 0.2], [0.7, -0.4], [-0.6, 0.9]]),
    }
    return [*few, cancelling, many]


def _not_0(words: Tensor) -> Tensor:
    """Where a word is 0, mistakes look alike: added or not, there or not."""
    return torch.where(words == 0, 0.1, words)


def values(answer: Any, case: Case) -> None:
    """7.1: codes int64 [n_items], words [n_items, d], random [n_codes, d] -> rows [n_codes, d]."""
    codes, words, random = case.values()
    sums = torch.zeros_like(random).index_add(0, codes, words)
    counts = torch.bincount(codes, minlength=len(random))[:, None]
    expected = torch.where(counts > 0, sums / counts.clamp(min=1), random)
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.isnan().any():
        cause = "0 / 0: a code without items has no mean. It keeps its random row."
        raise Incorrect(
            "The rows are not all numbers.", case, expected=expected, actual=returned, cause=cause
        )
    causes = telling(_causes_of_values(expected, sums, counts, **case), expected)
    compare("the table of rows", returned, expected, case, causes)


def _causes_of_values(
    expected: Tensor, sums: Tensor, counts: Tensor, codes: Tensor, words: Tensor, random: Tensor
) -> list[tuple[Tensor, str]]:
    used, means = counts > 0, sums / counts.clamp(min=1)
    last, first, added = random.clone(), random.clone(), random.index_add(0, codes, words)
    for code, row in zip(codes.tolist(), words, strict=True):
        last[code] = row
    for code, row in zip(reversed(codes.tolist()), words.flip(0), strict=True):
        first[code] = row
    highest = int(codes.max())
    stops_early, one_number = expected.clone(), means.mean(1, keepdim=True).expand_as(random)
    stops_early[highest] = random[highest]
    n_used = int(used.sum())
    compacted, counted = random.clone(), expected.clone()
    compacted[:n_used], counted[n_used:] = means[used[:, 0]], random[n_used:]
    by_items = torch.cat([expected[: len(codes)], random[len(codes) :]])
    zero_is_none = (
        "a mean of 0 taken for no films: the words of a code's films may cancel. Count its films."
    )
    causes = [
        (
            by_items,
            "only the codes below the number of *films*. Codes have numbers of their own: go "
            "through "
            "`codes.unique()`.",
        ),
        (
            means,
            "zeros where a code has no items. Two such codes could never be told apart; keep the "
            "random rows.",
        ),
        (
            torch.where(used, sums, random),
            "sums. Codes with many items would get long vectors; take the mean.",
        ),
        (sums, "sums, and zeros where a code has no items."),
        (
            last,
            "the last item of each code. `rows[codes] = words` writes one item over the other; "
            "take their mean.",
        ),
        (first, "the first item of each code only. The others count as much; take the mean."),
        (
            torch.where(used, one_number, random),
            "one number for all of a row. The mean runs over the code's items: `.mean(0)`.",
        ),
        (
            torch.where(used, added / counts.clamp(min=1), random),
            "the random row is added to the words.",
        ),
        (
            torch.where(used, added / (counts + 1), random),
            "the random row counts as one more item.",
        ),
        (added, "words added to random rows, and no mean."),
        (
            torch.where(used, words.mean(0), random),
            "the mean of *all* items at every code: all codes would be one.",
        ),
        (
            torch.where(used, sums / len(codes), random),
            "divided by all items. Divide by those that have the code.",
        ),
        (
            torch.where(used, random + means, random),
            "the mean is added to the random row. Put it in its place.",
        ),
        (
            compacted,
            "the k-th code in use stands in row k. Code 5 belongs in row 5, whether or not 3 and "
            "4 occur.",
        ),
        (
            counted,
            "only the codes below the *number* of codes in use. Codes have gaps: go through "
            "`codes.unique()`.",
        ),
        (
            random,
            "the random rows, unchanged."
            + ("" if highest else " Is code 0 among those that you go through?"),
        ),
        (stops_early, "the highest code that occurs is left out. `range(n)` stops before n."),
        (torch.where(means != 0, means, random), zero_is_none),
        (torch.where((means != 0).any(1, keepdim=True), means, random), zero_is_none),
        (expected[codes], "one row per item; one per code is asked for."),
        (expected[used[:, 0]], "rows for codes in use only. The table has one row for every code."),
        (
            expected[: highest + 1],
            "no rows above the highest code in use. The table has one row for every code.",
        ),
    ]
    if len(words) >= len(random):
        mistaken = (
            "`words[code]`, but row i of `words` belongs to item i. A code's items are "
            "`words[codes == code]`."
        )
        causes.append((torch.where(used, words[: len(random)], random), mistaken))
    return causes


def window_cases(generator: Generator) -> list[Case]:
    """Lists of 2, of exactly one window, of one item more, of exactly two windows, and of two and a
    half.
    """
    sizes = [(2, 3), (4, 3), (5, 3), (7, 3), (8, 1), (23, 5)]
    return [
        {"items": torch.randperm(90, generator=generator)[:n].tolist(), "history": h}
        for n, h in sizes
    ]


def windows(answer: Any, case: Case) -> None:
    """7.3: items (list), history -> list of lists of at most history + 1 items; neighbours share
    one item.
    """
    expected = _cut(**case)
    returned = call(answer, case)
    if not isinstance(returned, (list, tuple)) or not all(
        isinstance(one, (list, tuple)) for one in returned
    ):
        cause = "one window after another without brackets, or another kind than lists."
        raise Incorrect(
            "The windows should be a list of lists.",
            case,
            expected=expected,
            actual=returned,
            cause=cause,
        )
    found = [list(one) for one in returned]
    if found == expected and any(isinstance(item, float) for one in found for item in one):
        raise Incorrect(
            "Item numbers should be whole.",
            case,
            expected=expected,
            actual=found,
            cause="a division or an array of fractions on the way.",
        )
    if not found:
        cause = (
            "no window at all. Every list has at least two items, so at least one window. "
            "The last may be "
        )
        cause += "shorter: without it items are never learnt."
        raise Incorrect(
            "There is no window.", case, expected=expected, actual=found, cause=cause, sure=True
        )
    if found != expected:
        raise Incorrect(
            "These are not the windows.",
            case,
            expected=expected,
            actual=found,
            cause=_cause_of_windows(found, **case),
        )


def _cut(items: list[int], history: int) -> list[list[int]]:
    """Windows of history + 1 items, the last perhaps shorter; neighbours share one."""
    return [items[start : start + history + 1] for start in range(0, len(items) - 1, history)]


def _cause_of_windows(found: list[list[int]], items: list[int], history: int) -> str:
    if any(isinstance(item, (list, tuple)) for one in found for item in one):
        return (
            "a window inside a window. A window is a plain list: what is read and what is "
            "written in one row."
        )
    n, longest = len(items), max(map(len, found))
    taught = sorted(item for one in found for item in one[1:])
    if any(item not in items for one in found for item in one):
        return "items that are not in the list, or places in place of items."
    right = _cut(items, history)
    causes = [
        (
            found == _cut(sorted(items), history),
            "items sorted by their numbers. They stand in the order of time; leave it.",
        ),
        (any(not one for one in found), "an empty window."),
        (
            [sorted(one) for one in found] == [sorted(one) for one in right],
            "the right items in each window, in another order; keep the oldest first.",
        ),
        (longest > history + 1, "a window longer than history + 1 items."),
        (
            longest <= history < n,
            "windows of `history` items. One more fits: the last one is written, not read.",
        ),
        (
            sum(map(len, found)) > n and any(len(one) < 2 for one in found),
            "a window of one item: it teaches nothing, "
            "since nothing comes after it. Stop the starts at `len(items) - 1`.",
        ),
        (
            taught != sorted(set(taught)),
            "items that are learnt more than once: the next window starts `history` "
            "further on, at the last item of the one before.",
        ),
        (
            sum(map(len, found)) == n,
            "windows that share nothing: the first item of each would never be learnt.",
        ),
        (
            set(taught) < set(items[1:]),
            "items at the end, or between windows, that are never learnt. A shorter last "
            "window is allowed.",
        ),
        (
            sorted(found) == sorted(right),
            "the right windows in another order; begin with the oldest.",
        ),
    ]
    return next(
        (text for wrong, text in causes if wrong),
        "windows are cut from the front, each as long as it can be.",
    )


def lora_cases(generator: Generator) -> list[Case]:
    """(rows, in, out, rank); single numbers with two ranks, for whoever works it out by hand; at
    the end a square matrix, where a transposed one fits as well.

    The last rank is 3, so that alpha, 2 alpha / r, alpha / r rounded down and the lesson's own 32 /
    r all differ.
    """
    cases = []
    for n, d_in, d_out, rank in [(1, 1, 1, 1), (2, 3, 2, 1), (4, 5, 5, 3)]:
        shapes = {"x": (n, d_in), "weight": (d_out, d_in), "a": (rank, d_in), "b": (d_out, rank)}
        drawn = {
            name: tenths(torch.randn(shape, generator=generator)) for name, shape in shapes.items()
        }
        cases.append(drawn | {"alpha": 4.0 * rank + 5})
    two = {"x": [[2.0]], "weight": [[1.0]], "a": [[1.0], [2.0]], "b": [[3.0, 1.0]]}
    by_hand = {name: torch.tensor(value) for name, value in two.items()} | {"alpha": 4.0}
    return [cases[0], by_hand, *cases[1:]]


def lora(answer: Any, case: Case) -> None:
    """7.4: x [n, in], weight [out, in], a [r, in], b [out, r], alpha -> output [n, out], merged
    [out, in].
    """
    x, weight, a, b, alpha = case.values()
    stops = {
        "must match the size of tensor": "Where W is added, the adapter is transposed: B A has "
        "W's shape.",
        "cannot be multiplied": "A linear layer computes x times the *transpose* of W, x A^T B^T.",
    }
    returned = called(answer, case, stops)
    output, merged = several(returned, ["output", "merged"], case, "tensors")
    delta, rank = b @ a, len(a)

    def weights(scale: float) -> Tensor:
        return weight + scale * delta

    right = weights(alpha / rank)
    unscaled = "the alpha / r is missing."
    causes = [
        (weights(1), unscaled),
        (
            weights(alpha),
            "not divided by the rank r. With it, a larger r does not mean larger steps.",
        ),
        (
            weights(alpha / rank**0.5),
            "divided by the square root of r, as rsLoRA does. Here it is r itself.",
        ),
        (
            weights(2 * alpha / rank),
            "the adapter is added twice. W + alpha / r B A holds it already.",
        ),
        (
            weights(32 / rank),
            "32, the lesson's alpha. Take the `alpha` that your function is given.",
        ),
        (weights(alpha / 8), "divided by 8, the lesson's rank. Here the rank is `len(a)`."),
        (weights(rank / alpha), "r / alpha; it should be alpha / r."),
        (
            weights(alpha / a.shape[1]),
            "divided by the number of inputs or outputs; the rank is `len(a)`.",
        ),
        (
            weights(alpha / len(b)),
            "divided by the number of inputs or outputs; the rank is `len(a)`.",
        ),
        (weights(alpha // rank), "`//` rounds down; divide with `/`."),
        (alpha / rank * delta, "W is missing: LoRA is added to what the layer does already."),
        (delta, "W is missing, and so is alpha / r."),
        (weight, "W alone; the adapter is missing."),
        (alpha / rank * right, "W multiplied by alpha / r as well. Only the adapter is."),
        (
            alpha / rank * (weight + delta),
            "W multiplied by alpha / r as well. Only the adapter is.",
        ),
    ]
    if delta.shape == delta.T.shape:
        causes.append(
            (
                weight + alpha / rank * delta.T,
                "the adapter is transposed: B A, with A first to touch x.",
            )
        )
    sideways = [(x @ w, text) for w, text in causes if w.shape[0] == x.shape[1]]
    sideways.append(
        (x @ right, "x times W; a linear layer computes x times the *transpose* of W.")
        if len(right) == x.shape[1]
        else (torch.empty(0), "")
    )
    sideways += [
        (right, "the merged weight where the output belongs: return the output first."),
        ((x @ right.T).T, "the output is transposed: one row for every row of x."),
    ]
    compare("output", output, x @ right.T, case, [(x @ w.T, text) for w, text in causes] + sideways)
    if isinstance(merged, Tensor) and merged.shape == output.shape and torch.equal(merged, output):
        causes = [(output, "the output a second time; the merged weight is a matrix like W.")]
    causes += [(right.T, "the merged weight is transposed; it takes the place of W.")]
    compare("merged", merged, right, case, causes)


# 7.2 Prompts and responses in one table. As in the library, what fills up a batch is also the last
# token of responses: padding cannot be told by its number


def batch_cases(generator: Generator) -> list[Case]:
    """One example without padding; two of equal length; then short prompts with long responses, and
    the reverse.
    """
    lengths = [[(2, 1)], [(1, 3), (3, 1)], [(5, 2), (1, 3), (2, 9), (7, 1), (4, 4)]]
    cases = []
    for end, pairs in enumerate(lengths, start=2):
        prompts = [torch.randint(9, 90, (n,), generator=generator) for n, _ in pairs]
        prompts[0][-1] = end  # a history ends with an end token, too
        ended = [torch.randint(9, 90, (n,), generator=generator) for _, n in pairs]
        for one in ended:
            one[-1] = end
        cases.append({"prompts": prompts, "responses": ended, "end": end})
    return cases


def batch(answer: Any, case: Case) -> None:
    """7.2: prompts, responses (lists of int64 [n]), end -> tokens, real, response, each [batch,
    T].
    """
    prompts, responses, end = case.values()
    tokens, real, response = several(
        call(answer, case), ["tokens", "real", "response"], case, "tensors"
    )
    whole = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    read, sizes = _column(map(len, prompts)), _column(map(len, whole))
    width, longest = int(sizes.max()), max(map(len, prompts)) + max(map(len, responses))
    places = torch.arange(width).expand(len(whole), width)
    compare(
        "tokens",
        tokens,
        _filled(whole, width, end),
        case,
        _causes_of_tokens(case, whole, width, longest),
    )
    is_real, is_response = places < sizes, (places >= read) & (places < sizes)
    without_dtype = "a mask that holds numbers. Make it with `torch.zeros(..., dtype=torch.bool)`."
    causes = [
        (
            tokens != end,
            "`tokens != end`. Real end tokens are lost: padding has the same number. Use lengths.",
        ),
        (torch.ones_like(is_real), "everything is real, padding included."),
        (~is_real, "the padding; the mask is true where a token is *real*."),
        (is_response, "the response only. The prompt is not learnt, but it has to be read."),
        (places < read, "the prompt only. The response is read as well."),
        (places < sizes - 1, "the end token is missing. Padding starts after it."),
        (
            places <= sizes,
            "one place of padding too many: what is real stops before `len(prompt) + "
            "len(response)`.",
        ),
        (is_real, without_dtype),
    ]
    compare("real", real, is_real, case, causes)
    first_end = (_filled(whole, width, end) == end).int().argmax(dim=1, keepdim=True)
    causes = [
        *_causes_of_response(places, read, sizes),
        (
            (places > first_end) & is_real,
            "the response looked for behind the first end token; a prompt may hold one. "
            "Use `len(prompt)`.",
        ),
        (is_response, without_dtype),
    ]
    compare("response", response, is_response, case, causes)


def _causes_of_tokens(
    case: Case, whole: list[Tensor], width: int, longest: int
) -> list[tuple[Tensor, str]]:
    prompts, responses, end = case.values()
    first = max(map(len, prompts))
    return [
        (
            _filled([one.flip(0) for one in whole], width, end).flip(1),
            "padding in front. Here it comes after the "
            "response, so that a token's place is the same with and without it.",
        ),
        (
            _filled(
                [torch.cat([r, p]) for p, r in zip(prompts, responses, strict=True)], width, end
            ),
            "the response before the prompt. A causal model has to read the prompt first.",
        ),
        (_filled(whole, width, 0), "zeros as padding. Token 0 may be a word; fill up with `end`."),
        (_filled(whole, width, -1), "-1 as padding. No token has that number; fill up with `end`."),
        (
            _filled(whole, width, -100),
            "-100 as padding. No token has that number; fill up with `end`.",
        ),
        (
            _filled(whole, width + 1, end),
            "one column too many. A response ends with its end token already, and the "
            "longest row needs no padding.",
        ),
        (
            _filled(whole, longest, end),
            "columns that nobody needs. The longest prompt and the longest response need "
            "not be in the same row: the width is the greatest sum.",
        ),
        (
            torch.cat([_filled(prompts, first, end), _filled(responses, longest - first, end)], 1),
            "prompts and responses filled up apart, so that padding stands between them. Put the "
            "two together first.",
        ),
        (
            _filled([one[:-1] for one in whole], width - 1, end),
            "the end of each response is missing. It is no padding: it has to be learnt.",
        ),
        (_filled(prompts, width, end), "the prompts alone; the responses belong behind them."),
        (_filled(prompts, first, end), "the prompts alone; the responses belong behind them."),
        (
            _filled(responses, max(map(len, responses)), end),
            "the responses alone; without its prompt nothing can be answered.",
        ),
    ]


def _causes_of_response(places: Tensor, read: Tensor, sizes: Tensor) -> list[tuple[Tensor, str]]:
    width, is_real, is_response = (
        places.shape[1],
        places < sizes,
        (places >= read) & (places < sizes),
    )
    return [
        (places >= read, "padding counted as a response: the model would learn to write padding."),
        (is_real, "the whole example. A prompt is read, not learnt."),
        (is_real & (places < read), "the prompt; the response is what comes after it."),
        (places >= read - 1, "one place too early, and padding counted."),
        (
            (places >= read - 1) & (places < sizes - 1),
            "one place too early. True marks the token that is to be "
            "*written*; the model's forward pass does the shift by itself.",
        ),
        (
            (places >= read - 1) & (places < sizes),
            "one token of the prompt too many: it starts at `len(prompt)`.",
        ),
        (
            (places > read) & (places < sizes),
            "the first token of the response is missing: it stands at `len(prompt)`.",
        ),
        (
            is_response & (places != sizes - 1),
            "the end token is missing. Where it is not learnt, the model never stops.",
        ),
        (places == read, "the first token of the response only."),
        (
            (places >= read) & (places <= sizes),
            "one place too many: the response stops before `len(prompt) + len(response)`.",
        ),
        (
            (places >= read) & (places < sizes - read),
            "`[p:r]`. The response begins at p and is r long: it stops at p + r.",
        ),
        (
            places >= width - (sizes - read),
            "the end of the *row*, where padding stands. The response begins at `len(prompt)`.",
        ),
        *(
            (
                after & (places >= read.max()),
                "the response looked for behind the *longest* prompt. In every row it "
                "begins at that row's own `len(prompt)`.",
            )
            for after in (is_real, torch.ones_like(is_real))
        ),
    ]


def _column(lengths: Any) -> Tensor:
    return torch.tensor(list(lengths))[:, None]


def _filled(rows: list[Tensor], width: int, end: int) -> Tensor:
    return torch.stack([torch.cat([row, torch.full((width - len(row),), end)]) for row in rows])


EXERCISES = {
    "7.1": Exercise(values_cases, values),
    "7.2": Exercise(batch_cases, batch),
    "7.3": Exercise(window_cases, windows),
    "7.4": Exercise(lora_cases, lora),
}
