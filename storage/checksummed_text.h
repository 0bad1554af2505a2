// The text of a small file that says what a log may forget: a flipped bit in a number must not pass for
// another number.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::storage {

// `text`, which ends with a new line, and behind it a line with its CRC32C.
std::string with_checksum(std::string text);
// What with_checksum was given; nothing if that isn't what `text` is.
std::optional<std::string> without_checksum(std::string_view text);

}  // namespace millrace::storage
