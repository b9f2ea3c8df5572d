"""The walk over an exported torch program, with a table of converters that the operators' files fill."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from calipers.core.errors import ModelError, UnsupportedLayerError
from calipers.graph.assembly import Assembly, Position, Refusal
from calipers.graph.graph import Graph

# The place of a value that is never used.
_NOTHING: Position = -1

Converter = Callable[["TorchWalk", torch.fx.Node], Position | list[Position]]
CONVERTERS: dict[Any, Converter] = {}

aten = torch.ops.aten

# Operators that state something and compute nothing.
_STATEMENTS = (
    aten._assert_tensor_metadata.default,
    aten._assert_scalar.default,
    aten._assert_async.msg,
    aten.sym_constrain_range_for_size.default,
    aten.sym_constrain_range.default,
)

# Operators that look at the shape of their first operand only.
_OF_SHAPES = (
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.fill.Scalar,
    aten.fill.Tensor,
    aten.zero.default,
)


def converts(*targets: Any) -> Callable[[Converter], Converter]:
    """Enter a converter for operators: it appends nodes and returns the position of the operator's value."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(targets, converter))
        return converter

    return register


class TorchWalk:
    """Walks one exported program; thrown away afterwards.

    position: of computed values, a list for several outputs. constant: values that do not depend on the input, among
    them sizes, worked out for as many samples as the program was exported with. batch: that number, on which shape
    arithmetic and rearrangements are tried. live: parameters and buffers by name, in place of those that the program
    was exported with; the graph's constants are functions of them, with gradients.
    """

    def __init__(
        self,
        program: ExportedProgram,
        input_shape: tuple[int, ...],
        batch: int,
        live: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.program = program
        self.batch = batch
        self.live = live or {}
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
                    source = sources[node.name]
                    self.constant[node] = (self.live[source] if source in self.live else held[source].detach()).cpu()
                else:
                    self.position[node] = 0
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                named = (value for value in node.args[0] if getattr(value, "name", None) in signature.user_outputs)
                results = list(dict.fromkeys(named))
                if len(results) != 1:
                    raise ModelError(f"model: returns {len(results)} tensors; accepted: one")
                return self.asm.graph(self.input(results[0]))
        raise ModelError("model: computes no output")

    def _call(self, node: torch.fx.Node) -> None:
        if node.target in _STATEMENTS:
            return
        try:
            if node.target is aten.sym_size.int and self.computed(node.args[0]):
                self.constant[node] = self._size(node)
            elif node.target in _OF_SHAPES and self.computed(node.args[0]):
                like = torch.zeros(self.batch, *self.asm.shape(self.input(node.args[0])))
                self.constant[node] = self.run(node, {node.args[0]: like})
            elif all(argument in self.constant for argument in node.all_input_nodes):
                self.constant[node] = self.run(node, {})
            elif node.target is operator.getitem:
                self.position[node] = self._item(*node.args)
            elif node.target in CONVERTERS:
                self.position[node] = CONVERTERS[node.target](self, node)
            elif isinstance(node.target, torch._ops.OpOverload) and node.target._can_decompose():
                self.position[node] = self._decomposed(node)
            else:
                raise Refusal
        except Refusal as refusal:
            raise UnsupportedLayerError(_unsupported(node, str(refusal))) from refusal

    def _size(self, node: torch.fx.Node) -> int:
        source, dim = node.args
        return (self.batch, *self.asm.shape(self.input(source)))[int(str(dim))]

    def _item(self, several: Any, index: Any) -> Position:
        """One of the values of an operator that has several; indices of maxima are no values."""
        found = self.position.get(several, [])
        values = found if isinstance(found, list) else [found]
        return values[index] if index < len(values) else _NOTHING

    def _decomposed(self, node: torch.fx.Node) -> Position | list[Position]:
        """An operator without a converter, by those that torch itself makes it of, for one size of the batch."""
        operands = [a for a in node.all_input_nodes if self.computed(a)]
        examples = [torch.zeros(self.batch, *self.asm.shape(self.input(a))) for a in operands]

        def run(*values: Tensor) -> Any:
            args, kwargs = self._arguments(node, dict(zip(operands, values, strict=True)))
            return node.target.decompose(*args, **kwargs)  # type: ignore[union-attr]

        try:
            traced = make_fx(run)(*examples)
        except Exception as error:  # torch raises many types; whatever it is, there are no parts
            raise Refusal from error
        given = iter(operands)
        for part in traced.graph.nodes:
            part.meta["nn_module_stack"] = node.meta.get("nn_module_stack")
            if part.op == "placeholder":
                self.position[part] = self.position[next(given)]
            elif part.op == "get_attr":
                self.constant[part] = getattr(traced, part.target)
            elif part.op == "call_function":
                self._call(part)
            elif part.op == "output":
                results: Any = part.args[0]
                return self.input(results) if isinstance(results, torch.fx.Node) else [self.input(r) for r in results]
        raise Refusal

    def _arguments(self, node: torch.fx.Node, values: Mapping[Any, Any]) -> tuple[Any, Any]:
        """Arguments of an operator: given values, and constants."""
        return torch.fx.node.map_arg((node.args, node.kwargs), lambda a: values.get(a, self.constant.get(a)))

    def run(self, node: torch.fx.Node, values: Mapping[Any, Any]) -> Any:
        """The operator carried out on given values and constants."""
        args, kwargs = self._arguments(node, values)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def input(self, argument: Any) -> Position:
        """The position of a computed operand."""
        found = self.position.get(argument) if isinstance(argument, torch.fx.Node) else None
        if not isinstance(found, int) or found == _NOTHING:
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
        value = argument if isinstance(argument, Tensor) else torch.as_tensor(float(argument))
        return value.to("cpu", torch.get_default_dtype()) if value.is_floating_point() else value.cpu()

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
            result = self.run(node, {source: entries.double() if "upsample" in str(node.target) else entries})
            return result.to(entries.dtype) if isinstance(result, Tensor) else result

        shape = self.asm.shape(position)
        try:
            probe = run(torch.arange(self.batch * int(torch.Size(shape).numel())).reshape(self.batch, *shape))
        except (RuntimeError, IndexError, ValueError) as error:
            raise Refusal(f"that fails for {self.batch} samples ({error})") from error
        name = self.name(node)
        if isinstance(probe, Tensor):
            return self.asm.rearrange(name, position, run, self.batch)
        return [
            self.asm.rearrange(name, position, lambda entries, i=i: run(entries)[i], self.batch)  # type: ignore[misc]
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
