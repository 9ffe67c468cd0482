"""The device of pretence sees what would break on a GPU, and gives the CPU's numbers else."""

import os
import subprocess
import sys

from tests.launches import HANGS, ROOT

CODE = """
import pytest, torch
from torch import nn
from tests.devices import DEVICE
from tests.closeness import assert_same

here, there = torch.ones(3, 4), torch.ones(3, 4, device=DEVICE)
assert (there.device, there.is_cpu) == (DEVICE, False)
for mixture in (
    lambda: here + there,
    lambda: there + torch.arange(4),
    lambda: torch.cat([here, there]),
    lambda: torch.where(there > 0, here, 0),
    lambda: torch.equal(here, there),
    lambda: nn.Linear(4, 2)(there),
    lambda: here[there.long()],
    lambda: torch.rand(3, device=DEVICE, generator=torch.Generator()),
):
    with pytest.raises(RuntimeError, match="device|generator"):
        mixture()
with pytest.raises(TypeError, match="numpy"):
    there.numpy()

torch.rand(3, device=DEVICE, generator=torch.Generator(DEVICE))
assert there[torch.tensor([0, 2])].shape == (2, 4) and (there + torch.tensor(1.0)).sum().item() == 24
for make in (nn.LSTM, nn.GRU, nn.RNN):
    layer, inputs = make(4, 5, batch_first=True), torch.randn(2, 3, 4)
    with torch.no_grad():
        expected = layer(inputs)[0]
    assert_same(layer.to(DEVICE)(inputs.to(DEVICE))[0], expected)
tied = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
tied[1].weight = tied[0].weight
tied.to(DEVICE)
assert tied[0].weight is tied[1].weight and tied[0].weight.device == DEVICE
tied[0](there).sum().backward()
assert tied[1].weight.grad.cpu().tolist() == [[3.0] * 4] * 4
print("all seen")
"""


def test_it_refuses_mixtures_and_computes_as_the_cpu():
    found = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=os.environ | {"HFSEQ_TEST_DEVICE": "pretend"},
        capture_output=True,
        encoding="utf-8",
        timeout=HANGS,
    )
    assert found.stdout.strip() == "all seen", found.stderr
