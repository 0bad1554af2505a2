// CRC-32C (Castagnoli), the checksum of record batches and of our own files.
#pragma once

#include <cstdint>

#include "protocol/bytes.h"

namespace millrace::protocol {

// The checksum of `data`. A checksum over several pieces chains: crc32c(b, crc32c(a)) == crc32c(a then b).
uint32_t crc32c(Bytes data, uint32_t seed = 0);

}  // namespace millrace::protocol
