// 16-bit floats as bits.
#pragma once

#include <cstdint>

namespace runner {

// Rounded to the nearest, ties to even.
uint16_t f16_bits(float value);
float f16_value(uint16_t bits);
uint16_t bf16_bits(float value);
float bf16_value(uint16_t bits);

}  // namespace runner
