"""A language model held in bfloat16, as a GPU holds it: what LC-Rec's tests and BIGRec's both
ask.
"""

import numpy as np
import torch


def check_weights_held_in_bfloat16(monkeypatch, module, fresh, split, folder) -> None:
    """The recommender of `module` learns with them, is saved, and answers the same when it is
    loaded.
    """
    held = module.load_to_adapt
    monkeypatch.setattr(
        module, "load_to_adapt", lambda name, device, *rest: held(name, torch.device("cuda"), *rest)
    )
    one = fresh(dtype="bfloat16", epochs=3).fit(split)
    dtypes = {(p.requires_grad, p.dtype) for p in one.network.parameters()}
    assert dtypes == {(False, torch.bfloat16), (True, torch.float32)}
    assert one.log.losses[-1]["loss"] < one.log.losses[0]["loss"]
    one.save(folder / "model.safetensors")
    again, cases = (
        type(one).load(folder / "model.safetensors", "cpu"),
        split.cases("test").without_targets(),
    )
    assert again.network.model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert np.array_equal(again.recommend(cases, 5).items, one.recommend(cases, 5).items)
