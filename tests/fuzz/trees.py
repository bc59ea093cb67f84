"""Content of JSON and YAML files with members replaced by unexpected values."""

import copy
import json

HOSTILE = [
    *(None, True, False, 0, -1, 1, 0.5, 2**31, 2**63, 10**400, -(10**12), 1e308, float("nan"), float("inf")),
    *("", "a", "../../etc/passwd", "/etc/passwd", "a\\b", "a\0b", "=1+1", "<script>", "a\nb", "9" * 40),
    *([], {}, [[]], [0], [None], {"a": None}, {"": 0}, [[1, 2], [3]]),
]


def swapped(tree, draw):
    """A tree of lists and dicts with one to three of its members replaced, removed, renamed or repeated."""
    for _ in range(draw.randint(1, 3)):
        places, waiting = [], [tree]
        while waiting:
            node = waiting.pop()
            inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            places += [(node, key) for key, _ in inside]
            waiting += [value for _, value in inside] if isinstance(node, list) else list(dict(inside).values())
        if not places:
            return copy.deepcopy(draw.choice(HOSTILE))
        (node, key), how = draw.choice(places), draw.random()
        if how < 0.15:
            del node[key]
        elif how < 0.25:
            other, at = draw.choice(places)
            node[key] = json.loads(json.dumps(other[at], default=str)) if at in range(10**6) or at in other else None
        elif how < 0.35 and isinstance(node, dict):
            node[draw.choice(("", "a", "..", "=1", "0", "__class__"))] = node.pop(key)
        elif how < 0.4 and isinstance(node, list):
            node += node[:50]
        else:
            node[key] = copy.deepcopy(draw.choice(HOSTILE))
    return tree
