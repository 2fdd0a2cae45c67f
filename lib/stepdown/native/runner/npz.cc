#include "npz.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <sys/stat.h>

#include "errors.h"
#include "stb_image.h"

namespace runner {
namespace {

const char kMetadata[] = "__stepdown__";
const uint32_t kLocal = 0x04034B50, kCentral = 0x02014B50, kEnd = 0x06054B50;
const size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
const size_t kLargestMember = size_t(1) << 30;  // what stb's decoder counts with ints

using Bytes = std::vector<uint8_t>;

// Numbers of a zip file, which have their lowest byte first; outside of the file is an error.
class Reader {
public:
    Reader(const Bytes &bytes, const std::string &path) : bytes_(bytes), path_(path) {}

    uint32_t number(size_t at, size_t width) const {
        check(at, width);
        uint32_t made = 0;
        for (size_t i = width; i-- > 0;) made = made << 8 | bytes_[at + i];
        return made;
    }

    const uint8_t *part(size_t at, size_t count) const {
        check(at, count);
        return bytes_.data() + at;
    }

    void check(size_t at, size_t count) const {
        if (at > bytes_.size() || count > bytes_.size() - at) fail();
    }

    [[noreturn]] void fail(const std::string &why = "cut off or damaged") const {
        throw input_error("broken npz file (" + why + ")", path_);
    }

    size_t size() const { return bytes_.size(); }

private:
    const Bytes &bytes_;
    const std::string &path_;
};

struct Member {
    std::string name;
    Bytes bytes;
};

// stb wants to see some bytes beyond the packed ones, as a zlib stream has; the list of members lies there.
const size_t kBeyond = 8;

Bytes inflated(const Reader &file, size_t at, size_t packed, size_t size) {
    Bytes made(size + 1);
    packed += kBeyond;
    const int got = stbi_zlib_decode_noheader_buffer(reinterpret_cast<char *>(made.data()), static_cast<int>(size + 1),
                                                     reinterpret_cast<const char *>(file.part(at, packed)),
                                                     static_cast<int>(packed));
    if (got < 0 || static_cast<size_t>(got) != size) file.fail();
    made.resize(size);
    return made;
}

uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < count; ++i) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

// The member that the record at `at` of the file's list of members names.
Member read_member(const Reader &file, size_t at) {
    const uint32_t method = file.number(at + 10, 2), crc = file.number(at + 16, 4);
    const size_t packed = file.number(at + 20, 4), size = file.number(at + 24, 4);
    const size_t local = file.number(at + 42, 4), name_size = file.number(at + 28, 2);
    if (file.number(local, 4) != kLocal) file.fail();
    if (size > kLargestMember || packed > kLargestMember) file.fail("a member of more than 1 GiB");
    const size_t begin = local + kLocalBytes + file.number(local + 26, 2) + file.number(local + 28, 2);
    Member made;
    made.name.assign(reinterpret_cast<const char *>(file.part(at + kCentralBytes, name_size)), name_size);
    if (method == 0) {
        made.bytes.assign(file.part(begin, size), file.part(begin, size) + size);
    } else if (method == 8) {
        made.bytes = inflated(file, begin, packed, size);
    } else {
        file.fail("a member is packed by method " + std::to_string(method));
    }
    if (crc32(made.bytes.data(), size) != crc) file.fail("the check sum of '" + made.name + "' is another");
    return made;
}

std::vector<Member> read_members(const Reader &file) {
    size_t end = file.size() < kEndBytes ? 0 : file.size() - kEndBytes;
    while (end > 0 && file.number(end, 4) != kEnd) --end;
    if (file.size() < kEndBytes || file.number(end, 4) != kEnd) file.fail();
    std::vector<Member> made;
    size_t at = file.number(end + 16, 4);
    for (uint32_t left = file.number(end + 10, 2); left > 0; --left) {
        if (file.number(at, 4) != kCentral) file.fail();
        made.push_back(read_member(file, at));
        at += kCentralBytes + file.number(at + 28, 2) + file.number(at + 30, 2) + file.number(at + 32, 2);
    }
    return made;
}

// What follows a key in the header of an npy file: a literal of Python.
std::string header_value(const std::string &header, const std::string &key) {
    const size_t found = header.find("'" + key + "':");
    return found == std::string::npos ? "" : header.substr(header.find_first_not_of(' ', found + key.size() + 3));
}

Shape parse_shape(const std::string &literal) {
    Shape made;
    const char *at = literal.c_str() + 1;
    for (char *end = nullptr;; at = end + std::strspn(end, ", L")) {
        const long size = std::strtol(at, &end, 10);
        if (end == at) return made;
        made.push_back(size);
    }
}

void to_little_endian(Array &array) {
    const size_t width = array.width();
    for (size_t at = 0; at < array.bytes.size(); at += width) {
        for (size_t i = 0; i < width / 2; ++i) std::swap(array.bytes[at + i], array.bytes[at + width - 1 - i]);
    }
}

// Whether `type`, such as "<f4", is one of numbers.
bool is_numeric(const std::string &type) {
    return type.size() == 3 && std::strchr("<>|=", type[0]) && is_known(type.substr(1));
}

// The array of an npy file; false where it is none of numbers.
bool parse_npy(const Bytes &bytes, const Reader &file, Array &made) {
    if (bytes.size() < 12 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) return false;
    const bool is_old = bytes[6] == 1;
    const size_t header_size = is_old ? bytes[8] | bytes[9] << 8
                                      : bytes[8] | bytes[9] << 8 | bytes[10] << 16 | size_t(bytes[11]) << 24;
    const size_t begin = (is_old ? 10 : 12) + header_size;
    if (begin > bytes.size()) file.fail();
    const std::string header(bytes.begin() + (is_old ? 10 : 12), bytes.begin() + static_cast<long>(begin));
    const std::string literal = header_value(header, "descr"), type = literal.substr(literal.empty() ? 0 : 1, 3);
    if (!is_numeric(type)) return false;
    const bool columns_first = header_value(header, "fortran_order").rfind("True", 0) == 0;
    made = Array{type.substr(1), parse_shape(header_value(header, "shape")), {}};
    const size_t count = elements(made.shape) * made.width();
    if (bytes.size() - begin < count) file.fail();
    made.bytes.assign(bytes.begin() + static_cast<long>(begin), bytes.begin() + static_cast<long>(begin + count));
    if (type[0] == '>') to_little_endian(made);
    if (columns_first) {
        std::reverse(made.shape.begin(), made.shape.end());
        std::vector<long> order;
        for (size_t i = made.shape.size(); i-- > 0;) order.push_back(static_cast<long>(i));
        made = transposed(made, order);
    }
    return true;
}

void put(Bytes &to, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

Bytes npy_bytes(const Array &array) {
    const char order = array.width() == 1 ? '|' : '<';
    std::string header = "{'descr': '" + (order + array.type) + "', 'fortran_order': False, 'shape': (" +
                         shape_text(array.shape) + (array.shape.size() == 1 ? ",), }" : "), }");
    header.append(64 - (header.size() + 11) % 64, ' ');
    header += '\n';
    Bytes made = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    put(made, header.size(), 2);
    made.insert(made.end(), header.begin(), header.end());
    made.insert(made.end(), array.bytes.begin(), array.bytes.end());
    return made;
}

// The fields that a member's own header and the list of members share.
void put_common(Bytes &to, const Bytes &member, size_t name_size) {
    put(to, 20, 2);  // the version that can read it
    put(to, 0x800, 2);  // names are UTF-8
    put(to, 0, 2);  // stored
    put(to, 0, 2);
    put(to, 0x21, 2);  // 1 January 1980
    put(to, crc32(member.data(), member.size()), 4);
    put(to, member.size(), 4);
    put(to, member.size(), 4);
    put(to, name_size, 2);
    put(to, 0, 2);
}

}  // namespace

const Array *find(const Tensors &tensors, const std::string &name) {
    for (const auto &pair : tensors) {
        if (pair.first == name) return &pair.second;
    }
    return nullptr;
}

Bytes read_file(const std::string &path) {
    struct stat about;
    if (stat(path.c_str(), &about) != 0) throw input_error("no such file", path);
    if (S_ISDIR(about.st_mode)) throw input_error("is a directory", path);
    std::ifstream file(path, std::ios::binary);
    if (!file) throw input_error(std::string("cannot be read: ") + std::strerror(errno), path);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

Tensors read_npz(const std::string &path) {
    const Bytes bytes = read_file(path);
    const Reader file(bytes, path);
    Tensors made;
    Array array;
    if (parse_npy(bytes, file, array)) return {{"", array}};
    for (const Member &member : read_members(file)) {
        const size_t stem = member.name.size() - std::min<size_t>(member.name.size(), 4);
        const std::string name = member.name.substr(stem) == ".npy" ? member.name.substr(0, stem) : member.name;
        if (name != kMetadata && parse_npy(member.bytes, file, array)) made.emplace_back(name, array);
    }
    return made;
}

void write_npz(const std::string &path, const Tensors &tensors) {
    Bytes file, list;
    for (const auto &pair : tensors) {
        const std::string name = pair.first + ".npy";
        const Bytes member = npy_bytes(pair.second);
        put(list, kCentral, 4);
        put(list, 20, 2);
        put_common(list, member, name.size());
        put(list, 0, 2);
        put(list, 0, 8);
        put(list, file.size(), 4);
        list.insert(list.end(), name.begin(), name.end());
        put(file, kLocal, 4);
        put_common(file, member, name.size());
        file.insert(file.end(), name.begin(), name.end());
        file.insert(file.end(), member.begin(), member.end());
    }
    const size_t list_at = file.size();
    if (list_at + list.size() > 0xFFFFFFFFu) throw Error(kResources, path + ": would take more than 4 GiB");
    file.insert(file.end(), list.begin(), list.end());
    put(file, kEnd, 4);
    put(file, 0, 4);
    put(file, tensors.size(), 2);
    put(file, tensors.size(), 2);
    put(file, list.size(), 4);
    put(file, list_at, 4);
    put(file, 0, 2);
    std::ofstream out(path, std::ios::binary);
    if (!out) throw input_error(std::string("cannot be written: ") + std::strerror(errno), path);
    out.write(reinterpret_cast<const char *>(file.data()), static_cast<std::streamsize>(file.size()));
    if (!out.flush()) throw Error(kResources, path + ": " + std::strerror(errno));
}

}  // namespace runner
