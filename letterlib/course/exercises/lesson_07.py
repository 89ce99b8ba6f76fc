"""Lesson 07: first values of tokens, a batch of prompts and responses, windows of a list, LoRA."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.course.values import tenths

# 7.1 First values: codes int64 [n_items], words [n_items, d], random [n_codes, d] -> [n_codes, d]


def first_values_cases(generator: Generator) -> list[Case]:
    """One film; fewer films than codes; a code whose films' words cancel; then many films, with
    unused codes at both ends and between.
    """
    spread = torch.tensor([1, 2, 4, 5])[torch.randint(4, (14,), generator=generator)].tolist()
    drawn = [([0], 1, 2), ([2, 2], 3, 2), ([1, 1, 2, 4, 5, 4, *spread], 7, 3)]
    one, few, many = [
        {
            "codes": torch.tensor(codes),
            "words": _without_zeros(tenths(torch.randn(len(codes), dim, generator=generator))),
            "random": tenths(torch.randn(n_codes, dim, generator=generator)),
        }
        for codes, n_codes, dim in drawn
    ]
    cancelling = {
        "codes": torch.tensor([1, 2, 1]),
        "words": torch.tensor([[0.5, -1.0], [0.8, -0.3], [-0.5, 1.0]]),
        "random": torch.tensor([[0.3, 0.2], [0.7, -0.4], [-0.6, 0.9]]),
    }
    return [one, few, cancelling, many]


def _without_zeros(words: Tensor) -> Tensor:
    """With a word of zeros, many mistakes give the same results."""
    return torch.where(words == 0, 0.1, words)


def first_values(codes: Tensor, words: Tensor, random: Tensor) -> Tensor:
    rows = random.clone()
    for code in codes.unique():
        rows[code] = words[codes == code].mean(dim=0)
    return rows


def row_by_row(
    row: Callable = lambda films, row, words: films.mean(0),
    among: Callable = lambda codes, random: range(len(random)),
    empty: bool = False,
) -> Callable:
    """First values, one of whose steps may be replaced.

    row: (words of the code's films, its random row, all words) -> its first value.
    among: (codes, random) -> the codes that get a value. empty: also if they have no film.
    """

    def answer(codes, words, random):
        rows = random.clone()
        for code in among(codes, random):
            if empty or (codes == code).any():
                rows[code] = row(words[codes == code], random[code], words)
        return rows

    return answer


def values_by_product(codes, words, random):
    has = (torch.arange(len(random))[:, None] == codes).float()
    count = has.sum(1, keepdim=True)
    return torch.where(count > 0, has @ words / count.clamp(min=1), random)


def values_by_scatter(codes, words, random):
    index = codes[:, None].expand_as(words)
    return random.scatter_reduce(0, index, words, "mean", include_self=False)


def zero_taken_for_none(is_none: Callable) -> Callable:
    def answer(codes, words, random):
        means = row_by_row()(codes, words, torch.zeros_like(random))
        return torch.where(is_none(means), random, means)

    return answer


def assigned_at_once(codes, words, random):
    rows = random.clone()
    rows[codes] = words
    return rows


def added_at_once(start: Callable) -> Callable:
    def answer(codes, words, random):
        rows = start(random).clone()
        rows[codes] += words
        counts = torch.bincount(codes, minlength=len(random))[:, None]
        return torch.where(counts > 0, rows / counts.clamp(min=1), random)

    return answer


def one_row_after_another(codes, words, random):
    rows = random.clone()
    for row, code in enumerate(codes.unique()):
        rows[row] = words[codes == code].mean(0)
    return rows


def codes_from_one(codes, words, random):
    rows = random.clone()
    for code in codes[codes > 0].unique():
        rows[code - 1] = words[codes == code].mean(0)
    return rows


def row_of_the_film(codes, words, random):
    rows = random.clone()
    for film, code in enumerate(codes):
        rows[film] = words[codes == code].mean(0)
    return rows


def film_of_the_same_number(codes, words, random):
    rows = random.clone()
    for code in codes.unique():
        rows[code] = words[code]
    return rows


def halved(start: Callable) -> Callable:
    def row(films, row, words):
        value = start(films, row)
        for film in films:
            value = (value + film) / 2
        return value

    return row


ZERO_FOR_NONE = (
    "a mean of 0 taken for no films: the words of a code's films may cancel. Count its films."
)
NOT_ADDED_UP = (
    "`rows[codes] += words`, which adds one film to each code. `index_add` adds them all."
)
HALVED = "each film halves the weight of the films before it. Add them all up, then divide."
WRONG_ROWS = [
    (lambda films, row, words: films[0], "the first film of each code only; take the mean."),
    (lambda films, row, words: row + films.sum(0), "words added to random rows, and no mean."),
    (
        lambda films, row, words: films.sum(0),
        "sums. Codes with many films would get long vectors; take the mean.",
    ),
    (
        lambda films, row, words: films.mean(),
        "one number for all of a row. The mean runs over the code's films: `.mean(dim=0)`.",
    ),
    (
        lambda films, row, words: (row + films.sum(0)) / len(films),
        "the random row is added to the words.",
    ),
    (
        lambda films, row, words: (row + films.sum(0)) / (len(films) + 1),
        "the random row counts as one more film.",
    ),
    (
        lambda films, row, words: row + films.mean(0),
        "the mean is added to the random row. Put it in its place.",
    ),
    (
        lambda films, row, words: words.mean(0),
        "the mean of *all* films at every code: all codes would be the same.",
    ),
    (
        lambda films, row, words: films.sum(0) / len(words),
        "divided by the number of all films. Divide by that of the code's films.",
    ),
    (lambda films, row, words: films.median(0).values, "the median; take the mean."),
    (lambda films, row, words: films.mean(0) / films.mean(0).norm(), "rows scaled to length 1."),
    (
        lambda films, row, words: (row + films.mean(0)) / 2,
        "half of the random row. Put the mean in its place.",
    ),
    (
        lambda films, row, words: films.mean(1),
        "one mean a film. The mean runs over the code's films: `.mean(dim=0)`.",
    ),
    (halved(lambda films, row: films[0]), HALVED),
    (halved(lambda films, row: row), HALVED),
]
WRONG_EMPTY_ROWS = [
    (
        lambda films, row, words: films.mean(0),
        "0 / 0: a code without films has no mean. It keeps its random row.",
    ),
    (
        lambda films, row, words: films.sum(0) / max(len(films), 1),
        "zeros where a code has no films. Two such codes could never be told apart; keep their "
        "random rows.",
    ),
    (
        lambda films, row, words: films.sum(0),
        "sums, and zeros where a code has no films. Take means, and keep random rows.",
    ),
    (
        lambda films, row, words: (films if len(films) else words).mean(0),
        "the mean of all films where a code has none. Keep its random row.",
    ),
]
WRONG_CODES = [
    (lambda codes, random: range(1, len(random)), "code 0 is left out."),
    (
        lambda codes, random: range(int(codes.max())),
        "the highest code that occurs is left out. `range(n)` stops before n.",
    ),
    (
        lambda codes, random: range(len(codes)),
        "only the codes below the number of *films*. Go through `codes.unique()`.",
    ),
    (
        lambda codes, random: range(len(codes.unique())),
        "only the codes below the *number* of codes in use. Codes have gaps: go through "
        "`codes.unique()`.",
    ),
]

FIRST_VALUES = Exercise(
    reference=first_values,
    cases=first_values_cases,
    returns=["the table of rows"],
    right=[
        row_by_row(),
        values_by_product,
        values_by_scatter,
        lambda *given: first_values(*given).double(),
    ],
    stops={
        "out of bounds": "Row i of `words` belongs to film i, and row c of the result to code c.",
        "expanded size": "A row has d numbers: take the mean over the films, `.mean(dim=0)`.",
    },
    mistakes=[
        *((row_by_row(row), hint) for row, hint in WRONG_ROWS),
        *((row_by_row(row, empty=True), hint) for row, hint in WRONG_EMPTY_ROWS),
        *((row_by_row(among=among), hint) for among, hint in WRONG_CODES),
        (
            assigned_at_once,
            "the last film of each code. `rows[codes] = words` writes one film over the other; "
            "take their mean.",
        ),
        (added_at_once(lambda random: random), NOT_ADDED_UP),
        (added_at_once(torch.zeros_like), NOT_ADDED_UP),
        (
            one_row_after_another,
            "the k-th code in use stands in row k. Code 5 belongs in row 5, whether or not 3 and "
            "4 occur.",
        ),
        (codes_from_one, "codes counted from 1. Code 0 has row 0."),
        (row_of_the_film, "row i holds the mean of film i's code. Row c belongs to code c."),
        (lambda codes, words, random: random.clone(), "the random rows, unchanged."),
        (zero_taken_for_none(lambda means: means == 0), ZERO_FOR_NONE),
        (zero_taken_for_none(lambda means: (means == 0).all(1, keepdim=True)), ZERO_FOR_NONE),
        (
            film_of_the_same_number,
            "`words[code]`, but row i of `words` belongs to film i. A code's films are "
            "`words[codes == code]`.",
        ),
        (
            lambda codes, *rest: first_values(codes, *rest)[codes],
            "one row per film; one per code is asked for.",
        ),
        (
            lambda codes, *rest: first_values(codes, *rest)[codes.unique()],
            "rows for codes in use only. The table has one row for every code.",
        ),
        (
            lambda codes, *rest: first_values(codes, *rest)[: codes.max() + 1],
            "no rows above the highest code in use. The table has one row for every code.",
        ),
    ],
)

# 7.2 A batch: prompts, responses (lists of int64 [n]), end -> tokens, real, response [batch, T]


def batch_cases(generator: Generator) -> list[Case]:
    """Pairs of lengths: one example without padding, two of equal length, then short prompts with
    long responses and the reverse.

    As in the library, responses and the histories in prompts end with the token that also fills up
    a batch: padding cannot be told by its number.
    """
    lengths = [[(2, 1)], [(1, 3), (3, 1)], [(5, 2), (1, 3), (2, 9), (7, 1), (4, 4)]]
    cases = []
    for end, pairs in enumerate(lengths, start=2):
        prompts = [torch.randint(9, 90, (n,), generator=generator) for n, _ in pairs]
        responses = [torch.randint(9, 90, (n,), generator=generator) for _, n in pairs]
        for row in [prompts[0], *responses]:
            row[-1] = end
        cases.append({"prompts": prompts, "responses": responses, "end": end})
    return cases


def batch(
    prompts: Sequence[Tensor], responses: Sequence[Tensor], end: int
) -> tuple[Tensor, Tensor, Tensor]:
    width = max(len(p) + len(r) for p, r in zip(prompts, responses))
    tokens = torch.full((len(prompts), width), end)
    real, response = torch.zeros(2, len(prompts), width, dtype=torch.bool)
    for row, (p, r) in enumerate(zip(prompts, responses)):
        tokens[row, : len(p) + len(r)] = torch.cat([p, r])
        real[row, : len(p) + len(r)] = True
        response[row, len(p) : len(p) + len(r)] = True
    return tokens, real, response


def batch_with(
    row: Callable = lambda prompt, response, end: torch.cat([prompt, response]),
    fill: Callable = lambda end: end,
    extra: Callable = lambda p, r, width: 0,
    real: Callable = lambda at, p, r, n: at < p + r,
    response: Callable = lambda at, p, r, n: (at >= p) & (at < p + r),
) -> Callable:
    """A batch, one of whose steps may be replaced.

    row: what stands in a row before its padding. extra: how many more columns than needed.
    real, response: masks from places [n], lengths of prompts and responses [batch, 1], and n.
    """

    def answer(prompts, responses, end):
        rows = [row(p, r, end) for p, r in zip(prompts, responses)]
        p, r = ([[len(one)] for one in part] for part in (prompts, responses))
        p, r, width = torch.tensor(p), torch.tensor(r), max(map(len, rows))
        width += extra(p, r, width)
        tokens = torch.stack([padded(one, width, fill(end)) for one in rows])
        at = torch.arange(width)
        return tokens, real(at, p, r, width), response(at, p, r, width)

    return answer


def padded(row: Tensor, width: int, fill: int) -> Tensor:
    return torch.cat([row, torch.full((width - len(row),), fill)])


def batch_by_lists(prompts, responses, end):
    width = max(len(p) + len(r) for p, r in zip(prompts, responses))
    rows, real, response = [], [], []
    for p, r in zip(prompts, responses):
        rest = width - len(p) - len(r)
        rows.append([*p.tolist(), *r.tolist(), *[end] * rest])
        real.append([True] * (len(p) + len(r)) + [False] * rest)
        response.append([False] * len(p) + [True] * len(r) + [False] * rest)
    return [torch.tensor(rows), torch.tensor(real), torch.tensor(response)]


def changed(**parts: Callable) -> Callable:
    """The right batch, parts of which are made by functions of (tokens, real, response, end)."""

    def answer(prompts, responses, end):
        right = dict(zip(BATCH.returns, batch(prompts, responses, end)))
        return tuple((right | {k: f(*right.values(), end) for k, f in parts.items()}).values())

    return answer


def padding_in_front(prompts, responses, end):
    flipped = batch([r.flip(0) for r in responses], [p.flip(0) for p in prompts], end)
    return flipped[0].flip(1), *batch(prompts, responses, end)[1:]


def filled_apart(prompts, responses, end):
    parts = [
        torch.stack([padded(row, max(map(len, rows)), end) for row in rows])
        for rows in (prompts, responses)
    ]
    tokens = torch.cat(parts, dim=1)
    return tokens, tokens != end, tokens != end


def after_the_first_end(tokens, real, response, end):
    return real & (torch.arange(tokens.shape[1]) > (tokens == end).int().argmax(1, keepdim=True))


def labels_with_padding(tokens, real, response, end):
    return tokens.masked_fill(real & ~response, -100)


def labels_without_ends(tokens, real, response, end):
    return tokens.where(response & (tokens != end), -100)


PROMPTS_ALONE = "the prompts alone; the responses belong behind them."
LONGEST_PROMPT = (
    "the response looked for behind the *longest* prompt. In every row it begins at that row's "
    "own `len(prompt)`."
)
LABELS = (
    "labels in Hugging Face's form: token numbers, and -100 for what is not learnt. Here a mask is "
    "asked for, true where labels are not -100."
)
WRONG_REAL = [
    (lambda at, p, r, n: (at >= 0).expand(len(p), -1), "everything is real, padding included."),
    (lambda at, p, r, n: at >= p + r, "the padding; the mask is true where a token is *real*."),
    (lambda at, p, r, n: at < p, "the prompt only. The response is read as well."),
    (lambda at, p, r, n: at < p + r - 1, "the end token is missing. Padding starts after it."),
    (
        lambda at, p, r, n: (at >= p) & (at < p + r),
        "the response only. The prompt is not learnt, but it has to be read. After `response = "
        "real` both names mean the same tensor, and a change of one changes the other.",
    ),
    (
        lambda at, p, r, n: at <= p + r,
        "one place of padding too many: what is real stops before `len(prompt) + len(response)`.",
    ),
]
WRONG_RESPONSE = [
    (lambda at, p, r, n: at < p, "the prompt; the response is what comes after it."),
    (lambda at, p, r, n: at == p, "the first token of the response only."),
    (lambda at, p, r, n: at == p + r - 1, "the last token of the response only."),
    (lambda at, p, r, n: at >= p - 1, "one place too early, and padding counted."),
    (
        lambda at, p, r, n: at >= p,
        "padding counted as a response: the model would learn to write padding.",
    ),
    (
        lambda at, p, r, n: at < p + r,
        "the whole example. A prompt is read, not learnt. After `real = response = ...` both names "
        "mean the same tensor, and a change of one changes the other.",
    ),
    (
        lambda at, p, r, n: (at >= p - 1) & (at < p + r - 1),
        "one place too early. True marks the token that is to be *written*; the model's forward "
        "pass does the shift by itself.",
    ),
    (
        lambda at, p, r, n: (at >= p - 1) & (at < p + r),
        "one token of the prompt too many: the response starts at `len(prompt)`.",
    ),
    (
        lambda at, p, r, n: (at > p) & (at < p + r),
        "the first token of the response is missing: it stands at `len(prompt)`.",
    ),
    (
        lambda at, p, r, n: (at >= p) & (at < p + r - 1),
        "the end token is missing. If it is not learnt, the model never stops.",
    ),
    (
        lambda at, p, r, n: (at >= p) & (at <= p + r),
        "one place too many: the response stops before `len(prompt) + len(response)`.",
    ),
    (
        lambda at, p, r, n: (at >= p) & (at < r),
        "`[p:r]`. The response begins at p and is r long: it stops at p + r.",
    ),
    (
        lambda at, p, r, n: at < r,
        "`[:r]`, the beginning of the row. The response begins at `len(prompt)`.",
    ),
    (
        lambda at, p, r, n: at >= n - r,
        "the end of the *row*, where padding stands. The response begins at `len(prompt)`.",
    ),
    (lambda at, p, r, n: (at >= p.max()) & (at < p + r), LONGEST_PROMPT),
    (lambda at, p, r, n: (at >= p.max()).expand(len(p), -1), LONGEST_PROMPT),
]

BATCH = Exercise(
    reference=batch,
    cases=batch_cases,
    returns=["tokens", "real", "response"],
    right=[batch_with(), batch_by_lists],
    stops={
        "equal size": "Rows have different lengths: fill each up to the width of the longest.",
        "expected sequence of length": "Fill each row up to the width of the longest.",
        "expanded size": "In its row, the prompt stands at `[:p]` and the response at `[p:p + r]`.",
    },
    mistakes=[
        *((batch_with(real=mask), hint) for mask, hint in WRONG_REAL),
        *((batch_with(response=mask), hint) for mask, hint in WRONG_RESPONSE),
        *(
            (batch_with(fill=lambda end, n=n: n), f"{n} as padding; fill up with `end`.")
            for n in (0, -1, -100)
        ),
        (
            padding_in_front,
            "padding in front. Here it comes after the response, so that a token's place is the "
            "same with and without it.",
        ),
        (
            batch_with(lambda p, r, end: torch.cat([r, p])),
            "the response before the prompt. A causal model has to read the prompt first.",
        ),
        (
            batch_with(extra=lambda p, r, width: 1),
            "one column too many. A response ends with its end token already, and the longest row "
            "needs no padding.",
        ),
        (
            batch_with(extra=lambda p, r, width: int(p.max() + r.max()) - width),
            "columns that are never needed. The longest prompt and the longest response need not "
            "be in the same row: the width is the greatest sum.",
        ),
        (
            filled_apart,
            "prompts and responses filled up apart, so that padding stands between them. Put the "
            "two together first.",
        ),
        (
            batch_with(lambda p, r, end: torch.cat([p, r[:-1]])),
            "the end of each response is missing. It is no padding: it has to be learnt.",
        ),
        (
            batch_with(lambda p, r, end: torch.cat([p, torch.tensor([end]), r])),
            "an end token between prompt and response. Add none: they have theirs already.",
        ),
        (batch_with(lambda p, r, end: p), PROMPTS_ALONE),
        (changed(tokens=lambda t, real, response, end: t.where(~response, end)), PROMPTS_ALONE),
        (
            batch_with(lambda p, r, end: r),
            "the responses alone; without its prompt nothing can be answered.",
        ),
        (
            changed(real=lambda t, real, response, end: t != end),
            "`tokens != end`. Real end tokens are lost: padding has the same number. Use lengths.",
        ),
        (
            changed(response=after_the_first_end),
            "the response looked for behind the first end token; a prompt may hold one. Use "
            "`len(prompt)`.",
        ),
        (changed(response=lambda t, real, response, end: t.where(response, -100)), LABELS),
        (changed(response=labels_with_padding), LABELS),
        (
            changed(response=labels_without_ends),
            f"{LABELS} And responses' end tokens are lost among the padding.",
        ),
    ],
)

# 7.3 Windows: items (list), history -> lists of at most history + 1 items; neighbours share one


def windows_cases(generator: Generator) -> list[Case]:
    """(items, history): fewer than a window, exactly one, one item more, exactly two, a history of
    one, five and a half windows.
    """
    sizes = [(2, 3), (4, 3), (5, 3), (7, 3), (8, 1), (23, 4)]
    return [
        {"items": torch.randperm(90, generator=generator)[:n].tolist(), "history": history}
        for n, history in sizes
    ]


def windows(items: list[int], history: int) -> list[list[int]]:
    return [items[start : start + history + 1] for start in range(0, len(items) - 1, history)]


def windows_with(
    starts: Callable = lambda n, h: range(0, n - 1, h), size: Callable = lambda h: h + 1
) -> Callable:
    """Windows, one of whose steps may be replaced: where they start, and how long they are."""
    return lambda items, h: [items[start : start + size(h)] for start in starts(len(items), h)]


def each(one: Callable) -> Callable:
    """Windows, each of which is changed."""
    return lambda items, history: [one(window, history) for window in windows(items, history)]


def windows_by_loop(items, history):
    found, start = [], 0
    while start + 1 < len(items):
        found.append(items[start : start + history + 1])
        start += history
    return found


def windows_by_steps(items, history):
    firsts = items[: len(items) - 1 : history]
    rests = [items[i : i + history] for i in range(1, len(items), history)]
    return [[first, *rest] for first, rest in zip(firsts, rests)]


def from_the_end(items, history):
    return [window[::-1] for window in windows(items[::-1], history)][::-1]


def tail_in_the_last(items, history):
    *found, last = windows(items, history)
    if found and len(last) < history + 1:
        return [*found[:-1], found[-1] + last[1:]]
    return [*found, last]


READ_WRITTEN = slice(None, -1), slice(1, None)
MORE_THAN_ONCE = (
    "items that are learnt more than once: the next window starts `history` further on, at the "
    "last item of the window before."
)
NEVER_LEARNT = "items at the end are never learnt. The last window may be shorter."
SHARE_NOTHING = "windows that share nothing: the first item of each would never be learnt."
ONE_TOO_SHORT = "windows of `history` items. One more fits: the last one is written, not read."

WINDOWS = Exercise(
    reference=windows,
    cases=windows_cases,
    returns=["the windows"],
    right=[windows_by_loop, windows_by_steps],
    mistakes=[
        (
            windows_with(lambda n, h: range(0, n, h)),
            "a window of one item: it teaches nothing, since nothing comes after it. Stop the "
            "starts at `len(items) - 1`.",
        ),
        (windows_with(lambda n, h: range(0, n, h + 1)), SHARE_NOTHING),
        (windows_with(lambda n, h: range(0, n - 1, h + 1)), SHARE_NOTHING),
        (windows_with(lambda n, h: range(0, n - 1)), MORE_THAN_ONCE),
        (windows_with(lambda n, h: range(max(n - h, 1))), MORE_THAN_ONCE),
        (windows_with(lambda n, h: range(n - h)), f"{NEVER_LEARNT} And {MORE_THAN_ONCE}"),
        (windows_with(lambda n, h: range(0, n - h, h)), NEVER_LEARNT),
        (windows_with(lambda n, h: range(0, n - h, h + 1)), f"{NEVER_LEARNT} And {SHARE_NOTHING}"),
        (
            lambda items, h: windows(items, h)[: (len(items) - 1) // h or 1],
            NEVER_LEARNT,
        ),
        (
            windows_with(size=lambda h: h + 2),
            "a window longer than history + 1 items.",
        ),
        (windows_with(size=lambda h: h), ONE_TOO_SHORT),
        (windows_with(lambda n, h: range(0, n - 1, h - 1), lambda h: h), ONE_TOO_SHORT),
        (
            windows_with(lambda n, h: range(0, n, h), lambda h: h),
            f"{ONE_TOO_SHORT} And the next window begins with it.",
        ),
        (lambda items, h: windows(items, h)[:1], "a `return` inside the loop, after the first."),
        (lambda items, h: items[: h + 1], "the first window alone. Return a list of windows."),
        (
            lambda items, h: [item for window in windows(items, h) for item in window],
            "one window after another without brackets: `append` the window as a whole.",
        ),
        (
            lambda items, h: [],
            "no window at all. Every list has at least two items, so at least one window.",
        ),
        (
            lambda items, h: windows(items, h)[::-1],
            "the right windows in another order; begin with the oldest.",
        ),
        (
            lambda items, h: windows(sorted(items), h),
            "items sorted by their numbers. They stand in the order of time; leave it.",
        ),
        (
            lambda items, h: windows(list(range(len(items))), h),
            "places in place of items: `items[i]`.",
        ),
        (
            each(lambda window, h: window[::-1]),
            "the right items in each window, in another order; keep the oldest first.",
        ),
        (
            from_the_end,
            "windows cut from the end, so that the first one is short. Cut from the front.",
        ),
        (
            lambda items, h: windows(items, h)[:-1] + [items[-h - 1 :]],
            f"the last window begins too early, to be full. {MORE_THAN_ONCE}",
        ),
        (tail_in_the_last, "a short rest put into the window before it, which is then too long."),
        (
            lambda items, h: [items[-h - 1 :]],
            "the last window alone. Return a list of all windows, from the front.",
        ),
        (
            lambda items, h: [items[max(i - h, 0) : i + 1] for i in range(1, len(items))],
            f"a window for every item that is learnt. {MORE_THAN_ONCE}",
        ),
        (
            lambda items, h: tuple([w[part] for w in windows(items, h)] for part in READ_WRITTEN),
            "what is read apart from what is written. Return one list of windows.",
        ),
        (
            each(lambda window, h: window + [0] * (h + 1 - len(window))),
            "the last window filled up. It may be shorter than the others.",
        ),
        (
            each(lambda window, h: [window[:-1], window[-1]]),
            "a window inside a window. A window is a plain list: what is read and what is written "
            "in one row.",
        ),
        (
            each(lambda window, h: (window[:-1], window[-1])),
            "a window inside a window. A window is a plain list: what is read and what is written "
            "in one row.",
        ),
        (each(lambda window, h: window[:-1]), "the last item of each window is missing."),
        (each(lambda window, h: window[1:]), "the first item of each window is missing."),
    ],
)

# 7.4 LoRA: x [n, in], weight [out, in], a [r, in], b [out, r], alpha -> output [n, out], merged


def lora_cases(generator: Generator) -> list[Case]:
    """(rows, in, out, rank): single numbers of rank one, then of rank two to work out by hand; at
    the end a square matrix, which a transposed one fits as well.

    The last rank is 3, so that alpha, 2 alpha / r, alpha // r and the lesson's 32 / r all differ.
    The weight is frozen, and needs no gradient.
    """

    def case(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Case:
        learnt = {"a": a.requires_grad_(), "b": b.requires_grad_()}
        return {"x": x.requires_grad_(), "weight": weight, **learnt, "alpha": alpha}

    cases = []
    for n, d_in, d_out, rank in [(1, 1, 1, 1), (2, 3, 2, 1), (4, 5, 5, 3)]:
        shapes = [(n, d_in), (d_out, d_in), (rank, d_in), (d_out, rank)]
        drawn = [_without_zeros(tenths(torch.randn(s, generator=generator))) for s in shapes]
        cases.append(case(*drawn, 4.0 * rank + 5))
    numbers = [[2.0]], [[1.0]], [[1.0], [2.0]], [[3.0, 1.0]]
    return [cases[0], case(*map(torch.tensor, numbers), 4.0), *cases[1:]]


def lora(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    scale = alpha / len(a)
    output = x @ weight.T + scale * (x @ a.T) @ b.T
    return output, weight + scale * b @ a


def lora_by_layers(x, weight, a, b, alpha):
    output = linear(x, weight) + linear(linear(x, a), b) * alpha / b.shape[1]
    return output, torch.einsum("or,ri->oi", b, a) * alpha / b.shape[1] + weight


def lora_by_merging(x, weight, a, b, alpha):
    merged = weight + b @ a * (alpha / len(a))
    return x @ merged.T, merged.detach()


def scaled(scale: Callable) -> Callable:
    """The merged weight with another factor: (alpha, a, b) -> in place of alpha / r."""
    return lambda weight, a, b, alpha: weight + scale(alpha, a, b) * b @ a


def in_both(merge: Callable) -> Callable:
    def answer(x, weight, a, b, alpha):
        merged = merge(weight, a, b, alpha)
        return x @ merged.T, merged

    return answer


def in_merged(merge: Callable) -> Callable:
    """The output is right."""
    return lambda x, *rest: (lora(x, *rest)[0], merge(*rest))


def changed_results(change: Callable) -> Callable:
    """change: (output, merged, x, weight) -> both results."""
    return lambda x, weight, *rest: change(*lora(x, weight, *rest), x, weight)


ADDED_TWICE = "the adapter is added twice. W + alpha / r B A holds it already."
WRONG_NUMBER = "divided by the number of inputs or outputs; the rank is `len(a)`."
ONLY_THE_ADAPTER = "W multiplied by alpha / r as well. Only the adapter is."
WRONG_SCALES = [
    (lambda alpha, a, b: 1, "the alpha / r is missing."),
    (lambda alpha, a, b: alpha, "not divided by the rank r: then a larger r means larger steps."),
    (lambda alpha, a, b: alpha / len(a) ** 0.5, "divided by the square root of r, as in rsLoRA."),
    (lambda alpha, a, b: (alpha / len(a)) ** 2, "alpha / r is multiplied twice."),
    (lambda alpha, a, b: 32 / len(a), "32, the lesson's alpha. Take the argument `alpha`."),
    (lambda alpha, a, b: alpha / 8, "8, the lesson's rank. Here the rank is `len(a)`."),
    (lambda alpha, a, b: len(a) / alpha, "r / alpha; it should be alpha / r."),
    (lambda alpha, a, b: 1 / len(a), "alpha is missing: the factor is alpha / r."),
    (lambda alpha, a, b: alpha // len(a), "`//` rounds down; divide with `/`."),
    (lambda alpha, a, b: -alpha / len(a), "the adapter is subtracted. Add it."),
    (lambda alpha, a, b: 2 * alpha / len(a), ADDED_TWICE),
    (lambda alpha, a, b: alpha / a.shape[1], WRONG_NUMBER),
    (lambda alpha, a, b: alpha / len(b), WRONG_NUMBER),
]
WRONG_WEIGHTS = [
    *((scaled(scale), hint) for scale, hint in WRONG_SCALES),
    (lambda w, a, b, alpha: b @ a, "W is missing, and so is alpha / r."),
    (lambda w, a, b, alpha: w.clone(), "W alone; the adapter is missing."),
    (
        lambda w, a, b, alpha: alpha / len(a) * b @ a,
        "W is missing: LoRA is added to what the layer does already.",
    ),
    (lambda w, a, b, alpha: alpha / len(a) * (w + alpha / len(a) * b @ a), ONLY_THE_ADAPTER),
    (lambda w, a, b, alpha: alpha / len(a) * (w + b @ a), ONLY_THE_ADAPTER),
    (
        lambda w, a, b, alpha: w + alpha / len(a) * (b @ a).T,
        "the adapter is transposed: it is B A, and A touches x first.",
    ),
    (
        lambda w, a, b, alpha: w + alpha / len(a) * a @ b,
        "`a @ b`. The matrix with W's shape is `b @ a`.",
    ),
    (
        lambda w, a, b, alpha: w + alpha / len(a) * b * a,
        "`*` multiplies entry by entry; the matrix product is `@`.",
    ),
]

LORA = Exercise(
    reference=lora,
    cases=lora_cases,
    returns=["output", "merged"],
    right=[lora_by_layers, lora_by_merging],
    stops={
        "must match the size of tensor": "The adapter B A is added to W, and has W's shape.",
        "cannot be multiplied": "A linear layer computes x times the *transpose* of W, and here "
        "x A^T B^T.",
    },
    mistakes=[
        *((in_both(merge), hint) for merge, hint in WRONG_WEIGHTS),
        *((in_merged(merge), hint) for merge, hint in WRONG_WEIGHTS),
        (changed_results(lambda output, merged, x, w: (2 * output - x @ w.T, merged)), ADDED_TWICE),
        (
            changed_results(lambda output, merged, x, w: (output + x @ w.T, merged)),
            "W is added twice: the merged weight holds it already.",
        ),
        (
            changed_results(lambda output, merged, x, w: (x @ merged, merged)),
            "x times W; a linear layer computes x times the *transpose* of W.",
        ),
        (
            changed_results(lambda output, merged, x, w: (merged, output)),
            "the merged weight where the output belongs: return the output first.",
        ),
        (
            changed_results(lambda output, merged, x, w: (output.T, merged)),
            "the output is transposed: one row for every row of x.",
        ),
        (
            changed_results(lambda output, merged, x, w: (output, output)),
            "the output a second time; the merged weight is a matrix like W.",
        ),
        (
            changed_results(lambda output, merged, x, w: (output, merged.T)),
            "the merged weight is transposed; it takes the place of W.",
        ),
        (
            changed_results(lambda output, merged, x, w: (output.detach(), merged)),
            "no gradient arrives, so the adapter never learns: `detach()`, `torch.no_grad()` or "
            "`torch.tensor(...)` on the way.",
        ),
    ],
)

EXERCISES = {
    "7.1": FIRST_VALUES,
    "7.2": BATCH,
    "7.3": WINDOWS,
    "7.4": LORA,
}
