"""The figures of lesson 06. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from torch import Tensor, nn

from letterlib.evaluation.bootstrap import Interval
from letterlib.generators.p5 import from_transformers
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.plots import GREY, MARKERS, PALETTE, spanned, titled
from letterlib.tokenizer.identifiers import Identifiers

DPI = 84  # so that the notebook stays small


def network(read: Sequence[str], heard: Sequence[str], written: Sequence[str]) -> Axes:
    """The encoder-decoder as boxes: what it reads, what the decoder hears, what it is to write."""
    ax = plt.subplots(figsize=(9, 3.7), layout="constrained", dpi=DPI)[1]
    boxes = {
        "encoder\n(self-attention, feed-forward)": (0, 5.6),
        "decoder\n(self-attention, attention to the memory, feed-forward)": (6.6, 5.4),
    }
    for i, (name, (left, width)) in enumerate(boxes.items()):
        ax.add_patch(
            plt.Rectangle(
                (left, 1.2), width, 1.1, facecolor=PALETTE[i], alpha=0.18, edgecolor=PALETTE[i]
            )
        )
        ax.text(left + width / 2, 1.75, name, ha="center", va="center", fontsize=9)

    def row(words: Sequence[str], left: float, width: float, y: float, up: bool) -> None:
        for i, word in enumerate(words):
            x = left + (i + 0.5) * width / len(words)
            ax.text(
                x, y, word, ha="center", va="center", fontsize=8, rotation=90, family="monospace"
            )
            ends = ((x, y + 0.52), (x, 1.18)) if up else ((x, 2.32), (x, y - 0.52))
            ax.annotate(
                "",
                ends[1],
                ends[0],
                arrowprops={"arrowstyle": "->", "color": GREY, "linewidth": 0.7},
            )

    row(read, 0, 5.6, 0.2, True)
    row(heard, 6.6, 5.4, 0.2, True)
    row(written, 6.6, 5.4, 3.3, False)
    ax.annotate("", (6.55, 1.75), (5.65, 1.75), arrowprops={"arrowstyle": "->", "linewidth": 1.6})
    ax.text(6.1, 1.87, "memory", ha="center", fontsize=8.5)
    notes = [
        (2.8, -0.72, "what was watched"),
        (9.3, -0.72, "one step behind what is to be written"),
        (9.3, 4.25, "the next film's tokens, each to be told from those before it"),
    ]
    for x, y, text in notes:
        ax.text(x, y, text, ha="center", va="center", fontsize=9, color=GREY)
    ax.set(xlim=(-0.1, 12.1), ylim=(-0.95, 4.45))
    ax.set_axis_off()
    title = (
        f"The encoder reads {len(read)} tokens; the decoder writes {len(written)}, one after "
        "the other"
    )
    ax.set_title(title, loc="left", fontsize=11)
    return ax


def leak(losses: Mapping[str, Sequence[float]]) -> Axes:
    """Training loss by step, one line a way of feeding the decoder."""
    ax = plt.subplots(figsize=(7, 3.1), layout="constrained", dpi=DPI)[1]
    for i, (name, values) in enumerate(losses.items()):
        ax.plot(
            range(1, len(values) + 1),
            values,
            color=PALETTE[i],
            label=name,
            linestyle=("-", "--")[i % 2],
        )
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    ax.legend(frameon=False)
    last = ", ".join(f"{np.mean(values[-10:]):.2f} {name}" for name, values in losses.items())
    return titled(ax, f"Loss of the last ten steps: {last}", "y")


def learning_curves(logs: Mapping[str, object]) -> np.ndarray:
    """Loss by epoch, and NDCG@10 on validation. logs: system -> `TrainingLog`."""
    axes = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained", dpi=DPI)[1]
    said, last = [], []
    for i, (name, log) in enumerate(logs.items()):
        losses = [epoch["loss"] for epoch in log.losses]
        axes[0].plot(
            range(1, len(losses) + 1), losses, f"{MARKERS[i]}-", color=PALETTE[i], label=name
        )
        epochs, scores = zip(*log.validations, strict=True)
        axes[1].plot(epochs, scores, f"{MARKERS[i]}-", color=PALETTE[i], label=name)
        said.append(f"{name} {scores[-1]:.3f}")
        last.append(f"{name} {losses[-1]:.2f}")
    axes[0].set(xlabel="epoch", ylabel="loss on training pairs")
    axes[1].set(
        xlabel="epoch", ylabel="NDCG@10 on validation", xlim=axes[0].get_xlim(), ylim=(0, None)
    )
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(frameon=False)
    titled(axes[0], f"Loss: {', '.join(last)}", "y")
    titled(axes[1], f"NDCG@10: {', '.join(said)}", "y")
    return axes


def attention_of_one(
    weights: np.ndarray, read: Sequence[str], written: Sequence[str], films: Sequence[str]
) -> np.ndarray:
    """Attention to the memory, one panel a head, for one case. weights: [heads, written, read]."""
    n, columns = len(weights), 2
    rows = -(-n // columns)
    axes = plt.subplots(
        rows,
        columns,
        figsize=(9.4, 0.9 + 1.75 * rows),
        layout="constrained",
        dpi=DPI,
        squeeze=False,
        sharex=True,
        sharey=True,
    )[1]
    per_film = (len(read) - 1) // len(films)
    for head, ax in enumerate(axes.flat):
        if head >= n:
            ax.set_axis_off()
            continue
        image = ax.imshow(weights[head], cmap="viridis", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(len(read)), read, rotation=90, fontsize=7, family="monospace")
        ax.set_yticks(range(len(written)), written, fontsize=7.5, family="monospace")
        for edge in range(per_film, len(read), per_film):
            ax.axvline(edge - 0.5, color="white", linewidth=1)
        ax.set_ylabel(f"head {head + 1}", fontsize=9)
    for i, film in enumerate(film.split(" (")[0] for film in films):
        place, label = (
            ((i + 0.5) * per_film - 0.5, 1.03),
            film if len(film) < 16 else f"{film[:14].strip()}…",
        )
        for ax in axes[0]:
            ax.annotate(
                label,
                place,
                xycoords=("data", "axes fraction"),
                ha="center",
                fontsize=7,
                color=GREY,
            )
    axes[0, 0].figure.colorbar(image, ax=axes, shrink=0.8, label="attention")
    on_end = weights[:, :, -1].mean()
    axes[0, 0].figure.suptitle(
        f"{on_end:.0%} of the attention in this case lies on the end token", fontsize=11
    )
    return axes


def attention_shares(by_film: np.ndarray, by_level: np.ndarray) -> np.ndarray:
    """Where the decoder looks while it writes each token: by film, oldest first, and by code level;
    then the end token.

    by_film: [written, films + 1]; by_level: [written, levels + 1].
    """
    axes = plt.subplots(1, 2, figsize=(9.4, 3), layout="constrained", dpi=DPI, sharey=True)[1]
    n_films, n_levels = by_film.shape[1] - 1, by_level.shape[1] - 1
    names = [f"{n_films - i} films ago" if i < n_films - 1 else "last film" for i in range(n_films)]
    panels = [
        (by_film, [*names, "end token"]),
        (by_level, [*[f"code {i + 1}" for i in range(n_levels)], "end token"]),
    ]
    for ax, (shares, labels) in zip(axes, panels, strict=True):
        shades = [*plt.get_cmap("viridis")(np.linspace(0.15, 0.95, len(labels) - 1)), "#d0d0d0"]
        left = np.zeros(len(shares))
        for values, label, shade in zip(shares.T, labels, shades, strict=True):
            ax.barh(
                range(len(shares)),
                values,
                left=left,
                color=shade,
                label=label,
                edgecolor="white",
                linewidth=0.5,
            )
            left = left + values
        ax.set_yticks(range(len(shares)), [f"code {i + 1}" for i in range(len(shares))])
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.legend(
            frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8
        )
    axes[0].invert_yaxis()
    axes[0].set_ylabel("while it writes")
    films = by_film[0, :-1] / by_film[0, :-1].sum()
    titled(axes[0], f"Writing code 1: of what films get,\neach gets {spanned(films, '.1%')}", "x")
    said = (
        f"Writing code 1, it looks most at films' code {by_level[0, :-1].argmax() + 1}.\nEnd "
        "token: "
    )
    said += f"{by_level[0, -1]:.0%} for code 1, {by_level[-1, -1]:.0%} for code {len(by_level)}"
    titled(axes[1], said, "x")
    return axes


def weight_by_rank(weights: Mapping[float, np.ndarray]) -> np.ndarray:
    """Mean weight of the negative at each rank, and the share of the hardest so many. weights: tau
    -> [n, negatives], hardest first.
    """
    axes = plt.subplots(1, 2, figsize=(9, 3.1), layout="constrained", dpi=DPI)[1]
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(weights)))
    said = {}
    for shade, (tau, values) in zip(shades, weights.items(), strict=True):
        mean = values.mean(axis=0)
        ranks = np.arange(1, len(mean) + 1)
        axes[0].plot(ranks, mean, color=shade, label=f"tau {tau:g}")
        axes[1].plot(ranks, mean.cumsum(), color=shade, label=f"tau {tau:g}")
        said[tau] = mean[:10].sum()
    axes[0].axhline(1 / len(mean), color=GREY, linestyle=":", linewidth=1)
    axes[0].annotate(
        "all alike",
        (1.1, 1 / len(mean)),
        xytext=(0, 3),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
    )
    axes[0].set(xscale="log", yscale="log", ylim=(1e-6, 1), ylabel="weight")
    axes[1].set(xscale="log", ylim=(0, 1.02), ylabel="weight of the hardest, together")
    axes[1].axvline(10, color=GREY, linestyle=":", linewidth=1)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in axes:
        ax.set_xlabel("rank of the negative, the hardest first")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes[1].legend(frameon=False, fontsize=8, loc="lower right")
    low, high = min(said), max(said)
    titled(axes[0], "The lower tau, the steeper", "y")
    titled(
        axes[1],
        f"Ten hardest: {said[low]:.0%} at tau {low:g}, {said[high]:.0%} at tau {high:g}",
        "y",
    )
    return axes


def rewards(curves: Mapping[str, np.ndarray]) -> Axes:
    """What a target earns at each rank under several measures. curves: name -> value at rank 0, 1,
    2, ...
    """
    ax = plt.subplots(figsize=(7, 3), layout="constrained", dpi=DPI)[1]
    for i, (name, values) in enumerate(curves.items()):
        ax.plot(
            range(len(values)),
            values,
            MARKERS[i],
            color=PALETTE[i],
            label=name,
            markersize=4,
            linestyle=("-", "--", "-.", ":")[i % 4],
        )
    ax.set(
        xlabel="rank of the target (0 is the first place)",
        ylabel="what it earns",
        ylim=(-0.03, 1.06),
    )
    ax.legend(frameon=False, loc="center right")
    last = {name: values[-1] for name, values in curves.items()}
    flat = max(last, key=last.get)
    return titled(ax, f"At rank {len(values) - 1}, {flat} still pays {last[flat]:.3f}", "y")


def followed(table: pd.DataFrame) -> Axes:
    """Correlation over cases, rows tau, columns how many negatives count; each column's highest is
    framed.
    """
    ax = plt.subplots(figsize=(7, 3.3), layout="constrained", dpi=DPI)[1]
    values = table.to_numpy()
    image = ax.imshow(
        values, cmap="viridis", aspect="auto", vmin=np.floor(values.min() * 20) / 20, vmax=1
    )
    middle = (values.min() + 1) / 2
    for row, column in np.ndindex(*values.shape):
        ax.text(
            column,
            row,
            f"{values[row, column]:.3f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if values[row, column] < middle else "black",
        )
    best = values.argmax(axis=0)
    for column, row in enumerate(best):
        ax.add_patch(
            plt.Rectangle(
                (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=PALETTE[3], linewidth=2.5
            )
        )
    ax.set_xticks(range(values.shape[1]), [f"{k:,}" for k in table.columns])
    ax.set_yticks(range(len(values)), [f"{tau:g}" for tau in table.index])
    ax.set(xlabel="how many of the hardest negatives count", ylabel="tau of the loss")
    ax.figure.colorbar(image, ax=ax, label="correlation over cases")
    steps = ", ".join(f"{table.index[row]:g}" for row in best)
    ax.set_title(f"From left to right, the best tau is {steps}", loc="left", fontsize=11)
    return ax


def recall_against_tau(
    recall: Mapping[str, Mapping[float, Interval]],
    share: Mapping[str, Mapping[float, float]],
    n_seeds: int,
) -> np.ndarray:
    """Recall@10 by tau and way of decoding, with intervals; and the share of the push on the ten
    hardest negatives.
    """
    axes = plt.subplots(1, 2, figsize=(9.2, 3.4), layout="constrained", dpi=DPI)[1]
    for i, (way, by_tau) in enumerate(recall.items()):
        taus = np.array(list(by_tau)) + (i - 0.5) * 0.012
        low, mean, high = (
            np.array([getattr(one, name) for one in by_tau.values()])
            for name in ("low", "mean", "high")
        )
        axes[0].errorbar(
            taus,
            mean,
            [mean - low, high - mean],
            fmt=f"{MARKERS[i]}-",
            color=PALETTE[i],
            label=way,
            capsize=3,
            linewidth=1.4,
        )
    spans = {
        way: max(one.mean for one in v.values()) - min(one.mean for one in v.values())
        for way, v in recall.items()
    }
    axes[0].set(xlabel="tau in training", ylabel="Recall@10", ylim=(0, None))
    axes[0].legend(frameon=False, loc="lower right")
    said = ", ".join(f"{span:.4f} {way}" for way, span in spans.items())
    titled(axes[0], f"Highest minus lowest mean, {n_seeds} seed{'s' * (n_seeds > 1)}:\n{said}", "y")
    for i, (name, by_tau) in enumerate(share.items()):
        axes[1].plot(
            list(by_tau),
            list(by_tau.values()),
            MARKERS[i],
            color=PALETTE[i + 2],
            label=name,
            linestyle=("-", "--")[i % 2],
        )
    axes[1].set(xlabel="tau", ylabel="push on the ten hardest negatives", ylim=(0, 1))
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[1].legend(frameon=False, loc="lower left")
    fixed, learned = (f"{100 * (max(v.values()) - min(v.values())):.0f}" for v in share.values())
    said = (
        f"Tau moves the share by {fixed} point{'s' * (fixed != '1')}\non fixed logits, by "
        f"{learned} on learned ones"
    )
    titled(axes[1], said, "y")
    return axes


def first_codes(counts: Mapping[str, pd.DataFrame], bias: Mapping[str, float]) -> np.ndarray:
    """Share of each first code in the generated lists against its share of the targets, one panel
    an arm.

    counts: arm -> columns generated, catalogue, targets; bias: arm -> KL of generated from targets,
    mean over seeds.
    """
    axes = plt.subplots(
        1, len(counts), figsize=(9.2, 3.3), layout="constrained", dpi=DPI, sharex=True, sharey=True
    )[1]
    for i, (ax, (name, table)) in enumerate(zip(np.atleast_1d(axes), counts.items(), strict=True)):
        alive = table[table["catalogue"] > 0]
        shares = (alive + 0.5) / (
            alive + 0.5
        ).sum()  # half a count, so that a code never written has a place
        ax.scatter(shares["targets"], shares["generated"], s=10, color=PALETTE[i], alpha=0.7)
        ax.plot([1e-4, 0.1], [1e-4, 0.1], color=GREY, linewidth=1)
        ax.set(xscale="log", yscale="log", xlabel="share of the targets")
        never = (alive["generated"] == 0).sum()
        titled(ax, f"{name}\nKL {bias[name]:.2f}; {never} of {len(alive)} never written", "both")
    np.atleast_1d(axes)[0].set_ylabel("share of what is generated")
    return axes


def mask(allowed: np.ndarray, tokens: Sequence[str]) -> Axes:
    """Who may look at whom. allowed: bool [T, T], rows look; tokens: their names."""
    _, axes = plt.subplots(figsize=(3.6, 3.6))
    axes.imshow(~allowed, cmap="gray", vmin=-0.8, vmax=1)
    axes.set_xticks(range(len(tokens)), tokens, rotation=45)
    axes.set_yticks(range(len(tokens)), tokens)
    axes.set(xlabel="looked at", ylabel="looks")
    return axes


def attention_by_hand(
    attention: nn.Module, x: Tensor, bias: Tensor | None, memory: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The weights [batch, heads, Q, K] and output [batch, Q, d_model] of the library's layer."""
    if memory is None:
        q, k, v = attention.qkv(x).chunk(3, dim=-1)
    else:
        q, (k, v) = attention.q(x), attention.kv(memory).chunk(2, dim=-1)
    heads = attention.n_heads, attention.d_head
    q, k, v = (part.unflatten(-1, heads).transpose(1, 2) for part in (q, k, v))
    scores = q @ k.mT if bias is None else q @ k.mT + bias
    weights = scores.softmax(dim=-1)
    return weights, attention.o((weights @ v).transpose(1, 2).flatten(2))


def attention_inputs(network: nn.Module, tokens: Tensor, targets: Tensor) -> dict[str, tuple]:
    """What the last layers' attention is given: name -> (layer, x, bias[, memory])."""
    parts = {
        "encoder": network.encoder[-1].self_attention,
        "cross": network.decoder[-1].cross_attention,
    }
    given = {}
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs, name=name: given.update({name: inputs}))
        for name, part in parts.items()
    ]
    with torch.no_grad():
        network.eval()(tokens, None, targets[:, None])
    for hook in hooks:
        hook.remove()
    return {name: (parts[name], *inputs) for name, inputs in given.items()}


def as_t5(network: nn.Module) -> nn.Module:
    """transformers' T5 with the weights of the lesson's TIGER."""
    from transformers import T5Config, T5ForConditionalGeneration

    first, weights = network.encoder[0], network.state_dict()
    n_tokens, d_model = network.embedding.weight.shape
    n_heads = network.encoder_table.shape[1]
    t5 = T5ForConditionalGeneration(
        T5Config(
            vocab_size=n_tokens,
            d_model=d_model,
            d_kv=first.q.weight.shape[0] // n_heads,
            d_ff=first.wi.weight.shape[0],
            num_layers=len(network.encoder),
            num_heads=n_heads,
            dropout_rate=0.0,
            decoder_start_token_id=0,
        )
    ).eval()
    names = {"shared.weight": "embedding.weight"}
    for stack in ("encoder", "decoder"):
        names[f"{stack}.final_layer_norm.weight"] = f"{stack}_norm.weight"
        table = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        names[table] = f"{stack}_table"
        last = 2 if stack == "decoder" else 1
        for i in range(len(network.encoder)):
            theirs, ours = f"{stack}.block.{i}.layer", f"{stack}.{i}"
            names[f"{theirs}.0.layer_norm.weight"] = f"{ours}.norm1.weight"
            names[f"{theirs}.{last}.layer_norm.weight"] = f"{ours}.norm3.weight"
            for part in "qkvo":
                names[f"{theirs}.0.SelfAttention.{part}.weight"] = f"{ours}.{part}.weight"
                if stack == "decoder":
                    cross = f"{theirs}.1.EncDecAttention.{part}.weight"
                    names[cross] = f"{ours}.cross_{part}.weight"
            if stack == "decoder":
                names[f"{theirs}.1.layer_norm.weight"] = f"{ours}.norm2.weight"
            for part in ("wi", "wo"):
                names[f"{theirs}.{last}.DenseReluDense.{part}.weight"] = f"{ours}.{part}.weight"
    missing, unexpected = t5.load_state_dict(
        {theirs: weights[ours] for theirs, ours in names.items()}, strict=False
    )
    tied = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert not unexpected and set(missing) <= tied, (missing, unexpected)
    t5.tie_weights()
    return t5


def recommender(network: nn.Module, identifiers: Identifiers, config: TigerConfig) -> Tiger:
    """The library's recommender with the weights of the lesson's TIGER."""
    tiger = Tiger(identifiers, config, device="cpu")
    tiger.network = from_transformers(as_t5(network))
    return tiger
