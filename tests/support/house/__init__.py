"""What tests/test_house.py reads: each rule is a function over a tree of files that returns what is wrong in it.

A rule comes with a bad example, so that it is known to be able to fail. Limits, words and exceptions stand at the top
of the file of their rules.
"""

from __future__ import annotations

from . import floors, mirror, names, size, unused, words
from .tree import Rule

RULES: dict[str, Rule] = {**floors.RULES, **size.RULES, **words.RULES, **unused.RULES, **mirror.RULES, **names.RULES}
