// Decode, encode, decode is a fixed point, for any bytes that decode at all. The bytes here are golden
// messages with a few of their bytes changed, by a seed that never changes; the fuzzer holds the same
// property (tests/fuzz/request_decoder_fuzz.cc) with bytes of its own.
#include <catch2/catch.hpp>
#include <cstdint>

#include "protocol/arena.h"
#include "protocol/messages/all.h"
#include "protocol/writer.h"
#include "tests/protocol/golden/golden_file.h"

using namespace millrace;
using namespace millrace::protocol;
using millrace::test::golden_messages;
using millrace::test::GoldenMessage;

namespace {

constexpr int kMutantsPerMessage = 40;

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  size_t below(size_t bound) { return next() % bound; }

 private:
  uint64_t state_;
};

void mutate(Buffer& bytes, Random& random) {
  constexpr int kTelling[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
  for (size_t changes = 1 + random.below(3); changes > 0 && !bytes.empty(); --changes) {
    const auto at = bytes.begin() + static_cast<ptrdiff_t>(random.below(bytes.size()));
    switch (random.below(5)) {
      case 0:
        *at = static_cast<std::byte>(random.next());
        break;
      case 1:
        *at = static_cast<std::byte>(kTelling[random.below(std::size(kTelling))]);
        break;
      case 2:
        *at ^= std::byte{1} << random.below(8);
        break;
      case 3:
        bytes.insert(at, static_cast<std::byte>(kTelling[random.below(std::size(kTelling))]));
        break;
      default:
        bytes.erase(at);
        break;
    }
  }
}

enum class Outcome { kRefused, kFixed, kNotEncoded, kNotDecodedAgain, kChanged };

template <class Message>
Outcome round_trip(const Buffer& bytes, int16_t version) {
  Arena arena(Arena::limit_for_frame(bytes.size()));
  const auto first = decode<Message>(bytes, version, arena);
  if (!first) return Outcome::kRefused;
  Writer once;
  if (!encode(*first, version, once)) return Outcome::kNotEncoded;
  const auto second = decode<Message>(once.written(), version, arena);
  if (!second) return Outcome::kNotDecodedAgain;
  Writer twice;
  if (!encode(*second, version, twice)) return Outcome::kNotEncoded;
  const bool same = std::ranges::equal(once.written(), twice.written()) &&
                    to_json(*first, version) == to_json(*second, version);
  return same ? Outcome::kFixed : Outcome::kChanged;
}

Outcome outcome_of(const GoldenMessage& golden, const Buffer& bytes) {
  Outcome outcome = Outcome::kRefused;
  auto of_record = [&]<class Message>() { outcome = round_trip<Message>(bytes, golden.version); };
  if (golden.kind == "record") return with_record(golden.name, of_record), outcome;
  auto of_api = [&]<class Request, class Response>() {
    outcome = golden.kind == "request" ? round_trip<Request>(bytes, golden.version)
                                       : round_trip<Response>(bytes, golden.version);
  };
  for (const ApiInfo& api : kApis) {
    if (api.name == golden.name) with_api(api.key, of_api);
  }
  return outcome;
}

}  // namespace

TEST_CASE("decode, encode, decode is a fixed point for whatever decodes", "[golden]") {
  Random random(20260917);
  size_t decoded = 0;
  for (const GoldenMessage& golden : golden_messages()) {
    if (golden.kind.ends_with("_header")) continue;
    for (int i = 0; i < kMutantsPerMessage; ++i) {
      Buffer bytes = golden.bytes;
      mutate(bytes, random);
      const Outcome outcome = outcome_of(golden, bytes);
      if (outcome == Outcome::kRefused) continue;
      ++decoded;
      if (outcome == Outcome::kFixed) continue;
      FAIL_CHECK(golden.name << " " << golden.kind << " version " << golden.version << ", mutant " << i
                             << ": outcome " << static_cast<int>(outcome));
    }
  }
  // Were nearly all refused, nothing would have been tested.
  CHECK(decoded > golden_messages().size());
}
