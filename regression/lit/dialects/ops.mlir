// What is printed reads back as the same bytes, from a file and from stdin.
// RUN: tpuc-opt %s > %t.mlir
// RUN: filecheck %s < %t.mlir
// RUN: tpuc-opt %t.mlir | diff %t.mlir -
// RUN: tpuc-opt < %t.mlir | diff %t.mlir -
// RUN: tpuc-opt - < %t.mlir | diff %t.mlir -

// CHECK: builtin.module @ops attributes {module.platform = "ONNX", module.state = "TOP_F32"} {
// CHECK-NEXT: func.func @main(%{{.*}}: tensor<1x3x8x8xf32> loc("x")) -> (tensor<1x3x8x8xf32>, tensor<64x3xf32>) {
// CHECK-NEXT: "top.Input"(%{{.*}}) {channel_format = "nchw", mean = array<f64: 1.000000e+00, 2.500000e+00, 3.000000e+00>, preprocess = true}
// CHECK-SAME: loc("x")
// CHECK-NEXT: "top.None"() : () -> none
// CHECK-NEXT: "top.Relu"
// CHECK-SAME: loc(fused["a/b:0", "r;\22q\22"])
// CHECK-NEXT: "top.Split"{{.*}} -> (tensor<1x1x8x8xf32>, tensor<1x2x8x8xf32>) loc(fused["s0", "s1"])
// CHECK-NEXT: "top.Concat"{{.*}} {axis = 1 : i64}
// CHECK-NEXT: "top.Mul"{{.*}} {do_relu = true, relu_limit = 6.000000e+00 : f64}
// CHECK-NEXT: "top.Transpose"{{.*}} loc("t"("internal"))
// CHECK-NEXT: "top.Reshape"{{.*}} {shape = array<i64: 64, 3>}
module @ops attributes {module.state = "TOP_F32", module.platform = "ONNX"} {
  func.func @main(%x: tensor<1x3x8x8xf32> loc("x")) -> (tensor<1x3x8x8xf32>, tensor<64x3xf32>) {
    %0 = "top.Input"(%x) {preprocess = true, mean = array<f64: 1.0, 2.5, 3.0>, channel_format = "nchw"} : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32> loc("x")
    %none = "top.None"() : () -> none
    %1 = "top.Relu"(%0) : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32> loc(fused["a/b:0", "r;\"q\""])
    %2:2 = "top.Split"(%1) {axis = 1 : i64, sizes = array<i64: 1, 2>} : (tensor<1x3x8x8xf32>) -> (tensor<1x1x8x8xf32>, tensor<1x2x8x8xf32>) loc(fused["s0", "s1"])
    %3 = "top.Concat"(%2#1, %2#0) {axis = 1 : i64} : (tensor<1x2x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x3x8x8xf32> loc("c")
    %4 = "top.Mul"(%3, %0) {relu_limit = 6.0 : f64, do_relu = true} : (tensor<1x3x8x8xf32>, tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32> loc("m")
    %5 = "top.Transpose"(%4) {order = array<i64: 0, 2, 3, 1>} : (tensor<1x3x8x8xf32>) -> tensor<1x8x8x3xf32> loc("t"("internal"))
    %6 = "top.Reshape"(%5) {shape = array<i64: 64, 3>} : (tensor<1x8x8x3xf32>) -> tensor<64x3xf32> loc("y")
    func.return %4, %6 : tensor<1x3x8x8xf32>, tensor<64x3xf32>
  }
}
