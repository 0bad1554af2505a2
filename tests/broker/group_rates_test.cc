#include "broker/group_rates.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::broker;

namespace {

const Uuid kTopic = Uuid::from_random(1, 2);
const TopicIdPartition kPlace{kTopic, 0};

Mark mark(int64_t committed, int64_t end, int32_t partition = 0) {
  return {{kTopic, partition}, committed, end};
}

}  // namespace

TEST_CASE("rates need two looks, a second apart") {
  GroupHistory history;
  CHECK_FALSE(history.rates(kPlace));
  history.add(5'000, {mark(0, 100)});
  CHECK_FALSE(history.rates(kPlace));
  history.add(5'999, {mark(50, 100)});
  CHECK_FALSE(history.rates(kPlace));
  history.add(7'000, {mark(60, 120)});
  REQUIRE(history.rates(kPlace));
  CHECK(history.rates(kPlace)->in == 10);
  CHECK(history.rates(kPlace)->out == 30);
  CHECK_FALSE(history.rates({kTopic, 1}));
  CHECK(history.last(kPlace)->committed == 60);
  CHECK(history.last({kTopic, 1}) == nullptr);
}

TEST_CASE("rates are of the last 30 to 60 seconds") {
  GroupHistory history;
  // 100/s for long, then 1/s.
  int64_t committed = 0;
  int64_t now_ms = 0;
  for (; now_ms < 1'000'000; now_ms += 1'000) history.add(now_ms, {mark(committed += 100, 1'000'000)});
  CHECK(history.rates(kPlace)->out == 100);
  for (; now_ms < 1'060'000; now_ms += 1'000) history.add(now_ms, {mark(committed += 1, 1'000'000)});
  CHECK(history.rates(kPlace)->out == Approx(1).margin(3));
  for (; now_ms < 1'120'000; now_ms += 1'000) history.add(now_ms, {mark(committed += 1, 1'000'000)});
  CHECK(history.rates(kPlace)->out == 1);
}

TEST_CASE("looks further apart than the window give rates between the last two") {
  GroupHistory history;
  history.add(0, {mark(0, 0)});
  history.add(100'000, {mark(0, 1000)});
  CHECK(history.rates(kPlace)->in == 10);
  history.add(200'000, {mark(1000, 1000)});
  CHECK(history.rates(kPlace)->in == 0);
  CHECK(history.rates(kPlace)->out == 10);
}

TEST_CASE("a group that was moved back, or a log that was cut, has no rate") {
  GroupHistory history;
  history.add(0, {mark(50, 100), mark(50, 100, 1), mark(50, 100, 2)});
  history.add(10'000, {mark(10, 100), mark(60, 90, 1), mark(60, 110, 2)});
  CHECK_FALSE(history.rates(kPlace));
  CHECK_FALSE(history.rates({kTopic, 1}));
  CHECK(history.rates({kTopic, 2})->out == 1);
  // From there on it has one again.
  history.add(20'000, {mark(30, 100), mark(60, 95, 1)});
  CHECK(history.rates(kPlace)->out == 2);
  CHECK(history.rates({kTopic, 1})->in == 0.5);
}

TEST_CASE("a position that comes later has a rate from its second look on") {
  GroupHistory history;
  history.add(0, {});
  history.add(5'000, {mark(0, 100, 1)});
  CHECK_FALSE(history.rates({kTopic, 1}));
  history.add(10'000, {mark(5, 100), mark(50, 100, 1)});
  CHECK_FALSE(history.rates(kPlace));
  CHECK(history.rates({kTopic, 1})->out == 10);
  history.add(12'000, {mark(9, 100), mark(50, 100, 1)});
  CHECK(history.rates(kPlace)->out == 2);
}

TEST_CASE("a position that comes later keeps its rate when the looks move on") {
  GroupHistory history;
  // 10/s each; the second comes three seconds later.
  for (int64_t now_ms = 0; now_ms <= 200'000; now_ms += 1'000) {
    std::vector<Mark> marks = {mark(now_ms / 100, now_ms / 100)};
    if (now_ms >= 3'000) marks.push_back(mark(now_ms / 100, now_ms / 100, 1));
    history.add(now_ms, std::move(marks));
    INFO(now_ms);
    if (now_ms < 4'000) continue;
    REQUIRE(history.rates({kTopic, 1}));
    CHECK(history.rates({kTopic, 1})->out == 10);
    CHECK(history.rates(kPlace)->out == 10);
  }
}

TEST_CASE("a position that was moved back keeps its rate when the looks move on") {
  GroupHistory history;
  for (int64_t now_ms = 0; now_ms <= 200'000; now_ms += 1'000) {
    const int64_t committed = now_ms / 100 + (now_ms < 33'000 ? 100'000 : 0);
    history.add(now_ms, {mark(committed, 1'000'000)});
    INFO(now_ms);
    if (now_ms < 34'000) continue;
    REQUIRE(history.rates(kPlace));
    CHECK(history.rates(kPlace)->out == 10);
  }
}

TEST_CASE("useful members") {
  const auto demand = [](int64_t members, int64_t lagging, int64_t lag, std::optional<Rates> rates) {
    return useful_members(
        {.members = members, .partitions = 10, .lagging_partitions = lagging, .lag = lag, .rates = rates});
  };
  SECTION("nobody when nothing is behind") {
    CHECK(demand(0, 0, 0, {}) == 0);
    CHECK(demand(2, 0, 0, Rates{100, 100}) == 0);
  }
  SECTION("nobody when the group keeps up, however many partitions have a little lag") {
    CHECK(demand(2, 10, 60, Rates{100, 102}) == 0);
  }
  SECTION("enough for what comes in and for what is behind, in a minute") {
    // 2 members read 100/s; 200/s come in, and 6,000 behind are 100/s more.
    CHECK(demand(2, 10, 6'000, Rates{200, 100}) == 4);
    CHECK(demand(2, 10, 6'001, Rates{200, 100}) == 5);
  }
  SECTION("never more than there are partitions for, or partitions behind") {
    CHECK(demand(2, 10, 1'000'000, Rates{200, 100}) == 8);
    CHECK(demand(2, 3, 1'000'000, Rates{200, 100}) == 3);
    CHECK(demand(10, 10, 1'000'000, Rates{200, 100}) == 0);
    CHECK(demand(12, 10, 1'000'000, Rates{200, 100}) == 0);
  }
  SECTION("without members, or with members that stand still, one for each partition behind") {
    CHECK(demand(0, 4, 100, {}) == 4);
    CHECK(demand(0, 10, 100, Rates{10, 0}) == 10);
    CHECK(demand(3, 10, 100, Rates{10, 0}) == 7);
  }
  SECTION("nobody while the members' speed isn't known") { CHECK(demand(3, 10, 100, {}) == 0); }
}
