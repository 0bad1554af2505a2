// Any bytes as compressed data, the codec in the first one: never more than the limit, and what comes out
// must survive being compressed again.
#include "protocol/compression.h"
#include "tests/fuzz/fuzz.h"

using namespace millrace;
using namespace millrace::protocol;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr size_t kLimit = size_t{1} << 16;
  const auto codec = static_cast<Compression>(data[0] % 5);
  Buffer out;
  const auto done = decompress_into(codec, std::as_bytes(std::span(data + 1, size - 1)), kLimit, out);
  FUZZ_CHECK(out.capacity() <= 4 * kLimit);
  if (!done) return 0;
  FUZZ_CHECK(out.size() <= kLimit);
  const auto packed = compress(codec, out);
  FUZZ_CHECK(packed);
  const auto again = decompress(codec, *packed, kLimit);
  FUZZ_CHECK(again && *again == out);
  return 0;
}

std::vector<Buffer> fuzz::seeds() {
  std::vector<Buffer> found;
  for (int codec = 0; codec < 5; ++codec) {
    for (const std::string_view text : {"hello, hello, hello, hello, hello, hello", ""}) {
      Buffer input = *compress(static_cast<Compression>(codec), as_bytes(text));
      input.insert(input.begin(), static_cast<std::byte>(codec));
      found.push_back(std::move(input));
    }
  }
  const std::string_view raw_snappy("\x02\x05\x10hello", 8);
  found.emplace_back(as_bytes(raw_snappy).begin(), as_bytes(raw_snappy).end());
  return found;
}
