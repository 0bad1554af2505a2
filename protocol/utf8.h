// Which bytes are UTF-8 text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::protocol {

// Bytes of the well-formed sequence that the text starts with; 0 when it starts with none.
size_t utf8_sequence_size(std::string_view text);
bool is_utf8(std::string_view text);
// The text with each byte that isn't UTF-8 as "\xNN". A text that has such bytes, or what looks like one,
// has its backslashes so, too: different texts stay different.
std::string printable(std::string_view text);

}  // namespace millrace::protocol
