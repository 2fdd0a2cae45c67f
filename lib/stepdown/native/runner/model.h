// A network's library: its functions, its tensors and what it says of itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arrays.h"
#include "json.h"
#include "stepdown.h"

namespace runner {

// How the integers of a tensor mean real numbers: real = (stored - zero_point) * scale.
struct Quantised {
    float scale = 0;  // 0: it is not quantised
    int zero_point = 0;
    std::string type;
};

struct Tensor {
    size_t index;
    std::string name, role, type, view_of;
    Shape shape;                      // as the network's program has it
    std::vector<long> order;          // it lies in memory as a tensor of `shape`, transposed by it
    std::vector<long> layout_order;   // to the layout in which it is shown; empty: that of `shape`
    Quantised quantised;
};

struct Input {
    std::string name;  // as a caller knows it
    const Tensor *tensor;
};

class Model {
public:
    // Throws Error: (input) no such file, or no library of a network for this processor; (resources) no memory, or not
    // so many threads.
    Model(const std::string &path, int threads);
    ~Model();
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    const std::string &path() const { return path_; }
    const Json &metadata() const { return metadata_; }
    const std::vector<Tensor> &tensors() const { return tensors_; }
    const std::vector<Input> &inputs() const { return inputs_; }
    std::vector<const Tensor *> outputs() const;

    // Throws Error (input) where the array has another shape or type than the input.
    void set(const Input &input, const Array &array);
    void run();
    // In the type in which it is stored (bf16 as f4), in the layout in which it is shown.
    Array get(const Tensor &tensor) const;

private:
    template <class Function>
    void find(Function &function, const char *name);
    void create(int threads);
    void describe();
    const Tensor *named(const std::string &name) const;
    Array reals(const Array &array, const Tensor &tensor) const;

    std::string path_;
    void *library_ = nullptr;
    sd_model *model_ = nullptr;
    decltype(&sd_tensors) sd_tensors_ = nullptr;
    decltype(&sd_missing) sd_missing_ = nullptr;
    decltype(&sd_create) sd_create_ = nullptr;
    decltype(&sd_data) sd_data_ = nullptr;
    decltype(&sd_run) sd_run_ = nullptr;
    decltype(&sd_destroy) sd_destroy_ = nullptr;
    Json metadata_;
    std::vector<Tensor> tensors_;
    std::vector<Input> inputs_;
};

// The real numbers that a tensor's stored ones mean.
std::vector<double> meaning(const Array &array, const Quantised &quantised);

}  // namespace runner
