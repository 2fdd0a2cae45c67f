// RUN: python %S/../inputs/with_weights.py %s %t
// RUN: tpuc-opt %t/in.mlir --canonicalize -o %t/out.mlir
// RUN: filecheck %s < %t/out.mlir
// RUN: python %S/../inputs/same_outputs.py %t/in.mlir %t/out.mlir | filecheck %s --check-prefix=SAME
// SAME: same outputs: relu bn2 add div bn3

// Pad, BatchNorm, a product with a constant and a ReLU become part of the Conv; changed filters get keys of their own.
// CHECK: "top.Weight"() {key = "f.weight_fix"}
// CHECK: "top.Weight"() {key = "f.bias"}
// CHECK: "top.Conv"{{.*}} {dilations = array<i64: 1, 1>, do_relu = true, pads = array<i64: 1, 0, 1, 0>
// CHECK-SAME: loc(fused["pad", "conv", "bn", "mul", "relu"])
// CHECK: "top.Weight"() {key = "g.weight_fix"}
// CHECK: "top.ConvTranspose"{{.*}} loc(fused["up", "bn2"])
// CHECK: "top.Weight"() {key = "m.weight_fix"}
// CHECK: "top.Weight"() {key = "m.bias"}
// CHECK: "top.MatMul"{{.*}} loc(fused["matmul", "sub", "add"])
// CHECK: "top.Weight"() {key = "div/reciprocal"}
// CHECK: "top.Mul"{{.*}} loc("div")
// CHECK: "top.Scale"{{.*}} loc("bn3")
// CHECK-NEXT: func.return
module @m attributes {module.state = "TOP_F32", module.weight_file = "w.npz"} {
  func.func @main(%x: tensor<1x2x4x4xf32> loc("x")) -> (tensor<1x4x4x2xf32>, tensor<1x4x5x5xf32>, tensor<1x2x4x3xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) {
    %0 = "top.Input"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("x")
    %none = "top.None"() : () -> none
    %f = "top.Weight"() {key = "f.weight"} : () -> tensor<4x2x3x3xf32> loc("f.weight")
    %g = "top.Weight"() {key = "g.weight"} : () -> tensor<2x2x2x2xf32> loc("g.weight")
    %w = "top.Weight"() {key = "m.weight"} : () -> tensor<4x3xf32> loc("m.weight")
    %s = "top.Weight"() {key = "s"} : () -> tensor<4xf32> loc("s")
    %b = "top.Weight"() {key = "b"} : () -> tensor<4xf32> loc("b")
    %s2 = "top.Weight"() {key = "s2"} : () -> tensor<2xf32> loc("s2")
    %c = "top.Weight"() {key = "c"} : () -> tensor<4x1x1xf32> loc("c")
    %n = "top.Weight"() {key = "n"} : () -> tensor<3xf32> loc("n")
    %k = "top.Weight"() {key = "k"} : () -> tensor<f32> loc("k")
    %pad = "top.Pad"(%0) {pads = array<i64: 0, 0, 1, 0, 0, 0, 1, 0>} : (tensor<1x2x4x4xf32>) -> tensor<1x2x6x4xf32> loc("pad")
    %conv = "top.Conv"(%pad, %f, %none) {dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x2x6x4xf32>, tensor<4x2x3x3xf32>, none) -> tensor<1x4x4x2xf32> loc("conv")
    %bn = "top.BatchNorm"(%conv, %s, %b, %b, %s) : (tensor<1x4x4x2xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x4x2xf32> loc("bn")
    %mul = "top.Mul"(%c, %bn) : (tensor<4x1x1xf32>, tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32> loc("mul")
    %relu = "top.Relu"(%mul) : (tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32> loc("relu")
    %up = "top.ConvTranspose"(%0, %g, %b) {dilations = array<i64: 1, 1>, group = 2 : i64, output_padding = array<i64: 0, 0>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<2x2x2x2xf32>, tensor<4xf32>) -> tensor<1x4x5x5xf32> loc("up")
    %bn2 = "top.BatchNorm"(%up, %s, %b, %b, %s) : (tensor<1x4x5x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x5x5xf32> loc("bn2")
    %matmul = "top.MatMul"(%0, %w, %none) : (tensor<1x2x4x4xf32>, tensor<4x3xf32>, none) -> tensor<1x2x4x3xf32> loc("matmul")
    %sub = "top.Sub"(%k, %matmul) : (tensor<f32>, tensor<1x2x4x3xf32>) -> tensor<1x2x4x3xf32> loc("sub")
    %add = "top.Add"(%sub, %n) : (tensor<1x2x4x3xf32>, tensor<3xf32>) -> tensor<1x2x4x3xf32> loc("add")
    %div = "top.Div"(%0, %k) : (tensor<1x2x4x4xf32>, tensor<f32>) -> tensor<1x2x4x4xf32> loc("div")
    %bn3 = "top.BatchNorm"(%0, %s2, %s2, %s2, %s2) : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32> loc("bn3")
    func.return %relu, %bn2, %add, %div, %bn3 : tensor<1x4x4x2xf32>, tensor<1x4x5x5xf32>, tensor<1x2x4x3xf32>, tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>
  }
}
