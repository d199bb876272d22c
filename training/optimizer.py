"""Muon for the matrices, Adam for the rest, in one optimizer with a state of plain tensors.

Muon (Jordan et al. 2024) replaces a matrix's momentum by its nearest orthogonal matrix, found by four Newton-Schulz
steps. torch.optim.Muon does so matrix by matrix, which costs 75 ms of a 300 ms step on two cores for these 80 small
matrices; here equal shapes are stacked and orthogonalised together, at every second step: the momentum, which hears of
every gradient, turns slowly, and the step is twice as long then.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
EPS = 1e-8
# a s + b s^3 + c s^5 for the singular values s, step after step: each polynomial is the one nearest to 1 where the one
# before left values of 0.005 to 1 (Polar Express, Amsel et al. 2025), but for a margin of 1 % in all except the last.
# They end within 0.90 .. 1.08; five steps of (3.4445, -4.7750, 2.0315) (Jordan et al. 2024) leave 0.68 .. 1.15.
NEWTON_SCHULZ = (
    (8.2165, -23.712, 17.2123),
    (3.8765, -2.8352, 0.5321),
    (3.1432, -2.3104, 0.4737),
    (2.1895, -1.5672, 0.4079),
)
MUON_EVERY = 2  # steps; the loss of 350 steps was the same as with 1, within 0.1 %
ENTROPY_PREFIXES = ("h_a", "h_s", "context", "z_density")
ENTROPY_FACTOR = 4.0
# First and last layers and densities take Adam, as is usual with Muon.
ADAM_PREFIXES = (
    "modulator",
    "z_density",
    "g_a.embed",
    "g_s.project",
    "context.mean",
    "context.scale",
    "context.write_bias",
)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Nearly orthogonal matrices with the row and column spaces of `matrices` (n, rows, columns)."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).bfloat16()
    for number, (a, b, c) in enumerate(NEWTON_SCHULZ):
        gram = x @ x.mT
        if number == 0:  # the root of its norm is at least the largest singular value, and nearer to it than x's norm
            square = torch.linalg.vector_norm(gram, dim=(-2, -1), keepdim=True, dtype=torch.float32) + 1e-14
            x, gram = x * square.rsqrt().bfloat16(), gram / square.bfloat16()
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()


@dataclass
class _Stack:
    """Matrices of one shape and their momenta (n, rows, columns): one operation for all of them."""

    parameters: list[nn.Parameter]
    momenta: Tensor


def _stacked(parameters: Iterable[nn.Parameter]) -> list[_Stack]:
    by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        by_shape[parameter.shape].append(parameter)
    return [_Stack(members, torch.stack([torch.zeros_like(p) for p in members])) for members in by_shape.values()]


class MuonAdam(torch.optim.Optimizer):
    """`lr` is Muon's, in units of Adam's (its update has the same root mean square); `adam_lr` that of the rest.

    The entropy part learns ENTROPY_FACTOR times as fast: its errors cost bits only, while noise in the transforms'
    weights is noise in the picture.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], lr: float, adam_lr: float) -> None:
        members: dict[tuple[bool, bool], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in named_parameters:
            muon = parameter.ndim == 2 and not name.startswith(ADAM_PREFIXES)
            members[muon, name.startswith(ENTROPY_PREFIXES)].append(parameter)
        groups = [
            {"params": parameters, "lr": (lr if muon else adam_lr) * (ENTROPY_FACTOR if entropy else 1.0), "muon": muon}
            for (muon, entropy), parameters in sorted(members.items(), key=lambda item: item[0])
        ]
        super().__init__(groups, {})
        self._stacks: dict[int, list[_Stack]] = {}
        for number, group in enumerate(
            self.param_groups
        ):  # all states are made at once, so that a saved one always fits
            group["base_lr"] = group["lr"]
            if group["muon"]:
                self._stacks[number] = _stacked(group["params"])
                for stack in self._stacks[number]:
                    for parameter, momentum in zip(stack.parameters, stack.momenta.unbind(), strict=True):
                        self.state[parameter]["momentum"] = momentum
                continue
            for parameter in group["params"]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
                self.state[parameter]["square"] = torch.zeros_like(parameter)
        self.num_steps = 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients; a parameter without one (a skipped layer) stays as it is."""
        self.num_steps += 1
        for number, group in enumerate(self.param_groups):
            if group["muon"]:
                self._muon(self._stacks[number], group["lr"])
            elif parameters := [p for p in group["params"] if p.grad is not None]:
                self._adam(parameters, group["lr"])

    def _muon(self, stacks: list["_Stack"], lr: float) -> None:
        for stack in stacks:
            rows = [i for i, parameter in enumerate(stack.parameters) if parameter.grad is not None]
            if not rows:
                continue
            grads = [grad for i in rows if (grad := stack.parameters[i].grad) is not None]
            torch._foreach_lerp_([stack.momenta[i] for i in rows], grads, 1 - MOMENTUM)
            if self.num_steps % MUON_EVERY:
                continue
            updates = orthogonalize(torch.stack(grads).lerp_(stack.momenta[rows], MOMENTUM))  # Nesterov
            scale = MUON_EVERY * lr * 0.2 * max(updates.shape[1:]) ** 0.5  # root mean square 0.2, about Adam's
            torch._foreach_add_([stack.parameters[i] for i in rows], list(updates.unbind()), alpha=-scale)

    def _adam(self, parameters: list[nn.Parameter], lr: float) -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        momenta = [self.state[p]["momentum"] for p in parameters]
        squares = [self.state[p]["square"] for p in parameters]
        torch._foreach_lerp_(momenta, grads, 1 - BETAS[0])
        torch._foreach_mul_(squares, BETAS[1])
        torch._foreach_addcmul_(squares, grads, grads, 1 - BETAS[1])
        correction1, correction2 = 1 - BETAS[0] ** self.num_steps, 1 - BETAS[1] ** self.num_steps
        denominators = torch._foreach_sqrt(torch._foreach_div(squares, correction2))
        torch._foreach_add_(denominators, EPS)
        torch._foreach_addcdiv_(list[Tensor](parameters), momenta, denominators, value=-lr / correction1)

    def set_scale(self, scale: float) -> None:
        """Multiply both base learning rates by the schedule's value."""
        for group in self.param_groups:
            group["lr"] = group["base_lr"] * scale
