#include "floats.h"

#include <cmath>
#include <cstring>

namespace runner {
namespace {

uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

float of_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

uint16_t f16_bits(float value) {
    const uint32_t bits = bits_of(value);
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    const float size = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7E00;
    if (size >= 65520.0f) return sign | 0x7C00;
    // Units of the last place: 2^-24 below 2^-14, else 2^(exponent - 10); nearbyint rounds ties to even.
    const int exponent = size < 0x1p-14f ? -14 : std::ilogb(size);
    const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(size, 10 - exponent)));
    return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + steps));
}

float f16_value(uint16_t bits) {
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return fraction ? std::nanf("") : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
    return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

uint16_t bf16_bits(float value) {
    const uint32_t bits = bits_of(value);
    if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16 & 0x8000) | 0x7FC0);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float bf16_value(uint16_t bits) { return of_bits(static_cast<uint32_t>(bits) << 16); }

}  // namespace runner
