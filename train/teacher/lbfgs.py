"""L-BFGS (Nocedal 1980) on a batch of problems that do not see one another: each has its own step and memory.

torch.optim.LBFGS takes a batch as one problem, in which a single picture that diverges stops all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""From (B, ...) to one energy each, (B,)."""
NO_START = "the energy is not a number from the start: check the weights of the network"
"""What to say of a problem that was never `alive`."""
SUFFICIENT_DECREASE = 1e-4
SHRINK = 0.25
PATIENCE = 6
"""Refused steps in a row after which what is known of the curvature is held to be wrong."""


@dataclass(frozen=True)
class Minimum:
    """`x` (B, ...) where the energies (B,) were lowest; `alive` (B,) is False where no start had a finite energy."""

    x: Tensor
    energies: Tensor
    alive: Tensor


class Memory:
    """The last `size` pairs of steps s and changes of gradient y, each problem with its own."""

    def __init__(self, like: Tensor, size: int) -> None:
        batch = like.shape[0]
        self.s, self.y = (like.new_zeros(size, *like.shape) for _ in range(2))
        self.rho = like.new_zeros(size, batch)
        self.scale = like.new_zeros(batch)
        self.next = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.all = torch.arange(batch, device=like.device)

    def add(self, s: Tensor, y: Tensor, where: Tensor) -> None:
        """Remembers (B, ...) s and y of the problems `where` (B,), if the curvature along s is positive."""
        curvature = _dot(s, y)
        where = where & (curvature > 1e-12 * _dot(y, y))
        b, k = self.all[where], self.next[where]
        self.s[k, b], self.y[k, b] = s[where], y[where]
        self.rho[k, b] = 1 / curvature[where]
        self.scale[b] = curvature[where] / _dot(y, y)[where]
        self.next[b] = (k + 1) % len(self.s)

    def forget(self, where: Tensor) -> None:
        self.rho[:, where] = 0
        self.scale[where] = 0

    def direction(self, gradient: Tensor) -> Tensor:
        """-H g by the two loops over the memory, newest first and back."""
        order = [(self.next - 1 - k) % len(self.s) for k in range(len(self.s))]
        q, alphas = gradient.clone(), []
        for k in order:
            alpha = self.rho[k, self.all] * _dot(self.s[k, self.all], q)
            q -= _spread(alpha, q) * self.y[k, self.all]
            alphas.append(alpha)
        q *= _spread(torch.where(self.scale > 0, self.scale, 1), q)
        for k, alpha in zip(reversed(order), reversed(alphas), strict=True):
            beta = self.rho[k, self.all] * _dot(self.y[k, self.all], q)
            q += _spread(alpha - beta, q) * self.s[k, self.all]
        return -q


def minimise(
    energy: Energy,
    start: Tensor,
    evaluations: int,
    first_step: float = 0.02,
    memory: int = 10,
    report: Callable[[int], None] | None = None,
) -> Minimum:
    """Minimises each problem's energy from `start` (B, ...) with `evaluations` of energy and gradient.

    A step is taken if it lowers the energy enough (Armijo), else it is tried again at a quarter; not-a-number counts
    as too high, so that a problem which meets one goes on from its last good place. After PATIENCE refusals in a
    row the memory is emptied. `first_step` is the largest change of any variable in a step down the gradient, when
    nothing is known of the curvature. `report` hears the number of evaluations made.
    """
    x = start.detach()
    f, g = _evaluate(energy, x)
    alive = f.isfinite() & _finite(g)
    known = Memory(x, memory)
    d, step = _downhill(g, first_step)
    refusals = torch.zeros_like(f)
    for n in range(1, evaluations):
        candidate = x + _spread(step, x) * d
        f_new, g_new = _evaluate(energy, candidate)
        taken = alive & _finite(g_new) & (f_new <= f + SUFFICIENT_DECREASE * step * _dot(g, d))
        known.add(candidate - x, g_new - g, taken)
        x, g = torch.where(_spread(taken, x), candidate, x), torch.where(_spread(taken, g), g_new, g)
        f = torch.where(taken, f_new, f)
        refusals = torch.where(taken, 0, refusals + 1)
        lost = refusals >= PATIENCE
        known.forget(lost)
        fresh, fresh_step = _direction(known, g, first_step)
        d = torch.where(_spread(taken | lost, d), fresh, d)
        step = torch.where(taken | lost, fresh_step, step * SHRINK)
        refusals = torch.where(lost, 0, refusals)
        if report is not None:
            report(n + 1)
    return Minimum(x, f, alive)


def _direction(known: Memory, g: Tensor, first_step: float) -> tuple[Tensor, Tensor]:
    """Newton's direction at step 1 as far as curvature is known; else down the gradient."""
    newton = known.direction(g)
    d, step = _downhill(g, first_step)
    usable = (known.scale > 0) & (_dot(newton, g) < 0)
    return torch.where(_spread(usable, g), newton, d), torch.where(usable, torch.ones_like(step), step)


def _downhill(g: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """Minus the gradient, and the step along it that changes no variable by more than `largest`."""
    return -g, largest / g.abs().flatten(1).amax(1).clamp_min(1e-30)


def _evaluate(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (B,) and their gradients (B, ...); each energy depends on its own x alone."""
    x = x.detach().requires_grad_()
    f = energy(x)
    (g,) = torch.autograd.grad(f.sum(), x)
    return f.detach(), g


def _finite(x: Tensor) -> Tensor:
    return x.isfinite().flatten(1).all(1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """One inner product each, (B,)."""
    return (a.flatten(1) * b.flatten(1)).sum(1)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """(B,) shaped to multiply (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))
