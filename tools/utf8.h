// Whether bytes are UTF-8 text; keys and values may be anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/utf8.h"

namespace millrace::tools {

using protocol::is_utf8;
using protocol::utf8_sequence_size;

void append_utf8(std::string& out, uint32_t code_point);
// The text in one line that leaves a terminal alone: control characters and bytes that aren't UTF-8 as
// "\\xNN".
std::string visible(std::string_view text);
// Columns on a terminal, counting one per code point.
size_t display_width(std::string_view text);

}  // namespace millrace::tools
