#include "broker/coordinator/consumer_subscription.h"

#include <cstdint>

namespace millrace::coordinator {
namespace {

// Reads big-endian integers from the front; nothing once the bytes run out.
std::optional<int32_t> take_int(Bytes& in, size_t width) {
  if (in.size() < width) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i) value = value << 8 | std::to_integer<uint32_t>(in[i]);
  in = in.subspan(width);
  return width == 2 ? static_cast<int16_t>(value) : static_cast<int32_t>(value);
}

}  // namespace

std::optional<std::vector<std::string_view>> subscribed_topics(Bytes metadata) {
  const auto version = take_int(metadata, 2);
  if (!version || *version < 0) return std::nullopt;
  const auto count = take_int(metadata, 4);
  if (!count || *count < 0 || static_cast<size_t>(*count) > metadata.size() / 2) return std::nullopt;
  std::vector<std::string_view> topics;
  topics.reserve(static_cast<size_t>(*count));
  for (int32_t i = 0; i < *count; ++i) {
    const auto length = take_int(metadata, 2);
    if (!length || *length < 0 || static_cast<size_t>(*length) > metadata.size()) return std::nullopt;
    topics.push_back(as_text(metadata.first(static_cast<size_t>(*length))));
    metadata = metadata.subspan(static_cast<size_t>(*length));
  }
  return topics;
}

}  // namespace millrace::coordinator
