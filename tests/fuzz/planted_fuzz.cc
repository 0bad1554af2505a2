// A bug planted for the driver itself: it must find this one and leave the input behind.
#include "tests/fuzz/fuzz.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FUZZ_CHECK(size != 3 || as_text(std::as_bytes(std::span(data, size))) != "bug");
  return 0;
}

std::vector<Buffer> fuzz::seeds() { return {Buffer{std::byte{'b'}, std::byte{'u'}, std::byte{'z'}}}; }
