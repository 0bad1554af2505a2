// Whether bytes are UTF-8 text; keys and values may be anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::tools {

// Bytes of the well-formed sequence that the text starts with; 0 when it starts with none.
size_t utf8_sequence_size(std::string_view text);
bool is_utf8(std::string_view text);
void append_utf8(std::string& out, uint32_t code_point);
// Columns on a terminal, counting one per code point.
size_t display_width(std::string_view text);

}  // namespace millrace::tools
