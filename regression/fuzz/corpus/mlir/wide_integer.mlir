builtin.module @las attributes {m= "X", "T", mod = "781a49"} {
  func.func @main(%0: tensor<1x3x8x8xf32> loc("x")) -> tensor<1x5xf32> {
   "top.Input"(%0) : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32> loc("x")
    %2 = "top.Weight"() {key = "w_fix"} : () -> tensor<4x3x3x3xf32>
   "top.Weight"() {key = "b_2"} : () -> tensor<4xf32> loc("b_2")
    %4 = "top.Conv"(%1, %2, %3) {dns = array<i64: 1, 1>, des = array<i64: 2, 2>} : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>, tensor<4xf32>) -> tensor<1x4x4x4xf32> loc(fused["c_Conv", "n_Bat"])
   "top.MaxPool"(%4) {ce = array<i64: 1, 1>,e = array<i62>, pads = array<i64: 0, 0>, s = array<i642147483647: 2