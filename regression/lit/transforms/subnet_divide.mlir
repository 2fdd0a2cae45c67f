// RUN: tpuc-opt %s --convert-top-to-tpu="mode=F16 chip=bm1684x" --subnet-divide -o %t.mlir
// RUN: filecheck %s < %t.mlir
// RUN: tpuc-opt %t.mlir | filecheck %s
// RUN: not tpuc-opt %s --subnet-divide 2>&1 | filecheck %s --check-prefix=TOP
// RUN: not tpuc-opt %t.mlir --subnet-divide="chip=gemmini" 2>&1 | filecheck %s --check-prefix=CHIP
// TOP: is in state TOP_F32, want TPU_LOWERED; lower it with --convert-top-to-tpu=…
// CHIP: is lowered for chip bm1684x, not gemmini

// A Softmax has no command. What does not wait for it runs before it, in spite of the order in the text; what only moves
// its result stays with it; what computes from it is a third subnet.
// CHECK: module.subnets = ["npu", "host", "npu"]
// CHECK: "tpu.Relu"{{.*}}subnet = 0 : i64{{.*}} loc("a")
// CHECK: "tpu.Relu"{{.*}}subnet = 0 : i64{{.*}} loc("late")
// CHECK: "tpu.Softmax"{{.*}}subnet = 1 : i64{{.*}} loc("s")
// CHECK: "tpu.Transpose"{{.*}}subnet = 1 : i64{{.*}} loc("t")
// CHECK: "tpu.Add"{{.*}}subnet = 2 : i64{{.*}} loc("y")
module @m attributes {module.state = "TOP_F32"} {
  func.func @main(%x: tensor<4x4xf32> loc("x")) -> tensor<4x4xf32> {
    %0 = "top.Input"(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("x")
    %a = "top.Relu"(%0) : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("a")
    %s = "top.Softmax"(%a) {axis = 1 : i64} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("s")
    %t = "top.Transpose"(%s) {order = array<i64: 1, 0>} : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("t")
    %late = "top.Relu"(%0) : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("late")
    %y = "top.Add"(%t, %late) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32> loc("y")
    func.return %y : tensor<4x4xf32>
  }
}
