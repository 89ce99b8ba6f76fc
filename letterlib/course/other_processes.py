"""What a learner's function returns in other processes, where texts have other hashes and sets
another order.

No process can import what was written in a notebook. So the function's code is sent, with all that
it refers to; this file, run as a script, is the other end.
"""

import contextlib
import importlib
import io
import marshal
import os
import subprocess
import sys
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

SECONDS = 20
_MODULES = sys.stdlib_module_names - {"__main__"}


def elsewhere(answer: FunctionType, values: list) -> list[Any]:
    """What `answer(*values)` returns in two processes; less where it cannot be sent, or stops
    there.
    """
    try:
        sent = marshal.dumps((_described(answer), _globals_of(answer), values))
    except (ValueError, AttributeError, RecursionError):
        return []
    known, found = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, []
    for seed in ("1", "2"):
        with contextlib.suppress(
            subprocess.SubprocessError, OSError, ValueError, EOFError, TypeError
        ):
            done = subprocess.run(
                [sys.executable, "-S", __file__],
                input=sent,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | known | {"PYTHONHASHSEED": seed},
                timeout=SECONDS,
            )
            found.append(marshal.loads(done.stdout))
    return found


def _described(value: Any) -> tuple:
    """A value in words that the other process can make it of again; ValueError where there are
    none.
    """
    if isinstance(value, ModuleType):
        return "module", value.__name__
    module = getattr(value, "__module__", None) or ""
    if (
        module.split(".")[0] in _MODULES
        and getattr(sys.modules.get(module), value.__name__, None) is value
    ):
        return "member", module, value.__name__
    if isinstance(value, FunctionType):
        defaults = [_described(one) for one in value.__defaults__ or ()]
        named = {name: _described(one) for name, one in (value.__kwdefaults__ or {}).items()}
        cells = [_described(one.cell_contents) for one in value.__closure__ or ()]
        return "function", value.__code__, defaults, named, cells
    marshal.dumps(value)
    return "value", value


def _globals_of(answer: FunctionType) -> dict[str, tuple]:
    """The global values that a function reads, and those that these read."""
    found: dict[str, tuple] = {}
    functions = [answer]
    while functions:
        function = functions.pop()
        inner = [one.cell_contents for one in function.__closure__ or ()]
        given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        functions += [one for one in (*inner, *given) if isinstance(one, FunctionType)]
        for name in _names_in(function.__code__) & function.__globals__.keys() - found.keys():
            value = function.__globals__[name]
            with contextlib.suppress(
                ValueError, AttributeError
            ):  # perhaps the name of an attribute, and not read
                found[name] = _described(value)
                if found[name][0] == "function":
                    functions.append(value)
    return found


def _names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(
        *(_names_in(one) for one in code.co_consts if isinstance(one, CodeType))
    )


def _rebuilt(described: tuple, names: dict[str, Any]) -> Any:
    kind, *what = described
    if kind == "value":
        return what[0]
    if kind == "module":
        return importlib.import_module(what[0])
    if kind == "member":
        return getattr(importlib.import_module(what[0]), what[1])
    code, defaults, named, cells = what
    closure = tuple(CellType(_rebuilt(one, names)) for one in cells)
    function = FunctionType(
        code, names, None, tuple(_rebuilt(one, names) for one in defaults), closure
    )
    function.__kwdefaults__ = {name: _rebuilt(one, names) for name, one in named.items()}
    return function


def main() -> None:
    answer, read, values = marshal.loads(sys.stdin.buffer.read())
    names: dict[str, Any] = {}
    names.update({name: _rebuilt(one, names) for name, one in read.items()})
    with contextlib.redirect_stdout(io.StringIO()):
        returned = _rebuilt(answer, names)(*values)
    sys.stdout.buffer.write(marshal.dumps(returned))


if __name__ == "__main__":
    main()
