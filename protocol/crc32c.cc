#include "protocol/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace millrace::protocol {

uint32_t crc32c(Bytes data, uint32_t seed) {
  // ISA-L takes the length as int and leaves the customary inversions to the caller.
  constexpr size_t kPiece = size_t{1} << 30;
  uint32_t crc = ~seed;
  while (!data.empty()) {
    const size_t size = std::min(data.size(), kPiece);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
    crc = crc32_iscsi(bytes, static_cast<int>(size), crc);
    data = data.subspan(size);
  }
  return ~crc;
}

}  // namespace millrace::protocol
