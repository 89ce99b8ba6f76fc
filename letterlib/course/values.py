"""The values that exercises pass around: how they are shown, compared and copied."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor


def kind_of(value: Any) -> str:
    """ "a tensor", "an array", "a number", or the name of another type with its article."""
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, np.ndarray):
        return "an array"
    for base in (dict, str):
        if isinstance(value, base):
            return f"a {base.__name__}"
    name = type(value).__name__
    article = "an" if name[0] in "AEIOUaeiou" else "a"
    return (
        "a number" if isinstance(value, (int, float, np.number, np.bool_)) else f"{article} {name}"
    )


def in_words(value: Any) -> str:
    """A value as a learner can read it: small tensors in full, large ones by shape and first
    row.
    """
    if isinstance(value, (list, tuple)) and any(
        isinstance(one, (Tensor, np.ndarray)) for one in value
    ):
        rest = f", ... ({len(value)} in all)" if len(value) > 5 else ""
        return "[" + ", ".join(in_words(one) for one in value[: 3 if rest else None]) + rest + "]"
    try:
        if isinstance(value, (Tensor, np.ndarray)):
            return _table_in_words(value)
        text = repr(_rounded(value))
    except Exception:  # of a class of the learner's own, or a tensor without values
        text = f"an object of class {type(value).__name__}, which cannot be shown"
    return text if len(text) <= 80 else text[:77] + "..."


def _table_in_words(value: Tensor | np.ndarray) -> str:
    size = value.numel() if isinstance(value, Tensor) else value.size
    values = value.detach() if isinstance(value, Tensor) else value
    if size <= 12:
        return str(_rounded(values.tolist()))
    first = _rounded(values.flatten()[:4].tolist())
    return (
        f"{kind_of(value)[2:].strip()} of shape {tuple(value.shape)}, beginning "
        f"{str(first)[:-1]}, ...]"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, np.integer):
        return int(value)
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def dtype_of(value: Tensor | np.ndarray) -> str:
    """The exact dtype of a tensor, the kind of dtype of an array."""
    if isinstance(value, Tensor):
        return str(value.dtype).removeprefix("torch.")
    return {"i": "whole numbers", "u": "whole numbers", "f": "fractions", "b": "true or false"}.get(
        value.dtype.kind, str(value.dtype)
    )


def wider(actual: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> bool:
    """Whether both are tensors of fractions, and the first keeps more digits."""
    both = all(isinstance(one, Tensor) and one.is_floating_point() for one in (actual, expected))
    return both and actual.itemsize > expected.itemsize


_ONE_NUMBER = (
    "a reduction such as `.sum()` or `.mean()` is missing, or an index: one number is asked for."
)
_CONVERTED = {
    "a number": {"an array": _ONE_NUMBER, "a tensor": _ONE_NUMBER},
    "an array": {
        "a number": "one place, such as `x[-1]`, or a reduction over everything, such as `.mean()` "
        "without `axis`: several numbers are asked for.",
        "a list": "`np.array(...)` around it makes an array of it.",
        "a tensor": "a torch function on the way; `.numpy()` leads back.",
        "a tuple": "one of its parts is asked for, or array made of them.",
        "a Series": "`.to_numpy()` makes an array of it.",
        "an Index": "`.to_numpy()` makes an array of it.",
        "a DataFrame": "`.to_numpy()` makes an array of it.",
    },
    "a tensor": {
        "a list": "`torch.tensor(...)` makes a tensor of a list of numbers; of a list of tensors "
        "`torch.stack(...)` does, and keeps the gradient.",
        "an array": "a NumPy function on the way; `torch.from_numpy` leads back, without a "
        "gradient.",
        "a tuple": "one of its parts is asked for, or tensor made of them.",
    },
    "a list": {
        **dict.fromkeys(["an array", "a tensor"], "`.tolist()` makes a list of it."),
        **dict.fromkeys(
            ["a generator", "a map", "a zip", "a filter", "a product", "a dict_values"],
            "it makes its entries when it is asked for them: `list(...)` around it makes them now.",
        ),
        **dict.fromkeys(["a tuple", "a set"], "`list(...)` around it makes a list of it."),
        "a dict": "one entry, where a list of them is asked for, or `list(...)` is missing.",
    },
}
"""What turns one kind of value into another: kind that is asked for -> kind that came -> advice."""


def cause_of_kind(actual: Any, expected: Any) -> str:
    """What usually gives a value of another kind than it should have: in words, for a finding."""
    if actual is None or actual is Ellipsis:
        return (
            "a part that is still to be written, or a function that returns nothing, such as "
            "`list.sort`."
        )
    if type(actual).__module__ == "torch.return_types":
        return (
            f"`{type(actual).__name__}(dim=...)`, which gives values and `.indices`: return the "
            "one that is asked for."
        )
    if kind_of(expected) == "a number" and int(np.prod(getattr(actual, "shape", 0))) == 1:
        return "a number in a box: `keepdims=True`, or a sum that began as `np.zeros(1)`."
    otherwise = "a conversion such as `.item()` or `.tolist()`, or a tuple for one value."
    return _CONVERTED.get(kind_of(expected), {}).get(kind_of(actual), otherwise)


def cause_of_shape(actual: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> str:
    """What usually gives a tensor or an array another shape than it should have: in words, for a
    finding.
    """
    keep, zeros = (
        ("`keepdim`", "torch.zeros") if isinstance(expected, Tensor) else ("`keepdims`", "np.zeros")
    )
    if tuple(actual.shape) == (1,) and tuple(expected.shape) == ():
        return (
            f"something that began as `{zeros}(1)`: begin with the number 0, or with "
            f"`{zeros}(())`. Or {keep}."
        )
    count = int(np.prod(tuple(expected.shape)))
    if (
        count
        and int(np.prod(tuple(actual.shape))) == count
        and close(actual.reshape(expected.shape), expected)
    ):
        return (
            f"the right values in a table of another shape: {keep}, or an index such as `[0]` "
            "that is missing."
        )
    return "a reduction over the wrong dimension, or a slice of another length."


def cause_of_dtype(actual: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> str:
    """What usually gives a tensor or an array another dtype than it should have: in words, for a
    finding.
    """
    tensor = isinstance(expected, Tensor)
    conversion = "`.float()`, `.double()` or `.int()`" if tensor else "`.astype(...)`, `/` or `//`"
    otherwise = f"a conversion such as {conversion}, or another quantity."
    if "bool" in str(expected.dtype) and "int" in str(actual.dtype):
        return (
            "whole numbers in place of False and True. A comparison, such as `== 1`, gives these."
        )
    if "float" not in str(actual.dtype) or "float" in str(expected.dtype):
        return otherwise
    zeros, dtype = (
        ("torch", expected.dtype)
        if tensor
        else ("np", "bool" if expected.dtype.kind == "b" else "int")
    )
    return (
        f"`{zeros}.zeros` or its like, which hold fractions unless they are given "
        f"`dtype={dtype}`. Or {otherwise}"
    )


def cause_of_values(actual: Any, expected: Any) -> str:
    """What usually gives infinity or NaN in place of finite numbers: in words, for a finding."""
    try:
        found, wanted = (_as_tensor(one).detach().double() for one in (actual, expected))
    except (TypeError, ValueError, RuntimeError):
        return ""
    if found.isfinite().all() or not wanted.isfinite().all():
        return ""
    return (
        "infinity or NaN on the way: `exp` of a large number, a division by 0, a logarithm of 0, "
        "or infinity times 0."
    )


def close(a: Any, b: Any) -> bool:
    """Equal in shape, and in value but for rounding. Never an error, whatever a learner returns;
    False for complex.
    """
    try:
        a, b = (_as_tensor(one).detach().double() for one in (a, b))
        return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
    except (TypeError, ValueError, RuntimeError):
        return False  # such as a whole number of more than 64 bits, or a tensor without values


def alike(a: Any, b: Any) -> bool:
    """Whether two results are the same but for rounding: kind, shape, dtype and values. For a
    number, a may be a tensor or array without dimensions.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        fractions = [[isinstance(x, float) for x in values] for values in (a, b)]
        return fractions[0] == fractions[1] and all(map(alike, a, b))
    if kind_of(b) == "a number" and getattr(a, "shape", None) == ():
        return close(a, b)
    if kind_of(a) != kind_of(b):
        return False
    if isinstance(a, (Tensor, np.ndarray)):
        return (dtype_of(a) == dtype_of(b) or wider(a, b)) and close(a, b)
    if kind_of(a) == "a number":
        return close(a, b)
    try:
        return bool(a == b)
    except Exception:  # of a class of the learner's
        return False


def _as_tensor(value: Any) -> Tensor:
    """TypeError for what is no real number, or none that torch has."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biuf":
            raise TypeError(value.dtype)
        # A copy, because torch takes no array that is read backwards; and it has no numbers of more
        # than 64 bits.
        value = np.array(value, dtype=np.float64 if value.dtype.itemsize > 8 else None, order="C")
    tensor = torch.as_tensor(value)
    if tensor.is_complex():
        raise TypeError(tensor.dtype)
    return tensor


def copied(value: Any) -> Any:
    """A copy to hand out. A tensor that requires a gradient is handed out itself: the gradient is
    looked at.
    """
    if isinstance(value, Tensor):
        return value if value.requires_grad else value.clone()
    if isinstance(value, list):
        return [copied(one) for one in value]
    return deepcopy(value)


def remembered(value: Any) -> Any:
    """A copy that nothing done to the value can reach. A tensor's asks for a gradient where the
    tensor did.
    """
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return [remembered(one) for one in value] if isinstance(value, list) else deepcopy(value)


def tenths(x: Tensor) -> Tensor:
    """Values that a person can check by hand."""
    return torch.round(x, decimals=1)


def same(a: Any, b: Any) -> bool:
    """Whether two values of a case are equal, through lists and dictionaries."""
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, torch.nn.Module):
        return same(a.state_dict(), b.state_dict())
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


_CHANGES = {
    Tensor: (
        "`x[...] = ...`, `-=` or a method that ends in `_`",
        "`x.clone()` at the start gives you one of your own",
    ),
    np.ndarray: (
        "`x[...] = ...`, `-=` or `.sort()`",
        "`x.copy()` at the start gives you one of your own",
    ),
    list: (
        "`.append`, `.pop`, `.sort()` or `x[...] = ...`",
        "`list(x)` at the start gives you one of your own",
    ),
    dict: (
        "`.pop`, `.update` or `x[...] = ...`",
        "`dict(x)` at the start gives you one of your own",
    ),
}
"""How a value is changed in place, and what to do instead."""


def effect_on(name: str, before: Any, after: Any) -> tuple[str, str] | None:
    """What a function did to a value of its caller's, and the likely cause; None where it left it
    as it was.
    """
    if not same(before, after):
        how, copy = _CHANGES.get(type(before), _CHANGES[Tensor])
        return (
            f"Your function changed `{name}` in place.",
            f"{how} on `{name}`, or on a part of it; {copy}.",
        )
    values = zip(
        *(value if isinstance(value, list) else [value] for value in (before, after)), strict=True
    )
    # A tensor that asked for no gradient was handed out as a copy: what it asks for is the
    # function's own affair.
    asked = [now for then, now in values if isinstance(then, Tensor) and then.requires_grad]
    if not all(one.requires_grad for one in asked):
        cause = (
            "`detach_()` or `requires_grad_(False)`, which change the caller's tensor. "
            "`detach()` makes a new one."
        )
        return f"`{name}` no longer asks for a gradient.", cause
    if any(one.is_leaf and one.grad is not None for one in asked):
        cause = (
            "`backward` was called inside. Return the value; who calls your function asks "
            "for the gradient."
        )
        return f"Your function changed `{name}`: it has a gradient in its `.grad` now.", cause
    return None
