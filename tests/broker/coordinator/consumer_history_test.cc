// Random histories of consumer groups. MILLRACE_SEEDS and MILLRACE_FIRST_SEED run more, or one again.
#include "tests/broker/coordinator/consumer_history.h"

#include <catch2/catch.hpp>
#include <cstdlib>

namespace millrace::coordinator {
namespace {

constexpr int kSteps = 1'500;

uint64_t number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST_CASE("what must hold of consumer groups holds in every history") {
  const uint64_t first = number("MILLRACE_FIRST_SEED", 1);
  const uint64_t count = number("MILLRACE_SEEDS", 30);
  int64_t migrations = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    INFO("seed " << seed);
    ConsumerHistory history(seed, ConsumerFault::kNone);
    REQUIRE_NOTHROW(history.run(kSteps));
    CHECK(history.requests() > kSteps / 10);
    migrations += history.migrations();
  }
  CHECK(migrations > 0);
}

TEST_CASE("a coordinator of consumer groups that is wrong is found out") {
  const ConsumerFault fault = GENERATE(
      ConsumerFault::kEarlyAnswer, ConsumerFault::kLostAnswer, ConsumerFault::kLostRecord,
      ConsumerFault::kPartitionTooEarly, ConsumerFault::kEpochGoesBack, ConsumerFault::kNoSessionTimeouts,
      ConsumerFault::kStaleTopics, ConsumerFault::kStaleCommits, ConsumerFault::kNoFencing);
  INFO("fault " << static_cast<int>(fault));
  bool found = false;
  for (uint64_t seed = 1; seed <= 20 && !found; ++seed) {
    ConsumerHistory history(seed, fault);
    try {
      history.run(kSteps);
    } catch (const Violation& violation) {
      found = true;
      UNSCOPED_INFO(violation.what());
    }
  }
  CHECK(found);
}

}  // namespace
}  // namespace millrace::coordinator
