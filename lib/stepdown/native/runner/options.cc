#include "options.h"

#include <sys/stat.h>

#include <cstdlib>
#include <functional>
#include <vector>

#include "errors.h"

namespace runner {
namespace {

const char kIntroduction[] =
    R"(usage: run_model MODEL.so IMAGE [LABELS] [options]
       run_model NAME ARTIFACTS IMAGE LABELS [INPUT] [options]

Run a network's library on an image and print the classes that it finds. In the second form the library is
ARTIFACTS/NAME.so, and INPUT is the input that takes the image. IMAGE is a JPEG, PNG, BMP, TGA, GIF, PSD, HDR, PIC or
PNM picture, or an .npz file: with the input's tensor under its name, or with pixels, uint8[h, w, 3].
The image is prepared as the library says; options say otherwise.

options:
)";

const char kExamples[] = R"(
examples:
  run_model mobilenet_v2_int8.so cat.png labels.txt
  run_model resnet18 ../artifacts ../images/cat.png ../artifacts/labels.txt input0 --normalize
  run_model mobilenet_v2_int8.so cat.png --repeat 100 --json
)";

const int kMost = 1000000000, kMostThreads = 1024;

// Without a placeholder a flag takes no value.
struct Flag {
    const char *name, *placeholder, *help;
    std::function<void(Options &, const std::string &)> set;
};

double number(const std::string &text, const std::string &flag) {
    char *end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end) throw input_error("'" + text + "' is not a number", flag);
    return value;
}

std::vector<double> numbers(const std::string &text, const std::string &flag) {
    std::vector<double> made;
    for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
        end = text.find(',', begin);
        made.push_back(number(text.substr(begin, end - begin), flag));
    }
    return made;
}

int count_of(const std::string &text, const std::string &flag, int least, int most = kMost) {
    const double value = number(text, flag);
    if (!(value >= least && value <= most) || value != static_cast<int>(value)) {
        const std::string to = most < kMost ? " to " + std::to_string(most) : "";
        throw input_error("'" + text + "' is not a whole number from " + std::to_string(least) + to, flag);
    }
    return static_cast<int>(value);
}

std::vector<double> deviations(const std::string &text) {
    const std::vector<double> made = numbers(text, "--std");
    for (const double value : made) {
        if (!(value > 0)) throw input_error("'" + text + "' has a value that is not above 0", "--std");
    }
    return made;
}

std::vector<double> sizes(const std::string &text) {
    std::vector<double> made = numbers(text, "--resize_dims");
    for (const double value : made) count_of(std::to_string(static_cast<long>(value)), "--resize_dims", 1);
    if (made.size() > 2) throw input_error("want H,W or one size for both", "--resize_dims");
    return made;
}

double range(const std::string &text) {
    if (text != "1" && text != "255") throw input_error("'" + text + "' is none of 1, 255", "--range");
    return number(text, "--range");
}

std::string softmax(const std::string &text) {
    if (text != "auto" && text != "yes" && text != "no") throw input_error("'" + text + "' is none of auto, yes, no",
                                                                          "--softmax");
    return text;
}

std::string npz_name(const std::string &text, const std::string &flag) {
    if (text.size() < 5 || text.substr(text.size() - 4) != ".npz") throw input_error("does not end in .npz", flag);
    return text;
}

double pixel(const std::string &text) {
    const double value = number(text, "--pad_value");
    if (!(value >= 0 && value <= 255)) throw input_error("'" + text + "' is not a pixel's value", "--pad_value");
    return value;
}

const std::vector<Flag> &flags() {
    using T = const std::string &;
    static const std::vector<Flag> kFlags = {
        {"--normalize", "", "pixels in 0..1, less ImageNet's mean, by its standard deviation",
         [](Options &o, T) { o.overrides.normalize = true; }},
        {"--mean", "A,B,C", "the mean to subtract, in 0..1; one value a channel, in the network's order of channels",
         [](Options &o, T v) { o.overrides.mean = numbers(v, "--mean"); }},
        {"--std", "A,B,C", "the standard deviation to divide by, in 0..1",
         [](Options &o, T v) { o.overrides.std = deviations(v); }},
        {"--range", "1|255", "the range of pixels in which --mean and --std are given (default 1)",
         [](Options &o, T v) { o.overrides.range = range(v); }},
        {"--rgb", "", "the network takes red first", [](Options &o, T) { o.overrides.pixel_format = "rgb"; }},
        {"--bgr", "", "the network takes blue first", [](Options &o, T) { o.overrides.pixel_format = "bgr"; }},
        {"--resize_dims", "H,W", "the size to resize to, before the input's size is cropped from the centre",
         [](Options &o, T v) { o.overrides.resize_dims = sizes(v); }},
        {"--resize_method", "NAME", "bilinear, bicubic, or with Pillow's bytes bilinear_u8, bicubic_u8",
         [](Options &o, T v) { o.overrides.resize_method = v; }},
        {"--keep_aspect_ratio", "", "keep the photo's shape", [](Options &o, T) { o.overrides.keep_aspect_ratio = 1; }},
        {"--stretch", "", "do not keep it", [](Options &o, T) { o.overrides.keep_aspect_ratio = 0; }},
        {"--keep_ratio_mode", "NAME", "letterbox (fit in and pad) or short_side_scale (cover)",
         [](Options &o, T v) { o.overrides.keep_ratio_mode = v; }},
        {"--pad_value", "N", "the pixel value to pad with, 0..255",
         [](Options &o, T v) { o.overrides.pad_value = pixel(v); }},
        {"--pad_type", "NAME", "center, or normal: pad below and at the right",
         [](Options &o, T v) { o.overrides.pad_type = v; }},
        {"--softmax", "auto|yes|no", "make probabilities of the output (auto: unless it holds some)",
         [](Options &o, T v) { o.softmax = softmax(v); }},
        {"--top", "N", "the number of classes to print (default 5)",
         [](Options &o, T v) { o.top = count_of(v, "--top", 1); }},
        {"--threads", "N", "the threads to run on (default 1)",
         [](Options &o, T v) { o.threads = count_of(v, "--threads", 1, kMostThreads); }},
        {"--repeat", "N", "run N times more and print the median time and the 90th percentile",
         [](Options &o, T v) { o.repeat = count_of(v, "--repeat", 1); }},
        {"--warmup", "N", "with --repeat, the runs before those that are timed (default 10)",
         [](Options &o, T v) { o.warmup = count_of(v, "--warmup", 0); }},
        {"--output", "X.npz", "write the outputs", [](Options &o, T v) { o.output = npz_name(v, "--output"); }},
        {"--dump_all_tensors", "", "write every tensor that the library keeps, not only the outputs",
         [](Options &o, T) { o.dump_all_tensors = true; }},
        {"--save_input", "X.npz", "write the inputs as the network gets them",
         [](Options &o, T v) { o.save_input = npz_name(v, "--save_input"); }},
        {"--json", "", "print the result as JSON", [](Options &o, T) { o.json = true; }},
        {"--help", "", "print this", [](Options &o, T) { o.help = true; }},
    };
    return kFlags;
}

// Sets what an argument such as "--top" or "--top=3" says, and returns how many arguments it took.
int take(Options &options, const std::vector<std::string> &arguments, size_t at) {
    const std::string &argument = arguments[at];
    const size_t equals = argument.find('=');
    const std::string name = argument == "-h" ? "--help" : argument.substr(0, equals);
    for (const Flag &flag : flags()) {
        if (name != flag.name) continue;
        const bool wants_value = *flag.placeholder, has_value = equals != std::string::npos;
        if (!wants_value && has_value) throw input_error("takes no value", name);
        if (wants_value && !has_value && at + 1 == arguments.size()) {
            throw input_error("expected one argument", name, "see run_model --help");
        }
        flag.set(options, !wants_value ? "" : has_value ? argument.substr(equals + 1) : arguments[at + 1]);
        return wants_value && !has_value ? 2 : 1;
    }
    throw input_error("unrecognized arguments: " + argument, "", "see run_model --help");
}

std::string stem(const std::string &path) {
    const size_t slash = path.rfind('/');
    const std::string base = slash == std::string::npos ? path : path.substr(slash + 1);
    return base.substr(0, base.rfind('.'));
}

// The library of a name in a folder: NAME.so, or as TVM's guides call it.
std::string library_in(const std::string &folder, const std::string &name) {
    struct stat about;
    const std::string with_suffix = folder + "/" + name + "_tvm.so", plain = folder + "/" + name + ".so";
    return stat(plain.c_str(), &about) != 0 && stat(with_suffix.c_str(), &about) == 0 ? with_suffix : plain;
}

void set_files(Options &o, const std::vector<std::string> &files) {
    if (o.help) return;
    if (files.size() < 2 || files.size() > 5) {
        throw input_error("want MODEL.so IMAGE [LABELS], or NAME ARTIFACTS IMAGE LABELS [INPUT]", "",
                          "see run_model --help");
    }
    if (files.size() <= 3) {
        o.model = files[0];
        o.name = stem(files[0]);
    } else {
        o.name = files[0];
        o.model = library_in(files[1], files[0]);
        o.input = files.size() == 5 ? files[4] : "";
    }
    const size_t image = files.size() <= 3 ? 1 : 2;
    o.image = files[image];
    o.labels = files.size() > image + 1 ? files[image + 1] : "";
}

}  // namespace

Options parse_options(int count, char **given) {
    const std::vector<std::string> arguments(given + 1, given + count);
    Options made;
    std::vector<std::string> files;
    for (size_t at = 0; at < arguments.size();) {
        const bool is_flag = arguments[at].size() > 1 && arguments[at][0] == '-';
        if (!is_flag) files.push_back(arguments[at]);
        at += is_flag ? static_cast<size_t>(take(made, arguments, at)) : 1;
    }
    set_files(made, files);
    return made;
}

std::string help_text() {
    const size_t kColumn = 28;
    std::string made = kIntroduction;
    for (const Flag &flag : flags()) {
        std::string line = std::string("  ") + flag.name + (*flag.placeholder ? " " : "") + flag.placeholder;
        line.resize(std::max(line.size() + 1, kColumn), ' ');
        made += line + flag.help + "\n";
    }
    return made + kExamples;
}

}  // namespace runner
