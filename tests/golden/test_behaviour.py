"""What the library computes is what it computed when the golden files were written.

`python tests/golden/make.py smoke laptop` writes them anew, after a change that is meant.
"""

import behaviour
import comparison
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.xdist_group("golden")  # else every worker would compute it

PROFILES = tuple(behaviour.SYSTEMS)


def fresh(profile):
    """A result computed now with one thread, and the fingerprint of this machine."""
    with comparison.threads(1):
        return behaviour.compute(profile), comparison.fingerprint()


@pytest.fixture(scope="session")
def smoke():
    return fresh("smoke")


@pytest.fixture(scope="session")
def laptop():
    return fresh("laptop")


def check(profile, now, here):
    golden, made_on = comparison.load(profile)
    same = made_on == here
    found = comparison.differences(golden, now, same_machine=same)
    how = "bit for bit" if same else "within the bands for other machines"
    assert not found, f"{profile}, {how}: {len(found)} differences\n" + "\n".join(found[:40])


def test_smoke_is_what_it_was(smoke):
    check("smoke", *smoke)


@pytest.mark.slow
def test_laptop_is_what_it_was(laptop):
    check("laptop", *laptop)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_golden_result_is_within_its_own_bands(profile):
    golden, _ = comparison.load(profile)
    assert not comparison.differences(golden, golden, same_machine=True)
    assert not comparison.differences(golden, golden, same_machine=False)


def permute_codes(result):
    """Codes that are given to the wrong items are used as evenly, and explain nothing."""
    order = np.random.default_rng(0).permutation(len(result["tokenizer/letter/codes"]))
    result["tokenizer/letter/codes"] = result["tokenizer/letter/codes"][order]
    n_codes = len(np.unique(result["tokenizer/letter/codes"][:, 0]))
    result["tokenizer/letter/explained"] = n_codes / len(order)  # what chance explains


def collapse_codes(result):
    codes = result["tokenizer/letter/codes"].copy()
    codes[:, 1] //= 2
    result["tokenizer/letter/codes"] = codes


def shuffle_every_list(result):
    """Items and their scores in another order."""
    order = np.random.default_rng(0).permutation(20)
    for what in ("items", "scores", "exact scores"):
        name = f"beams/letter-tiger/history in/{what}"
        result[name] = result[name][:, order]


def give_items_the_scores_of_others(result):
    """Lists in order, whose items do not have those scores."""
    name = "beams/letter-tiger/history in/exact scores"
    result[name] = result[name][:, ::-1]


def answer_other_cases(result):
    name = "beams/letter-tiger/history in/exact scores"
    result[name] = np.roll(result[name], 1, axis=0)


def list_other_items(result):
    name = "beams/letter-tiger/history out/items"
    result[name] = (result[name] + 1000) % 3496


def leave_the_history_in(result):
    result["beams/letter-tiger/history out/items of the history"] = 30


def raise_losses(result):
    for name in [one for one in result if one.startswith("training/tiger/losses")]:
        result[name] = [1.3 * loss for loss in result[name]]


def raise_a_part_of_the_loss(result):
    name = "tokenizer/letter/losses/diversity"
    result[name] = [1.3 * loss for loss in result[name]]


def stop_early(result):
    name = "tokenizer/plain/losses/loss"
    result[name] = result[name][:-1]


def change_popularity(result):
    result["metrics/popularity/history in/R@10"] += 1 / 3355  # one more hit


def lose_a_system(result):
    for name in [one for one in result if one.startswith("metrics/lightgcn")]:
        del result[name]


BROKEN_EVERYWHERE = (
    permute_codes, collapse_codes, shuffle_every_list, give_items_the_scores_of_others,
    answer_other_cases, list_other_items, leave_the_history_in, raise_losses,
    raise_a_part_of_the_loss, stop_early, change_popularity, lose_a_system,
)  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("broken", BROKEN_EVERYWHERE, ids=lambda one: one.__name__)
def test_a_broken_result_is_outside_the_bands(broken, profile):
    golden, _ = comparison.load(profile)
    now = dict(golden)
    broken(now)
    assert comparison.differences(golden, now, same_machine=False)


def does_not_learn(result):
    for name in ("tiger", "letter-tiger"):
        curve = result[f"training/{name}/losses/loss"]
        result[f"training/{name}/losses/loss"] = [curve[0]] * len(curve)


def recommends_what_is_popular(result):
    for name in [one for one in result if one.startswith("metrics/letter-tiger/")]:
        result[name] = result.get(name.replace("letter-tiger", "popularity"), result[name])


def reversed_lists_in_the_metrics(result):
    """The last of twenty items comes first."""
    name = "metrics/letter-tiger/history in"
    ranks = result["ranks/letter-tiger/history in"][0].copy()
    found = ranks >= 0
    ranks[found] = 19 - ranks[found]
    first = found & (ranks < 10)
    result[f"{name}/R@10"] = float(first.mean())
    result[f"{name}/N@10"] = float((first / np.log2(np.maximum(ranks, 0) + 2.0)).mean())


@pytest.mark.parametrize(
    "broken",
    (does_not_learn, recommends_what_is_popular, reversed_lists_in_the_metrics),
    ids=lambda one: one.__name__,
)
def test_at_laptop_a_broken_model_is_outside_the_bands(broken):
    """The smoke profile's metrics mean nothing, so only these can show it."""
    golden, _ = comparison.load("laptop")
    now = dict(golden)
    broken(now)
    assert comparison.differences(golden, now, same_machine=False)


def test_one_changed_bit_is_noticed_on_the_same_machine():
    golden, _ = comparison.load("smoke")
    now = dict(golden)
    name = "beams/letter-tiger/history in/scores"
    now[name] = golden[name].copy()
    now[name][3, 3] = np.nextafter(now[name][3, 3], np.float32(0))
    now["training/tiger/losses/loss"] = [np.nextafter(golden["training/tiger/losses/loss"][0], 0)]
    found = comparison.differences(golden, now, same_machine=True)
    assert len(found) == 2
    assert not comparison.differences(golden, now, same_machine=False)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with comparison.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
