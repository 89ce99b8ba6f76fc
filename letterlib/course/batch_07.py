"""Exercise 7.2: prompts and responses in one table. A mask has many ways to be off by one, each
with its own cause.

What fills up a batch is also the last token of responses, as in the library: padding cannot be told
by its number.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several


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
    """7.2: prompts, responses (lists of int64 [n]), end -> tokens, real, response, each [batch, T]."""
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
            "one place of padding too many: what is real stops before `len(prompt) + len(response)`.",
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
            "prompts and responses filled up apart, so that padding stands between them. Put the two together first.",
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
