"""A GPU for machines without one: its tensors compute on the CPU, and refuse to meet tensors that
lie there.

So it finds what the first step on a real GPU would find: a tensor, or a generator of random
numbers, that was made on the wrong device. It says nothing of speed, memory or rounding. To import
it changes the whole process, so it is for scripts of their own, such as `gpu_worker.py`, before
they import anything of letterlib.

torch must have `_setup_privateuseone_for_python_backend`, an experiment with devices that are
written in Python.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from letterlib import train

KIND = "gpu"
ATEN = torch.ops.aten
RANDOM = torch.Generator
COPIES = (ATEN._to_copy, ATEN.copy_)
INDEXED = (ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_)
"""Copies lead from one device to another; a GPU takes indices of the CPU, and its values alone have
to be its own.
"""


class OnGpu(Tensor):
    """A tensor that says it is on the GPU. inner: the tensor that computes."""

    # Otherwise torch would give results the type of this class on the CPU, too.
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGpu":
        strided = inner.layout == torch.strided  # a sparse matrix has no strides
        strides = (
            {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if strided else {}
        )
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, **strides, dtype=inner.dtype, device=DEVICE
        )

    def __init__(self, inner: Tensor):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})

    def tolist(self) -> list:
        return self.cpu().tolist()

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def __repr__(self) -> str:
        return f"OnGpu({self.inner})"

    def __array__(self, *args, **kwargs):
        raise TypeError("a tensor on the GPU is no array; copy it with .cpu() first")


class Generator(RANDOM):
    """Random numbers for one device. of_gpu: where torch keeps those of the GPU; an operation is
    given a copy.
    """

    of_gpu: set[int] = set()

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        (cls.of_gpu.add if torch.device(device).type == KIND else cls.of_gpu.discard)(made._cdata)
        return made


def _compute(operation, args, kwargs):
    """Do it on the CPU, for a result on the device on which it belongs."""
    kind, leaves = operation.overloadpacket, tree_leaves((args, kwargs))
    ours = {id(one.inner): one for one in leaves if isinstance(one, OnGpu)}
    asked = kwargs.get("device")
    if kind is ATEN.copy_:
        on_gpu = isinstance(args[0], OnGpu)
    else:
        on_gpu = bool(ours) if asked is None else torch.device(asked).type == KIND
    if ours and kind not in COPIES:
        _refuse_others(operation, tree_leaves((args[0], args[2:])) if kind in INDEXED else leaves)
        _refuse_numbers_in_place(operation, args)
    for one in leaves:
        if isinstance(one, RANDOM) and (one._cdata in Generator.of_gpu) != on_gpu:
            raise RuntimeError(f"{operation}: the generator is of the other device")
    if kind is ATEN._fused_sdp_choice:
        return 0  # attention in plain operations, which all devices have
    if asked is not None:
        kwargs = kwargs | {"device": "cpu"}
    args, kwargs = tree_map(
        lambda one: one.inner if isinstance(one, OnGpu) else one, (tuple(args), kwargs)
    )

    def outside(one):
        if id(one) in ours:  # an operation in place
            return ours[id(one)]
        return OnGpu(one) if on_gpu and isinstance(one, Tensor) else one

    return tree_map(outside, operation(*args, **kwargs))


def _refuse_others(operation, leaves) -> None:
    for one in leaves:
        if isinstance(one, Tensor) and not isinstance(one, OnGpu) and one.dim():
            raise RuntimeError(
                f"{operation}: a tensor {tuple(one.shape)} lies on the CPU, others on the GPU"
            )


def _refuse_numbers_in_place(operation, args) -> None:
    """A single number of the CPU may be read with tensors of the GPU, and not be written."""
    for argument, one in zip(operation._schema.arguments, args, strict=False):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and isinstance(one, Tensor) and not isinstance(one, OnGpu):
            raise RuntimeError(
                f"{operation}: a number lies on the CPU, and what is to be written to it on the GPU"
            )


class Everywhere(TorchDispatchMode):
    """Operations without a tensor of the GPU that make one there."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == KIND
        if there or any(isinstance(one, OnGpu) for one in tree_leaves((args, kwargs))):
            return _compute(operation, args, kwargs)
        return operation(*args, **kwargs)


class Backend:
    """What torch asks of the module of a device, torch.cuda's counterpart."""

    is_available = is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
    _is_in_bad_fork = staticmethod(lambda: False)


_setup_privateuseone_for_python_backend(rename=KIND, backend_module=Backend)
DEVICE = torch.device(KIND, 0)
torch.__future__.set_swap_module_params_on_conversion(
    True
)  # `module.to` puts tensors of this class into modules
torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(list, device=...)` is seen by the mode
torch.Generator = Generator
torch.inference_mode = torch.no_grad  # such tensors cannot be wrapped


class Accelerator(train.Accelerator):
    """Accelerate, told where to train: it does not know the device. used: all devices so far."""

    used: set[torch.device] = set()

    def __init__(self, cpu: bool, **settings):
        self.where = torch.device("cpu") if cpu else DEVICE
        self.used.add(self.where)
        super().__init__(cpu=True, **settings)

    @property
    def device(self) -> torch.device:
        return self.where


train.Accelerator = Accelerator
train.resolve_device = lambda device="auto": torch.device("cpu") if device == "cpu" else DEVICE
train.multiplies_bfloat16 = lambda: False
Everywhere().__enter__()
