"""L-BFGS on batches."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from hueglass.train.teacher.lbfgs import minimise


def quadratic(seed: int, n: int = 12) -> tuple[Tensor, Tensor]:
    """A positive definite matrix of condition number about 100, and the place of the minimum."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    return q @ torch.diag(torch.logspace(0, 2, n, dtype=torch.float64)) @ q.T, torch.randn(
        n, generator=generator, dtype=torch.float64
    )


def bowl(matrix: Tensor, place: Tensor, x: Tensor) -> Tensor:
    gap = x - place
    return 0.5 * (gap @ matrix * gap).sum(1)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def test_finds_the_minimum_of_a_quadratic() -> None:
    matrix, place = quadratic(0)
    found = minimise(lambda x: bowl(matrix, place, x), torch.zeros(1, 12, dtype=torch.float64), 60)
    assert (found.x[0] - place).abs().max() < 1e-4
    assert found.alive.all()


def test_finds_the_end_of_a_curved_valley() -> None:
    found = minimise(rosenbrock, torch.tensor([[-1.2, 1.0]], dtype=torch.float64), 120)
    assert (found.x - 1).abs().max() < 1e-3


def test_is_no_worse_than_torchs_own_at_the_same_cost() -> None:
    start = torch.tensor([[-1.2, 1.0, 0.7, -0.3]], dtype=torch.float64)
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([theirs], max_iter=80, max_eval=80, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = rosenbrock(theirs).sum()
        value.backward()
        return value

    optimiser.step(closure)
    found = minimise(rosenbrock, start, 80)
    assert found.energies[0] < max(float(rosenbrock(theirs.detach())), 1e-6) * 2


def test_a_batch_is_its_problems_one_by_one() -> None:
    problems = [quadratic(seed) for seed in range(3)]
    starts = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(9))

    def energy(x: Tensor) -> Tensor:
        return torch.cat([bowl(m, p, x[i : i + 1]) for i, (m, p) in enumerate(problems)])

    together = minimise(energy, starts, 25)
    for i, (m, p) in enumerate(problems):
        alone = minimise(lambda x, m=m, p=p: bowl(m, p, x), starts[i : i + 1], 25)
        torch.testing.assert_close(together.x[i : i + 1], alone.x, rtol=1e-9, atol=1e-9)


def test_the_energy_never_rises() -> None:
    seen: list[float] = []
    for evaluations in range(2, 40, 3):
        seen.append(float(minimise(rosenbrock, torch.tensor([[-1.2, 1.0]]), evaluations).energies[0]))
    assert all(b <= a for a, b in pairwise(seen))


def test_not_a_number_on_the_way_is_stepped_back_from() -> None:
    def cliff(x: Tensor) -> Tensor:
        return torch.where(x > 1, torch.nan, -x.log1p()).sum(1)

    found = minimise(cliff, torch.zeros(1, 2, dtype=torch.float64), 60, first_step=5.0)
    assert found.alive.all()
    assert found.x.isfinite().all()
    assert (found.x > 0.9).all()


def test_a_problem_without_a_finite_start_fails_alone() -> None:
    start = torch.zeros(2, 3, dtype=torch.float64)
    start[1] = torch.nan
    found = minimise(lambda x: ((x - 1) ** 2).sum(1), start, 20)
    assert found.alive.tolist() == [True, False]
    assert (found.x[0] - 1).abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_start_at_the_minimum_stays_there(value: float) -> None:
    found = minimise(lambda x: ((x - value) ** 2).sum(1), torch.full((1, 3), value), 10)
    assert (found.x == value).all()
