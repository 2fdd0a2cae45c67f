// npz files as numpy writes and reads them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "arrays.h"

namespace runner {

using Tensors = std::vector<std::pair<std::string, Array>>;  // in the order of the file

const Array *find(const Tensors &tensors, const std::string &name);

// The whole of a file. Throws Error (input) where there is none.
std::vector<uint8_t> read_file(const std::string &path);

// The arrays of numbers of an npz file (stored or deflated), or the one of an npy file under the name "".
// Members that hold something else (text, Python objects) and `__stepdown__` are left out. Throws Error (input).
Tensors read_npz(const std::string &path);

// Writes an npz file whose bytes depend on nothing but the tensors. Throws Error (resources).
void write_npz(const std::string &path, const Tensors &tensors);

}  // namespace runner
