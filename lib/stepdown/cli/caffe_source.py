"""Caffe nets for model_transform.py. Nothing here runs Caffe: what the import is checked against is written as ONNX."""

import dataclasses
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.import_source import Sizes, Source, naming
from stepdown.cli.shape_flags import fixed_shapes, refuse_dims

if TYPE_CHECKING:
    from stepdown.dialects.program import Program
    from stepdown.formats.caffe.loader import Blobs
    from stepdown.formats.caffe.network import Network

_NOT_IN_ONNX = ("DetectionOutput",)


class CaffeSource(Source):
    """A prototxt with its caffemodel, cut and with its input shapes fixed as the flags say."""

    @cached_property
    def network(self) -> "Network":
        """The net in the test phase; tells which layers that leaves out."""
        from stepdown.formats.caffe.loader import load_net
        from stepdown.formats.caffe.network import bind_input_shapes, cut_outputs, network_of

        net = load_net(self._args.model_def)
        with naming(self._args.model_def):
            network = network_of(net)
        refuse_dims(self._args.dims, self._args.model_def)
        if self._args.output_names:
            cut_outputs(network, self._args.output_names)
        if self._args.input_shapes:
            stated = {name: shape or () for name, shape in network.input_shapes.items()}
            wanted = fixed_shapes(self._args.input_shapes, stated)
            bind_input_shapes(network, [tuple(n or 0 for n in shape) for shape in wanted.values()])
        if network.dropped:
            print(f"left out: {', '.join(network.dropped)}", file=sys.stderr)
        return network

    @cached_property
    def blobs(self) -> "Blobs | None":
        """The trained weights, None where no file is given."""
        from stepdown.formats.caffe.loader import load_blobs

        return load_blobs(self._args.model_data) if self._args.model_data else None

    @property
    def inputs(self) -> Mapping[str, Sizes]:
        """The shapes of the inputs; all sizes are open where the net does not say them."""
        return {name: shape or (None,) for name, shape in self.network.input_shapes.items()}

    def prepare(self, written: Path) -> Path | None:
        """Nothing is prepared: the reference is made from the imported program."""
        return None

    def program(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> "Program":
        """Import."""
        from stepdown.formats.caffe.importer import import_network

        return import_network(self.network, self.blobs, name, attributes)

    def reference_of(self, program: "Program", written: Path) -> Path:
        """Write the imported program, up to what ONNX cannot say, as an ONNX model for onnxruntime."""
        from stepdown.cli.onnx_source import write_onnx
        from stepdown.formats.caffe.importer import import_network
        from stepdown.formats.onnx.exporter import export_program

        print("reference: no Caffe here; the imported net, written as ONNX and run by onnxruntime")
        unchecked = [layer for layer in self.network.layers if layer.type in _NOT_IN_ONNX]
        if unchecked:
            names = [tensor.name for layer in unchecked for tensor in layer.makes]
            print(f"not checked, because ONNX has no such operator: {', '.join(names)}")
            self._args.excepts = [*self._args.excepts, *names]
            computed = {name for op in program.ops if not op.name.endswith(".Weight") for name in op.names}
            program = import_network(_without(self.network, _NOT_IN_ONNX, computed), self.blobs, program.name)
        write_onnx(export_program(program), written)
        return written


def _without(network: "Network", types: tuple[str, ...], computed: set[str]) -> "Network":
    """Return a network that ends before the layers of some types; what they read, if `computed`, becomes an output."""
    kept = [layer for layer in network.layers if layer.type not in types]
    made = {tensor for layer in kept for tensor in layer.makes}
    ends = [*network.outputs, *(tensor for layer in network.layers if layer.type in types for tensor in layer.reads)]
    outputs = [tensor for tensor in dict.fromkeys(ends) if tensor in made and tensor.name in computed]
    return dataclasses.replace(network, layers=kept, outputs=outputs)
