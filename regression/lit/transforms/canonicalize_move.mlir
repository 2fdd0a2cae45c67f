// RUN: tpuc-opt %s --canonicalize | filecheck %s
// RUN: tpuc-opt %s --canonicalize --canonicalize | filecheck %s

// CHECK: "top.Input"{{.*}} loc(fused["same", "x"])
// A Reshape back goes with the first; an output that is the input stays.
// CHECK-NEXT: "top.Reshape"{{.*}} loc(fused["r1", "r2"])
// CHECK-NEXT: "top.Transpose"(%{{.*}}) {order = array<i64: 2, 1, 0>}
// CHECK-SAME: loc(fused["t1", "t2"])
// An output keeps its name when its op goes.
// CHECK-NEXT: "top.Tanh"{{.*}} loc(fused["h", "slice"])
// CHECK-NEXT: "top.Reshape"{{.*}} loc("copy")
// A shared operand is left to its other reader.
// CHECK-NEXT: "top.Transpose"(%{{.*}}) {order = array<i64: 1, 0, 2>}
// CHECK-SAME: loc("s1")
// CHECK-NEXT: "top.Transpose"(%{{.*}}) {order = array<i64: 2, 0, 1>}
// CHECK-SAME: loc("s2")
// CHECK-NEXT: func.return
module @m {
  func.func @main(%x: tensor<2x3x4xf32> loc("x")) -> (tensor<6x4xf32>, tensor<4x3x2xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<3x2x4xf32>, tensor<4x2x3xf32>) {
    %0 = "top.Input"(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("x")
    %same = "top.Cast"(%0) {to = "f32"} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("same")
    %r1 = "top.Reshape"(%same) {shape = array<i64: 24>} : (tensor<2x3x4xf32>) -> tensor<24xf32> loc("r1")
    %r2 = "top.Reshape"(%r1) {shape = array<i64: 6, 4>} : (tensor<24xf32>) -> tensor<6x4xf32> loc("r2")
    %t1 = "top.Transpose"(%0) {order = array<i64: 1, 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32> loc("t1")
    %t2 = "top.Transpose"(%t1) {order = array<i64: 1, 0, 2>} : (tensor<3x4x2xf32>) -> tensor<4x3x2xf32> loc("t2")
    %h = "top.Tanh"(%0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("h")
    %slice = "top.Slice"(%h) {starts = array<i64: 0, 0, 0>, ends = array<i64: 2, 3, 4>, steps = array<i64: 1, 1, 1>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("slice")
    %copy = "top.Reshape"(%0) {shape = array<i64: 2, 3, 4>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("copy")
    %s1 = "top.Transpose"(%0) {order = array<i64: 1, 0, 2>} : (tensor<2x3x4xf32>) -> tensor<3x2x4xf32> loc("s1")
    %s2 = "top.Transpose"(%s1) {order = array<i64: 2, 1, 0>} : (tensor<3x2x4xf32>) -> tensor<4x2x3xf32> loc("s2")
    func.return %r2, %t2, %slice, %copy, %s1, %s2 : tensor<6x4xf32>, tensor<4x3x2xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<3x2x4xf32>, tensor<4x2x3xf32>
  }
}
