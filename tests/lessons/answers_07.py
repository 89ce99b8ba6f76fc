"""Answers to lesson 07: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

NAMES = {"np": np, "torch": torch}
"""What the notebook has imported by the time it reaches its exercises."""

# 7.1 first values of new tokens


def values_by_loop(codes, words, random):
    rows = []
    for code in range(len(random)):
        mine = words[codes == code]
        rows.append(mine.mean(0) if len(mine) else random[code])
    return torch.stack(rows)


def values_by_table(codes, words, random):
    has = (torch.arange(len(random))[:, None] == codes).float()
    count = has.sum(1, keepdim=True)
    return torch.where(count > 0, has @ words / count.clamp(min=1), random)


def values_by_scatter(codes, words, random):
    return random.scatter_reduce(
        0, codes[:, None].expand_as(words), words, "mean", include_self=False
    )


def values_with(row):
    """A loop over codes; row: (words of its items, its random row, all words) -> its first
    value.
    """

    def answer(codes, words, random):
        return torch.stack(
            [row(words[codes == code], random[code], words) for code in range(len(random))]
        )

    return answer


def last_wins(codes, words, random):
    rows = random.clone()
    rows[codes] = words
    return rows


def writes_into_random(codes, words, random):
    for code in codes.unique():
        random[code] = words[codes == code].mean(0)
    return random


def used_only(codes, words, random):
    return torch.stack([words[codes == code].mean(0) for code in codes.unique()])


def by_item(codes, words, random):
    return values_by_loop(codes, words, random)[codes]


def values_at_codes(codes, words, random):
    rows = random.clone()
    for code in codes.unique():
        rows[code] = words[min(int(code), len(words) - 1)]
    return rows


def one_code_short(codes, words, random):
    rows = random.clone()
    for code in range(int(codes.max())):
        if (codes == code).any():
            rows[code] = words[codes == code].mean(0)
    return rows


def from_code_one(codes, words, random):
    rows = values_by_loop(codes, words, random)
    rows[0] = random[0]
    return rows


def one_row_after_another(codes, words, random):
    rows = random.clone()
    for row, code in enumerate(codes.unique()):
        rows[row] = words[codes == code].mean(0)
    return rows


def as_many_as_are_used(codes, words, random):
    rows = random.clone()
    for code in range(len(codes.unique())):
        if (codes == code).any():
            rows[code] = words[codes == code].mean(0)
    return rows


def as_many_as_there_are_films(codes, words, random):
    rows = random.clone()
    for code in range(len(codes)):
        if (codes == code).any():
            rows[code] = words[codes == code].mean(0)
    return rows


def zero_taken_for_none(is_none):
    """is_none: means of all codes, 0 where there are no films -> where the random row stays."""

    def answer(codes, words, random):
        means = torch.stack([words[codes == code].sum(0) for code in range(len(random))])
        means = means / torch.bincount(codes, minlength=len(random)).clamp(min=1)[:, None]
        return torch.where(is_none(means), random, means)

    return answer


def no_rows_above(codes, words, random):
    return values_by_loop(codes, words, random)[: codes.max() + 1]


# 7.2 a batch of prompts and responses


def batch_by_lists(prompts, responses, end):
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    rows, real, response = [], [], []
    for p, r in zip(prompts, responses, strict=True):
        rest = width - len(p) - len(r)
        rows.append([*p.tolist(), *r.tolist(), *[end] * rest])
        real.append([True] * (len(p) + len(r)) + [False] * rest)
        response.append([False] * len(p) + [True] * len(r) + [False] * rest)
    return torch.tensor(rows), torch.tensor(real), torch.tensor(response)


def batch_by_places(prompts, responses, end):
    tokens = pad_sequence(
        [torch.cat(pair) for pair in zip(prompts, responses, strict=True)], True, end
    )
    read = torch.tensor([len(p) for p in prompts])[:, None]
    whole = read + torch.tensor([len(r) for r in responses])[:, None]
    places = torch.arange(tokens.shape[1])
    return [tokens, places < whole, (places >= read) & (places < whole)]


def batch_by_writing(prompts, responses, end):
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    tokens = torch.full((len(prompts), width), end)
    real, response = torch.zeros(2, len(prompts), width, dtype=torch.bool)
    for row, (p, r) in enumerate(zip(prompts, responses, strict=True)):
        stop = len(p) + len(r)
        tokens[row, : len(p)], tokens[row, len(p) : stop] = p, r
        real[row, :stop], response[row, len(p) : stop] = True, True
    return tokens, real, response


def batch_with(tokens=None, real=None, response=None):
    """The right batch with one of its three parts replaced: functions of (tokens, real, response,
    prompts, end).
    """

    def answer(prompts, responses, end):
        right = batch_by_places(prompts, responses, end)
        return tuple(
            one if other is None else other(*right, [len(p) for p in prompts], end)
            for one, other in zip(right, (tokens, real, response), strict=True)
        )

    return answer


def padded_in_front(tokens, real, response, read, end):
    rows = [row[mask] for row, mask in zip(tokens, real, strict=True)]
    return torch.stack(
        [torch.cat([torch.full((tokens.shape[1] - len(row),), end), row]) for row in rows]
    )


def response_first(prompts, responses, end):
    return batch_by_places(responses, prompts, end)


def after_the_first_end(t, real, r, read, end):
    return real & (torch.arange(t.shape[1]) > (t == end).int().argmax(1, keepdim=True))


def filled_apart(prompts, responses, end):
    tokens = torch.cat(
        [pad_sequence(prompts, True, end), pad_sequence(responses, True, end)], dim=1
    )
    return tokens, tokens != end, tokens != end


def wider(columns):
    """The right batch with more columns of padding; columns: (prompts, responses, width) -> how
    many.
    """

    def answer(prompts, responses, end):
        tokens, real, response = batch_by_places(prompts, responses, end)
        rest = (0, columns(prompts, responses, tokens.shape[1]))
        pad = torch.nn.functional.pad
        return pad(tokens, rest, value=end), pad(real, rest), pad(response, rest)

    return answer


def response_between(first, stop):
    """The right batch but for `response`, true from first to stop: functions of (prompt, response,
    width).
    """

    def answer(prompts, responses, end):
        tokens, real, _ = batch_by_places(prompts, responses, end)
        response, width = torch.zeros_like(real), tokens.shape[1]
        for row, (p, r) in enumerate(zip(prompts, responses, strict=True)):
            response[row, first(len(p), len(r), width) : stop(len(p), len(r), width)] = True
        return tokens, real, response

    return answer


def real_too_long(tokens, real, response, read, end):
    return torch.cat([torch.ones(len(real), 1, dtype=torch.bool), real[:, :-1]], dim=1)


def from_the_prompt_on(tokens, real, response, read, end):
    return torch.arange(tokens.shape[1]) >= torch.tensor(read)[:, None]


def one_too_early(tokens, real, response, read, end):
    return torch.cat([response[:, 1:], torch.zeros(len(response), 1, dtype=torch.bool)], dim=1)


def behind_the_longest_prompt(tokens, real, response, read, end):
    return real & (torch.arange(tokens.shape[1]) >= max(read))


def all_behind_the_longest_prompt(tokens, real, response, read, end):
    return (torch.arange(tokens.shape[1]) >= max(read)).expand(tokens.shape)


# 7.3 windows


def windows_by_loop(items, history):
    found, start = [], 0
    while start + 1 < len(items):
        found.append(items[start : start + history + 1])
        start += history
    return found


def windows_by_steps(items, history):
    firsts = items[: len(items) - 1 : history]
    rests = [items[i : i + history] for i in range(1, len(items), history)]
    return tuple((first, *rest) for first, rest in zip(firsts, rests, strict=True))


def windows_with(starts, size=lambda history: history + 1):
    def answer(items, history):
        return [items[i : i + size(history)] for i in starts(len(items), history)]

    return answer


# 7.4 LoRA


def lora_by_layers(x, weight, a, b, alpha):
    low = torch.nn.functional.linear(x, a)
    output = torch.nn.functional.linear(x, weight) + torch.nn.functional.linear(
        low, b
    ) * alpha / len(a)
    return output, weight + b @ a * (alpha / a.shape[0])


def lora_by_einsum(x, weight, a, b, alpha):
    merged = torch.einsum("or,ri->oi", b, a) * alpha / b.shape[1] + weight
    return torch.einsum("oi,ni->no", merged, x), merged


def lora_with(merge, apply=lambda x, merged: x @ merged.T):
    def answer(x, weight, a, b, alpha):
        merged = merge(weight, a, b, alpha, len(a))
        return apply(x, merged), merged

    return answer


def adapter_twice(x, weight, a, b, alpha):
    merged = right_merge(weight, a, b, alpha, len(a))
    return x @ merged.T + alpha / len(a) * (x @ a.T) @ b.T, merged


def right_merge(weight, a, b, alpha, rank):
    return weight + alpha / rank * b @ a


RIGHT = {
    "7.1": [
        values_by_loop,
        values_by_table,
        values_by_scatter,
        lambda *given: values_by_loop(*given).double(),
    ],
    "7.2": [batch_by_lists, batch_by_places, batch_by_writing],
    "7.3": [windows_by_loop, windows_by_steps],
    "7.4": [lora_by_layers, lora_by_einsum, lora_with(right_merge)],
}

WRONG = [
    ("7.1", values_with(lambda mine, random, words: mine.mean(0)), "0 / 0"),
    (
        "7.1",
        values_with(lambda mine, random, words: mine.sum(0) / max(len(mine), 1)),
        "never be told apart",
    ),
    (
        "7.1",
        values_with(lambda mine, random, words: mine.sum(0) if len(mine) else random),
        "long vectors",
    ),
    ("7.1", last_wins, "the last item of each code"),
    (
        "7.1",
        values_with(lambda mine, random, words: (mine.sum(0) + random) / (len(mine) + 1)),
        "one more item",
    ),
    (
        "7.1",
        values_with(lambda mine, random, words: words.mean(0) if len(mine) else random),
        "all codes would be one",
    ),
    (
        "7.1",
        values_with(lambda mine, start, words: mine.sum(0) / len(words) if len(mine) else start),
        "by all items",
    ),
    (
        "7.1",
        values_with(lambda mine, start, words: start + mine.mean(0) if len(mine) else start),
        "the mean is added",
    ),
    ("7.1", one_row_after_another, "the k-th code in use"),
    ("7.1", as_many_as_are_used, "below the *number* of codes in use"),
    ("7.1", as_many_as_there_are_films, "below the number of *films*"),
    ("7.1", zero_taken_for_none(lambda means: means == 0), "a mean of 0 taken for no films"),
    (
        "7.1",
        zero_taken_for_none(lambda means: (means == 0).all(1, keepdim=True)),
        "a mean of 0 taken for no films",
    ),
    ("7.1", lambda *given: values_by_loop(*given).int(), "should be float32"),
    ("7.1", lambda codes, words, random: random.clone(), "unchanged"),
    ("7.1", writes_into_random, "in place"),
    ("7.1", used_only, "one row for every code"),
    ("7.1", by_item, "one row per item"),
    (
        "7.1",
        values_with(lambda mine, random, words: mine[0] if len(mine) else random),
        "the first item of each code",
    ),
    (
        "7.1",
        values_with(
            lambda mine, random, words: mine.mean().expand(len(random)) if len(mine) else random
        ),
        "one number for all of a row",
    ),
    ("7.1", values_at_codes, "belongs to item i"),
    ("7.1", one_code_short, "stops before n"),
    ("7.1", from_code_one, "Is code 0 among those"),
    ("7.1", no_rows_above, "no rows above"),
    (
        "7.1",
        lambda *given: values_by_loop(*given) + 1,
        "`the table of rows` has the right shape, and wrong values",
    ),
    ("7.2", filled_apart, "filled up apart"),
    ("7.2", lambda p, r, end: batch_by_lists(p, r, 2), "the right shape, and wrong values"),
    ("7.2", wider(lambda p, r, width: 1), "one column too many"),
    (
        "7.2",
        lambda p, r, end: batch_by_places(p, [torch.cat([x, torch.tensor([end])]) for x in r], end),
        "ends with its end token already",
    ),
    (
        "7.2",
        lambda p, r, end: batch_by_places(p, [one[:-1] for one in r], end),
        "the end of each response is missing",
    ),
    (
        "7.2",
        wider(lambda p, r, width: max(map(len, p)) + max(map(len, r)) - width),
        "the greatest sum",
    ),
    (
        "7.2",
        batch_with(tokens=lambda t, real, r, read, end: t.where(real, torch.tensor(-100))),
        "-100 as padding",
    ),
    ("7.2", batch_with(real=real_too_long), "one place of padding too many"),
    (
        "7.2",
        response_between(lambda p, r, width: p, lambda p, r, width: p + r + 1),
        "one place too many",
    ),
    ("7.2", response_between(lambda p, r, width: p, lambda p, r, width: r), "`[p:r]`"),
    (
        "7.2",
        response_between(lambda p, r, width: width - r, lambda p, r, width: width),
        "the end of the *row*",
    ),
    ("7.2", batch_with(response=lambda t, real, r, read, end: r.float()), "dtype=torch.bool"),
    ("7.2", batch_with(tokens=padded_in_front), "padding in front"),
    ("7.2", response_first, "response before the prompt"),
    ("7.2", batch_with(tokens=lambda t, real, r, read, end: t * real), "zeros as padding"),
    ("7.2", batch_with(real=lambda t, real, r, read, end: t != end), "Real end tokens are lost"),
    ("7.2", batch_with(real=lambda t, real, r, read, end: real | True), "everything is real"),
    ("7.2", batch_with(real=lambda t, real, r, read, end: ~real), "where a token is *real*"),
    ("7.2", batch_with(real=lambda t, real, r, read, end: r), "it has to be read"),
    ("7.2", batch_with(real=lambda t, real, r, read, end: real.float()), "should be bool"),
    (
        "7.2",
        batch_with(response=lambda t, real, r, read, end: real),
        "A prompt is read, not learnt",
    ),
    ("7.2", batch_with(response=from_the_prompt_on), "learn to write padding"),
    ("7.2", batch_with(response=lambda t, real, r, read, end: real & ~r), "what comes after it"),
    ("7.2", batch_with(response=behind_the_longest_prompt), "behind the *longest* prompt"),
    ("7.2", batch_with(response=all_behind_the_longest_prompt), "behind the *longest* prompt"),
    ("7.2", batch_with(response=one_too_early), "one place too early"),
    ("7.2", batch_with(response=after_the_first_end), "behind the first end token"),
    (
        "7.2",
        batch_with(response=lambda t, real, r, read, end: r & (t != end)),
        "the model never stops",
    ),
    ("7.2", lambda p, r, end: batch_by_places(p, r, end)[:2], "return three tensors"),
    ("7.3", windows_with(lambda n, h: range(0, n, h)), "Stop the starts"),
    ("7.3", windows_with(lambda n, h: range(0, n, h + 1)), "share nothing"),
    ("7.3", windows_with(lambda n, h: range(0, n - 1)), "learnt more than once"),
    ("7.3", windows_with(lambda n, h: range(0, n - h, h)), "never learnt"),
    ("7.3", windows_with(lambda n, h: range(n - h)), "no window at all"),
    ("7.3", windows_with(lambda n, h: range(0, n - 1, h), lambda h: h + 2), "longer than"),
    ("7.3", windows_with(lambda n, h: range(0, n - 1, h), lambda h: h), "One more fits"),
    ("7.3", lambda items, h: windows_by_loop(items, h)[::-1], "another order"),
    ("7.3", lambda items, h: windows_by_loop(sorted(items), h), "the order of time"),
    ("7.3", lambda items, h: items[: h + 1], "a list of lists"),
    (
        "7.3",
        lambda items, h: windows_by_loop(list(range(len(items))), h),
        "places in place of items",
    ),
    ("7.3", lambda items, h: [], "no window at all"),
    (
        "7.3",
        lambda items, h: [one[::-1] for one in windows_by_loop(items, h)],
        "keep the oldest first",
    ),
    (
        "7.3",
        lambda items, h: [(one[:-1], one[-1]) for one in windows_by_loop(items, h)],
        "a window inside a window",
    ),
    (
        "7.3",
        lambda items, h: [list(map(float, one)) for one in windows_by_loop(items, h)],
        "should be whole",
    ),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + b @ a), "alpha / r is missing"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + alpha / len(b) * b @ a), "inputs or outputs"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + alpha // r * b @ a), "rounds down"),
    ("7.4", lambda *given: lora_by_layers(*given)[::-1], "return the output first"),
    ("7.4", lora_with(right_merge, lambda x, merged: merged @ x.T), "output is transposed"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + alpha * b @ a), "not divided by the rank"),
    ("7.4", adapter_twice, "is added twice"),
    (
        "7.4",
        lora_with(lambda w, a, b, alpha, r: w + alpha / r**0.5 * b @ a),
        "the square root of r",
    ),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + 2 * alpha / r * b @ a), "is added twice"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + r / alpha * b @ a), "should be alpha / r"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + 32 / r * b @ a), "the lesson's alpha"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: w + alpha / 8 * b @ a), "the lesson's rank"),
    (
        "7.4",
        lora_with(lambda w, a, b, alpha, r: w + alpha / a.shape[1] * b @ a),
        "number of inputs",
    ),
    ("7.4", lora_with(lambda w, a, b, alpha, r: alpha / r * b @ a), "W is missing"),
    ("7.4", lora_with(lambda w, a, b, alpha, r: alpha / r * (w + b @ a)), "Only the adapter is"),
    (
        "7.4",
        lora_with(lambda w, a, b, alpha, r: w + alpha / r * (b @ a).T),
        "adapter is transposed",
    ),
    ("7.4", lora_with(right_merge, lambda x, merged: x @ merged), "*transpose* of W"),
    ("7.4", lambda *given: lora_by_layers(*given)[0], "return two tensors"),
    (
        "7.4",
        lambda *given: (lora_by_layers(*given)[0], lora_by_layers(*given)[1].T),
        "merged weight is transposed",
    ),
    ("7.4", lambda *given: (lora_by_layers(*given)[0], given[1]), "the adapter is missing"),
]

HALF_RIGHT = {
    "batch": """
def my_batch(prompts, responses, end):
    both = [torch.cat(p) for p in zip(prompts, responses)]
    tokens = torch.nn.utils.rnn.pad_sequence(both, True, end)
    read = torch.tensor([len(p) for p in prompts])[:, None]
    return tokens, tokens != end, torch.arange(tokens.shape[1]) >= read
""",
    "windows": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
