// Tensors outside of a network, with the types that numpy has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace runner {

using Shape = std::vector<long>;

// Elements in a row, the last dimension fastest. `type` is numpy's: f4, i1, u1, b1, f2, ...
struct Array {
    std::string type;
    Shape shape;
    std::vector<uint8_t> bytes;

    size_t width() const { return static_cast<size_t>(type[1] - '0'); }
    size_t size() const { return bytes.size() / width(); }
    bool is_real() const { return type[0] == 'f'; }
};

// The numpy type of a storage type (i8, bf16, ...), which is that of the values: f4 for bf16. Throws Error (input).
std::string numpy_type(const std::string &storage);

// Whether a numpy type is one of numbers.
bool is_known(const std::string &type);

// The number of elements; 1 for no dimensions. Throws Error (input) for a negative size, or more than 2^40 elements.
size_t elements(const Shape &shape);

std::string shape_text(const Shape &shape, const char *separator = ", ");

// The dimensions in another order, as numpy's transpose.
Array transposed(const Array &array, const std::vector<long> &order);

// All elements as doubles; integers beyond 2^53 are rounded.
std::vector<double> values_of(const Array &array);

// An array of values, which fit its type.
Array array_of(const std::vector<double> &values, const std::string &type, const Shape &shape);

// Like `array`, as another type: floats of any width, and integers that fit. Throws Error (input) for another one.
Array converted(const Array &array, const std::string &type, const std::string &name);

}  // namespace runner
