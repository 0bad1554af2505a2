// The five codecs of record batches, in the framings that Kafka's clients use: gzip members, snappy in
// xerial's framing (Java) or bare (librdkafka), LZ4 frames, Zstandard frames.
#pragma once

#include <optional>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/result.h"

namespace millrace::protocol {

// Values as in bits 0-2 of a batch's attributes.
enum class Compression : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

// Kafka's names: "none", "gzip", "snappy", "lz4", "zstd".
std::string_view compression_name(Compression codec);
std::optional<Compression> compression_by_name(std::string_view name);

// The levels a codec accepts and Kafka's default. Snappy and none have no levels (all three are 0).
struct CompressionLevels {
  int min, max, standard;
};
CompressionLevels compression_levels(Compression codec);

// Compresses all of `in`. `level` as in compression_levels (a level outside is brought to the nearest one).
// Errors: kMessageTooLarge above 1 GiB, kUnknownServerError without memory; the bytes themselves don't
// matter.
Result<Buffer> compress(Compression codec, Bytes in, int level);
inline Result<Buffer> compress(Compression codec, Bytes in) {
  return compress(codec, in, compression_levels(codec).standard);
}

// Decompresses all of `in`, which must be complete. At most `limit` bytes come out, and no more than about
// that is ever allocated, whatever the input claims (limits above 1 GiB count as that). Errors:
// kInvalidRecord when the input is not what the codec writes (truncated, damaged, trailing bytes),
// kMessageTooLarge when more than `limit` would come out.
Result<Buffer> decompress(Compression codec, Bytes in, size_t limit);

// The same into `out`, whose contents are replaced and whose memory is reused. On error `out` holds nothing
// useful.
Result<void> decompress_into(Compression codec, Bytes in, size_t limit, Buffer& out);

}  // namespace millrace::protocol
