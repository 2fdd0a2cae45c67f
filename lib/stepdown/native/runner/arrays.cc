#include "arrays.h"

#include <cmath>
#include <cstring>

#include "errors.h"
#include "floats.h"

namespace runner {
namespace {

template <class T>
double load(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return static_cast<double>(value);
}

template <class T>
void store(double value, uint8_t *to) {
    const T made = static_cast<T>(value);
    std::memcpy(to, &made, sizeof made);
}

double load_f16(const uint8_t *from) { return f16_value(static_cast<uint16_t>(load<uint16_t>(from))); }

void store_f16(double value, uint8_t *to) {
    const uint16_t bits = f16_bits(static_cast<float>(value));
    std::memcpy(to, &bits, sizeof bits);
}

struct Type {
    const char *name;
    double (*load)(const uint8_t *);
    void (*store)(double, uint8_t *);
    double least, greatest;  // of integers
};

const Type kTypes[] = {
    {"f2", load_f16, store_f16, 0, 0},
    {"f4", load<float>, store<float>, 0, 0},
    {"f8", load<double>, store<double>, 0, 0},
    {"b1", load<uint8_t>, store<uint8_t>, 0, 1},
    {"i1", load<int8_t>, store<int8_t>, -128, 127},
    {"u1", load<uint8_t>, store<uint8_t>, 0, 255},
    {"i2", load<int16_t>, store<int16_t>, -32768, 32767},
    {"u2", load<uint16_t>, store<uint16_t>, 0, 65535},
    {"i4", load<int32_t>, store<int32_t>, -0x1p31, 0x1p31 - 1},
    {"u4", load<uint32_t>, store<uint32_t>, 0, 0x1p32 - 1},
    {"i8", load<int64_t>, store<int64_t>, -0x1p63, 0x1p63 - 1024},
    {"u8", load<uint64_t>, store<uint64_t>, 0, 0x1p64 - 2048},
};

const Type &type_of(const std::string &name) {
    for (const Type &type : kTypes) {
        if (name == type.name) return type;
    }
    throw input_error("elements of numpy's type '" + name + "' are no numbers that a network takes");
}

}  // namespace

std::string numpy_type(const std::string &storage) {
    static const char *kNames[][2] = {
        {"f32", "f4"}, {"f16", "f2"}, {"bf16", "f4"}, {"f64", "f8"}, {"i1", "b1"},  {"i8", "i1"},  {"u8", "u1"},
        {"i16", "i2"}, {"u16", "u2"}, {"i32", "i4"},  {"u32", "u4"}, {"i64", "i8"}, {"u64", "u8"},
    };
    for (const auto &pair : kNames) {
        if (storage == pair[0]) return pair[1];
    }
    throw input_error("the metadata names an unknown type '" + storage + "'");
}

bool is_known(const std::string &type) {
    for (const Type &known : kTypes) {
        if (type == known.name) return true;
    }
    return false;
}

size_t elements(const Shape &shape) {
    double count = 1;
    for (const long size : shape) count *= size < 0 ? INFINITY : static_cast<double>(size);
    if (!(count <= 0x1p40)) throw input_error("a tensor of shape [" + shape_text(shape) + "] cannot be");
    return static_cast<size_t>(count);
}

std::string shape_text(const Shape &shape, const char *separator) {
    std::string made;
    for (const long size : shape) made += (made.empty() ? "" : separator) + std::to_string(size);
    return made;
}

Array transposed(const Array &array, const std::vector<long> &order) {
    Array made{array.type, {}, std::vector<uint8_t>(array.bytes.size())};
    const size_t rank = order.size(), width = array.width();
    std::vector<size_t> steps(rank, width), step_of(rank);
    for (size_t i = rank; i-- > 1;) steps[i - 1] = steps[i] * static_cast<size_t>(array.shape[i]);
    for (size_t i = 0; i < rank; ++i) {
        made.shape.push_back(array.shape[static_cast<size_t>(order[i])]);
        step_of[i] = steps[static_cast<size_t>(order[i])];
    }
    std::vector<long> place(rank, 0);
    size_t from = 0;
    for (size_t to = 0; to < made.bytes.size(); to += width) {
        std::memcpy(&made.bytes[to], &array.bytes[from], width);
        for (size_t i = rank; i-- > 0;) {
            from += step_of[i];
            if (++place[i] < made.shape[i]) break;
            from -= step_of[i] * static_cast<size_t>(made.shape[i]);
            place[i] = 0;
        }
    }
    return made;
}

std::vector<double> values_of(const Array &array) {
    const Type &type = type_of(array.type);
    std::vector<double> made(array.size());
    for (size_t i = 0; i < made.size(); ++i) made[i] = type.load(&array.bytes[i * array.width()]);
    return made;
}

Array array_of(const std::vector<double> &values, const std::string &type, const Shape &shape) {
    Array made{type, shape, {}};
    made.bytes.resize(values.size() * made.width());
    for (size_t i = 0; i < values.size(); ++i) type_of(type).store(values[i], &made.bytes[i * made.width()]);
    return made;
}

Array converted(const Array &array, const std::string &type, const std::string &name) {
    if (array.type == type) return array;
    const Type &wanted = type_of(type);
    const std::vector<double> values = values_of(array);
    bool fits = type[0] == 'f' && (array.is_real() || array.width() < static_cast<size_t>(type[1] - '0'));
    if (type[0] != 'f' && !array.is_real()) {
        fits = true;
        for (const double value : values) fits = fits && wanted.least <= value && value <= wanted.greatest;
    }
    if (!fits) {
        throw input_error("input '" + name + "' has numbers of type " + array.type + ", want " + type, "",
                          "convert it with npz_tool.py");
    }
    return array_of(values, type, array.shape);
}

}  // namespace runner
