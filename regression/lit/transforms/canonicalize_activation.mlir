// RUN: tpuc-opt %s --canonicalize | filecheck %s

// CHECK: "top.Input"
// CHECK-NEXT: "top.Add"{{.*}} {do_relu = true, relu_limit = 6.000000e+00 : f64}
// CHECK-SAME: loc(fused["a", "clip"])
// A second reader needs the value before the ReLU; a MaxPool cannot carry one; a Clip from below 0 is none.
// CHECK-NEXT: "top.Mul"{{.*}} loc("m")
// CHECK-NEXT: "top.Relu"{{.*}} loc("relu")
// CHECK-NEXT: "top.Tanh"{{.*}} loc("h")
// CHECK-NEXT: "top.Relu"{{.*}} loc("hrelu")
// CHECK-NEXT: "top.Clip"{{.*}} loc("both")
// CHECK-NEXT: "top.Swish"{{.*}} loc(fused["gate", "swish"])
// CHECK-NEXT: "top.HardSwish"{{.*}} loc(fused["hgate", "hswish"])
// CHECK-NEXT: func.return
module @m {
  func.func @main(%x: tensor<4xf32> loc("x")) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
    %0 = "top.Input"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("x")
    %a = "top.Add"(%0, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a")
    %clip = "top.Clip"(%a) {min = 0.0 : f64, max = 6.0 : f64} : (tensor<4xf32>) -> tensor<4xf32> loc("clip")
    %m = "top.Mul"(%0, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("m")
    %relu = "top.Relu"(%m) : (tensor<4xf32>) -> tensor<4xf32> loc("relu")
    %h = "top.Tanh"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("h")
    %hrelu = "top.Relu"(%h) : (tensor<4xf32>) -> tensor<4xf32> loc("hrelu")
    %both = "top.Clip"(%0) {min = -1.0 : f64, max = 6.0 : f64} : (tensor<4xf32>) -> tensor<4xf32> loc("both")
    %gate = "top.Sigmoid"(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("gate")
    %swish = "top.Mul"(%gate, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("swish")
    %hgate = "top.HardSigmoid"(%0) {alpha = 0.16666666666666666 : f64, beta = 0.5 : f64} : (tensor<4xf32>) -> tensor<4xf32> loc("hgate")
    %hswish = "top.Mul"(%0, %hgate) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("hswish")
    func.return %clip, %m, %relu, %hrelu, %both, %swish, %hswish : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
}
