"""Every kind of system on a GPU that is pretended: nothing lies on the wrong device, and the
answers are the CPU's.

The network on a real GPU rounds otherwise; what a kernel of CUDA does is not tried here.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils import backend_registration

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PATHS = os.pathsep.join([str(FOLDER), str(ROOT / "tests" / "unit")])
SYSTEMS = (
    "mf",
    "caser",
    "hgn",
    "bert4rec",
    "lightgcn",
    "sasrec",
    "sasrec-tuned",
    "tiger",
    "letter-tiger",
    "p5-cid",
    "p5-tid",
    "bigrec",
    "letter-lc-rec",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason="this version of torch has no devices that are written in Python",
    ),
]


def python(*arguments: str) -> None:
    settings = {
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": PATHS,
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A function: what the CPU and the GPU answered, by name."""
    folder = tmp_path_factory.mktemp("devices")
    python(str(FOLDER / "gpu_worker.py"), str(folder), *SYSTEMS)
    return lambda name: [np.load(folder / f"{name}-{device}.npy") for device in ("cpu", "gpu")]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_learns_and_answers_on_a_gpu_as_on_the_cpu(answers, name):
    cpu, gpu = answers(name)
    assert (cpu >= 0).any()
    np.testing.assert_array_equal(gpu, cpu)


def test_texts_are_embedded_on_a_gpu_as_on_the_cpu(answers):
    cpu, gpu = answers("embeddings")
    np.testing.assert_allclose(gpu, cpu, atol=1e-5)


def test_training_goes_on_from_a_checkpoint_on_a_gpu_as_on_the_cpu(answers):
    cpu, gpu = answers("interrupted")
    assert np.isfinite(cpu).all()
    np.testing.assert_array_equal(gpu, cpu)


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    python(
        "-c",
        """
import pretended_gpu, pytest, torch
x = torch.ones(3, 2, device=pretended_gpu.DEVICE)
y = torch.tensor([1], device=x.device)
assert x.device.type == (x @ x.T).device.type == y.device.type == "gpu"
assert x.cpu().device.type == "cpu" and x.cpu().numpy().sum() == 6
assert x[torch.tensor([0, 2])].tolist() == [[1, 1], [1, 1]]
assert (x * torch.tensor(2)).sum().item() == 12
for wrong in (lambda: x @ torch.ones(2, 2), lambda: x + torch.ones(2),
              lambda: x.index_select(0, torch.tensor([0])),
              lambda: torch.cat([x, torch.ones(1, 2)]),
              lambda: x.masked_fill_(torch.ones(3, 2) > 0, 1),
              lambda: x.index_put_((torch.tensor([0]),), torch.ones(1, 2)),
              lambda: torch.zeros(()).add_(x.sum()),
              lambda: torch.rand(2, device=x.device, generator=torch.Generator())):
    with pytest.raises(RuntimeError, match="on the CPU|other device"):
        wrong()
torch.rand(2, device=x.device, generator=torch.Generator(x.device))
with pytest.raises(TypeError, match="copy it"):
    x.__array__()
""",
    )
