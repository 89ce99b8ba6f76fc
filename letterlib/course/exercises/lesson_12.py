"""Lesson 12: the seams of a whole LETTER (a step of the tokenizer, of TIGER, of the search).

Values are tenths where they can be, so that they can be worked out by hand.
"""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Generator, Tensor, nn

from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.course.exercises.lesson_05 import Joint, joint_cases, joint_losses
from letterlib.course.exercises.lesson_06 import ranking_loss
from letterlib.course.values import tenths
from letterlib.decoding.trie import EOS, PAD

NO_CLEAR = "`optimizer.zero_grad()` is missing: the gradients of the step before are added."
NO_STEP = (
    "nothing moves: `optimizer.step()` is missing, or comes when the gradients are cleared already."
)
STEP_FIRST = "`step()` before `backward()`: it goes by the gradients of the step before."

# 12.1 A step of the tokenizer: model, optimizer, s, h, groups, mu, alpha, beta -> four floats


def tokenizer_cases(generator: Generator) -> list[Case]:
    """As in 5.1, with weights that differ."""
    weights = [(0.5, 0.2), (0.2, 0.5), (0.1, 0.4), (0.3, 0.7)]
    cases = joint_cases(generator)
    while any(case["s"].abs().max() > 5 for case in cases):  # two steps would run away
        cases = joint_cases(generator)
    return [
        {**case, "alpha": alpha, "beta": beta}
        for case, (alpha, beta) in zip(cases, weights, strict=True)
    ]


def after_two_steps(answer: Callable) -> Callable:
    """Two steps of plain gradient descent with rate 0.1, and what they make of a model."""

    @wraps(answer)
    def use(encoder, decoder, codebooks, s, h, groups, mu, alpha, beta):
        model = Joint(encoder.clone(), decoder.clone(), [book.clone() for book in codebooks])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        steps = [answer(model, optimizer, s, h, groups, mu, alpha, beta) for _ in range(2)]
        if steps[0] is None or len(steps[0]) != 4:
            return steps[0]
        losses = torch.tensor([float(loss) for step in steps for loss in step])
        books = torch.cat([book.detach() for book in model.codebooks])
        return losses, model.encoder.detach(), model.decoder.detach(), books

    return use


def weighted(recon: Tensor, rq: Tensor, cf: Tensor, div: Tensor, alpha: float, beta: float):
    return recon + rq + alpha * cf + beta * div


def tokenizer_stepping(
    total: Callable = weighted,
    mu_of: Callable = lambda mu: mu,
    order: Sequence[str] = ("clear", "backward", "step"),
    result: Callable = lambda losses, alpha, beta: [loss.item() for loss in losses],
) -> Callable:
    """A step of the tokenizer, one of whose parts may be replaced."""

    def answer(model, optimizer, s, h, groups, mu, alpha, beta):
        losses = joint_losses(model, s, h, groups, mu_of(mu))
        for action in order:
            if action == "clear":
                optimizer.zero_grad()
            elif action == "backward":
                total(*losses, alpha, beta).backward()
            else:
                optimizer.step()
        return result(losses, alpha, beta)

    return answer


def tokenizer_step(model, optimizer, s, h, groups, mu, alpha, beta):
    return tokenizer_stepping()(model, optimizer, s, h, groups, mu, alpha, beta)


TOKENIZER_STEP = Exercise(
    reference=tokenizer_step,
    cases=tokenizer_cases,
    returns=[
        "the losses of two steps",
        "the encoder after two steps",
        "the decoder after two",
        "the codebooks after two",
    ],
    use=after_two_steps,
    right=[
        tokenizer_stepping(order=("backward", "step", "clear")),
        tokenizer_stepping(result=lambda losses, a, b: tuple(map(float, losses))),
    ],
    mistakes=[
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + beta * c + alpha * d),
            "alpha and beta in each other's place: alpha weighs L_CF, beta L_Div.",
        ),
        (
            lambda model, optimizer, s, h, groups, mu, alpha, beta: tokenizer_stepping(
                lambda r, q, c, d, alpha, beta: r + mu * q + alpha * c + beta * d
            )(model, optimizer, s, h, groups, mu, alpha, beta),
            "mu multiplies the quantiser's loss; `joint_losses` has put it inside already.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + c + d),
            "alpha and beta are not used.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + c + beta * d),
            "alpha is not used: L_CF has weight 1.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + alpha * c + d),
            "beta is not used: L_Div has weight 1.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + alpha * c),
            "L_Div is left out of the sum.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + beta * d),
            "L_CF is left out of the sum.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + alpha * c + beta * d),
            "the quantiser's loss is left out of the sum.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: q + alpha * c + beta * d),
            "the reconstruction is left out of the sum.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: r + q + alpha * (c + beta * d)),
            "alpha multiplies L_Div as well.",
        ),
        (
            tokenizer_stepping(lambda r, q, c, d, alpha, beta: weighted(r, q, c, d, 0.1, 1e-4)),
            "0.1 and 0.0001 written into the function; use its arguments alpha and beta.",
        ),
        (
            tokenizer_stepping(lambda *parts: weighted(*parts) / 4),
            "the mean of the losses. They are added.",
        ),
        (
            tokenizer_stepping(mu_of=lambda mu: 0.25),
            "0.25 written into the function; use its argument mu.",
        ),
        (tokenizer_stepping(order=("backward", "step")), NO_CLEAR),
        (tokenizer_stepping(order=("clear", "backward")), NO_STEP),
        (tokenizer_stepping(order=("step", "clear", "backward")), STEP_FIRST),
        (tokenizer_stepping(order=("backward", "clear", "step")), NO_STEP),
        (
            tokenizer_stepping(
                result=lambda losses, alpha, beta: [
                    losses[0].item(),
                    losses[1].item(),
                    alpha * losses[2].item(),
                    beta * losses[3].item(),
                ]
            ),
            "the losses returned times their weights. Return them as they are.",
        ),
        (
            tokenizer_stepping(result=lambda losses, a, b: [x.item() for x in reversed(losses)]),
            "the losses in the other order.",
        ),
    ],
    stops={
        "scalar outputs": "Call `backward()` on the sum of the four, which is one number.",
        "second time": "Call `backward()` once, on the sum.",
    },
)

# 12.2 A step of TIGER: network, optimizer, tokens, wanted, tau -> the loss, a float


class Hearing(nn.Module):
    """What a training step sees of a TIGER: logits from the mean of what is read, and from all that
    has been heard so far.
    """

    def __init__(self, table: Tensor, out: Tensor):
        super().__init__()
        self.table, self.out = nn.Parameter(table), nn.Parameter(out)

    def forward(self, tokens: Tensor, heard: Tensor) -> Tensor:
        so_far = self.table[heard].cumsum(dim=1)
        return (so_far + self.table[tokens].mean(dim=1, keepdim=True)) @ self.out


def tiger_cases(generator: Generator) -> list[Case]:
    """(histories, tokens read, written, vocabulary, width, tau, size of the weights). Gradients of
    the second are short, those of the others longer than 1.
    """
    cases = []
    for n, read, written, size, width, tau, scale in [
        (1, 2, 2, 4, 2, 0.5, 3.0),
        (1, 2, 2, 4, 2, 2.0, 0.5),
        (2, 3, 3, 6, 3, 0.5, 3.0),
        (8, 5, 4, 9, 4, 0.8, 3.0),
    ]:
        wanted = torch.randint(2, size, (n, written - 1), generator=generator)
        cases.append(
            {
                "table": tenths(scale * torch.randn(size, width, generator=generator)),
                "out": tenths(scale * torch.randn(width, size, generator=generator)),
                "tokens": torch.randint(2, size, (n, read), generator=generator),
                "wanted": torch.cat([wanted, torch.full((n, 1), EOS)], dim=1),
                "tau": tau,
            }
        )
    return cases


def after_two_tiger_steps(answer: Callable) -> Callable:
    """Two steps of plain gradient descent with rate 0.5, and what they make of a network."""

    @wraps(answer)
    def use(table, out, tokens, wanted, tau):
        network = Hearing(table.clone(), out.clone())
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        losses = [answer(network, optimizer, tokens, wanted, tau) for _ in range(2)]
        if losses[0] is None:
            return None
        return torch.tensor([*map(float, losses)]), network.table.detach(), network.out.detach()

    return use


def shifted(wanted: Tensor, first: int = PAD) -> Tensor:
    return torch.cat([torch.full_like(wanted[:, :1], first), wanted[:, :-1]], dim=1)


def clip(network: nn.Module) -> None:
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)


def tiger_stepping(
    hear: Callable = shifted,
    loss_of: Callable = ranking_loss,
    order: Sequence[str] = ("clear", "backward", "clip", "step"),
    shorten: Callable = clip,
    result: Callable = lambda loss, tau: loss.item(),
) -> Callable:
    """A step of TIGER, one of whose parts may be replaced."""

    def answer(network, optimizer, tokens, wanted, tau):
        loss = loss_of(network(tokens, hear(wanted)), wanted, tau)
        for action in order:
            if action == "clear":
                optimizer.zero_grad()
            elif action == "backward":
                loss.backward()
            elif action == "clip":
                shorten(network)
            else:
                optimizer.step()
        return result(loss, tau)

    return answer


def tiger_step(network, optimizer, tokens, wanted, tau):
    return tiger_stepping()(network, optimizer, tokens, wanted, tau)


NOT_SHORTENED = (
    "a gradient longer than 1 is not shortened: `clip_grad_norm_` belongs between `backward()` "
    "and `step()`."
)

TIGER_STEP = Exercise(
    reference=tiger_step,
    cases=tiger_cases,
    returns=["the losses of two steps", "the embedding after two steps", "the last layer"],
    use=after_two_tiger_steps,
    right=[
        tiger_stepping(order=("backward", "clip", "step", "clear")),
        tiger_stepping(hear=lambda wanted: nn.functional.pad(wanted[:, :-1], (1, 0), value=PAD)),
    ],
    mistakes=[
        (
            tiger_stepping(hear=lambda wanted: wanted),
            "the decoder hears what it has to say. It must hear the token before: shift by one.",
        ),
        (
            tiger_stepping(hear=lambda wanted: shifted(wanted.flip(1)).flip(1)),
            "shifted the wrong way: at each place the decoder hears the token *after*.",
        ),
        (
            tiger_stepping(hear=lambda wanted: wanted.roll(1, dims=1)),
            "the end token, 1, is heard first (`roll` brings it round to the front). The decoder "
            "starts with 0.",
        ),
        (
            tiger_stepping(loss_of=lambda logits, wanted, tau: ranking_loss(logits, wanted, 1.0)),
            "tau is not used.",
        ),
        (
            tiger_stepping(
                loss_of=lambda logits, wanted, tau: ranking_loss(logits / tau, wanted, tau)
            ),
            "divided by tau twice: the ranking loss does it already.",
        ),
        (
            tiger_stepping(
                loss_of=lambda logits, wanted, tau: ranking_loss(
                    logits[:, :-1], wanted[:, :-1], tau
                )
            ),
            "the last place is left out. The end token is learnt, too.",
        ),
        (
            tiger_stepping(
                loss_of=lambda logits, wanted, tau: (
                    ranking_loss(logits, wanted, tau) * wanted.numel()
                )
            ),
            "the sum over the tokens. The loss is their mean.",
        ),
        (tiger_stepping(order=("backward", "clip", "step")), NO_CLEAR),
        (tiger_stepping(order=("clear", "backward", "clip")), NO_STEP),
        (tiger_stepping(order=("step", "clear", "backward", "clip")), STEP_FIRST),
        (tiger_stepping(order=("clear", "backward", "step")), NOT_SHORTENED),
        (tiger_stepping(order=("clear", "backward", "step", "clip")), NOT_SHORTENED),
        (tiger_stepping(order=("clear", "clip", "backward", "step")), NOT_SHORTENED),
        (
            tiger_stepping(
                shorten=lambda network: nn.utils.clip_grad_value_(network.parameters(), 1.0)
            ),
            "each number is cut at 1. The gradient as a whole is to have at most length 1: "
            "`clip_grad_norm_`.",
        ),
        (
            tiger_stepping(
                shorten=lambda network: [
                    nn.utils.clip_grad_norm_([weight], 1.0) for weight in network.parameters()
                ]
            ),
            "each tensor's gradient is shortened by itself. Give all parameters to one call.",
        ),
        (
            tiger_stepping(result=lambda loss, tau: loss.item() * tau),
            "the loss returned times tau. Return it as it is.",
        ),
    ],
    stops={
        "must match the size": "The decoder hears as many tokens as it writes.",
        "does not require grad": "Compute the loss with gradients: no `no_grad`, no `.item()` yet.",
    },
)

# 12.3 What comes next: decode, memory, written, tokens -> logits, written


def next_cases(generator: Generator) -> list[Case]:
    """(histories, beams, written before, tokens read, vocabulary, width)."""
    cases = []
    for batch, n, before, read, size, width in [
        (1, 1, 0, 1, 3, 1),
        (2, 2, 1, 1, 4, 1),
        (2, 3, 2, 2, 5, 2),
        (4, 6, 3, 7, 9, 3),
    ]:
        cases.append(
            {
                "table": tenths(torch.randn(size, width, generator=generator)),
                "memory": tenths(torch.randn(batch, read, width, generator=generator)),
                "written": torch.randint(size, (batch, n, before), generator=generator),
                "tokens": torch.randint(size, (batch, n), generator=generator),
            }
        )
    return cases


def with_a_decoder(answer: Callable) -> Callable:
    """The step with a decoder that looks at all it has heard, in its order, and at the memory."""

    @wraps(answer)
    def use(table, memory, written, tokens):
        def decode(heard: Tensor, memory: Tensor) -> Tensor:
            if len(heard) != len(memory):
                raise ValueError(f"{len(heard)} rows are heard, and {len(memory)} memories given")
            places = torch.arange(1, heard.shape[1] + 1)[:, None]
            so_far = (table[heard] * places).cumsum(dim=1)
            return (so_far + memory.sum(dim=1, keepdim=True)) @ table.T

        return answer(decode, memory, written, tokens)

    return use


def next_with(
    extend: Callable = lambda written, tokens: torch.cat([written, tokens[:, :, None]], dim=2),
    rows: Callable = lambda written: written.flatten(0, 1),
    memories: Callable = lambda memory, n: memory.repeat_interleave(n, dim=0),
    place: Callable = lambda logits: logits[:, -1],
    back: Callable = lambda rows, batch, n: rows.view(batch, n, -1),
    result: Callable = lambda logits, longer, written: (logits, longer),
) -> Callable:
    """One step, one of whose parts may be replaced."""

    def answer(decode, memory, written, tokens):
        batch, n = tokens.shape
        longer = extend(written, tokens)
        logits = place(decode(rows(longer), memories(memory, n)))
        return result(back(logits, batch, n), longer, written)

    return answer


def next_logits(decode, memory, written, tokens):
    return next_with()(decode, memory, written, tokens)


def next_by_loop(decode, memory, written, tokens):
    longer = torch.cat([written, tokens.unsqueeze(2)], dim=2)
    found = [
        decode(beams, one.expand(len(beams), -1, -1))[:, -1]
        for beams, one in zip(longer, memory, strict=True)
    ]
    return torch.stack(found), longer


NEXT_LOGITS = Exercise(
    reference=next_logits,
    cases=next_cases,
    returns=["logits", "written"],
    use=with_a_decoder,
    right=[
        next_by_loop,
        next_with(memories=lambda m, n: m[:, None].expand(-1, n, -1, -1).flatten(0, 1)),
    ],
    stops={
        "memories given": "Every beam reads the memory of its own history: "
        "`memory.repeat_interleave(n, dim=0)`.",
        "Sizes of tensors must match": "`tokens[:, :, None]` has a dimension to be appended along.",
        "same number of dimensions": "`tokens[:, :, None]` has as many dimensions as `written`.",
    },
    mistakes=[
        (
            next_with(memories=lambda memory, n: memory.repeat(n, 1, 1)),
            "beams read the memories of other histories. After `flatten`, the beams of one history "
            "follow each other: `repeat_interleave`, not `repeat`.",
        ),
        (
            next_with(memories=lambda memory, n: memory[:1].expand(len(memory) * n, -1, -1)),
            "all beams read the memory of the first history.",
        ),
        (
            next_with(place=lambda logits: logits[:, 0]),
            "the logits at the first place. What comes next stands at the last one.",
        ),
        (
            next_with(place=lambda logits: logits.sum(dim=1)),
            "the logits of all places added. What comes next stands at the last one.",
        ),
        (
            next_with(place=lambda logits: logits.mean(dim=1)),
            "the mean of all places. What comes next stands at the last one.",
        ),
        (
            next_with(rows=lambda longer: longer[:, :, -1:].flatten(0, 1)),
            "the decoder hears the new token alone. It has to hear all that has been written.",
        ),
        (
            next_with(
                extend=lambda written, tokens: torch.cat([tokens[:, :, None], written], dim=2)
            ),
            "the new token stands in front. It comes last.",
        ),
        (
            next_with(result=lambda logits, longer, written: (logits, written)),
            "what was written comes back without the new token.",
        ),
        (
            next_with(
                rows=lambda longer: longer.transpose(0, 1).flatten(0, 1),
                memories=lambda memory, n: memory.repeat(n, 1, 1),
            ),
            "rows go by beam, and are read back by history: beams come out in another order.",
        ),
        (
            next_with(back=lambda rows, batch, n: rows.view(n, batch, -1).transpose(0, 1)),
            "the rows are read back in another order than `flatten` put them in: "
            "`view(batch, n, -1)`.",
        ),
        (
            next_with(result=lambda logits, longer, written: (logits.log_softmax(dim=2), longer)),
            "logarithms of probabilities. The search wants logits, and takes the softmax itself.",
        ),
        (
            next_with(result=lambda logits, longer, written: (logits.softmax(dim=2), longer)),
            "probabilities. The search wants logits, and takes the softmax itself.",
        ),
        (
            next_with(extend=lambda written, tokens: tokens[:, :, None]),
            "what was written before is forgotten: put the new token after it.",
        ),
    ],
)

EXERCISES = {"12.1": TOKENIZER_STEP, "12.2": TIGER_STEP, "12.3": NEXT_LOGITS}
