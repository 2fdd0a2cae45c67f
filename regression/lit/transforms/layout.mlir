// RUN: tpuc-opt %s --layout 2>&1 | filecheck %s
// RUN: tpuc-opt %s --layout --layout 2>&1 | filecheck %s --check-prefix=TWICE

// TWICE: layout: 4 transposes in, 2 left
// TWICE-NEXT: layout: 2 transposes in, 2 left

// A pool between two Transposes, a tensor in the source's layout with three readers, an output that is read in both.
// CHECK: layout: 4 transposes in, 2 left
// CHECK: "top.Input"
// CHECK-NEXT: "top.Transpose"{{.*}} {order = array<i64: 0, 3, 1, 2>} {{.*}} loc("p/in"("internal"))
// CHECK-NEXT: "top.MaxPool"{{.*}} -> tensor<1x3x4x6xf32> loc("p"("layout 0,2,3,1"))
// CHECK-NEXT: "top.Pad"{{.*}} {pads = array<i64: 0, 0, 1, 2, 0, 0, 0, 0>} {{.*}} -> tensor<1x3x5x8xf32> loc("pad"("layout 0,2,3,1"))
// CHECK-NEXT: "top.Relu"{{.*}} -> tensor<1x3x4x6xf32> loc("r/channels_first"("internal"("layout 0,2,3,1")))
// CHECK-NEXT: "top.Concat"{{.*}} {axis = 1 : i64} {{.*}} -> tensor<1x6x4x6xf32> loc("c"("layout 0,2,3,1"))
// CHECK-NEXT: "top.AveragePool"{{.*}} -> tensor<1x6x1x1xf32> loc("g"("layout 0,2,3,1"))
// The elements of [1, 6, 1, 1] and [1, 1, 1, 6] are in the same places.
// CHECK-NEXT: "top.Reshape"{{.*}} : (tensor<1x6x1x1xf32>) -> tensor<1x6xf32> loc("flat")
// CHECK-NEXT: "top.ReduceMax"{{.*}} {axes = array<i64: 2, 3>, keepdims = false} {{.*}} -> tensor<1x3xf32> loc("m")
// CHECK-NEXT: "top.Transpose"{{.*}} {order = array<i64: 0, 2, 3, 1>} {{.*}} -> tensor<1x4x6x3xf32> loc("r")
// CHECK-NEXT: func.return %{{.*}} : tensor<1x6xf32>, tensor<1x3xf32>, tensor<1x4x6x3xf32>
module @m attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<1x4x6x3xf32> loc("x")) -> (tensor<1x6xf32>, tensor<1x3xf32>, tensor<1x4x6x3xf32>) {
    %0 = "top.Input"(%x) : (tensor<1x4x6x3xf32>) -> tensor<1x4x6x3xf32> loc("x")
    %1 = "top.Transpose"(%0) {order = array<i64: 0, 3, 1, 2>} : (tensor<1x4x6x3xf32>) -> tensor<1x3x4x6xf32> loc("p/in"("internal"))
    %2 = "top.MaxPool"(%1) {dilations = array<i64: 1, 1>, kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<1x3x4x6xf32>) -> tensor<1x3x4x6xf32> loc("p/nchw"("internal"))
    %p = "top.Transpose"(%2) {order = array<i64: 0, 2, 3, 1>} : (tensor<1x3x4x6xf32>) -> tensor<1x4x6x3xf32> loc("p")
    %pad = "top.Pad"(%p) {pads = array<i64: 0, 1, 2, 0, 0, 0, 0, 0>} : (tensor<1x4x6x3xf32>) -> tensor<1x5x8x3xf32> loc("pad")
    %r = "top.Relu"(%p) : (tensor<1x4x6x3xf32>) -> tensor<1x4x6x3xf32> loc("r")
    %c = "top.Concat"(%p, %r) {axis = 3 : i64} : (tensor<1x4x6x3xf32>, tensor<1x4x6x3xf32>) -> tensor<1x4x6x6xf32> loc("c")
    %3 = "top.Transpose"(%c) {order = array<i64: 0, 3, 1, 2>} : (tensor<1x4x6x6xf32>) -> tensor<1x6x4x6xf32> loc("g/in"("internal"))
    %4 = "top.AveragePool"(%3) {dilations = array<i64: 1, 1>, kernel_shape = array<i64: 4, 6>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x6x4x6xf32>) -> tensor<1x6x1x1xf32> loc("g/nchw"("internal"))
    %g = "top.Transpose"(%4) {order = array<i64: 0, 2, 3, 1>} : (tensor<1x6x1x1xf32>) -> tensor<1x1x1x6xf32> loc("g")
    %flat = "top.Reshape"(%g) {shape = array<i64: 1, 6>} : (tensor<1x1x1x6xf32>) -> tensor<1x6xf32> loc("flat")
    %m = "top.ReduceMax"(%pad) {axes = array<i64: 1, 2>, keepdims = false} : (tensor<1x5x8x3xf32>) -> tensor<1x3xf32> loc("m")
    func.return %flat, %m, %r : tensor<1x6xf32>, tensor<1x3xf32>, tensor<1x4x6x3xf32>
  }
}
