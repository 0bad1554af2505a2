// Base64 (RFC 4648, with padding), for keys and values that aren't text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::tools {

std::string base64_encode(std::string_view bytes);
// Nothing when the text isn't base64; missing padding is accepted.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace millrace::tools
