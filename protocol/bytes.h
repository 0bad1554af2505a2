// Views of raw bytes, and the buffer that owns some.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace millrace {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Buffer = std::vector<std::byte>;

// The same memory seen as bytes or as text; neither copies.
inline Bytes as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace millrace
