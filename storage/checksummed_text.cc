#include "storage/checksummed_text.h"

#include <fmt/format.h>

#include "protocol/bytes.h"
#include "protocol/crc32c.h"

namespace millrace::storage {
namespace {

std::string checksum_line(std::string_view text) {
  return fmt::format("crc32c {:08x}\n", protocol::crc32c(as_bytes(text)));
}

}  // namespace

std::string with_checksum(std::string text) {
  text += checksum_line(text);
  return text;
}

std::optional<std::string> without_checksum(std::string_view text) {
  const size_t size = checksum_line("").size();
  if (text.size() < size) return std::nullopt;
  const std::string_view content = text.substr(0, text.size() - size);
  if (text.substr(content.size()) != checksum_line(content)) return std::nullopt;
  return std::string(content);
}

}  // namespace millrace::storage
