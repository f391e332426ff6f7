"""A program that searches, once it has read a line: drive.py FOLDER SECONDS CANDIDATES."""

import sys
from pathlib import Path

from evaluators import Smooth
from tables import GOAL, SPACE

from secateur.compression.search.halving import Budget
from secateur.compression.search.search import search

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    folder = Path(sys.argv[1])
    evaluator = Smooth(str(folder / "log"), float(sys.argv[2]), target=None)
    budget = Budget(candidates=int(sys.argv[3]))
    search(SPACE, evaluator, GOAL, folder / "search", budget=budget, workers=2, at_once=4)
