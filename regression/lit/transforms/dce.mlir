// RUN: tpuc-opt %s --dce | filecheck %s
// What no output needs goes, whole chains of it; inputs stay.
// CHECK-COUNT-2: "top.Input"
// CHECK-NEXT: "top.Relu"{{.*}} loc("y")
// CHECK-NEXT: func.return
module @m {
  func.func @main(%x: tensor<4xf32> loc("x"), %z: tensor<4xf32> loc("z")) -> tensor<4xf32> {
    %0 = "top.Input"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("x")
    %1 = "top.Input"(%z) : (tensor<4xf32>) -> tensor<4xf32> loc("z")
    %none = "top.None"() : () -> none
    %2 = "top.Sigmoid"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("dead1")
    %3 = "top.Add"(%2, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("dead2")
    %4 = "top.Relu"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("y")
    func.return %4 : tensor<4xf32>
  }
}
