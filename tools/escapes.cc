#include "tools/escapes.h"

#include <fmt/format.h>

#include <charconv>

namespace millrace::tools {

Result<std::string> unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char c = i + 1 < text.size() ? text[++i] : '\0';
    switch (c) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case '0':
        out += '\0';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x': {
        unsigned byte = 0;
        const char* first = text.data() + i + 1;
        const char* last = text.data() + std::min(i + 3, text.size());
        const auto [end, error] = std::from_chars(first, last, byte, 16);
        if (error != std::errc() || end - first != 2) {
          return fail(ErrorCode::kInvalidRequest,
                      fmt::format("\"{}\": two hexadecimal digits must follow \\x", text));
        }
        out += static_cast<char>(byte);
        i += 2;
        break;
      }
      default:
        return fail(ErrorCode::kInvalidRequest,
                    fmt::format("\"{}\": unknown escape; there are \\n \\t \\r \\0 \\\\ \\xNN", text));
    }
  }
  return out;
}

}  // namespace millrace::tools
