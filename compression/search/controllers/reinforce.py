"""Policy gradients: a recurrent network that emits one choice after another, and learns from how good the whole was.

The choices of phase 0 come first, then those of later phases, which see through the network's state what was chosen
before: block structure first, sizes after it, as in CANAO. Sources: REINFORCE (Williams 1992) with a moving average of
the rewards as baseline and an entropy term; the recurrent controller of Zoph and Le 2017, as CANAO (Niu et al. 2021),
RT3 and NPAS search with one.

The reward of a candidate is its place among those that were observed lately, 1 for the best and 0 for the worst, as
`Outcome` compares them. Rationale: losses of bad candidates are larger than those of good ones by orders of magnitude,
and candidates that miss a limit have none; a place has the same scale in every search (the fitness shaping of Wierstra
et al. 2014), and no weight between latency and accuracy is to be chosen.
"""

import numpy as np
import torch
from torch import nn

from ..measurement import Goal
from ..outcome import Outcome, best_first
from ..space import Candidate, Space, candidate_line

HIDDEN, RATE, ENTROPY, MEMORY = 48, 0.02, 0.01, 0.9
# How often a choice that the rules refuse is made again before a candidate is drawn at random.
_ATTEMPTS = 50
# Outcomes that a reward compares with: the latest.
_COMPARED = 255


class Policy(nn.Module):
    """Emits a choice for each dimension; `sizes` are the numbers of choices, in the order in which they are emitted."""

    def __init__(self, sizes: list[int], hidden: int = HIDDEN) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(hidden))
        self.cell = nn.LSTMCell(hidden, hidden)
        self.seen = nn.ModuleList(nn.Embedding(size, hidden) for size in sizes)
        self.heads = nn.ModuleList(nn.Linear(hidden, size) for size in sizes)
        for head in self.heads:
            # All choices are about as likely at first.
            nn.init.normal_(head.weight, std=0.05)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(
        self, places: list[int | None] | None, generator: torch.Generator | None = None
    ) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """The places that were chosen (those given, or drawn), the logarithm of their probability, and the mean entropy
        of the choices as a part of the largest there is. A place that is None means nothing, and is left out of both.
        """
        x, state = self.start[None], None
        chosen, likely, entropy, free = [], torch.zeros(()), torch.zeros(()), 0
        for number, (seen, head) in enumerate(zip(self.seen, self.heads, strict=True)):
            state = self.cell(x, state)
            logits = head(state[0])[0].log_softmax(-1)
            given = None if places is None else places[number]
            place = int(torch.multinomial(logits.exp(), 1, generator=generator)) if places is None else given or 0
            chosen.append(place)
            if places is not None and given is None:
                x = seen(torch.tensor([place]))
                continue
            likely = likely + logits[place]
            if len(logits) > 1:
                entropy = entropy - (logits.exp() * logits).sum() / np.log(len(logits))
                free += 1
            x = seen(torch.tensor([place]))
        return chosen, likely, entropy / max(1, free)


class Reinforce:
    """The controller that learns by policy gradients."""

    def __init__(self, space: Space, goal: Goal, seed: int = 0) -> None:
        self._space = space
        self._order = sorted(range(len(space.dimensions)), key=lambda n: space.dimensions[n].phase)
        sizes = [len(space.dimensions[n].choices) for n in self._order]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._policy = Policy(sizes)
        self._generator = torch.Generator().manual_seed(seed)
        self._random = np.random.default_rng(seed)
        self._optimizer = torch.optim.Adam(self._policy.parameters(), RATE, eps=1e-5, fused=True)
        self._outcomes: list[Outcome] = []
        self._baseline: float | None = None
        self._mine: set[str] = set()

    def propose(self) -> Candidate:
        """What the network emits."""
        with torch.no_grad():
            for _ in range(_ATTEMPTS):
                emitted, _, _ = self._policy(None, self._generator)
                places = [0] * len(emitted)
                for position, place in zip(self._order, emitted, strict=True):
                    places[position] = place
                candidate = self._space.decode(places)
                if self._space.allows(candidate):
                    break
            else:
                candidate = self._space.sample(self._random)
        self._mine.add(candidate_line(candidate))
        return candidate

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """One step along the gradient. A candidate that the network did not emit teaches only where it is good: the
        gradient pushes what is bad away without end where the network never goes there."""
        reward = self._place(outcome)
        baseline = reward if self._baseline is None else self._baseline
        self._baseline = MEMORY * baseline + (1 - MEMORY) * reward
        advantage = reward - baseline
        if candidate_line(candidate) not in self._mine:
            advantage = max(0.0, advantage)
        encoded = self._space.encode(candidate)
        _, likely, entropy = self._policy([encoded[n] if self._means(n, candidate) else None for n in self._order])
        self._optimizer.zero_grad()
        (-advantage * likely - ENTROPY * entropy).backward()
        self._optimizer.step()

    def _means(self, number: int, candidate: Candidate) -> bool:
        """Whether a dimension means something in a candidate."""
        other, choices = self._space.dimensions[number].when or ("", ())
        return other not in candidate or candidate[other] in choices

    def _place(self, outcome: Outcome) -> float:
        """The part of the latest outcomes that are no better than this one, which is kept."""
        self._outcomes = [*self._outcomes[-_COMPARED:], outcome]
        last = len(self._outcomes) - 1
        return 1.0 - best_first(self._outcomes).index(last) / max(1, last)
