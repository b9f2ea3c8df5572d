"""The walk over an exported torch program, with a table of converters that the operators' files fill."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.graph import Graph

# Samples in the batch that shape arithmetic and rearrangements are tried on.
BATCH = 2

Converter = Callable[["Walk", torch.fx.Node], Position | list[Position]]
CONVERTERS: dict[Any, Converter] = {}


def converts(*targets: Any) -> Callable[[Converter], Converter]:
    """Enter a converter for operators: it appends nodes and returns the position of the operator's value."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(targets, converter))
        return converter

    return register


class Walk:
    """Walks one exported program; thrown away afterwards.

    position: of computed values, a list for several outputs. constant: values that do not depend on the input, among
    them sizes, worked out for BATCH samples.
    """

    def __init__(self, program: ExportedProgram, input_shape: tuple[int, ...]) -> None:
        self.program = program
        self.asm = Assembly("input", input_shape)
        self.position: dict[torch.fx.Node, Position | list[Position]] = {}
        self.constant: dict[torch.fx.Node, Any] = {}

    def graph(self) -> Graph:
        """Raises UnsupportedLayerError for a layer without counterpart."""
        signature = self.program.graph_signature
        held = {**self.program.state_dict, **self.program.constants}
        sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                if node.name in sources:
                    self.constant[node] = held[sources[node.name]].detach()
                else:
                    self.position[node] = 0
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                results = node.args[0]
                if len(results) != 1 or not isinstance(results[0], torch.fx.Node):
                    raise ModelError(f"model: returns {len(results)} values; accepted: one tensor")
                return self.asm.graph(self.input(results[0]))
        raise ModelError("model: computes no output")

    def _call(self, node: torch.fx.Node) -> None:
        try:
            if isinstance(node.meta.get("val"), torch.SymInt | int) and node.target is torch.ops.aten.sym_size.int:
                self.constant[node] = self._size(node)
            elif all(argument in self.constant for argument in node.all_input_nodes):
                args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda a: self.constant[a])
                self.constant[node] = node.target(*args, **kwargs)  # type: ignore[operator]
            elif node.target is operator.getitem:
                self.position[node] = self.position[node.args[0]][node.args[1]]  # type: ignore[index]
            elif node.target in CONVERTERS:
                self.position[node] = CONVERTERS[node.target](self, node)
            else:
                raise Refusal
        except Refusal as refusal:
            raise UnsupportedLayerError(_unsupported(node, str(refusal))) from refusal

    def _size(self, node: torch.fx.Node) -> int:
        source, dim = node.args
        return (BATCH, *self.asm.shape(self.input(source)))[int(str(dim))]

    def input(self, argument: Any) -> Position:
        """The position of a computed operand."""
        found = self.position.get(argument) if isinstance(argument, torch.fx.Node) else None
        if not isinstance(found, int):
            raise Refusal(f"with {argument!r}, which is not a value computed from the input,")
        return found

    def computed(self, argument: Any) -> bool:
        """Whether an operand depends on the input."""
        return isinstance(argument, torch.fx.Node) and argument in self.position

    def value(self, argument: Any) -> Tensor:
        """A constant operand."""
        if isinstance(argument, torch.fx.Node):
            if argument not in self.constant:
                raise Refusal(f"with {argument.name} computed from the input")
            argument = self.constant[argument]
        return argument if isinstance(argument, Tensor) else torch.as_tensor(float(argument))

    def optional(self, argument: Any) -> Tensor | None:
        """A constant operand that may be left out."""
        return None if argument is None else self.value(argument)

    def name(self, node: torch.fx.Node) -> str:
        """The layer that an operator belongs to."""
        return _layer(node)

    def rearrange(self, node: torch.fx.Node) -> Position | list[Position]:
        """An operator that only moves, drops or repeats entries, carried out on the numbers of the entries."""
        source: Any = node.args[0]
        position = self.input(source)
        others = [a for a in node.all_input_nodes if a is not source]
        if any(self.computed(other) for other in others):
            raise Refusal("with places computed from the input")

        def run(entries: Tensor) -> Any:
            # Interpolation takes floats only; doubles hold every index.
            given = entries.double() if "upsample" in str(node.target) else entries
            stand_in: dict[Any, Any] = {**self.constant, source: given}
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda a: stand_in[a])
            result = node.target(*args, **kwargs)  # type: ignore[operator]
            return result.to(entries.dtype) if isinstance(result, Tensor) else result

        shape = self.asm.shape(position)
        try:
            probe = run(torch.arange(BATCH * int(torch.Size(shape).numel())).reshape(BATCH, *shape))
        except (RuntimeError, IndexError, ValueError) as error:
            raise Refusal(f"that fails for {BATCH} samples ({error})") from error
        name = self.name(node)
        if isinstance(probe, Tensor):
            return self.asm.rearrange(name, position, run, BATCH)
        return [
            self.asm.rearrange(name, position, lambda entries, i=i: run(entries)[i], BATCH)  # type: ignore[misc]
            for i in range(len(probe))
        ]


def arguments(node: torch.fx.Node, start: int, defaults: tuple[Any, ...]) -> list[Any]:
    """Positional arguments from `start` on, filled up with defaults. Raises Refusal for keyword arguments."""
    if node.kwargs:
        raise Refusal(f"with {dict(node.kwargs)}")
    given = list(node.args[start:])
    return given + list(defaults[len(given) :])


def _layer(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return paths[-1] if paths else node.name


def _unsupported(node: torch.fx.Node, detail: str = "") -> str:
    operands = ", ".join(
        f"{a.name}{list(a.meta['val'].shape)}" for a in node.all_input_nodes if hasattr(a.meta.get("val"), "shape")
    )
    known = sorted({str(target).removeprefix("aten.").split(".")[0] for target in CONVERTERS})
    what = f"{node.target} {detail}".strip()
    return f"layer {_layer(node)!r}: {what} of {operands} is not supported; supported: {', '.join(known)}"
