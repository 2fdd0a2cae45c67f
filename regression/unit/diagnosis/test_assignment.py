"""The solver's choice is the best of all choices, on networks small enough to try every one."""

import itertools

import numpy as np
import pytest

from stepdown.diagnosis.assignment import Assignment, Choice, Node
from stepdown.diagnosis.cost import Work

MODES = ("INT8", "F16", "F32")


def chain(seed: int, count: int = 6) -> list[Node]:
    """Return a chain with one skip, of random costs and noises."""
    rng = np.random.default_rng(seed)
    nodes = [Node("in", Work(0, 10), 10, {"F32": [0.0]}, [float(rng.uniform(1e-4, 1e-3))])]
    for i in range(count):
        size = int(rng.integers(10, 200))
        loud = float(10 ** rng.uniform(-4, -2))
        noise = {"INT8": [loud], "F16": [loud * 1e-4], "F32": [0.0]}
        reads = (nodes[-1].name, "op1") if i == 4 else (nodes[-1].name,)
        work = Work(int(rng.integers(0, 50_000)), size)
        nodes.append(Node(f"op{i}", work, size, noise, [loud * 0.5], reads, i == count - 1))
    return nodes


def every_choice(nodes: list[Node], problem: Assignment) -> list[Choice]:
    names = [node.name for node in nodes]
    return [problem.judge(dict(zip(names, m, strict=True))) for m in itertools.product(*(n.noise for n in nodes))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.5, 0.1, 0.003])
def test_the_cheapest_within_a_bound_on_noise(seed: int, share: float) -> None:
    nodes = chain(seed)
    problem = Assignment(nodes, 1)
    bound = problem.uniform("INT8").noise[0] * share
    best = min(c.cost for c in every_choice(nodes, problem) if c.noise[0] <= bound)
    found = problem.solve(noise=[bound])
    assert found is not None and found.noise[0] <= bound * (1 + 1e-6)
    assert found.cost <= best * 1.0002


@pytest.mark.parametrize("seed", range(4))
def test_the_least_noise_within_a_bound_on_cost(seed: int) -> None:
    nodes = chain(seed)
    problem = Assignment(nodes, 1)
    bound = problem.uniform("INT8").cost * 1.5
    best = min(c.noise[0] for c in every_choice(nodes, problem) if c.cost <= bound)
    found = problem.solve(cost=bound)
    assert found is not None and found.cost <= bound * 1.0001
    assert found.noise[0] <= best * 1.0002 + 1e-9


def test_what_cannot_be_reached_is_none() -> None:
    problem = Assignment(chain(0), 1)
    assert problem.solve(cost=problem.uniform("INT8").cost * 0.01) is None


def test_equal_inputs_give_equal_choices() -> None:
    bound = Assignment(chain(3), 1).uniform("INT8").noise[0] / 4
    assert Assignment(chain(3), 1).solve(noise=[bound]) == Assignment(chain(3), 1).solve(noise=[bound])
