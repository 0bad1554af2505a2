#include "protocol/compression.h"

#include <fmt/format.h>
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace millrace::protocol {
namespace {

using namespace std::string_view_literals;

constexpr std::array kNames = {"none"sv, "gzip"sv, "snappy"sv, "lz4"sv, "zstd"sv};

// The output grows by doubling from here, so that memory follows what really comes out, not what is claimed.
constexpr size_t kFirstOutputSize = size_t{16} << 10;
// What Kafka's Java clients and broker write: blocks of 32 KiB, LZ4 blocks of 64 KiB without content size.
constexpr size_t kXerialBlockSize = size_t{32} << 10;
constexpr std::array<uint8_t, 16> kXerialHeader = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                                   0,    0,   0,   1,   0,   0,   0,   1};
constexpr size_t kXerialMagicSize = 8;
// Frames that ask for a larger window than this are refused: the window is memory.
constexpr int kZstdMaxWindowLog = 27;
// A decompression context that grew beyond this isn't kept for the next batch.
constexpr size_t kZstdMaxKeptContextSize = size_t{4} << 20;
// No batch is larger (its length is an int32), so no codec has to mind 32-bit sizes.
constexpr size_t kMaxSize = size_t{1} << 30;

std::unexpected<Error> malformed(Compression codec, std::string_view what) {
  return fail(ErrorCode::kInvalidRecord, fmt::format("Malformed {} data: {}", compression_name(codec), what));
}

std::unexpected<Error> too_large(Compression codec, size_t limit) {
  return fail(ErrorCode::kMessageTooLarge,
              fmt::format("The {} data decompresses to more than the limit of {} bytes",
                          compression_name(codec), limit));
}

std::unexpected<Error> no_memory(Compression codec) {
  return fail(ErrorCode::kUnknownServerError,
              fmt::format("No memory for a {} context", compression_name(codec)));
}

// Room for more output in `out` after `used` bytes. At the limit there is one byte more, in which a codec
// that still has something to say can show it.
MutableBytes more_room(Buffer& out, size_t used, size_t limit) {
  if (used == out.size()) {
    const size_t wanted = std::max(kFirstOutputSize, out.size() * 2);
    out.resize(std::min(wanted, limit + 1));
  }
  return MutableBytes(out).subspan(used);
}

uint32_t read_big_endian32(Bytes in) {
  uint32_t value;
  std::memcpy(&value, in.data(), sizeof(value));
  return __builtin_bswap32(value);
}

// ---- gzip

constexpr int kGzipWindowBits = 15 + 16;  // the largest window; 16 says gzip instead of zlib

Result<Buffer> gzip_compress(Bytes in, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return no_memory(Compression::kGzip);
  }
  const std::unique_ptr<z_stream, decltype(&deflateEnd)> owner(&stream, deflateEnd);
  Buffer out(deflateBound(&stream, in.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) return no_memory(Compression::kGzip);
  out.resize(stream.total_out);
  return out;
}

// Several members one after the other count as one stream, as in Java's GZIPInputStream.
Result<void> gzip_decompress(Bytes in, size_t limit, Buffer& out) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindowBits) != Z_OK) return no_memory(Compression::kGzip);
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> owner(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  size_t used = 0;
  while (true) {
    const MutableBytes room = more_room(out, used, limit);
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = static_cast<uInt>(room.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    used += room.size() - stream.avail_out;
    if (used > limit) return too_large(Compression::kGzip, limit);
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
      return malformed(Compression::kGzip, "it ends too early");
    } else if (status != Z_OK) {
      return malformed(Compression::kGzip, stream.msg != nullptr ? stream.msg : "not a gzip stream");
    }
  }
  out.resize(used);
  return {};
}

// ---- snappy

Buffer snappy_compress(Bytes in) {
  const size_t blocks = (in.size() + kXerialBlockSize - 1) / kXerialBlockSize;
  Buffer out(kXerialHeader.size() + blocks * (4 + snappy::MaxCompressedLength(kXerialBlockSize)));
  std::memcpy(out.data(), kXerialHeader.data(), kXerialHeader.size());
  size_t used = kXerialHeader.size();
  while (!in.empty()) {
    const size_t size = std::min(in.size(), kXerialBlockSize);
    size_t compressed = 0;
    snappy::RawCompress(as_text(in).data(), size, reinterpret_cast<char*>(out.data() + used + 4),
                        &compressed);
    const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(compressed));
    std::memcpy(out.data() + used, &length, 4);
    used += 4 + compressed;
    in = in.subspan(size);
  }
  out.resize(used);
  return out;
}

// Appends one snappy block to `out`, which holds `used` bytes so far.
Result<void> snappy_append_block(Bytes block, size_t limit, size_t used, Buffer& out) {
  // Snappy's densest element makes 64 bytes from 3; a claim beyond that is a lie, not worth an allocation.
  constexpr size_t kMaxRatio = 22;
  size_t size = 0;
  if (!snappy::GetUncompressedLength(as_text(block).data(), block.size(), &size)) {
    return malformed(Compression::kSnappy, "no length at the start of a block");
  }
  if (size > block.size() * kMaxRatio) return malformed(Compression::kSnappy, "impossible length of a block");
  if (size > limit - used) return too_large(Compression::kSnappy, limit);
  if (out.size() < used + size) out.resize(std::min(std::max(used + size, out.size() * 2), limit));
  if (!snappy::RawUncompress(as_text(block).data(), block.size(),
                             reinterpret_cast<char*>(out.data() + used))) {
    return malformed(Compression::kSnappy, "damaged block");
  }
  return {};
}

bool starts_with_xerial_header(Bytes in) {
  return in.size() >= kXerialHeader.size() &&
         std::memcmp(in.data(), kXerialHeader.data(), kXerialMagicSize) == 0;
}

Result<void> snappy_decompress(Bytes in, size_t limit, Buffer& out) {
  size_t used = 0;
  if (!starts_with_xerial_header(in)) {
    if (auto done = snappy_append_block(in, limit, 0, out); !done) return done;
    snappy::GetUncompressedLength(as_text(in).data(), in.size(), &used);
    out.resize(used);
    return {};
  }
  while (!in.empty()) {
    // Streams may follow each other; no block is as long as the header's first four bytes would say.
    if (starts_with_xerial_header(in)) {
      in = in.subspan(kXerialHeader.size());
      continue;
    }
    if (in.size() < 4) return malformed(Compression::kSnappy, "it ends too early");
    const size_t length = read_big_endian32(in);
    in = in.subspan(4);
    if (length > in.size()) return malformed(Compression::kSnappy, "it ends too early");
    if (auto done = snappy_append_block(in.first(length), limit, used, out); !done) return done;
    size_t size = 0;
    snappy::GetUncompressedLength(as_text(in).data(), length, &size);
    used += size;
    in = in.subspan(length);
  }
  out.resize(used);
  return {};
}

// ---- lz4

Result<Buffer> lz4_compress(Bytes in, int level) {
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // the only kind that Java's reader takes
  // Kafka's levels go to the high-compression coder, except that its default means the fast one.
  preferences.compressionLevel = level == compression_levels(Compression::kLz4).standard ? 0 : level;
  Buffer out(LZ4F_compressFrameBound(in.size(), &preferences));
  const size_t size = LZ4F_compressFrame(out.data(), out.size(), in.data(), in.size(), &preferences);
  if (LZ4F_isError(size) != 0) return no_memory(Compression::kLz4);
  out.resize(size);
  return out;
}

// Java's reader takes one kind of frame only: version 1 with independent blocks. A batch of another kind
// would be stored for consumers that can't read it, so Kafka refuses it at the door and so do we.
bool is_lz4_frame_for_java(Bytes in) {
  constexpr std::array<uint8_t, 4> kMagic = {0x04, 0x22, 0x4d, 0x18};
  constexpr auto kVersionAndIndependence = std::byte{0xe0};
  return in.size() > kMagic.size() && std::memcmp(in.data(), kMagic.data(), kMagic.size()) == 0 &&
         (in[kMagic.size()] & kVersionAndIndependence) == std::byte{0x60};
}

Result<void> lz4_decompress(Bytes in, size_t limit, Buffer& out) {
  if (!is_lz4_frame_for_java(in)) return malformed(Compression::kLz4, "not a frame of independent blocks");
  LZ4F_dctx* context = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0)
    return no_memory(Compression::kLz4);
  const std::unique_ptr<LZ4F_dctx, decltype(&LZ4F_freeDecompressionContext)> owner(
      context, LZ4F_freeDecompressionContext);
  size_t used = 0;
  while (true) {
    const MutableBytes room = more_room(out, used, limit);
    size_t written = room.size();
    size_t consumed = in.size();
    const size_t hint = LZ4F_decompress(context, room.data(), &written, in.data(), &consumed, nullptr);
    if (LZ4F_isError(hint) != 0) return malformed(Compression::kLz4, LZ4F_getErrorName(hint));
    used += written;
    in = in.subspan(consumed);
    if (used > limit) return too_large(Compression::kLz4, limit);
    if (hint == 0 && in.empty()) break;
    if (written == 0 && consumed == 0) return malformed(Compression::kLz4, "it ends too early");
  }
  out.resize(used);
  return {};
}

// ---- zstd

Result<Buffer> zstd_compress(Bytes in, int level) {
  Buffer out(ZSTD_compressBound(in.size()));
  const size_t size = ZSTD_compress(out.data(), out.size(), in.data(), in.size(), level);
  if (ZSTD_isError(size) != 0) return no_memory(Compression::kZstd);
  out.resize(size);
  return out;
}

using ZstdContext = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

Result<void> zstd_decompress_with(ZSTD_DCtx* context, Bytes in, size_t limit, Buffer& out) {
  ZSTD_inBuffer input{in.data(), in.size(), 0};
  size_t used = 0;
  while (true) {
    const MutableBytes room = more_room(out, used, limit);
    ZSTD_outBuffer output{room.data(), room.size(), 0};
    const size_t before = input.pos;
    const size_t hint = ZSTD_decompressStream(context, &output, &input);
    if (ZSTD_isError(hint) != 0) return malformed(Compression::kZstd, ZSTD_getErrorName(hint));
    used += output.pos;
    if (used > limit) return too_large(Compression::kZstd, limit);
    if (hint == 0 && input.pos == input.size) break;
    if (output.pos == 0 && input.pos == before) return malformed(Compression::kZstd, "it ends too early");
  }
  out.resize(used);
  return {};
}

Result<void> zstd_decompress(Bytes in, size_t limit, Buffer& out) {
  // Making a context costs more than decompressing a small batch.
  thread_local ZstdContext context(nullptr, ZSTD_freeDCtx);
  if (context == nullptr) {
    context.reset(ZSTD_createDCtx());
    if (context == nullptr) return no_memory(Compression::kZstd);
    ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdMaxWindowLog);
  }
  ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  auto done = zstd_decompress_with(context.get(), in, limit, out);
  if (ZSTD_sizeof_DCtx(context.get()) > kZstdMaxKeptContextSize) context.reset();
  return done;
}

}  // namespace

std::string_view compression_name(Compression codec) { return kNames[static_cast<size_t>(codec)]; }

std::optional<Compression> compression_by_name(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Compression>(found - kNames.begin());
}

CompressionLevels compression_levels(Compression codec) {
  switch (codec) {
    case Compression::kGzip:
      return {1, 9, -1};
    case Compression::kLz4:
      return {1, 17, 9};
    case Compression::kZstd:
      return {ZSTD_minCLevel(), ZSTD_maxCLevel(), ZSTD_CLEVEL_DEFAULT};
    case Compression::kNone:
    case Compression::kSnappy:
      break;
  }
  return {0, 0, 0};
}

Result<Buffer> compress(Compression codec, Bytes in, int level) {
  if (in.size() > kMaxSize) return fail(ErrorCode::kMessageTooLarge, "Too much to compress in one piece");
  const CompressionLevels levels = compression_levels(codec);
  if (level != levels.standard) level = std::clamp(level, levels.min, levels.max);
  switch (codec) {
    case Compression::kNone:
      break;
    case Compression::kGzip:
      return gzip_compress(in, level);
    case Compression::kSnappy:
      return snappy_compress(in);
    case Compression::kLz4:
      return lz4_compress(in, level);
    case Compression::kZstd:
      return zstd_compress(in, level);
  }
  return Buffer(in.begin(), in.end());
}

Result<void> decompress_into(Compression codec, Bytes in, size_t limit, Buffer& out) {
  out.clear();
  if (in.size() > kMaxSize) return fail(ErrorCode::kMessageTooLarge, "Too much to decompress in one piece");
  limit = std::min(limit, kMaxSize);
  switch (codec) {
    case Compression::kNone:
      if (in.size() > limit) return too_large(codec, limit);
      out.assign(in.begin(), in.end());
      return {};
    case Compression::kGzip:
      return gzip_decompress(in, limit, out);
    case Compression::kSnappy:
      return snappy_decompress(in, limit, out);
    case Compression::kLz4:
      return lz4_decompress(in, limit, out);
    case Compression::kZstd:
      return zstd_decompress(in, limit, out);
  }
  return fail(ErrorCode::kInvalidRecord,
              fmt::format("Unknown compression type id: {}", static_cast<int>(codec)));
}

Result<Buffer> decompress(Compression codec, Bytes in, size_t limit) {
  Buffer out;
  if (auto done = decompress_into(codec, in, limit, out); !done)
    return std::unexpected(std::move(done.error()));
  return out;
}

}  // namespace millrace::protocol
