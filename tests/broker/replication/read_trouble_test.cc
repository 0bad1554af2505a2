#include "broker/replication/read_trouble.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace millrace::replication {
namespace {

const Error kGone{ErrorCode::kKafkaStorageError, "can't open 0.log: No such file or directory"};
const Error kDamaged{ErrorCode::kCorruptMessage,
                     "0.log at byte 0: magic 0; `millrace log verify` tells more"};

TEST_CASE("A read that fails is told at once, and again every minute while it goes on") {
  runtime::ManualClock clock;
  ReadTrouble trouble;
  CHECK(trouble.failed(clock, "topics/orders-0", 5, kGone));
  CHECK_FALSE(trouble.failed(clock, "topics/orders-0", 6, kGone));
  clock.advance_ms(ReadTrouble::kRepeatMs - 1);
  CHECK_FALSE(trouble.failed(clock, "topics/orders-0", 5, kGone));
  clock.advance_ms(1);
  CHECK(trouble.failed(clock, "topics/orders-0", 5, kGone));
  CHECK_FALSE(trouble.failed(clock, "topics/orders-0", 5, kGone));
}

TEST_CASE("Another log that can't be read is news, and so is another reason") {
  runtime::ManualClock clock;
  ReadTrouble trouble;
  CHECK(trouble.failed(clock, "topics/orders-0", 5, kGone));
  CHECK(trouble.failed(clock, "topics/orders-1", 5, kGone));
  CHECK(trouble.failed(clock, "topics/orders-0", 5, kDamaged));
  CHECK_FALSE(trouble.failed(clock, "topics/orders-1", 5, kGone));
}

TEST_CASE("What is an answer like any is not told") {
  runtime::ManualClock clock;
  ReadTrouble trouble;
  CHECK_FALSE(trouble.failed(clock, "topics/orders-0", 5, {ErrorCode::kOffsetOutOfRange, "5"}));
  CHECK_FALSE(trouble.failed(clock, "topics/orders-0", 5, {ErrorCode::kOperationNotAttempted, {}}));
}

TEST_CASE("Of many logs that fail together each is told, a few a second") {
  runtime::ManualClock clock;
  ReadTrouble trouble;
  constexpr int kLogs = 3 * runtime::RateLimitedLog::kDefaultLinesPerSecond;
  std::set<int> told;
  for (int second = 1; second <= 3; ++second) {
    for (int i = 0; i < kLogs; ++i) {
      if (trouble.failed(clock, "topics/orders-" + std::to_string(i), 5, kGone)) told.insert(i);
    }
    CHECK(told.size() == static_cast<size_t>(second) * runtime::RateLimitedLog::kDefaultLinesPerSecond);
    clock.advance_ms(1000);
  }
}

}  // namespace
}  // namespace millrace::replication
