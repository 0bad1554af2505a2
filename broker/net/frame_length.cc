#include "broker/net/frame_length.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace millrace::net {

int32_t read_length(Bytes four) {
  uint32_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length = (length << 8) | std::to_integer<uint32_t>(four[i]);
  return static_cast<int32_t>(length);
}

std::optional<std::string> refuse_length(Bytes four, int32_t max_frame_bytes) {
  const int32_t length = read_length(four);
  if (length >= kMinFrameBytes && length <= max_frame_bytes) return std::nullopt;
  constexpr std::array<std::string_view, 9> kHttpStarts{"GET ", "HEAD", "POST", "PUT ", "DELE",
                                                        "OPTI", "PATC", "CONN", "PRI "};
  const std::string_view text = as_text(four.first(kLengthBytes));
  for (const std::string_view start : kHttpStarts) {
    if (text == start) {
      return fmt::format(
          "that looks like an HTTP request (it begins with \"{}\"): this port speaks Kafka's protocol", text);
    }
  }
  if (text == "SSH-") return "that looks like an SSH client: this port speaks Kafka's protocol";
  if (four[0] == std::byte{0x16} && four[1] == std::byte{0x03}) {
    return "that looks like a TLS handshake: this port speaks Kafka's protocol without TLS "
           "(security.protocol=PLAINTEXT)";
  }
  if (length < 0) return fmt::format("a request can't be {} bytes long", length);
  if (length < kMinFrameBytes) {
    return fmt::format("a request of {} bytes is too short for its header ({} bytes at least)", length,
                       kMinFrameBytes);
  }
  return fmt::format("a request of {} bytes is over the limit of {} (socket.request.max.bytes)", length,
                     max_frame_bytes);
}

}  // namespace millrace::net
