"""YAML that is read in a time and a memory that its length bounds.

An alias stands for a value that is written elsewhere, and ten lines of nine aliases each, of the
line before, for more values than there is memory: who prints, copies or merges them never ends.
"""

from itertools import chain

import yaml

_LIMIT = 1 << 20  # characters: what a file says when each alias is written out


class Loader(yaml.SafeLoader):
    """The safe loader, which can make nothing but plain values; refuses what unfolds too far."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next value, as PyYAML does, once it is weighed."""
        new = not self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is None:
            return node
        if new:
            self._sizes[node] = 1 + (
                len(node.value)
                if isinstance(node, yaml.ScalarNode)
                else sum(self._sizes[child] for child in _children(node))
            )
        problem = ""
        if node not in self._sizes:
            problem = "an alias stands within its own value"
        elif self._sizes[node] > _LIMIT:
            problem = f"with its aliases written out, it is longer than {_LIMIT >> 10} KiB"
        if problem:
            raise yaml.composer.ComposerError(problem=problem, problem_mark=node.start_mark)
        return node


def _children(node: yaml.Node) -> list[yaml.Node]:
    return list(chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value)
