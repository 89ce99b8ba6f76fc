"""Lesson 04: perplexity of code loads, positives of a group, diversity loss, Sinkhorn."""

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import Generator, Tensor

from letterlib.analysis import code_usage
from letterlib.course.comparing import Case, Incorrect, call, compare
from letterlib.course.exercise import Exercise
from letterlib.tokenizer import collisions, losses
from letterlib.tokenizer.losses import NO_POSITIVE

# 4.1 Perplexity: loads, int [n_codes] -> a number


def perplexity_cases(generator: Generator) -> list[Case]:
    """One code, two equal ones, a dead code at the end, one between, and a whole level, which has a
    code with one item of more than a thousand.
    """
    a, b = torch.randint(3, 7, (2,), generator=generator).tolist()
    level = torch.randint(0, 40, (30,), generator=generator)
    level[:4] = torch.tensor([0, 1500, 0, 1])
    return [
        {"loads": np.array(loads)}
        for loads in ([a], [a, a], [a, 3 * b, 0], [2 * a, 0, a], level.tolist())
    ]


def shares_in_use(loads: np.ndarray) -> np.ndarray:
    return loads[loads > 0] / loads.sum()


def entropy(shares: np.ndarray, log: Callable = np.log) -> float:
    return -(shares * log(shares)).sum()


def perplexity(loads: np.ndarray) -> float:
    return np.exp(entropy(shares_in_use(loads)))


def of_shares(shares: Callable) -> Callable:
    """The perplexity of what `shares` makes of the loads, zeros left out."""
    return lambda loads: np.exp(entropy((p := shares(loads))[p > 0]))


def of_entropy(result: Callable, log: Callable = np.log) -> Callable:
    """What `result` makes of the right entropy and the loads."""
    return lambda loads: result(entropy(shares_in_use(loads), log), loads)


def by_powers(loads):
    product = 1.0
    for load in loads.tolist():
        if load:
            product *= (load / loads.sum()) ** (-load / loads.sum())
    return float(product)


def of_all_shares(loads):
    return np.exp(entropy(loads / loads.sum()))


OTHER_BASE = "Use `log` with `exp`, or `log2` with `2 **`."
WHOLE = "made a whole number; most perplexities are not."
WEIGHTS = "each logarithm has to be weighted by its share; here all weigh the same."
MEAN_OVER_CODES = "a mean over codes where the formula has a sum."
COUNTS = "counts where the formula has shares. Divide by their sum first."
DEAD = "a dead code: 0 times log 0 is NaN. Leave out the codes with load 0, wherever they are."

PERPLEXITY = Exercise(
    reference=perplexity,
    library=code_usage.perplexity,
    cases=perplexity_cases,
    returns=["perplexity"],
    right=[
        by_powers,
        lambda loads: torch.distributions.Categorical(torch.tensor(loads).double()).perplexity(),
        of_entropy(lambda bits, x: 2**bits, np.log2),
        lambda loads: np.prod((loads / loads.sum()) ** (-loads / loads.sum())),
        lambda loads: np.exp(-((p := loads / loads.sum()) * np.log(p + 1e-12)).sum()),
    ],
    mistakes=[
        (of_entropy(lambda h, x: h), "the entropy; the perplexity is `exp` of it."),
        (
            of_entropy(lambda bits, x: bits, np.log2),
            "the entropy itself, in bits; the perplexity is 2 to that power.",
        ),
        (
            of_entropy(lambda bits, x: np.exp(bits), np.log2),
            "`log2` undone by `exp`. " + OTHER_BASE,
        ),
        (of_entropy(lambda h, x: 2**h), "`log` undone by `2 **`. " + OTHER_BASE),
        (
            of_entropy(lambda digits, x: np.exp(digits), np.log10),
            "`log10` undone by `exp`. " + OTHER_BASE,
        ),
        (
            of_entropy(lambda h, x: np.exp(-h)),
            "the minus sign is missing: this is 1 divided by the perplexity.",
        ),
        (of_entropy(lambda h, x: -h), "no minus and no `exp`: it is exp(-sum)."),
        (of_all_shares, DEAD),
        (lambda loads: of_all_shares(np.trim_zeros(loads)), DEAD),
        (
            lambda loads: np.exp((loads / loads.sum() * np.log(-loads / loads.sum())).sum()),
            "the logarithm of a negative number. The minus stands before the sum.",
        ),
        (
            lambda loads: 1 / np.square(loads / loads.sum()).sum(),
            "1 / sum of squared shares: another measure of diversity, not the perplexity.",
        ),
        (
            lambda loads: int((loads > 0).sum()),
            "the number of codes in use, however unevenly they are used.",
        ),
        (lambda loads: int(perplexity(loads)), WHOLE),
        (lambda loads: round(perplexity(loads)), WHOLE),
        (
            of_entropy(lambda h, x: np.exp(h) / len(x)),
            "the perplexity divided by the number of codes.",
        ),
        (of_entropy(lambda h, x: np.exp(h / len(x))), MEAN_OVER_CODES),
        (of_entropy(lambda h, x: np.exp(h / (x > 0).sum())), MEAN_OVER_CODES),
        (
            lambda loads: np.exp(-(p := shares_in_use(loads)) * np.log(p)).sum(),
            "`exp` of every part, and then the sum. First the sum, then `exp`.",
        ),
        (lambda loads: 1 / np.prod(shares_in_use(loads)), WEIGHTS),
        (lambda loads: np.exp(-np.log(shares_in_use(loads)).mean()), WEIGHTS),
        (
            lambda loads: np.prod(shares_in_use(loads)),
            "the product of the shares: each is to be weighted by its share, with a minus.",
        ),
        (
            lambda loads: np.exp(-(shares_in_use(loads) * np.log(loads[loads > 0])).sum()),
            "the logarithm of the loads; take that of the shares.",
        ),
        (of_shares(lambda x: x), COUNTS),
        (
            lambda loads: -(used := loads[loads > 0]) @ np.log(used),
            "counts where the formula has shares, and no `exp`. Divide by their sum first.",
        ),
        (
            of_shares(lambda x: x / len(x)),
            "loads divided by the number of codes. Divide by their sum.",
        ),
        (
            of_shares(lambda x: x / (x > 0).sum()),
            "loads divided by the number of codes in use. Divide by their sum.",
        ),
        (of_shares(lambda x: x // x.sum()), "shares cut to whole numbers by `//`."),
        (
            of_shares(lambda x: x * (x > 1) / x[x > 1].sum()),
            "codes with one item left out. Leave out only the codes with load 0.",
        ),
        (
            lambda loads: np.exp(-((p := loads / loads.sum()) * np.log(p + 1)).sum()),
            "1 added inside the logarithm. Leave out the codes with load 0 instead.",
        ),
        (of_shares(lambda x: x / x.max()), "loads divided by the largest. Divide by their sum."),
        (
            of_shares(lambda x: (x + 1) / (x + 1).sum()),
            "1 added to the loads. Leave dead codes out instead.",
        ),
        (
            of_shares(lambda x: np.maximum(x, 1) / np.maximum(x, 1).sum()),
            "a dead code counted as if it had an item. Leave it out.",
        ),
        (
            of_shares(lambda x: (p := x / x.sum())[p > 1e-3]),
            "small shares left out. Leave out only the codes with load 0.",
        ),
    ],
)

# 4.2 A positive for each item: codes int64 [batch], groups int64 [n_codes] -> int64 [batch]


def a_batch_of_codes(generator: Generator) -> Case:
    """What one step of training reads at a level."""
    codes = torch.randint(256, (1024,), generator=generator)
    return {"codes": codes, "groups": torch.randint(10, (256,), generator=generator)}


def draw(codes: Tensor, groups: Tensor) -> Tensor:
    return drawn_from(others_of_group)(codes, groups)


def others_of_group(codes: Tensor, groups: Tensor) -> Tensor:
    """Which codes may come, bool [batch, n_codes]."""
    return (groups[codes][:, None] == groups) & (codes[:, None] != torch.arange(len(groups)))


def drawn_from(allowed: Callable, alone: Callable = lambda codes: NO_POSITIVE) -> Callable:
    """A draw from where `allowed(codes, groups)` is true; `alone`, where it is nowhere true."""

    def answer(codes, groups):
        weights = allowed(codes, groups).float()
        none = weights.sum(dim=1) == 0
        weights[none] = 1
        return torch.where(none, alone(codes), torch.multinomial(weights, 1)[:, 0])

    return answer


def level_of_groups(groups: Tensor, unused: int, generator: Generator | None = None) -> Case:
    """600 items of every code but one."""
    codes = torch.arange(12)[torch.arange(12) != unused].repeat(600)
    order = torch.randperm(len(codes), generator=generator) if generator else slice(None)
    return {"codes": codes[order], "groups": groups}


SIZES = torch.tensor([0] + [1] * 2 + [2] * 3 + [3] * 6)
TELLING = level_of_groups(SIZES, unused=8)
"""On which the cause of a wrong draw shows, whichever input showed it first."""


def positives_cases(generator: Generator) -> list[Case]:
    """A pair, a code alone, and a level with groups of 1, 2, 3 and 6 in which no item has one of
    the codes.
    """
    groups = SIZES[torch.randperm(12, generator=generator)]
    biggest = torch.argwhere(groups == 3)[:, 0]
    unused = int(biggest[torch.randint(6, (1,), generator=generator)])
    few = torch.randperm(4, generator=generator)
    pairs = torch.tensor([0, 0, 1, 1])[torch.randperm(4, generator=generator)]
    return [
        {"codes": torch.tensor([1]), "groups": torch.tensor([0, 0])},
        {"codes": torch.tensor([0, 1]), "groups": torch.tensor([1, 0])},
        {"codes": few[:2], "groups": pairs},
        level_of_groups(groups, unused, generator),
    ]


COLUMN = "a column: `multinomial(..., 1)` gives one number in every row. Take it: `[:, 0]`."
GROUP_NUMBER = "the number of the group. Return a code that belongs to it."
EXCHANGED = "the two cases are exchanged: `torch.where(c, a, b)` takes `a` where c is true."
NONE_AT_ALL = "NO_POSITIVE everywhere. Look at each row by itself: is this code alone?"
PLACE = "a place within the list of the group's codes. Return the code at that place."
OTHER_GROUPS = (
    "the draw runs over all other codes, or over rows of the batch. Only codes of the same group "
    "may come."
)
ROWS = "rows of the batch are drawn. Draw codes: one that no item has may come, the own may not."
ITSELF = "the code itself is among those that can be drawn. Take it out first."
COLUMNS = (
    "every code of the batch is barred in every row. Bar one entry a row: the item's own code."
)
THROWN_AWAY = (
    "the code itself was drawn and then thrown away, or groups of two are taken for groups of one."
)
ALONE = "no special treatment of a code that is alone: there is nothing to draw."
PARTNER = "one partner for all items of a code. Draw for every item, at random."
OF_BATCH = "only codes of the batch are drawn. A code that no item has can be a positive too."
FAVOURS = "a draw that favours some members; every other code of the group has the same chance."
SEEDED = "nothing random, or a seed that is set inside the function. Every batch needs a new draw."


def examine_positives(answer: Callable, case: Case) -> None:
    """A draw has no one right answer: its properties are checked, and on many rows its chances."""
    codes, groups = case.values()
    returned = call(answer, case)
    example = draw(codes, groups)
    if not well_formed(returned, codes):
        try:
            compare("positives", returned, example, case)
        except Incorrect as found:
            if getattr(returned, "shape", None) == (len(codes), 1):
                found.cause = COLUMN
            raise
    alone = torch.bincount(groups)[groups[codes]] == 1
    wild = (returned >= len(groups)) | (returned < 0) & (returned != NO_POSITIVE)
    member = groups[returned.clamp(0, len(groups) - 1)] == groups[codes]
    findings = [
        (alone & (returned != NO_POSITIVE), "alone in its group and needs -1, NO_POSITIVE."),
        (~alone & (returned == NO_POSITIVE), "not alone, and got none."),
        (wild, "given a number that is no code."),
        (~alone & (returned == codes), "its own positive."),
        (~alone & ~member, "given a code of another group."),
    ]
    for wrong, what in findings:
        if wrong.any():
            row = int(wrong.nonzero()[0])
            possible = others_of_group(codes, groups)[row].nonzero()[:, 0].tolist()
            in_batch = bool(torch.isin(torch.tensor(possible), codes).any())
            raise Incorrect(
                f"Row {row}: code {codes[row]}, of group {groups[codes[row]]}, is {what}",
                case,
                expected=possible or NO_POSITIVE,
                actual=int(returned[row]),
                cause=cause_of_draw(answer) or (OF_BATCH if not in_batch else ""),
            )
    if len(codes) > len(groups):
        examine_chances(codes, groups, returned, case)
        if torch.equal(returned, call(answer, case)):
            raise Incorrect("Two calls drew the same positives.", case, cause=SEEDED)


def well_formed(returned: object, codes: Tensor) -> bool:
    is_tensor = isinstance(returned, Tensor) and returned.dtype == torch.int64
    return is_tensor and returned.shape == codes.shape


def cause_of_draw(answer: Callable) -> str:
    """The most telling mistake, or "" if there is none that we know."""
    codes, groups = TELLING.values()
    try:
        returned = call(answer, TELLING)
    except Incorrect:
        return ""
    if not well_formed(returned, codes):
        return ""
    sizes = torch.bincount(groups)[groups[codes]]
    alone, none = sizes == 1, returned == NO_POSITIVE
    drawn = ~alone & ~none
    own, got = codes[drawn], returned[drawn]
    # Where one was drawn: the group of the drawn code is this number as well.
    if torch.equal(returned, groups[codes]) or (drawn.any() and (got == groups[own]).all()):
        return GROUP_NUMBER
    if not drawn.any():
        return EXCHANGED if (alone & ~none).any() else NONE_AT_ALL
    if (groups[got.clamp(0, len(groups) - 1)] != groups[own]).any():
        return PLACE if (got < sizes[drawn]).all() else OTHER_GROUPS
    if (got == own).any():
        return ROWS if torch.isin(got, codes).all() else ITSELF
    if not torch.isin(got, codes).any():
        return COLUMNS
    if (none & ~alone).any():
        return THROWN_AWAY
    return ALONE if (alone & ~none).any() else ""


CHANCE = 1e-9
"""How often a fair draw is taken for an uneven one."""


def examine_chances(codes: Tensor, groups: Tensor, returned: Tensor, case: Case) -> None:
    """Pearson's chi-square over all codes together, which sees a favour that no code alone shows.

    Always caught: a member that the other codes of the largest group draw twice as often as each
    other member, or never. A member drawn more often by a fifth passes 999 checks of 1000.
    """
    kept, drawn = returned != NO_POSITIVE, torch.zeros(len(groups), len(groups))
    drawn.index_put_((codes[kept], returned[kept]), torch.ones(int(kept.sum())), accumulate=True)
    table = []
    for code in codes.unique():
        others = others_of_group(code[None], groups)[0].nonzero()[:, 0]
        if len(others):
            counts = drawn[code, others]
            distance = (counts - counts.mean()).square().sum() / counts.mean()
            table.append((float(distance), int(code), others, counts))
    freedom = sum(len(others) - 1 for _, _, others, _ in table)
    if sum(distance for distance, *_ in table) <= chi2.isf(CHANCE, freedom):
        return
    _, code, others, counts = max(table, key=lambda row: row[0])
    never = torch.cat([others[counts == 0] for _, _, others, counts in table])
    cause = FAVOURS
    if all((counts > 0).sum() == 1 for _, _, _, counts in table):
        cause = PARTNER
    elif len(never) and not torch.isin(never, codes).any():
        cause = OF_BATCH
    raise Incorrect(
        f"Not every other code of its group is drawn equally often for code {code} (in "
        f"{counts.sum():.0f} rows).",
        case,
        expected=[round(float(counts.mean()), 1)] * len(others),
        actual=counts,
        cause=cause,
    )


def by_choice(choose: Callable) -> Callable:
    """choose: from the other codes of the group, a list, and the code, one of them."""

    def answer(codes, groups):
        drawn = []
        for code in codes.tolist():
            others = [k for k in range(len(groups)) if groups[k] == groups[code] and k != code]
            drawn.append(choose(others, code) if others else NO_POSITIVE)
        return torch.tensor(drawn)

    return answer


def any_of(others: list[int], code: int) -> int:
    return others[np.random.randint(len(others))]


def by_largest_noise(codes, groups):
    possible = others_of_group(codes, groups)
    noise = torch.rand(possible.shape).masked_fill(~possible, -1)
    return torch.where(possible.any(1), noise.argmax(1), NO_POSITIVE)


def next_if_itself(others: list[int], code: int) -> int:
    """A member of the group, and the next one where it is the code itself."""
    members = sorted([*others, code])
    place = np.random.randint(len(members))
    return members[(place + (members[place] == code)) % len(members)]


def seeded(codes, groups):
    torch.manual_seed(0)
    return draw(codes, groups)


def of_the_batch(codes, groups):
    in_batch = torch.isin(torch.arange(len(groups)), codes)
    drawn = drawn_from(lambda c, g: others_of_group(c, g) & in_batch)(codes, groups)
    return torch.where(drawn == NO_POSITIVE, draw(codes, groups), drawn)


def another_row(codes, groups):
    weights = (groups[codes][:, None] == groups[codes]).float().fill_diagonal_(0)
    alone = weights.sum(1) == 0
    weights[alone] = 1
    return codes[torch.multinomial(weights, 1)[:, 0]].masked_fill(alone, NO_POSITIVE)


def whole_columns(codes, groups):
    allowed = groups[codes][:, None] == groups
    allowed[:, codes] = False
    return drawn_from(lambda c, g: allowed)(codes, groups)


def then(change: Callable) -> Callable:
    """A right draw, changed afterwards where there is one: change(codes, groups, drawn)."""

    def answer(codes, groups):
        drawn = draw(codes, groups)
        changed = change(codes, groups, drawn.clamp(min=0))
        return torch.where(drawn == NO_POSITIVE, NO_POSITIVE, changed)

    return answer


def place_in_group(codes, groups, drawn):
    same = groups[drawn][:, None] == groups
    return (same & (torch.arange(len(groups)) < drawn[:, None])).sum(1)


def exchanged(codes, groups):
    drawn = draw(codes, groups)
    return torch.where(drawn == NO_POSITIVE, drawn.clamp(min=0), NO_POSITIVE)


def all_or_nothing(codes, groups):
    drawn = draw(codes, groups)
    return torch.full_like(drawn, NO_POSITIVE) if (drawn == NO_POSITIVE).any() else drawn


def same_group(codes: Tensor, groups: Tensor) -> Tensor:
    return groups[codes][:, None] == groups


def thrown_away(codes, groups):
    drawn = drawn_from(same_group)(codes, groups)
    return torch.where(drawn == codes, NO_POSITIVE, drawn)


SAMPLE_POSITIVES = Exercise(
    reference=draw,
    library=losses.sample_positives,
    timing=a_batch_of_codes,
    cases=positives_cases,
    returns=["positives"],
    examine=examine_positives,
    stops={"sum of probabilities": ALONE},
    right=[by_choice(any_of), by_largest_noise],
    mistakes=[
        (drawn_from(same_group), ITSELF),
        (drawn_from(others_of_group, alone=lambda codes: codes), ALONE),
        (drawn_from(others_of_group, alone=lambda codes: 0), ALONE),
        (lambda c, g: torch.multinomial(others_of_group(c, g).float(), 1)[:, 0], ALONE),
        (drawn_from(lambda c, g: c[:, None] != torch.arange(len(g))), OTHER_GROUPS),
        (lambda c, g: c[torch.randperm(len(c))], OTHER_GROUPS),
        (thrown_away, THROWN_AWAY),
        (by_choice(lambda others, code: others[0]), PARTNER),
        (lambda c, g: draw(torch.arange(len(g)), g)[c], PARTNER),
        (by_choice(next_if_itself), FAVOURS),
        (by_choice(lambda others, code: any_of(others[:-1] or others, code)), FAVOURS),
        (by_choice(lambda o, code: o[round(torch.rand(()).item() * (len(o) - 1))]), FAVOURS),
        (seeded, SEEDED),
        (whole_columns, COLUMNS),
        (of_the_batch, OF_BATCH),
        (another_row, ROWS),
        (then(place_in_group), PLACE),
        (lambda c, g: g[c], GROUP_NUMBER),
        (lambda c, g: g[draw(c, g)], GROUP_NUMBER),
        (then(lambda c, g, drawn: g[drawn]), GROUP_NUMBER),
        (exchanged, EXCHANGED),
        (all_or_nothing, NONE_AT_ALL),
        (lambda c, g: draw(c, g)[:, None], COLUMN),
    ],
)

# 4.3 The diversity loss of one level: codes, positives int64 [batch], codebook [n_codes, dim]
# -> scalar, gradient to the codebook


def diversity_cases(generator: Generator) -> list[Case]:
    """(items, codes, dim, items without a positive), one item first; the fourth has no positive.

    In `ends`, items without a positive have the first and the last code: there -1, read as a place
    or turned into 0, is the entry that is barred, and a product with 0 does not undo it. In `away`
    all other codes' vectors point away from the item's: of its own code, even exp(-10) would show.
    """
    cases = []
    for rows, n_codes, dim, without in [
        (1, 3, 1, 0),
        (2, 3, 2, 0),
        (3, 4, 2, 1),
        (2, 4, 2, 2),
        (40, 12, 6, 7),
    ]:
        codes = torch.randint(n_codes, (rows,), generator=generator)
        codes[:without] = torch.randint(1, n_codes - 1, (without,), generator=generator)
        positives = (codes + 1 + torch.randint(n_codes - 1, (rows,), generator=generator)) % n_codes
        positives[:without] = NO_POSITIVE
        # Small enough that exponentials of dot products may be added and subtracted in float32.
        vectors = torch.renorm(0.6 * torch.randn(n_codes, dim, generator=generator), 2, 0, 1.6)
        codebook = torch.round(vectors, decimals=1).requires_grad_()
        cases.append({"codes": codes, "positives": positives, "codebook": codebook})
    apart = torch.tensor([[1, 0.5], [-2, -0.5], [-2.5, 0.5]], requires_grad=True)
    away = {"codes": torch.tensor([0, 0, 0]), "positives": torch.tensor([1, 2, 1])}
    four = codebook.detach()[:4, :2].clone().requires_grad_()
    ends = {"codes": torch.tensor([3, 0, 1]), "positives": torch.tensor([-1, -1, 2])}
    return [*cases[:-1], {**away, "codebook": apart}, {**ends, "codebook": four}, cases[-1]]


def diversity(codes: Tensor, positives: Tensor, codebook: Tensor) -> Tensor:
    kept = positives != NO_POSITIVE
    if not kept.any():
        return codebook.sum() * 0
    codes, positives = codes[kept], positives[kept]
    return F.cross_entropy(logits_of_others(codes, codebook), positives)


def logits_of_others(codes: Tensor, codebook: Tensor, fill: float = -torch.inf) -> Tensor:
    own = F.one_hot(codes, len(codebook)).bool()
    return (codebook[codes] @ codebook.T).masked_fill(own, fill)


def logits_of_own(codes: Tensor, codebook: Tensor) -> Tensor:
    others = ~F.one_hot(codes, len(codebook)).bool()
    return (codebook[codes] @ codebook.T).masked_fill(others, -torch.inf)


@functools.wraps(losses.diversity_loss)
def diversity_loss(codes: Tensor, positives: Tensor, codebook: Tensor) -> Tensor:
    """The library's, for one level."""
    return losses.diversity_loss(codes[:, None], positives[:, None], [codebook])


def any_zero(answer: Callable) -> Callable:
    """The answer, with one kind of zero if no item has a positive: there any kind is right."""

    @functools.wraps(answer)
    def loss(codes, positives, codebook):
        returned = answer(codes, positives, codebook)
        none = (positives == NO_POSITIVE).all()
        plain = isinstance(returned, (int, float, np.number, Tensor)) and np.ndim(returned) == 0
        return codebook.sum() * 0 if none and plain and not returned else returned

    return loss


def of_kept(loss: Callable) -> Callable:
    """The loss of the items that have a positive; zero if none has."""

    def answer(codes, positives, codebook):
        kept = positives != NO_POSITIVE
        if not kept.any():
            return codebook.sum() * 0
        return loss(codes[kept], positives[kept], codebook)

    return answer


def steps(
    rows: Callable = lambda e, c: e[c] @ e.T,
    fill: float | None = -torch.inf,
    barred: Callable = lambda c, p: c,
    reduce: Callable = torch.mean,
) -> Callable:
    """A diversity loss, one of whose steps may be replaced."""

    def loss(codes, positives, codebook):
        logits = rows(codebook, codes)
        if fill is not None:
            own = F.one_hot(barred(codes, positives), len(codebook)).bool()
            logits = logits.masked_fill(own, fill)
        return reduce(F.cross_entropy(logits, positives, reduction="none"))

    return of_kept(loss)


def picked(table: Tensor, columns: Tensor) -> Tensor:
    """One entry a row."""
    return table[torch.arange(len(columns)), columns]


def powers(codes: Tensor, codebook: Tensor) -> Tensor:
    return (codebook[codes] @ codebook.T).exp()


def for_every_item(
    left_out: Callable,
    target: Callable = lambda positives: positives,
    log_shares: Callable = lambda logits: logits.log_softmax(1),
) -> Callable:
    """A loss for every item, those without a positive included, which are left out afterwards."""

    def answer(codes, positives, codebook):
        has = positives != NO_POSITIVE
        log_p = log_shares(logits_of_others(codes, codebook))
        return left_out(-picked(log_p, target(positives)), has).sum() / has.sum().clamp(min=1)

    return answer


def by_loop(codes, positives, codebook):
    terms = []
    for code, positive in zip(codes.tolist(), positives.tolist()):
        if positive != NO_POSITIVE:
            logits = codebook @ codebook[code]
            others = torch.cat([logits[:code], logits[code + 1 :]])
            terms.append(others.logsumexp(0) - logits[positive])
    return torch.stack(terms).mean() if terms else codebook.sum() * 0


def summed(codes: Tensor, positives: Tensor, codebook: Tensor) -> Tensor:
    logits = logits_of_others(codes, codebook)
    return F.cross_entropy(logits, positives, ignore_index=NO_POSITIVE, reduction="sum")


def by_ignore_index(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    return summed(codes, positives, codebook) / kept.sum().clamp(min=1)


def or_zero(zero: object) -> Callable:
    return lambda c, p, e: diversity(c, p, e) if (p != NO_POSITIVE).any() else zero


def without_the_positive(codes, positives, codebook):
    logits = logits_of_others(codes, codebook)
    rest = logits.masked_fill(F.one_hot(positives, len(codebook)).bool(), -torch.inf)
    return (rest.logsumexp(1) - picked(logits, positives)).mean()


def whole_columns_barred(codes, positives, codebook):
    logits = codebook[codes] @ codebook.T
    logits[:, codes] = -torch.inf
    return F.cross_entropy(logits, positives)


def without_exp(codes, positives, codebook):
    table = codebook[codes] @ codebook.T
    return -(picked(table, positives) / (table.sum(1) - picked(table, codes))).log().mean()


def cross_entropy_times_the_mask(codes, positives, codebook):
    has, logits = positives != NO_POSITIVE, logits_of_others(codes, codebook)
    per_item = F.cross_entropy(logits, positives.clamp(min=0), reduction="none")
    return (per_item * has).sum() / has.sum().clamp(min=1)


def times_one_hot(codes, positives, codebook):
    marks = F.one_hot(positives.clamp(min=0), len(codebook))
    return -(logits_of_others(codes, codebook).log_softmax(1) * marks).sum(1).mean()


def every_positive(fill: float, over: Callable = torch.mean) -> Callable:
    """`[:, positives]` in place of one entry a row."""
    return of_kept(lambda c, p, e: -over(logits_of_others(c, e, fill).log_softmax(1)[:, p]))


HIGH_FILL = (
    "a fill that is not low enough, so that the item's own code still counts a little: take "
    "`-torch.inf`."
)
EVERY_POSITIVE = (
    "`[:, positives]` takes every item's positive in every row. One entry a row is "
    "`[torch.arange(len(codes)), positives]`."
)
DISTANCES = "distances; the formula has dot products."
NO_LOGARITHM = "the logarithm is missing."
TIMES_ZERO = (
    "minus infinity times zero, which is NaN, of an item without a positive. Leave these items out "
    "by index, not by a product with 0."
)
ONE_SIDE = "a `detach()` on one side. Item's code, positive and negatives are all rows that learn."
LEAVE_OUT = "Items whose positive is -1, NO_POSITIVE, have to be left out first."

DIVERSITY_LOSS = Exercise(
    reference=diversity,
    library=diversity_loss,
    same_call=False,
    timing=lambda generator: {
        "codes": (batch := a_batch_of_codes(generator))["codes"],
        "positives": losses.sample_positives(**batch),
        "codebook": torch.randn(256, 32, generator=generator, requires_grad=True),
    },
    cases=diversity_cases,
    returns=["the loss"],
    use=any_zero,
    stops={"-1 is out of bounds": LEAVE_OUT, "Class values must be": LEAVE_OUT},
    right=[
        by_loop,
        by_ignore_index,
        or_zero(0),
        or_zero(0.0),
        or_zero(torch.tensor(0)),
        of_kept(
            lambda c, p, e: -(picked(q := powers(c, e), p) / (q.sum(1) - picked(q, c))).log().mean()
        ),
        of_kept(
            lambda c, p, e: (
                -(picked(s := (e[c] @ e.T).softmax(1), p) / (1 - picked(s, c))).log().mean()
            )
        ),
        for_every_item(lambda per_item, has: torch.where(has, per_item, 0.0)),
        for_every_item(lambda per_item, has: per_item[has]),
        lambda c, p, e: by_loop(c, p, e.double()),
    ],
    mistakes=[
        (steps(fill=None), "the item's own code is left among the logits; it has to be barred."),
        (steps(fill=0.0), "the own logit is set to 0, and exp(0) = 1 counts. Use -inf."),
        *((steps(fill=-fill), HIGH_FILL) for fill in (1.0, 2.0, 3.0, 5.0, 10.0)),
        (steps(fill=torch.inf), "plus infinity, which wins every softmax. Bar with `-torch.inf`."),
        (
            of_kept(lambda c, p, e: F.cross_entropy(logits_of_own(c, e), p)),
            "the mask the wrong way round: it bars all other codes. Bar the item's own code.",
        ),
        (
            of_kept(lambda c, p, e: F.cross_entropy(logits_of_others(c, e), c)),
            "the item's own code as the target. The target is its positive.",
        ),
        (steps(barred=lambda c, p: p), "the positive is barred. Bar the item's own code."),
        (of_kept(whole_columns_barred), "every item's code is barred in every row. Bar its own."),
        (
            of_kept(lambda c, p, e: F.cross_entropy((e[c] @ e.T).fill_diagonal_(-torch.inf), p)),
            "`fill_diagonal_` bars code i in row i. Bar one entry a row: the item's own code.",
        ),
        (
            steps(lambda e, c: F.normalize(e, dim=1)[c] @ F.normalize(e, dim=1).T),
            "cosines; the formula has dot products, lengths included.",
        ),
        (steps(lambda e, c: -torch.cdist(e[c], e)), DISTANCES),
        (steps(lambda e, c: -torch.cdist(e[c], e).square()), DISTANCES),
        (steps(lambda e, c: -e[c] @ e.T), "the sign of the dot products."),
        (steps(lambda e, c: e[c] @ e.T / e.shape[1] ** 0.5), "dot products divided by sqrt(dim)."),
        (
            of_kept(lambda c, p, e: F.cross_entropy(logits_of_others(c, e).softmax(1), p)),
            "a softmax too many: `F.cross_entropy` has one inside.",
        ),
        (of_kept(without_the_positive), "the positive is missing below the line."),
        (
            of_kept(lambda c, p, e: F.cross_entropy(logits_of_others(p, e), c)),
            "the positives' rows of logits: start from the item's own code.",
        ),
        (
            of_kept(lambda c, p, e: steps(lambda e, _: e[p] @ e.T)(c, p, e)),
            "the positives' rows of logits: start from the item's own code.",
        ),
        (steps(reduce=torch.sum), "a sum over items; take the mean."),
        (lambda c, p, e: summed(c, p, e) / len(c), "the mean counts items without a positive."),
        (steps(reduce=lambda x: x), "one loss per item; take their mean."),
        (steps(reduce=lambda x: -x.mean()), "a minus sign is missing, or too many."),
        (steps(reduce=lambda x: (-x).exp().mean()), NO_LOGARITHM),
        (steps(reduce=lambda x: -(-x).exp().mean()), NO_LOGARITHM),
        (
            lambda c, p, e: by_ignore_index(c, p % len(e), e),
            "row -1 is the last code, so -1 was taken for a positive. Leave these items out.",
        ),
        (
            lambda c, p, e: by_ignore_index(c, p.clamp(min=0), e),
            "-1 was turned into code 0. Leave these items out.",
        ),
        (
            of_kept(lambda c, p, e: -(e[c] * e[p]).sum(1).mean()),
            "only the positive's dot product; the softmax over the other codes is missing.",
        ),
        (
            of_kept(lambda c, p, e: F.cross_entropy(e[c] @ e[p].T, torch.arange(len(c)))),
            "negatives of the batch; here they are all codes of the level.",
        ),
        (
            lambda c, p, e: diversity(c, p, e) if (p >= 0).any() else e.sum() * torch.nan,
            "no item has a positive, and the mean over none is 0 / 0. Return zero then.",
        ),
        (times_one_hot, "minus infinity times zero, which is NaN. Pick the entries by index."),
        (for_every_item(lambda per_item, has: per_item * has), TIMES_ZERO),
        (cross_entropy_times_the_mask, TIMES_ZERO),
        (
            for_every_item(
                lambda per_item, has: torch.where(has, per_item, 0.0),
                log_shares=lambda logits: logits.softmax(1).log(),
            ),
            "a logarithm of 0 that is set to 0 afterwards: its gradient is 0 times infinity. Leave "
            "out the items without a positive before.",
        ),
        (of_kept(without_exp), "`exp` of the dot products is missing."),
        (every_positive(-torch.inf), EVERY_POSITIVE),
        (every_positive(-1e9), EVERY_POSITIVE),
        (every_positive(-torch.inf, lambda log_p: log_p.sum() / len(log_p)), EVERY_POSITIVE),
        (every_positive(-1e9, lambda log_p: log_p.sum() / len(log_p)), EVERY_POSITIVE),
        (steps(lambda e, c: e[c].detach() @ e.T), ONE_SIDE),
        (steps(lambda e, c: e[c] @ e.detach().T), ONE_SIDE),
    ],
)

# 4.4 Sinkhorn: distances [items, codes], epsilon, iterations -> shares [items, codes]


def sinkhorn_cases(generator: Generator) -> list[Case]:
    """(items, codes, epsilon, iterations); the last stops early, so that the order of steps shows.

    Distances are within 0.9 of zero: mapped to [-1, 1] once more, they are others.
    """
    cases = []
    for rows, n_codes, epsilon, iterations in [
        (2, 1, 1.0, 1),
        (2, 2, 0.5, 1),
        (3, 2, 0.5, 30),
        (12, 5, 0.2, 3),
    ]:
        drawn = torch.rand(rows, n_codes, generator=generator, dtype=torch.float64) * 1.8 - 0.9
        distances = drawn.numpy().round(1)
        cases.append({"distances": distances, "epsilon": epsilon, "iterations": iterations})
    return cases


def by_rows(q: np.ndarray) -> np.ndarray:
    return q / q.sum(axis=1, keepdims=True)


def by_columns(q: np.ndarray) -> np.ndarray:
    return q / q.sum(axis=0, keepdims=True)


def items_per_code(q: np.ndarray) -> float:
    return q.shape[0] / q.shape[1]


def sinkhorn(distances: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    return scaling()(distances, epsilon, iterations)


def scaling(
    rows: Callable = by_rows,
    columns: Callable = by_columns,
    total: Callable = items_per_code,
    rounds: Callable = lambda n: n,
    start: Callable = lambda d, eps: np.exp(-d / eps),
    end: Callable = lambda q: q,
) -> Callable:
    """Sinkhorn's algorithm, one of whose steps may be replaced.

    total: what a column adds up to, from the distances.
    """

    def answer(distances, epsilon, iterations):
        q = start(distances, epsilon)
        for _ in range(rounds(iterations)):
            q = columns(rows(q)) * total(distances)
        return end(q)

    return answer


def in_logarithms(distances, epsilon, iterations):
    log_q = torch.from_numpy(-distances / epsilon)
    for _ in range(iterations):
        log_q = log_q.log_softmax(1)
        log_q = log_q.log_softmax(0) + np.log(len(log_q) / log_q.shape[1])
    return log_q.exp().numpy()


def by_two_vectors(distances, epsilon, iterations):
    kernel = np.exp(-distances / epsilon)
    columns = np.ones(kernel.shape[1])
    for _ in range(iterations):
        rows = 1 / (kernel @ columns)
        columns = items_per_code(kernel) / (kernel.T @ rows)
    return rows[:, None] * kernel * columns


def columns_first(distances, epsilon, iterations):
    q = np.exp(-distances / epsilon)
    for _ in range(iterations):
        q = by_rows(by_columns(q) * items_per_code(q))
    return q


def sums_of_one_table(distances, epsilon, iterations):
    q = np.exp(-distances / epsilon)
    for _ in range(iterations):
        q = by_rows(q) / q.sum(axis=0) * items_per_code(q)
    return q


def mapped(distances: np.ndarray) -> np.ndarray:
    middle = (distances.max() + distances.min()) / 2
    return (distances - middle) / (distances.max() - middle)


def one_hot_choice(q: np.ndarray) -> np.ndarray:
    return np.eye(q.shape[1])[q.argmax(axis=1)]


KEEPDIMS = (
    "`keepdims=True` is missing in `q.sum(axis=1)`: [items, 1] divides each row by its own sum."
)
FRACTION = "items / codes as a whole number (`//`, `int`, `round`). Keep its fraction."
OTHER_ROUNDS = "another number of rounds than `iterations`, or rounds until nothing changes."
MAPPED = "distances mapped to [-1, 1] once more. They are mapped already: take them as they are."
CHOSEN = "codes already chosen; return the table of shares."
EPSILON = "epsilon is missing, or outside `exp`, where it cancels."

SINKHORN = Exercise(
    reference=sinkhorn,
    library=collisions.sinkhorn,
    cases=sinkhorn_cases,
    returns=["shares"],
    right=[
        by_two_vectors,
        in_logarithms,
        scaling(total=lambda q: 1, end=lambda q: q * items_per_code(q)),
    ],
    stops={"could not be broadcast": KEEPDIMS},
    mistakes=[
        (columns_first, "columns first and rows last. The task ends with the columns."),
        (
            scaling(columns=lambda q: q, total=lambda q: 1),
            "rows alone, which is one softmax per item: nothing makes the codes even.",
        ),
        (scaling(rows=lambda q: q), "columns alone; the rows have to be scaled as well."),
        (
            scaling(start=lambda d, eps: np.exp(d / eps)),
            "the sign: a small distance should give a large share.",
        ),
        (scaling(total=lambda q: 1), "columns that sum to 1; each should sum to items / codes."),
        (
            scaling(total=lambda q: 1 / items_per_code(q)),
            "columns that sum to codes / items; turn it over.",
        ),
        (scaling(total=lambda q: items_per_code(q) // 1), FRACTION),
        (scaling(total=lambda q: round(items_per_code(q))), FRACTION),
        (scaling(total=len), "columns that sum to the items; each should sum to items / codes."),
        (
            scaling(rounds=lambda n: 1),
            "one round only, always the first table, or all rows before all columns.",
        ),
        (scaling(rounds=lambda n: n - 1), "one round too few."),
        (scaling(rounds=lambda n: n + 1), "one round too many."),
        *((scaling(rounds=lambda n, m=m: m), OTHER_ROUNDS) for m in (10, 20, 30, 50, 200)),
        (
            sums_of_one_table,
            "rows and columns divided by the sums of one table. Scale the rows, and then sum the "
            "new columns.",
        ),
        (scaling(end=by_rows), "the rows scaled once more. The task ends with the columns."),
        (scaling(start=lambda d, eps: np.exp(-d)), EPSILON),
        (
            scaling(start=lambda d, eps: -d / eps),
            "`exp` is missing: the first table is exp(-distances / epsilon).",
        ),
        (scaling(start=lambda d, eps: np.exp(-(d**2) / eps)), "distances squared once more."),
        (scaling(columns=by_rows), "rows scaled twice: `sum(axis=0)` adds up a column."),
        (
            scaling(start=lambda d, eps: np.exp(-d * eps)),
            "distances multiplied by epsilon; divide.",
        ),
        (scaling(by_columns, by_rows), "the axes swapped: `sum(axis=1)` adds up a row."),
        (scaling(start=lambda d, eps: np.exp(-mapped(d) / eps)), MAPPED),
        (scaling(start=lambda d, eps: np.exp(-collisions.centre_distances(d) / eps)), MAPPED),
        (scaling(end=lambda q: q / len(q)), "a total of 1; it should be the number of items."),
        (scaling(end=np.log), "the logarithms; take `exp` at the end."),
        (scaling(end=lambda q: q.argmax(1)), CHOSEN),
        (scaling(end=one_hot_choice), CHOSEN),
        (scaling(end=lambda q: q.T), "the table turned over; one row per item."),
        (scaling(rows=lambda q: q / q.sum(axis=1)), KEEPDIMS),
        (
            scaling(
                rows=lambda q: q / q.sum(axis=1),
                columns=lambda q: by_columns(q) * items_per_code(q),
                total=lambda distances: 1,
            ),
            KEEPDIMS,
        ),
    ],
)

EXERCISES = {
    "4.1": PERPLEXITY,
    "4.2": SAMPLE_POSITIVES,
    "4.3": DIVERSITY_LOSS,
    "4.4": SINKHORN,
}
