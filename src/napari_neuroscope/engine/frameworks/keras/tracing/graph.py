"""TensorFlow graphs, run operation by operation.

A model is traced once for each size of input. Its graph, with the graph of its gradients, is then
run here, one operation after the other: so one forward pass keeps just what any later backward
pass needs, layers can be looked at as they pass, and work stops where it is told to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# --- what operations do ---------------------------------------------------------------------------

NONLINEAR = {
    "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Sigmoid", "Tanh",
}  # fmt: skip
"""Operations that are activations by themselves."""

CLIPPING = {"Maximum", "Minimum", "ClipByValue"}
"""Operations that may be activations, and can't be told from other arithmetic."""

CALLS = {
    "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile",
    "Case", "StatelessCase",
}  # fmt: skip
"""Operations that hold a graph of their own."""

_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}
_LARGEST_FOLDED = 1 << 14
_MOST_PLANS = 64


def same_place(op: Any) -> bool:
    """Whether an operation passes its first input on as it is, but for its type or shape."""
    return op.type in {"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "ExpandDims"}


# --- running --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """One operation, ready to run."""

    type: str
    attributes: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    # What no later step needs.
    forgets: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The operations that lead to some tensors, in order."""

    steps: tuple[_Step, ...]
    constants: Mapping[str, Any]

    def run(
        self, given: Mapping[str, Any], visit: Callable[[str, Any], None] | None = None
    ) -> dict[str, Any]:
        """Run the operations.

        Parameters
        ----------
        given
            The values of the tensors that the plan is given.
        visit
            Called with each tensor's name and value as it is computed; may raise.

        Returns
        -------
        dict
            The values of the tensors that the plan keeps.
        """
        from tensorflow.python.eager import context, execute

        eager = context.context()
        eager.ensure_initialized()
        values: dict[str, Any] = {}
        for step in self.steps:
            inputs = [
                values[name]
                if name in values
                else given[name]
                if name in given
                else self.constants[name]
                for name in step.inputs
            ]
            results = execute.execute(step.type, len(step.outputs), inputs, step.attributes, eager)
            del inputs
            for name, result in zip(step.outputs, results, strict=True):
                values[name] = result
            for name in step.forgets:
                # Told first: a gradient may have no other use than to be seen.
                if visit is not None and name in step.outputs:
                    visit(name, values[name])
                values.pop(name)
            if visit is not None:
                for name in step.outputs:
                    if name in values:
                        visit(name, values[name])
            del results
        return values


_WEIGHTS = {"Const", "Placeholder", "ReadVariableOp", "VarHandleOp"}
"""What holds a value of its own."""


class Graph:
    """The graph of a traced model.

    Parameters
    ----------
    concrete
        What ``tf.function(...).get_concrete_function`` returned.
    x
        The symbolic input of it.

    Attributes
    ----------
    from_input
        The names of the operations that lie behind the input.
    """

    def __init__(self, concrete: Any, x: Any) -> None:
        # The function owns the variables' handles and what it captured.
        self._concrete, self.graph, self.x = concrete, concrete.graph, x
        self.from_input: set[str] = {x.op.name}
        self._constants: dict[str, Any] = {}
        self._order: dict[str, int] = {}
        self._calls: dict[tuple[str, int], tuple[str, tuple[Any, ...]]] = {}
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self.grown()

    def grown(self) -> None:
        """Look at operations that came to the graph."""
        for op in self.graph.get_operations()[len(self._order) :]:
            self._order[op.name] = len(self._order)
            if any(tensor.op.name in self.from_input for tensor in op.inputs):
                self.from_input.add(op.name)
        for outer, inner in self.graph.captures:
            self._constants[inner.name] = outer

    @property
    def size(self) -> int:
        """How many operations there are."""
        return len(self._order)

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """How many bytes all tensors of a pass take that are no weights, and the largest of them."""
        weights: set[str] = set()
        total = largest = 0
        for op in self.graph.get_operations():
            made = op.type in _WEIGHTS or any(tensor.op.name in weights for tensor in op.inputs)
            if made and op.name not in self.from_input:
                # What is made of weights alone has about their size.
                weights.add(op.name)
                continue
            for tensor in op.outputs:
                count = tensor.shape.num_elements() if tensor.shape.rank is not None else None
                nbytes = (count or 0) * tensor.dtype.size
                total, largest = total + nbytes, max(largest, nbytes)
        return total, largest

    def place(self, op: Any) -> int:
        """Return when an operation was made, and so runs."""
        return self._order[op.name]

    def depends(self, tensor: Any) -> bool:
        """Whether a tensor is computed from the input."""
        return tensor.op.name in self.from_input

    def plan(
        self, wanted: Sequence[Any], given: Collection[str], *, keep: bool = True, key: Any = None
    ) -> Plan:
        """Find the operations that lead from given tensors to those wanted.

        Parameters
        ----------
        wanted
            Tensors of the graph.
        given
            The names of tensors whose values will be.
        keep
            Whether values wanted are kept to the end.
        key
            What the plan may be found again by.
        """
        if key is not None and key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        plan = self._plan(wanted, given, keep)
        if key is not None:
            self._plans[key] = plan
            while len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        return plan

    def _plan(self, wanted: Sequence[Any], given: Collection[str], keep: bool) -> Plan:
        needed: dict[str, Any] = {}
        stack = list(wanted)
        while stack:
            tensor = stack.pop()
            op = tensor.op
            if tensor.name in given or op.name in needed or self.is_constant(tensor):
                continue
            needed[op.name] = op
            stack.extend(op.inputs)
        ordered = [op for op in sorted(needed.values(), key=self.place) if not self._fold(op)]
        last_use: dict[str, int] = {}
        for number, op in enumerate(ordered):
            for tensor in (*op.outputs, *op.inputs):
                last_use[tensor.name] = number
        if keep:
            for tensor in wanted:
                last_use.pop(tensor.name, None)
        forgets: list[list[str]] = [[] for _ in ordered]
        for name, number in last_use.items():
            if name not in given and name not in self._constants:
                forgets[number].append(name)
        steps = tuple(
            _Step(
                *self._call(op),
                tuple(tensor.name for tensor in op.inputs),
                tuple(tensor.name for tensor in op.outputs),
                tuple(forgotten),
            )
            for op, forgotten in zip(ordered, forgets, strict=True)
        )
        return Plan(steps, self._constants)

    def constant(self, tensor: Any) -> Any:
        """Return the value of a tensor that is constant."""
        return self._constants[tensor.name]

    def is_constant(self, tensor: Any) -> bool:
        """Whether a tensor's value is known without a run; shapes are, so that none is kept."""
        import tensorflow as tf

        if tensor.name in self._constants:
            return True
        op = tensor.op
        if op.type == "Const":
            # Whole numbers are sizes and axes, which are read on the host.
            with tf.device("/CPU:0" if tensor.dtype.is_integer else None):
                value = tf.constant(tf.make_ndarray(op.get_attr("value")))
            self._constants[tensor.name] = value
        elif op.type in _SHAPES and all(t.shape.is_fully_defined() for t in op.inputs):
            shapes = [t.shape.as_list() for t in op.inputs]
            for output, shape in zip(op.outputs, shapes, strict=True):
                size = 1
                for n in shape:
                    size *= n
                number: Any = {"Size": size, "Rank": len(shape)}.get(op.type, shape)
                with tf.device("/CPU:0"):
                    self._constants[output.name] = tf.constant(number, output.dtype)
        return tensor.name in self._constants

    def _fold(self, op: Any) -> bool:
        """Compute an operation once and for all, where nothing that changes goes into it."""
        if (
            not op.inputs
            or op.op_def.is_stateful
            or op.type in CALLS
            or any(tensor.name not in self._constants for tensor in op.inputs)
            or any((tensor.shape.num_elements() or 0) > _LARGEST_FOLDED for tensor in op.outputs)
            or not all(tensor.shape.is_fully_defined() for tensor in op.outputs)
        ):
            return False
        names = tuple(tensor.name for tensor in op.outputs)
        inputs = tuple(tensor.name for tensor in op.inputs)
        step = _Step(*self._call(op), inputs, names, ())
        self._constants.update(Plan((step,), self._constants).run({}))
        return True

    def _call(self, op: Any) -> tuple[str, tuple[Any, ...]]:
        """Return what is run for an operation, and its attributes."""
        # The number too: a gradient may ask a called function for more outputs.
        key = op.name, len(op.outputs)
        if key not in self._calls:
            given = op.node_def.attr
            if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
                # By its own name it is compiled where it must be.
                attributes = (
                    "executor_type",
                    given["executor_type"].s,
                    "config_proto",
                    given["config_proto"].s,
                )
                self._calls[key] = given["f"].func.name, attributes
            else:
                attributes = tuple(
                    item
                    for name, value in given.items()
                    if not name.startswith("_")
                    for item in (name, _plain(value))
                )
                self._calls[key] = op.type, attributes
        return self._calls[key]


def _plain(value: Any) -> Any:
    """Return an attribute as eager execution takes it."""
    kind = value.WhichOneof("value")
    if kind == "list":
        fields = value.list.ListFields()
        return [_item(item, fields[0][0].name) for item in fields[0][1]] if fields else []
    return _item(getattr(value, kind), kind)


def _item(value: Any, kind: str) -> Any:
    if kind == "shape":
        return None if value.unknown_rank else [dimension.size for dimension in value.dim]
    return value
