builtin.module @las attributes {m= "X", "T", mod = "789"} {
  func.func @main( tensor<1xf32> loc("x")) -> tensor<1x5xf32> { "top.Input"(%0) : (tensor<1x38xf32>) -> tensor<1x38xf32> loc("x")  %2 = "top.Weight"() {k= "ix"} : () -> tensor<4xf32>
"top.Weight"() {key = "b_2"} : () -> tensor<4xf32> loc("b_2")
    %4 = "top.Conv"(%1, %2, %3) {dns = array<i64: 1, 1>, des = array<i6415: 2, 2