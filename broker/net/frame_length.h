// The four bytes before each request: which lengths are taken, and what strangers' bytes look like.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "protocol/bytes.h"

namespace millrace::net {

inline constexpr size_t kLengthBytes = 4;
// Api key, version, correlation id.
inline constexpr int32_t kMinFrameBytes = 8;

int32_t read_length(Bytes four);

// Why a frame of this length is refused, for the log; nothing when it is taken. Recognizes a TLS handshake,
// HTTP and SSH, whose first bytes read as absurd lengths.
std::optional<std::string> refuse_length(Bytes four, int32_t max_frame_bytes);

}  // namespace millrace::net
