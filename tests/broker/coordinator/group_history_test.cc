// Random histories of the coordinator. MILLRACE_SEEDS and MILLRACE_FIRST_SEED run more, or one again.
#include "tests/broker/coordinator/group_history.h"

#include <catch2/catch.hpp>
#include <cstdlib>

namespace millrace::coordinator {
namespace {

constexpr int kSteps = 2'000;

uint64_t number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST_CASE("what must hold holds in every history") {
  const uint64_t first = number("MILLRACE_FIRST_SEED", 1);
  const uint64_t count = number("MILLRACE_SEEDS", 30);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    INFO("seed " << seed);
    GroupHistory history(seed, Fault::kNone);
    REQUIRE_NOTHROW(history.run(kSteps));
    CHECK(history.requests() > kSteps / 10);
  }
}

TEST_CASE("a coordinator that is wrong is found out") {
  const Fault fault = GENERATE(Fault::kNoGenerationCheck, Fault::kNoFencing, Fault::kEarlyAnswer,
                               Fault::kLostAnswer, Fault::kDoubleAnswer, Fault::kLostRecord,
                               Fault::kWrongAssignment, Fault::kNoSessionTimeouts, Fault::kFetchOfOtherGroup);
  INFO("fault " << static_cast<int>(fault));
  bool found = false;
  for (uint64_t seed = 1; seed <= 20 && !found; ++seed) {
    GroupHistory history(seed, fault);
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
