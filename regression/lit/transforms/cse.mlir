// RUN: python %S/../inputs/with_weights.py %s %t
// RUN: tpuc-opt %t/in.mlir --cse -o %t/out.mlir
// RUN: filecheck %s < %t/out.mlir
// RUN: python %S/../inputs/same_outputs.py %t/in.mlir %t/out.mlir | filecheck %s --check-prefix=SAME
// SAME: same outputs: p q t2 o1 o2

// Inputs and weights of other keys stay two; the kept op notes the names of the others, and outputs keep theirs.
// CHECK: "top.Input"{{.*}} loc("x1")
// CHECK-NEXT: "top.Input"{{.*}} loc("x2")
// CHECK-NEXT: "top.Weight"() {key = "w"}
// CHECK-NEXT: "top.Weight"() {key = "v"}
// CHECK-NEXT: "top.Add"{{.*}} loc(fused["a2", "a1"])
// CHECK-NEXT: "top.Add"{{.*}} loc("a3")
// CHECK-NEXT: "top.Tanh"{{.*}} loc(fused["t1", "t2"])
// CHECK-NEXT: "top.Mul"{{.*}} loc("p")
// CHECK-NEXT: "top.Mul"{{.*}} loc("q")
// CHECK-NEXT: "top.Relu"{{.*}} loc("o1")
// CHECK-NEXT: "top.Relu"{{.*}} loc("o2")
// CHECK-NEXT: func.return
module @m attributes {module.state = "TOP_F32", module.weight_file = "w.npz"} {
  func.func @main(%x: tensor<4xf32> loc("x1"), %z: tensor<4xf32> loc("x2")) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %0 = "top.Input"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("x1")
    %1 = "top.Input"(%z) : (tensor<4xf32>) -> tensor<4xf32> loc("x2")
    %w = "top.Weight"() {key = "w"} : () -> tensor<4xf32> loc("w")
    %w2 = "top.Weight"() {key = "w"} : () -> tensor<4xf32> loc("w")
    %v = "top.Weight"() {key = "v"} : () -> tensor<4xf32> loc("v")
    %a1 = "top.Add"(%0, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a1")
    %a2 = "top.Add"(%0, %w2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a2")
    %a3 = "top.Add"(%0, %v) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a3")
    %t1 = "top.Tanh"(%a1) : (tensor<4xf32>) -> tensor<4xf32> loc("t1")
    %t2 = "top.Tanh"(%a2) : (tensor<4xf32>) -> tensor<4xf32> loc("t2")
    %p = "top.Mul"(%t1, %t2) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("p")
    %q = "top.Mul"(%a3, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("q")
    %o1 = "top.Relu"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("o1")
    %o2 = "top.Relu"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("o2")
    func.return %p, %q, %t2, %o1, %o2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
