"""Lesson 07: first values of tokens, prompts of two tasks, a batch with its response mask, labels
and loss, LoRA as a module and in a model.
"""

import re
from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, linear

from letterlib.course.comparing import Case, Incorrect
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


def running_average(codes, words, random):
    rows = random.clone()
    for code in codes:
        rows[code] = (rows[code] + words[codes == code].mean(0)) / 2
    return rows


def more_than_one(codes, words, random):
    rows = random.clone()
    for code in range(len(random)):
        if (codes == code).sum() > 1:
            rows[code] = words[codes == code].mean(0)
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
        (
            running_average,
            "an average of the row with the mean, once for every film. Put the mean in the row's "
            "place, once for every code.",
        ),
        (more_than_one, "a code with a single film keeps its random row. Its mean is that film."),
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

# 7.2 Examples: words (a function), item, kinds, history, wish, end -> two pairs of lists of tokens


class Pieces:
    """A tokenizer whose tokens are the pieces of a text themselves, so that one can read them."""

    def __call__(self, text: str) -> list[str]:
        return re.findall(r" ?\w+|[^\w]", text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pieces)

    def __repr__(self) -> str:
        return 'a function: "What kind?" -> ["What", " kind", "?"]'


def examples_cases(generator: Generator) -> list[Case]:
    """Histories of one, two and four films."""
    cases = []
    for n, levels, wish, kinds in [
        (1, 1, "horror", "drama"),
        (2, 2, "a comedy", "comedy, romance"),
        (4, 4, "science fiction", "western, musical, war"),
    ]:
        codes = torch.randperm(90, generator=generator)[: levels * (n + 1)].view(n + 1, levels)
        films = [[f"<{'abcd'[i]}_{code}>" for i, code in enumerate(row)] for row in codes.tolist()]
        case = {"words": Pieces(), "item": films[0], "kinds": kinds, "history": films[1:]}
        cases.append(case | {"wish": wish, "end": "<end>"})
    return cases


def examples(words, item, kinds, history, wish, end):
    listed = []
    for film in history:
        listed += (words(", ") if listed else []) + film
    asked = words("What kind of film is ") + item + words("?\n")
    search = words("History: ") + listed + words(f". Looking for {wish}")
    return (asked, words(kinds) + [end]), (search, item + [end])


def examples_with(
    question: Callable = lambda words, item: words("What kind of film is ") + item + words("?\n"),
    answer: Callable = lambda words, kinds, item, end: words(kinds) + [end],
    opening: Callable = lambda words: words("History: "),
    films: Callable = lambda history, item: history,
    joint: Callable = lambda words, i, n, end: words(", ") if i else [],
    closing: Callable = lambda words, wish: words(f". Looking for {wish}"),
    found: Callable = lambda item, history, end, words: item + [end],
    order: Callable = lambda first, second: (first, second),
) -> Callable:
    """Both examples, one of whose parts may be replaced."""

    def made(words, item, kinds, history, wish, end):
        listed, shown = [], films(history, item)
        for i, film in enumerate(shown):
            listed += [*joint(words, i, len(shown), end), *film]
        search = opening(words) + listed + closing(words, wish)
        first = question(words, item), answer(words, kinds, item, end)
        return order(first, (search, found(item, history, end, words)))

    return made


def examples_by_fields(words, item, kinds, history, wish, end):
    def filled(text, **fields):
        parts = [fields.get(p[1:-1]) or words(p) for p in re.split(r"(\{\w+\})", text)]
        return sum(parts, [])

    listed = [t for film in history for t in [*words(", "), *film]][len(words(", ")) :]
    asked = filled("What kind of film is {item}?\n", item=item)
    text = f"History: {{history}}. Looking for {wish}"
    return [[asked, [*words(kinds), end]], [filled(text, history=listed), [*item, end]]]


def in_one_text(words, item, kinds, history, wish, end):
    question, _ = examples(words, item, kinds, history, wish, end)
    text = f"History: {', '.join(str(film) for film in history)}. Looking for {wish}"
    return question, (words(text), item + [end])


def kinds_for_wish(words, item, kinds, history, wish, end):
    question, _ = examples(words, item, kinds, history, wish, end)
    return question, examples(words, item, kinds, history, kinds, end)[1]


def comma_cut(words, item, kinds, history, wish, end):
    listed = [token for film in history for token in [*film, *words(", ")]][:-1]
    question, (_, response) = examples(words, item, kinds, history, wish, end)
    search = words("History: ") + listed + words(f". Looking for {wish}")
    return question, (search, response)


def in_pairs(answer: Callable) -> Callable:
    """A pair may be a list as well."""

    @wraps(answer)
    def use(*given):
        returned = answer(*given)
        if not isinstance(returned, (list, tuple)):
            return returned
        return tuple(
            tuple(pair) if isinstance(pair, list) and [*map(type, pair)] == [list, list] else pair
            for pair in returned
        )

    return use


NO_END = "the end token is missing. Without it the model never learns to stop."
PROMPT_END = "an end token in the prompt. It ends what the model writes: the response."
WORDS_APART = (
    "`words` of an identifier. It is in tokens already: `words(...) + item`, and it is not written "
    "into the text."
)
NO_LINE = "the line break `\\n` at the end of the prompt is missing."

EXAMPLES = Exercise(
    reference=examples,
    cases=examples_cases,
    returns=["the example of index2item", "the example of itemsearch"],
    use=in_pairs,
    right=[
        examples_with(),
        examples_by_fields,
    ],
    stops={
        "can only concatenate list": "`words(text)` and identifiers are lists, and `end` is one "
        "token: `[end]` makes a list of it.",
        "can only concatenate str": "A text becomes a list of tokens by `words(text)`.",
        "expected string": "`words` takes a text. Identifiers are in tokens already.",
        "must be str": "A text becomes a list of tokens by `words(text)`.",
    },
    mistakes=[
        (
            examples_with(
                answer=lambda words, kinds, item, end: words(kinds),
                found=lambda item, history, end, words: item,
            ),
            NO_END,
        ),
        (examples_with(answer=lambda words, kinds, item, end: words(kinds)), NO_END),
        (examples_with(found=lambda item, history, end, words: item), NO_END),
        (
            examples_with(
                question=lambda words, item: (
                    words("What kind of film is ") + item + words("?\n") + ["<end>"]
                )
            ),
            PROMPT_END,
        ),
        (
            examples_with(closing=lambda words, wish: words(f". Looking for {wish}") + ["<end>"]),
            PROMPT_END,
        ),
        (
            examples_with(
                answer=lambda words, kinds, item, end: words(kinds) + words(end),
                found=lambda item, history, end, words: item + words(end),
            ),
            "`words(end)`. `end` is a token, not a text: `[end]`.",
        ),
        (
            examples_with(
                answer=lambda words, kinds, item, end: words(kinds) + words(end),
            ),
            "`words(end)`. `end` is a token, not a text: `[end]`.",
        ),
        (
            examples_with(
                question=lambda words, item: words(f"What kind of film is {''.join(item)}?\n")
            ),
            WORDS_APART,
        ),
        (
            examples_with(question=lambda words, item: words(f"What kind of film is {item}?\n")),
            WORDS_APART,
        ),
        (
            examples_with(films=lambda history, item: [[str(history)]], joint=lambda *_: []),
            WORDS_APART,
        ),
        (
            examples_with(films=lambda history, item: [Pieces()(str(history))]),
            WORDS_APART,
        ),
        (
            examples_with(
                films=lambda history, item: [Pieces()("".join(sum(history, [])))],
            ),
            WORDS_APART,
        ),
        (
            examples_with(joint=lambda words, i, n, end: []),
            'the `", "` between the films of the history is missing.',
        ),
        (
            examples_with(joint=lambda words, i, n, end: words(",") if i else []),
            'a comma without its space between two films: `words(", ")`.',
        ),
        (
            examples_with(joint=lambda words, i, n, end: words(", ")),
            'a `", "` before the first film as well. It stands *between* films.',
        ),
        (
            examples_with(
                films=lambda history, item: [[*film, *Pieces()(", ")] for film in history],
                joint=lambda *_: [],
            ),
            'a `", "` after the last film as well. It stands *between* films.',
        ),
        (
            examples_with(joint=lambda words, i, n, end: [*words(", "), end] if i else []),
            "end tokens in the history. In this prompt films are separated by commas alone.",
        ),
        (
            examples_with(films=lambda history, item: [*history, item]),
            "the film that is looked for stands in the history: the answer is given away.",
        ),
        (
            examples_with(
                question=lambda words, item: words("What kind of film is") + item + words("?\n")
            ),
            'the space before the identifier is missing: `words("What kind of film is ")`.',
        ),
        (
            examples_with(opening=lambda words: words("History:")),
            'the space before the history is missing: `words("History: ")`.',
        ),
        (
            examples_with(
                question=lambda words, item: words("What kind of film is") + item + words("?\n"),
                opening=lambda words: words("History:"),
            ),
            "the spaces before identifiers are missing.",
        ),
        (
            in_one_text,
            WORDS_APART,
        ),
        (
            comma_cut,
            'part of a `", "` after the last film: `words(", ")` may be several tokens. Add it '
            "before each film but the first.",
        ),
        (
            kinds_for_wish,
            "`kinds` stands where the wish belongs: the prompt says more than was wished for.",
        ),
        (
            examples_with(films=lambda history, item: history[::-1]),
            "the history is turned round. It begins with the oldest film.",
        ),
        (
            examples_with(films=lambda history, item: history[-1:]),
            "the last film of the history alone.",
        ),
        (
            examples_with(films=lambda history, item: history[:1]),
            "the first film of the history alone. Add every film in the loop.",
        ),
        (examples_with(films=lambda history, item: []), "the history is missing."),
        (
            examples_with(
                question=lambda words, item: words("What kind of film is ") + item + words("?")
            ),
            NO_LINE,
        ),
        (
            examples_with(closing=lambda words, wish: words(f"Looking for {wish}")),
            'the full stop after the history is missing: `words(f". Looking for {wish}")`.',
        ),
        (
            examples_with(closing=lambda words, wish: words(f" Looking for {wish}")),
            'the full stop after the history is missing: `words(f". Looking for {wish}")`.',
        ),
        (
            examples_with(closing=lambda words, wish: words(f". Looking for {wish}\n")),
            "a line break after the wish; its prompt ends with the wish.",
        ),
        (
            examples_with(closing=lambda words, wish: words(f". Looking for {wish}.")),
            "a full stop after the wish; its prompt ends with the wish.",
        ),
        (
            examples_with(question=lambda words, item: words("What kind of film is ") + item),
            'the end of the question is missing: `words("?\\n")`.',
        ),
        (
            examples_with(closing=lambda words, wish: [*words(". Looking for "), wish]),
            "the wish stands in the prompt as one text. It becomes tokens by `words`.",
        ),
        (
            examples_with(closing=lambda words, wish: words(". Looking for {wish}")),
            "an `f` before the quotes is missing: the word `wish` stands there, not the wish.",
        ),
        (examples_with(closing=lambda words, wish: words(". ")), "the wish is missing."),
        (examples_with(closing=lambda words, wish: []), "the wish is missing."),
        (
            examples_with(answer=lambda words, kinds, item, end: [kinds, end]),
            "`kinds` stands in the response as one text. It becomes tokens by `words`.",
        ),
        (
            examples_with(answer=lambda words, kinds, item, end: item + [end]),
            "the identifier is answered by itself. The response of `index2item` is the kinds.",
        ),
        (
            examples_with(
                question=lambda words, item: [],
                answer=lambda words, kinds, item, end: (
                    words("What kind of film is ") + item + words("?\n") + words(kinds) + [end]
                ),
            ),
            "prompt and response in one list. Return them apart: only the response is learnt.",
        ),
        (
            examples_with(found=lambda item, history, end, words: history[-1] + [end]),
            "the last film of the history is answered. The response is the film looked for.",
        ),
        (
            examples_with(found=lambda item, history, end, words: [item, end]),
            "a list inside a list: `item + [end]`.",
        ),
        (
            examples_with(order=lambda first, second: (second, first)),
            "the two tasks in the other order: `index2item` first.",
        ),
        (
            examples_with(order=lambda first, second: (first[::-1], second[::-1])),
            "responses before prompts. Return (prompt, response) of each task.",
        ),
        (
            examples_with(
                order=lambda first, second: ((first[0], second[0]), (first[1], second[1]))
            ),
            "both prompts, then both responses. Return one pair (prompt, response) for each task.",
        ),
        (
            examples_with(order=lambda first, second: (first[0] + first[1], second[0] + second[1])),
            "prompt and response in one list. Return them apart: only the response is learnt.",
        ),
    ],
)

# 7.3 A batch: prompts, responses (lists of int64 [n]), end -> tokens, real, response [batch, T]


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

# 7.4 Labels and loss: logits [batch, T, V], tokens, response [batch, T] -> loss, labels


def loss_cases(generator: Generator) -> list[Case]:
    """(rows, places, words, lengths of prompts and of responses): by hand; two rows of different
    lengths; then five.

    Padding has the number of the end token, 1.
    """
    drawn = [
        (3, 3, [(2, 1)]),
        (6, 4, [(2, 3), (3, 1)]),
        (9, 7, [(3, 2), (1, 5), (4, 5), (2, 1), (6, 3)]),
    ]
    cases = []
    for width, n_words, pairs in drawn:
        tokens = torch.full((len(pairs), width), 1)
        response = torch.zeros(len(pairs), width, dtype=torch.bool)
        for row, (p, r) in enumerate(pairs):
            tokens[row, : p + r - 1] = torch.randint(2, n_words, (p + r - 1,), generator=generator)
            response[row, p : p + r] = True
        logits = tenths(torch.randn(len(pairs), width, n_words, generator=generator))
        cases.append({"logits": logits.requires_grad_(), "tokens": tokens, "response": response})
    return cases


def response_loss(logits: Tensor, tokens: Tensor, response: Tensor) -> tuple[Tensor, Tensor]:
    labels = tokens.masked_fill(~response, -100)
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()), labels


def loss_with(
    labels: Callable = lambda tokens, response: tokens.masked_fill(~response, -100),
    shift: Callable = lambda logits, labels: (logits[:, :-1], labels[:, 1:]),
    loss: Callable = lambda logits, labels: cross_entropy(logits.flatten(0, 1), labels.flatten()),
    given: Callable = lambda loss, labels: (loss, labels),
) -> Callable:
    """Labels and loss, one of whose steps may be replaced."""

    def answer(logits, tokens, response):
        found = labels(tokens, response)
        return given(loss(*shift(logits, found)), found)

    return answer


def loss_by_mask(logits, tokens, response):
    log_p = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    learnt = response[:, 1:]
    return -(log_p * learnt).sum() / learnt.sum(), torch.where(response, tokens, -100)


def loss_by_rows(logits, tokens, response):
    losses = [
        cross_entropy(row[:-1][mask[1:]], read[1:][mask[1:]], reduction="sum")
        for row, read, mask in zip(logits, tokens, response)
    ]
    labels = tokens.clone()
    labels[~response] = -100
    return sum(losses) / response.sum(), labels


def plain(logits: Tensor, labels: Tensor, **options: object) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), **options)


def mean_of_rows(logits, labels):
    losses = plain(logits, labels, reduction="none").view(labels.shape)
    return (losses.sum(1) / (labels != -100).sum(1)).mean()


def by_the_place_that_reads(logits, tokens, response):
    """The mask goes with the place that reads, not with the token that is written."""
    read = response[:, :-1]
    return cross_entropy(logits[:, :-1][read], tokens[:, 1:][read]), response_loss(
        logits, tokens, response
    )[1]


NO_SHIFT = (
    "no shift: the logits at a place are compared with the token *at* that place, which the model "
    "has just read. They are for the next one: `logits[:, :-1]` and `labels[:, 1:]`."
)
FILLS = [
    (0, "0 where nothing is learnt. 0 is a token like any other; the label is -100."),
    (-1, "-1 where nothing is learnt; the label is -100."),
    (1, "the end token where nothing is learnt. The label is -100."),
]

LOSS = Exercise(
    reference=response_loss,
    cases=loss_cases,
    returns=["the loss", "labels"],
    right=[
        loss_with(),
        loss_with(shift=lambda logits, labels: (logits[:, :-1], labels.roll(-1, 1)[:, :-1])),
        loss_by_mask,
        loss_by_rows,
    ],
    stops={
        "out of bounds": "The only label that `cross_entropy` passes over is -100.",
        "Expected target size": "`cross_entropy` takes logits [n, V] and labels [n]: "
        "`logits.flatten(0, 1)` and `labels.flatten()`.",
        "batch_size": "Shift both: `logits[:, :-1]` and `labels[:, 1:]` have the same places.",
        "bool": "`~mask` is the opposite of a mask.",
    },
    mistakes=[
        (loss_with(shift=lambda logits, labels: (logits, labels)), NO_SHIFT),
        (
            loss_with(shift=lambda logits, labels: (logits[:, 1:], labels[:, :-1])),
            "the shift the wrong way: the logits at a place are for the token *after* it.",
        ),
        (
            loss_with(shift=lambda logits, labels: (logits[:, 1:], labels[:, 1:])),
            NO_SHIFT,
        ),
        (
            loss_with(shift=lambda logits, labels: (logits[:, :-1], labels[:, :-1])),
            NO_SHIFT,
        ),
        (
            loss_with(
                given=lambda loss, labels: (loss, labels[:, 1:]),
            ),
            "labels that are shifted already. In Hugging Face's form they have the shape of "
            "`tokens`, and the loss shifts them.",
        ),
        (
            loss_with(
                given=lambda loss, labels: (
                    loss,
                    torch.cat([labels[:, 1:], labels.new_full((len(labels), 1), -100)], 1),
                ),
            ),
            "labels that are shifted already. In Hugging Face's form they have the shape of "
            "`tokens`, and the loss shifts them.",
        ),
        (
            loss_with(labels=lambda tokens, response: tokens.masked_fill(response, -100)),
            "the response is left out and the rest learnt: -100 belongs where `response` is "
            "*false*.",
        ),
        (
            loss_with(labels=lambda tokens, response: tokens.clone()),
            "the labels are all tokens: prompts and padding would be learnt as well.",
        ),
        (
            loss_with(
                labels=lambda tokens, response: tokens.masked_fill(~response, -100).masked_fill(
                    tokens == 1, -100
                )
            ),
            "the end tokens of responses are left out with the padding, which has the same number. "
            "Take `response` as it is.",
        ),
        (
            loss_with(
                labels=lambda tokens, response: tokens.masked_fill(~response & (tokens != 1), -100)
            ),
            "the padding is learnt: -100 belongs there as well.",
        ),
        *(
            (
                loss_with(
                    labels=lambda tokens, response, fill=fill: tokens.masked_fill(~response, fill),
                    loss=lambda logits, labels, fill=fill: plain(logits, labels, ignore_index=fill),
                ),
                hint,
            )
            for fill, hint in FILLS
        ),
        (
            loss_with(
                labels=lambda tokens, response: tokens.masked_fill(~response, 0),
                loss=plain,
            ),
            FILLS[0][1],
        ),
        (
            loss_with(labels=lambda tokens, response: tokens * response),
            FILLS[0][1],
        ),
        (
            loss_with(loss=lambda logits, labels: plain(logits, labels, reduction="sum")),
            "the sum. Take the mean over the tokens that are learnt.",
        ),
        (
            loss_with(loss=lambda logits, labels: plain(logits, labels, reduction="none").mean()),
            "the mean over all places, those that cost nothing included. Divide by the number of "
            "tokens that are learnt.",
        ),
        (
            loss_with(
                loss=lambda logits, labels: plain(logits, labels, reduction="sum") / len(labels)
            ),
            "divided by the number of rows. Divide by that of the tokens that are learnt.",
        ),
        (
            loss_with(loss=mean_of_rows),
            "the mean of each row, and then of the rows. A token of a long response would count "
            "less than one of a short response.",
        ),
        (
            by_the_place_that_reads,
            "`response` picks the place that *reads*. It marks the token that is written: shift "
            "the mask with the labels, `response[:, 1:]`.",
        ),
        (
            loss_with(loss=lambda logits, labels: plain(logits.softmax(-1), labels)),
            "a softmax before `cross_entropy`, which takes one itself.",
        ),
        (
            loss_with(loss=lambda logits, labels: -plain(logits, labels)),
            "the sign. The loss is minus the log-probability.",
        ),
        (
            loss_with(
                given=lambda loss, labels: (loss, labels != -100),
            ),
            "a mask in place of labels: labels hold token numbers, and -100.",
        ),
        (
            loss_with(given=lambda loss, labels: (labels, loss)),
            "labels first. Return the loss, and then the labels.",
        ),
    ],
)

# 7.5 LoRA: a class, made of (linear, rank, alpha), with a [r, in], b [out, r], forward and merged


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


def with_given_weights(answer: Callable) -> Callable:
    """Makes the module; looks at it as it is new; gives it a and b, and calls it."""

    @wraps(answer, updated=())
    def use(x, weight, a, b, alpha):
        linear = nn.Linear(*weight.shape[::-1], bias=False)
        linear.weight.data.copy_(weight)
        layer = answer(linear, len(a), alpha)
        wanted = {"a": a, "b": b}
        _confirm_parameters(layer, {name: tuple(value.shape) for name, value in wanted.items()})
        new = {name: _content(getattr(layer, name)) for name in wanted}
        new |= {"trained": sorted(n for n, p in layer.named_parameters() if p.requires_grad)}
        before = layer(x.detach())
        if not isinstance(before, Tensor):
            return new, before, weight
        same = before.shape == (x @ weight.T).shape and torch.allclose(before, x @ weight.T)
        new |= {"output": "that of the linear layer" if same else "another one"}
        output = functional_call(layer, wanted, (x,))
        with torch.no_grad():
            for name, value in wanted.items():
                getattr(layer, name).copy_(value)
        if not callable(getattr(layer, "merged", None)):
            raise Incorrect("The module has no method `merged`.", {})
        return new, output, layer.merged()

    return use


def _confirm_parameters(layer: object, shapes: dict[str, tuple[int, ...]]) -> None:
    """Incorrect unless the layer has these parameters."""
    if not isinstance(layer, nn.Module):
        raise Incorrect("The class should be an `nn.Module`.", {})
    for name, shape in shapes.items():
        value = getattr(layer, name, None)
        if value is None:
            raise Incorrect(
                f"The module has no `{name}`.",
                {},
                cause=f"another name. Later lines read and fill `self.{name}`.",
            )
        if not isinstance(value, nn.Parameter):
            raise Incorrect(
                f"`{name}` is no parameter, so no optimizer would train it.",
                {},
                cause=f"`self.{name} = nn.Parameter(...)` makes one of a tensor.",
            )
        if tuple(value.shape) != shape:
            turned = tuple(value.shape) == shape[::-1] != shape
            raise Incorrect(
                f"`{name}` should have shape {shape} and has {tuple(value.shape)}.",
                {},
                cause="it is transposed: A is [rank, d_in] and B is [d_out, rank]."
                if turned
                else "A is [rank, d_in] and B is [d_out, rank]; `linear.weight` is [d_out, d_in].",
            )


def _content(value: Tensor) -> str:
    value = value.detach()
    if not bool(value.isfinite().all()):
        return "not finite"
    if not bool(value.any()):
        return "zeros"
    same = value.numel() > 1 and bool((value == value.flatten()[0]).all())
    return "one number everywhere" if same else "random"


class LoRA(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / rank
        d_out, d_in = linear.weight.shape
        self.a = nn.Parameter(torch.randn(rank, d_in) / d_in**0.5)
        self.b = nn.Parameter(torch.zeros(d_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * (x @ self.a.T) @ self.b.T

    def merged(self) -> Tensor:
        return self.linear.weight + self.scale * self.b @ self.a


class LoRAOfLayers(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().clone())
        self.alpha = alpha
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.empty(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        nn.init.zeros_(self.b)

    def forward(self, x):
        path = linear(linear(x, self.a), self.b)
        return linear(x, self.weight) + path * self.alpha / self.b.shape[1]

    def merged(self):
        return torch.einsum("or,ri->oi", self.b, self.a) * self.alpha / len(self.a) + self.weight


class LoRAByMerging(LoRA):
    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        self.a.data = torch.randn_like(self.a) * 0.01

    def forward(self, x):
        return x @ self.merged().T


def scaled(scale: Callable) -> Callable:
    """The merged weight with another factor: (alpha, a, b) -> in place of alpha / r."""
    return lambda weight, a, b, alpha: weight + scale(alpha, a, b) * b @ a


def layer_with(
    start: Callable = lambda layer: None,
    output: Callable = lambda x, w, a, b, alpha: linear(x, w) + alpha / len(a) * x @ a.T @ b.T,
    merge: Callable = lambda w, a, b, alpha: w + alpha / len(a) * b @ a,
) -> type:
    """A LoRA module, one of whose parts may be replaced.

    start: changes it when it is new. output: (x, W, a, b, alpha). merge: (W, a, b, alpha).
    """

    class Other(LoRA):
        def __init__(self, linear, rank, alpha):
            super().__init__(linear, rank, alpha)
            self.alpha = alpha
            start(self)

        def forward(self, x):
            return output(x, self.linear.weight, self.a, self.b, self.alpha)

        def merged(self):
            return merge(self.linear.weight, self.a, self.b, self.alpha)

    Other.__name__ = Other.__qualname__ = "LoRA"
    return Other


def in_both(merge: Callable) -> type:
    return layer_with(output=lambda x, *rest: x @ merge(*rest).T, merge=merge)


def in_merged(merge: Callable) -> type:
    """The output is right."""
    return layer_with(merge=merge)


def filled(**values: Callable) -> Callable:
    """Changes a new layer: the name of a parameter -> what its values are made of."""

    def start(layer):
        for name, make in values.items():
            getattr(layer, name).data = make(getattr(layer, name))

    return start


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


FROZEN = (
    "the weight of the linear layer is trained as well. Freeze it: `linear.requires_grad_(False)`."
)
BOTH_ZERO = (
    "A and B are both zero. The gradient of each is a product with the other: neither would ever "
    "move. A begins at random."
)

LORA = Exercise(
    reference=LoRA,
    cases=lora_cases,
    returns=["the new module", "the output with a and b", "the merged weight"],
    use=with_given_weights,
    all_gradients=True,
    right=[layer_with(), LoRAOfLayers, LoRAByMerging],
    stops={
        "must match the size of tensor": "The adapter B A is added to W, and has W's shape.",
        "cannot be multiplied": "A linear layer computes x times the *transpose* of W, and here "
        "x A^T B^T.",
        "before Module.__init__": "`super().__init__()` comes first.",
        "positional argument": "The class is made of `linear`, `rank` and `alpha`; `forward` takes "
        "x, and `merged` nothing.",
        "has no attribute": "What `forward` reads is put on `self` in `__init__`.",
    },
    mistakes=[
        (layer_with(filled(a=torch.zeros_like)), BOTH_ZERO),
        (
            layer_with(filled(a=torch.zeros_like, b=torch.randn_like)),
            "A is zero and B random. That learns as well; here, as in the paper on LoRA, it is "
            "the other way round.",
        ),
        (
            layer_with(filled(b=torch.randn_like)),
            "B begins at random, so that the new module does not compute what the layer did. B "
            "begins at zero.",
        ),
        (
            layer_with(filled(a=torch.ones_like)),
            "every number of A is the same, and so is what its rows learn: the rank would be 1. "
            "Draw A at random, with `torch.randn`.",
        ),
        (
            layer_with(filled(b=torch.ones_like)),
            "B begins at one, so that the new module does not compute what the layer did. B "
            "begins at zero.",
        ),
        (layer_with(lambda layer: layer.linear.requires_grad_(True)), FROZEN),
        (
            layer_with(lambda layer: setattr(layer, "weight", nn.Parameter(layer.linear.weight))),
            FROZEN,
        ),
        (
            layer_with(lambda layer: layer.requires_grad_(False)),
            "everything is frozen, A and B as well: freeze the linear layer, "
            "`linear.requires_grad_(False)`, and not the module.",
        ),
        (
            layer_with(lambda layer: layer.a.requires_grad_(False)),
            "A is frozen. Both A and B are trained.",
        ),
        (
            layer_with(lambda layer: layer.b.requires_grad_(False)),
            "B is frozen. Both A and B are trained.",
        ),
        *((in_both(merge), hint) for merge, hint in WRONG_WEIGHTS),
        *((in_merged(merge), hint) for merge, hint in WRONG_WEIGHTS),
        *(
            (layer_with(output=lambda x, *rest, merge=merge: x @ merge(*rest).T), hint)
            for merge, hint in WRONG_WEIGHTS
        ),
        (
            layer_with(
                output=lambda x, w, a, b, alpha: 2 * x @ w.T + alpha / len(a) * x @ a.T @ b.T
            ),
            "W is added twice.",
        ),
        (
            layer_with(
                output=lambda x, w, a, b, alpha: x @ w + alpha / len(a) * x @ a.T @ b.T,
            ),
            "x times W; a linear layer computes x times the *transpose* of W.",
        ),
        (
            layer_with(
                output=lambda x, w, a, b, alpha: x @ (w + alpha / len(a) * b @ a),
            ),
            "x times W; a linear layer computes x times the *transpose* of W.",
        ),
        (
            layer_with(
                output=lambda x, w, a, b, alpha: (x @ w.T + alpha / len(a) * x @ a.T @ b.T).T,
            ),
            "the output is transposed: one row for every row of x.",
        ),
        (
            layer_with(merge=lambda w, a, b, alpha: (w + alpha / len(a) * b @ a).T),
            "the merged weight is transposed; it takes the place of W.",
        ),
        (
            layer_with(
                output=lambda x, w, a, b, alpha: (
                    x @ w.T + alpha / len(a) * x @ a.detach().T @ b.detach().T
                ),
            ),
            "no gradient arrives, so the adapter never learns: `detach()`, `torch.no_grad()` or "
            "`torch.tensor(...)` on the way.",
        ),
    ],
)

# 7.6 Insertion: a model, made from the names of its modules; adapt; targets -> the model, changed


def insertion_cases(generator: Generator) -> list[Case]:
    """One module; a block, with a head that is no target; three blocks with an embedding."""
    attention = [f"attention.{name}" for name in "qkvo"]
    parts = [*attention, "norm", "mlp.up", "mlp.down"]
    three = [f"model.layers.{i}.{part}" for i in range(3) for part in parts]
    return [
        {"model": ["q"], "targets": ["q"]},
        {"model": ["block.q", "block.k", "head"], "targets": ["q", "k"]},
        {
            "model": ["model.embed", *three, "model.norm", "head"],
            "targets": ["q", "v", "down"],
        },
    ]


KINDS = {"embed": lambda: nn.Embedding(3, 2), "norm": lambda: nn.LayerNorm(2)}


def built(names: Sequence[str]) -> nn.Module:
    """A module that has modules of these names: linear layers, but for embeddings and norms."""
    model = nn.Module()
    for name in names:
        *above, last = name.split(".")
        place = model
        for part in above:
            if not hasattr(place, part):
                place.add_module(part, nn.ModuleList() if part == "layers" else nn.Module())
            place = getattr(place, part)
        place.add_module(last, KINDS.get(last, lambda: nn.Linear(2, 2, bias=False))())
    return model


def on_a_model(answer: Callable) -> Callable:
    """Builds the model, calls the answer, and looks at every module and at what is trained."""

    @wraps(answer)
    def use(model, targets):
        names, model = model, built(model)
        before = {name: model.get_submodule(name) for name in names}
        returned = answer(model, lambda layer: LoRA(layer, 1, 1), list(targets))
        if not isinstance(returned, nn.Module):
            return returned
        return (
            {name: _what(returned.get_submodule(name), before) for name in names},
            sorted(name for name, p in returned.named_parameters() if p.requires_grad),
        )

    return use


def _what(module: nn.Module, before: dict[str, nn.Module]) -> str:
    """What stands in the place of a module, in words."""
    if isinstance(module, LoRA):
        inner = [name for name, old in before.items() if old is module.linear]
        return f"LoRA of {inner[0]}" if inner else f"LoRA of {_what(module.linear, before)}"
    return "as it was" if any(module is old for old in before.values()) else "another module"


def add_lora(model: nn.Module, adapt: Callable, targets: Sequence[str]) -> nn.Module:
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in targets and isinstance(child, nn.Linear):
                setattr(parent, name, adapt(child))
    return model


def add_by_paths(model, adapt, targets):
    for parameter in model.parameters():
        parameter.requires_grad = False
    paths = [p for p, m in model.named_modules() if p.split(".")[-1] in targets]
    for path in paths:
        above, _, name = path.rpartition(".")
        setattr(model.get_submodule(above), name, adapt(model.get_submodule(path)))
    return model


def add_by_recursion(model, adapt, targets):
    def walk(module):
        for name, child in module.named_children():
            if name in targets:
                setattr(module, name, adapt(child))
            else:
                walk(child)

    model.requires_grad_(False)
    walk(model)
    return model


def adding(
    places: Callable = lambda model: list(model.modules()),
    chosen: Callable = lambda name, child, targets: (
        name in targets and isinstance(child, nn.Linear)
    ),
    first: Callable = lambda model: model.requires_grad_(False),
    last: Callable = lambda model: None,
    put: Callable = lambda parent, name, child, adapt: setattr(parent, name, adapt(child)),
) -> Callable:
    """Insertion, one of whose steps may be replaced."""

    def answer(model, adapt, targets):
        first(model)
        for parent in places(model):
            for name, child in list(parent.named_children()):
                if chosen(name, child, targets):
                    put(parent, name, child, adapt)
        last(model)
        return model

    return answer


def put_by_path(model, adapt, targets):
    model.requires_grad_(False)
    for path, child in list(model.named_modules()):
        if path.split(".")[-1] in targets:
            model._modules[path] = adapt(child)  # as setattr does it
    return model


def whole_path(model, adapt, targets):
    model.requires_grad_(False)
    for path, child in list(model.named_modules()):
        if path in targets:
            setattr(model, path, adapt(child))
    return model


def one_for_all(model, adapt, targets):
    made = []

    def put(parent, name, child, adapt):
        made.append(made[0] if made else adapt(child))
        setattr(parent, name, made[-1])

    return adding(put=put)(model, adapt, targets)


def first_alone(model, adapt, targets):
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in targets:
                setattr(parent, name, adapt(child))
                return model


def unfreeze_all(model):
    for module in model.modules():
        if isinstance(module, LoRA):
            module.requires_grad_(True)


NOT_REPLACED = (
    "no module of the model was replaced. `setattr(parent, name, adapt(child))` puts the new one "
    "in its parent's place for it; a new value of a loop's variable changes nothing."
)
NO_CHILD = (
    "only the modules at the top are looked at. `model.modules()` goes through all of them, and "
    "each has its `named_children()`. A target is the *last* part of a path such as `layers.0.q`."
)
FROZEN_AFTER = (
    "everything is frozen, A and B as well: freeze the model *before* the adapters come into it."
)

INSERTION = Exercise(
    reference=add_lora,
    cases=insertion_cases,
    returns=["the modules", "what is trained"],
    use=on_a_model,
    right=[add_by_paths, add_by_recursion, adding()],
    stops={
        "changed size during iteration": "A dictionary may not change while a loop walks through "
        "it: `list(...)` around it makes a copy to walk through.",
        "mutated during iteration": "A dictionary may not change while a loop walks through it: "
        "`list(...)` around it makes a copy to walk through.",
        "maximum recursion": "The loop walks into the adapters that it has just put in, for ever: "
        "walk through a copy, `list(model.modules())`.",
        "cannot assign": "`adapt(child)` makes the module that is put in place.",
        "has no attribute 'weight'": "`adapt` takes a linear layer. Which modules are called so?",
    },
    mistakes=[
        (
            adding(first=lambda model: None),
            "the rest of the model is not frozen: `model.requires_grad_(False)`.",
        ),
        (adding(first=lambda model: None, last=lambda m: m.requires_grad_(False)), FROZEN_AFTER),
        (adding(last=lambda model: model.requires_grad_(False)), FROZEN_AFTER),
        (
            adding(last=lambda model: model.requires_grad_(True)),
            "everything is trained: frozen first, and thawed at the end.",
        ),
        (
            adding(last=unfreeze_all),
            "the linear layers inside the adapters are trained as well. `adapt` has set what an "
            "adapter trains: leave it.",
        ),
        (adding(places=lambda model: [model]), NO_CHILD),
        (whole_path, NO_CHILD),
        (adding(places=lambda model: list(model.children())), NO_CHILD),
        (
            adding(put=lambda parent, name, child, adapt: adapt(child)),
            NOT_REPLACED,
        ),
        (
            put_by_path,
            NOT_REPLACED + " And a path such as `layers.0.q` is no name: the parent is "
            '`model.get_submodule("layers.0")`.',
        ),
        (
            adding(chosen=lambda name, child, targets: isinstance(child, nn.Linear)),
            "every linear layer gets an adapter. Only those that `targets` names should.",
        ),
        (
            adding(chosen=lambda name, child, targets: name == targets[0]),
            "the first target only.",
        ),
        (
            adding(
                chosen=lambda name, child, targets: (
                    isinstance(child, nn.Linear) and name not in targets
                )
            ),
            "the targets are left as they were, and the others adapted.",
        ),
        (
            first_alone,
            "one module alone was replaced: a `return` inside the loop ends it there.",
        ),
        (
            adding(
                put=lambda parent, name, child, adapt: setattr(
                    parent, name, adapt(nn.Linear(2, 2, bias=False))
                )
            ),
            "an adapter around a *new* linear layer: what the model knew is lost. Give `adapt` the "
            "layer that stood there.",
        ),
        (
            one_for_all,
            "one adapter in all places. Call `adapt` for each layer.",
        ),
        (
            lambda model, adapt, targets: model,
            "nothing was changed.",
        ),
    ],
)

EXERCISES = {
    "7.1": FIRST_VALUES,
    "7.2": EXAMPLES,
    "7.3": BATCH,
    "7.4": LOSS,
    "7.5": LORA,
    "7.6": INSERTION,
}
