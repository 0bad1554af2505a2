#include "tools/utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::tools {

void append_utf8(std::string& out, uint32_t code_point) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
  } else {
    if (code_point < 0x10000) {
      put(0xE0 | (code_point >> 12));
    } else {
      put(0xF0 | (code_point >> 18));
      put(0x80 | ((code_point >> 12) & 0x3F));
    }
    put(0x80 | ((code_point >> 6) & 0x3F));
  }
  put(0x80 | (code_point & 0x3F));
}

std::string visible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t size = protocol::utf8_sequence_size(text);
    const std::string_view sequence = text.substr(0, std::max<size_t>(size, 1));
    const auto first = static_cast<unsigned char>(sequence[0]);
    // The second block of control characters, U+0080 to U+009F, moves cursors, too.
    const bool c1 = size == 2 && first == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;
    if (size == 0 || first < 0x20 || first == 0x7F || c1) {
      for (const char byte : sequence) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      out += sequence;
    }
    text.remove_prefix(sequence.size());
  }
  return out;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++width;
  }
  return width;
}

}  // namespace millrace::tools
