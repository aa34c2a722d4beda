"""Write sums.jsonl: two-operand additions that a small model gets right about half of the time.

Questions are ordered by a hash of the seed and their text, not by a random generator, so that the file
is the same byte for byte under every version of Python. A sum and its mirror image (17 + 5 and 5 + 17)
never both occur, since one in the training questions would give the other away, and the few-shot examples
of sums.yaml (in either order) are left out.

Usage: python config/questions/make_sums.py [FILE]
"""

import hashlib
import json
import sys
from pathlib import Path

SEED = 0
COUNT = 192
FIRST_OPERANDS = range(1, 31)
SECOND_OPERANDS = range(1, 13)
EXAMPLES = [(12, 5), (3, 9), (20, 7), (8, 4), (27, 11), (15, 6)]


def rank(first: int, second: int, seed: int) -> str:
    """Return the place of a sum in the shuffled order, as a string to sort by."""
    return hashlib.sha256(f"{seed}:{first}+{second}".encode()).hexdigest()


def sums(seed: int = SEED, count: int = COUNT) -> list[tuple[int, int]]:
    """Return `count` pairs of operands, no two of them mirror images, in an order set by the seed."""
    pairs = [(first, second) for first in FIRST_OPERANDS for second in SECOND_OPERANDS]
    taken = {frozenset(pair) for pair in EXAMPLES}
    chosen = []
    for pair in sorted(pairs, key=lambda pair: rank(*pair, seed)):
        if frozenset(pair) not in taken:
            taken.add(frozenset(pair))
            chosen.append(pair)
    return chosen[:count]


def lines(pairs: list[tuple[int, int]]) -> str:
    """Return the questions as JSONL text, one sum a line."""
    records = (
        {
            "id": f"{first}-plus-{second}",
            "question": f"What is {first} + {second}?",
            "answer": str(first + second),
        }
        for first, second in pairs
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def main(arguments: list[str]) -> None:
    """Write the file named on the command line, or sums.jsonl beside this script."""
    target = Path(arguments[0]) if arguments else Path(__file__).with_name("sums.jsonl")
    target.write_bytes(lines(sums()).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
