"""Write what "An ONNX model" reads."""

from __future__ import annotations

import onnx
import torch
from my_project import fit, net
from onnx import helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

torch.manual_seed(0)
_, _, first, _, second = fit(net(16))
arrays = {"A": first.weight, "a": first.bias, "B": second.weight, "b": second.bias}
nodes = [
    helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
    helper.make_node("Flatten", ["small"], ["flat"]),
    helper.make_node("Gemm", ["flat", "A", "a"], ["hidden"], transB=1),
    helper.make_node("Relu", ["hidden"], ["active"]),
    helper.make_node("Gemm", ["active", "B", "b"], ["logits"], transB=1),
]
kind = onnx.TensorProto.FLOAT
graph = helper.make_graph(
    nodes,
    "net",
    [helper.make_tensor_value_info("images", kind, ["n", 3, 32, 32])],
    [helper.make_tensor_value_info("logits", kind, ["n", 3])],
    [numpy_helper.from_array(v.detach().numpy(), k) for k, v in arrays.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
onnx.checker.check_model(model)
onnx.save(model, "models/float.onnx")
quantize_dynamic("models/float.onnx", "models/8 bit.onnx")
