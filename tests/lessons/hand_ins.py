"""The second of the three submissions of each lesson, and the points of all three."""

HALF_RIGHT = {
    "00": {
        "hold-out": """
def my_hold_out(items, n):
    return items[:-2 * n], items[-n:], items[-2 * n:-n]
""",
        "recall": None,
    },
    "01": {
        "masked-mean": """
def my_masked_mean(states, mask):
    return states.mean(dim=1)
""",
        "nearest": None,
    },
    "02": {
        "residual-quantize": """
def my_residual_quantize(z, codebooks):
    codes = torch.stack([nearest_code(z, codebook) for codebook in codebooks], dim=1)
    return codes, sum(codebook[code] for codebook, code in zip(codebooks, codes.T))
""",
        "straight-through": None,
    },
    "03": {
        "cf-loss": """
def my_cf_loss(quantised, collaborative):
    logits = collaborative @ quantised.T
    return F.cross_entropy(logits, torch.arange(len(logits)))
""",
        "next-items": None,
    },
    "04": {
        "draw-positives": """
def my_sample_positives(codes, groups):
    same_group = (groups[codes][:, None] == groups).float()
    return torch.multinomial(same_group, 1)[:, 0]
""",
        "sinkhorn": None,
    },
    "05": {
        "similarity": """
def my_similarity(codes, cf_vectors):
    unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    return (codes == codes[(unit @ unit.T).argmax(axis=1)]).mean(axis=0)
""",
        "repair": None,
    },
    "06": {
        "training-pair": """
def my_training_pair(history, target, item_tokens, length):
    end = torch.tensor([EOS])
    targets = torch.cat([item_tokens[target], end])
    return torch.cat([item_tokens[history[-length:]].flatten(), end]), targets, targets
""",
        "partial-auc": None,
    },
    "07": {
        "batch": """
def my_batch(prompts, responses, end):
    both = [torch.cat(p) for p in zip(prompts, responses)]
    tokens = torch.nn.utils.rnn.pad_sequence(both, True, end)
    read = torch.tensor([len(p) for p in prompts])[:, None]
    return tokens, tokens != end, torch.arange(tokens.shape[1]) >= read
""",
        "insertion": None,
    },
    "08": {
        "beam-step": """
def my_beam_step(scores, log_probs, allowed, beam):
    table = log_probs.masked_fill(~allowed, -torch.inf)
    values, index = table.flatten().sort(descending=True, stable=True)
    return values[:beam], index[:beam] // table.shape[1], index[:beam] % table.shape[1]
""",
        "batched-step": None,
    },
    "09": {
        "hgn": """
def my_hgn(net, users, items, real):
    features = torch.sigmoid(net.feature_of_item(items) + net.feature_of_user(users)[:, None])
    gated = items * features
    places = torch.sigmoid(net.place_of_item(gated)[..., 0] + net.place_of_user(users))
    mean = (places[..., None] * gated).sum(dim=1) / places.sum(dim=1, keepdim=True)
    return users + mean + items.sum(dim=1)
""",
        "mix": None,
    },
    "10": {
        "scores": """
def my_scores(ranks, k):
    found = ranks < k
    return found.astype(float), np.where(found, 1 / np.log2(np.maximum(ranks, 0) + 2), 0.0)
""",
        "variances": None,
    },
    "11": {
        "holm": """
def my_holm(p_values):
    return np.minimum(1, p_values * len(p_values))
""",
        "choice": None,
    },
    "12": {
        "tiger-step": """
def my_tiger_step(network, optimizer, tokens, wanted, tau):
    loss = ranking_loss(network(tokens, wanted), wanted, tau)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.item()
""",
        "next-logits": None,
    },
}
"""lesson -> grade_id -> the answer that differs from the solution; None leaves the stub."""

POINTS = {
    "00": {"full": 12, "half": 7, "untouched": 0},
    "01": {"full": 12, "half": 6, "untouched": 0},
    "02": {"full": 16, "half": 11, "untouched": 0},
    "03": {"full": 14, "half": 9, "untouched": 0},
    "04": {"full": 10, "half": 5, "untouched": 0},
    "05": {"full": 13, "half": 7, "untouched": 0},
    "06": {"full": 22, "half": 17, "untouched": 0},
    "07": {"full": 16, "half": 10, "untouched": 0},
    "08": {"full": 15, "half": 8, "untouched": 0},
    "09": {"full": 12, "half": 6, "untouched": 0},
    "10": {"full": 8, "half": 3, "untouched": 0},
    "11": {"full": 10, "half": 4, "untouched": 0},
    "12": {"full": 9, "half": 2, "untouched": 0},
}
"""lesson -> submission -> points."""
